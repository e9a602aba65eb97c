"""Which variables a task gets, and when packages that were imported under others may be used."""

from __future__ import annotations

import pytest

from covalab.core.process_variables import (
    ALL_NAMES,
    INLINE_BACKEND,
    ProcessVariables,
    different_at_import,
    unpack,
    variables_of_task,
)

OWN = {b"PATH": b"/worker", b"HOME": b"/home", b"OMP_NUM_THREADS": b"1", b"COVALAB_DATA_DIR": b"/data"}


def ours(sent: dict[bytes, bytes], *changed: bytes, own: dict[bytes, bytes] = OWN) -> dict[bytes, bytes]:
    """Return the variables of a task on a worker of our own."""
    return variables_of_task(ProcessVariables(sent, list(changed)), own, is_ours=True, same_interpreter=True)


def test_they_come_back_as_they_were_and_are_in_no_text() -> None:
    """Also names with spaces and bytes that are no UTF-8, values with an equals sign, an empty one."""
    sent = {b"A KEY": b"s3cret=x=y", b"N\xffN": b"\xfe\xff", b"EMPTY": b"", b"BASH_FUNC_f%%": b"() {\n true\n}"}
    variables = ProcessVariables(sent, [b"GONE"])

    assert unpack(variables.pack()) == variables
    assert b"s3cret" not in variables.pack()
    assert repr(variables) == "<4 environment variables>"


def test_on_our_worker_they_are_those_of_the_dispatch() -> None:
    """Nothing of the worker's stays, but for limits that it needs and its own settings."""
    found = ours({b"PATH": b"/kernel", b"KEY": b"1", b"JPY_PARENT_PID": b"1"})

    assert found == {
        b"PATH": b"/kernel",
        b"KEY": b"1",
        b"OMP_NUM_THREADS": b"1",
        b"COVALAB_DATA_DIR": b"/data",
        b"MPLBACKEND": INLINE_BACKEND.encode(),
    }


@pytest.mark.parametrize(
    ("name", "changed", "expected"),
    [
        (b"OMP_NUM_THREADS", False, b"sent"),
        (b"MALLOC_TRIM_THRESHOLD_", False, b"sent"),
        (b"DASK_TEMPORARY_DIRECTORY", False, b"sent"),
        (b"COVALAB_DATA_DIR", False, b"own"),
        (b"COVALAB_MAX_VALUE_BYTES", True, b"sent"),
        (b"COVALAB_TASK_PROCESS", True, b"own"),
        (b"ANY", False, b"sent"),
    ],
)
def test_what_both_have(name: bytes, *, changed: bool, expected: bytes) -> None:
    """Settings of covalab are the worker's, unless the notebook set them itself."""
    assert ours({name: b"sent"}, *([name] if changed else []), own={name: b"own"})[name] == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"module://matplotlib_inline.backend_inline", INLINE_BACKEND.encode()),
        (b"inline", INLINE_BACKEND.encode()),
        (b"QtAgg", INLINE_BACKEND.encode()),
        (b"TkAgg", INLINE_BACKEND.encode()),
        (b"", INLINE_BACKEND.encode()),
        (b"svg", b"svg"),
        (b"PDF", b"PDF"),
        (b"agg", b"agg"),
        (b"Cairo", b"Cairo"),
    ],
)
def test_a_backend_that_draws_to_files_stays(sent: bytes, expected: bytes) -> None:
    """One with windows would fail; otherwise figures become outputs."""
    assert ours({b"MPLBACKEND": sent})[b"MPLBACKEND"] == expected


def test_on_another_cluster_only_what_the_notebook_did_counts() -> None:
    """It may be another machine, with other folders in its variables."""
    sent = ProcessVariables({b"PATH": b"/kernel", b"KEY": b"1", b"TZ": b"UTC"}, [b"KEY", b"HOME", b"NEVER_THERE"])

    found = variables_of_task(sent, OWN, is_ours=False, same_interpreter=True)

    assert found == {**{name: value for name, value in OWN.items() if name != b"HOME"}, b"KEY": b"1"}


@pytest.mark.parametrize("is_ours", [True, False])
def test_another_interpreter_keeps_what_selects_it(*, is_ours: bool) -> None:
    """A conda environment's tasks must not find the kernel's packages."""
    names = [b"PATH", b"PYTHONPATH", b"VIRTUAL_ENV", b"LD_LIBRARY_PATH", b"CONDA_PREFIX", b"CONDA_EXE"]
    sent = ProcessVariables({**dict.fromkeys(names, b"kernel"), b"KEY": b"1"}, [*names, b"KEY"])
    own = {b"PATH": b"conda", b"CONDA_PREFIX": b"conda"}

    found = variables_of_task(sent, own, is_ours=is_ours, same_interpreter=False)

    assert {name: found.get(name) for name in names} == {**dict.fromkeys(names), **own}
    assert found[b"KEY"] == b"1"


@pytest.mark.parametrize(
    ("read", "stem", "wanted", "expected"),
    [
        (["TZ"], {}, {b"TZ": b"UTC"}, True),
        (["TZ"], {b"TZ": b"UTC"}, {}, True),
        (["TZ"], {b"TZ": b"UTC"}, {b"TZ": b"UTC", b"KEY": b"1"}, False),
        (["N\udcff"], {b"N\xff": b"1"}, {b"N\xff": b"2"}, True),
        ([], {}, {b"CUDA_VISIBLE_DEVICES": b""}, True),
        ([], {b"LD_PRELOAD": b"a"}, {}, True),
        ([], {b"LANG": b"C"}, {b"LANG": b"de"}, True),
        ([], {}, {b"LC_ALL": b"C"}, True),
        ([], {}, {b"PYTHONHASHSEED": b"0"}, True),
        ([], {}, {b"XOMP_NUM_THREADS": b"0"}, False),
        ([ALL_NAMES], {b"JPY_SESSION_NAME": b"a"}, {b"JPY_SESSION_NAME": b"b"}, False),
        ([ALL_NAMES], {}, {b"ANY": b"1"}, True),
    ],
)
def test_packages_are_the_same_when_nothing_they_read_differs(
    read: list[str], stem: dict[bytes, bytes], wanted: dict[bytes, bytes], *, expected: bool
) -> None:
    """Names that Python code read, and those that C libraries read when they are loaded."""
    assert bool(different_at_import(frozenset(read), stem, wanted)) is expected
