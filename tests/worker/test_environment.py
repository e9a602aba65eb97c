"""Each batch runs in the environment of the process that dispatched it, and leaves none of it behind."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.worker.test_batch_runner import Batches, calls, value

from covalab.core import local_modules
from covalab.core.codec import digest_of
from covalab.core.local_modules import LocalModule
from covalab.core.model import Digest
from covalab.core.process_variables import ProcessVariables
from covalab.sdk.code.modules import by_value


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    """Return a worker without batches."""
    return Batches(tmp_path)


def add(batches: Batches, function: Any, *, modules: dict[str, str] | None = None, **fields: Any) -> None:
    """Add a batch of one task, with some fields; `modules` are sources by the paths of their files."""
    with by_value([sys.modules[__name__]]):
        tasks, code = calls(function)
    if modules is not None:
        found = {}
        for path, source in modules.items():
            name = ".".join(Path(path).with_suffix("").relative_to(batches.folder).parts).removesuffix(".__init__")
            found[name] = LocalModule(os.fsencode(path), path.endswith("__init__.py"), source.encode())
        packed = local_modules.pack(found)
        digest = digest_of([packed])
        code[digest], fields["local_modules"] = packed, digest
    batches.add(msgspec.structs.replace(tasks[0], node=len(batches.batches)), code=code)
    batches.batches[-1] = msgspec.structs.replace(batches.batches[-1], **fields)


def variables() -> Any:
    """Return what a task sees of its process."""
    import subprocess
    import time

    umask = os.umask(0o077)
    os.umask(umask)
    return {
        "KEY": os.environ.get("KEY"),
        "bytes": os.environb.get(b"N\xff"),
        "child": subprocess.run(["sh", "-c", "echo $KEY"], check=True, capture_output=True, text=True).stdout,
        "zone": time.tzname[0],
        "umask": umask,
        "path": sys.path,
        "PATH": os.environ.get("PATH"),
        "cwd": str(Path.cwd()),
    }


def packed(**named: str) -> bytes:
    """Return packed variables."""
    return ProcessVariables(
        {b"PATH": os.environb[b"PATH"], **{k.encode(): v.encode() for k, v in named.items()}}
    ).pack()


def test_variables_umask_and_zone_are_of_the_batch_alone(batches: Batches) -> None:
    """Set, changed and deleted from dispatch to dispatch; one that has none finds the process's own."""
    add(batches, variables, variables=packed(KEY="one two", TZ="AAA+3"), umask=0o002)
    add(batches, variables, variables=packed(KEY="x=y", TZ="BBB+3"), umask=0o027)
    add(batches, variables, variables=packed(), umask=0)
    add(batches, variables)
    seen = [value(outcome) for _, outcome in sorted(batches.outcomes().items())]

    assert [(one["KEY"], one["child"], one["umask"]) for one in seen[:3]] == [
        ("one two", "one two\n", 0o002),
        ("x=y", "x=y\n", 0o027),
        (None, "\n", 0),
    ]
    assert [one["zone"] for one in seen[:2]] == ["AAA", "BBB"]
    assert seen[3]["KEY"] is None
    assert seen[3]["umask"] not in (0o002, 0)


def test_what_a_task_changes_is_gone_afterwards(batches: Batches) -> None:
    """Variables, umask, folder and path."""

    def change() -> None:
        os.environ["KEY"] = "changed"
        del os.environ["PATH"]
        os.umask(0)
        os.chdir("/")
        sys.path.insert(0, "/changed")

    add(batches, variables, umask=0o022, variables=packed(KEY="1"))
    add(batches, change, umask=0o022, variables=packed(KEY="1"))
    add(batches, variables, umask=0o022, variables=packed(KEY="1"))
    outcomes = batches.outcomes()

    assert value(outcomes[0]) == value(outcomes[2])


def test_the_search_path_is_the_notebooks(batches: Batches) -> None:
    """In its order, with what was appended at the end, and nothing of the batch before."""
    usual = [entry for entry in sys.path if "lib/python" in entry]
    first = [str(batches.folder / "a"), *usual, str(batches.folder / "z")]
    extra = [first[0], first[-1]]
    add(batches, variables, path=extra, sys_path=first, prefix=sys.prefix)
    add(batches, variables, path=extra, sys_path=first, prefix="/another")
    add(batches, variables, path=["/old"])
    add(batches, variables)
    paths = [value(outcome)["path"] for _, outcome in sorted(batches.outcomes().items())]

    assert [entry for entry in paths[0] if entry in first] == first
    assert (paths[1][0], set(paths[1]) & set(extra)) == (first[0], set(extra))
    assert paths[1].index(first[-1]) > max(paths[1].index(entry) for entry in usual if entry in paths[1])
    assert paths[2][0] == "/old"
    assert "/old" not in paths[3]
    assert not set(extra) & set(paths[3])


def test_a_folder_that_is_gone_is_not_that_of_another_notebook(batches: Batches) -> None:
    """Files with relative names would be written there."""
    gone = batches.folder / "gone"
    add(batches, variables)
    add(batches, variables, cwd=str(gone))
    outcomes = batches.outcomes()

    assert value(outcomes[0])["cwd"] == str(batches.folder)
    assert value(outcomes[1])["cwd"] == str(Path.cwd())  # where the process was started


AREA = """
from . import unit
from .unit import ONE

def area():
    return unit.ONE * {0}

def fail():
    raise ValueError({0})
"""


def shapes(folder: Path, number: int) -> dict[str, str]:
    """Return a package of three files as it was at some time."""
    return {
        str(folder / "shapes" / "__init__.py"): "",
        str(folder / "shapes" / "area.py"): AREA.format(number),
        str(folder / "shapes" / "unit.py"): f"ONE = {number}\n",
    }


def area() -> Any:
    """Import what travelled."""
    import importlib
    import inspect
    import pkgutil

    import shapes.area  # type: ignore[import-not-found]

    found = shapes.area.area(), inspect.getsource(shapes.area.area).splitlines()[1].strip(), shapes.area.__file__
    listed = sorted(module.name for module in pkgutil.iter_modules(shapes.__path__))
    return *found, listed, importlib.reload(shapes.area).area()


def test_modules_that_travelled_need_no_file_and_follow_the_dispatch(batches: Batches) -> None:
    """The same process imports two versions; the folder has a third, or is not there at all."""
    folder = batches.folder
    add(batches, area, modules=shapes(folder, 2))
    add(batches, area, modules=shapes(folder, 3))
    add(batches, area, modules=shapes(folder, 3))
    seen = [value(outcome) for _, outcome in sorted(batches.outcomes().items())]

    file = str(folder / "shapes" / "area.py")
    assert seen == [
        (4, "return unit.ONE * 2", file, ["area", "unit"], 4),
        *[(9, "return unit.ONE * 3", file, ["area", "unit"], 9)] * 2,
    ]
    assert not (folder / "shapes").exists()


def test_the_file_beside_does_not_count(batches: Batches) -> None:
    """Neither its text nor its byte code; tracebacks quote what ran, and data files are found."""
    (batches.folder / "shapes").mkdir()
    for path, source in shapes(batches.folder, 9).items():
        Path(path).write_text(f"# another line\n{source}")
    (batches.folder / "shapes" / "table.txt").write_text("42")

    def read() -> Any:
        import importlib.resources

        import shapes.area

        return importlib.resources.files("shapes").joinpath("table.txt").read_text(), shapes.area.area()

    def fail() -> None:
        import shapes.area

        shapes.area.fail()

    add(batches, read, modules=shapes(batches.folder, 2), path=[str(batches.folder)])
    add(batches, fail, modules=shapes(batches.folder, 2), path=[str(batches.folder)])
    outcomes = batches.outcomes()

    assert value(outcomes[0]) == ("42", 4)
    assert outcomes[1].failure is not None
    assert "raise ValueError(2)" in outcomes[1].failure.traceback
    assert not (batches.folder / "shapes" / "__pycache__").exists()


def test_without_a_snapshot_the_file_is_read_anew_for_another_dispatch(batches: Batches) -> None:
    """Also after another dispatch whose snapshot has the module, and the other way round."""
    (batches.folder / "shapes").mkdir()
    for path, source in shapes(batches.folder, 5).items():
        Path(path).write_text(source)

    def only_area() -> int:
        import shapes.area

        return int(shapes.area.area())

    root = [str(batches.folder)]
    add(batches, only_area, path=root)
    add(batches, only_area, path=root, modules=shapes(batches.folder, 2))
    add(batches, only_area, path=root)

    assert [value(outcome) for _, outcome in sorted(batches.outcomes().items())] == [25, 4, 25]


def test_a_namespace_package_and_a_broken_module(batches: Batches) -> None:
    """A folder without code is a package; a syntax error is the task's own."""
    inner = LocalModule(os.fsencode(batches.folder / "space" / "inner.py"), source=b"N = 7\n")
    space = LocalModule(b"", is_package=True, folders=[os.fsencode(batches.folder / "space")])
    broken = LocalModule(os.fsencode(batches.folder / "broken.py"), source=b"def f(:\n")
    packed_modules = local_modules.pack({"space": space, "space.inner": inner, "broken": broken})
    digest = Digest(digest_of([packed_modules]))

    def use() -> int:
        from space import inner  # type: ignore[import-not-found]

        return int(inner.N)

    def fail() -> None:
        import broken  # type: ignore[import-not-found]  # noqa: F401

    for function in (use, fail):
        add(batches, function)
        last = batches.batches[-1]
        code = {**last.code, digest: packed_modules}
        batches.batches[-1] = msgspec.structs.replace(last, code=code, local_modules=digest)
    outcomes = batches.outcomes()

    assert value(outcomes[0]) == 7
    assert outcomes[1].failure is not None
    assert outcomes[1].failure.exception == "SyntaxError"
    assert "def f(:" in outcomes[1].failure.traceback
