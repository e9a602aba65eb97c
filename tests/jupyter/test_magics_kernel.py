"""The magics in a real kernel: cell ids, and outputs that change after their cell has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.jupyter.kernels import Kernel, a_kernel

from covalab.client import Client
from covalab.core.process_variables import INLINE_BACKEND

pytestmark = pytest.mark.sampled(5, of="file")


@pytest.fixture
def kernel(live: Client) -> Iterator[Kernel]:
    """Return a kernel that has loaded the extension."""
    with a_kernel() as kernel:
        kernel.run("%load_ext covalab\nimport covalab as ct")
        yield kernel


def test_running_a_cell_again_replaces_its_electron(kernel: Kernel) -> None:
    """The cell's id says which electron it was, whatever the new code makes."""
    first = kernel.run("%%electron\na = 1")
    kernel.run("%%electron\nb = a + 1")
    kernel.run("%%electron\nc = 5\na = 10", again=first)

    written = kernel.run("%lattice flow")
    kernel.run("run = ct.get_result(ct.dispatch(flow)(), wait=True, timeout=120)")
    value = kernel.run("run['a'], run['b'], run['c']")

    assert written.text.startswith("def flow():\n    session = make_c_a()\n    session = make_b(session)\n")
    assert value.text == "(10, 11, 5)"


def test_a_traceback_counts_lines_as_the_notebook_does(kernel: Kernel) -> None:
    """Empty lines above the magic count, on the worker too."""
    kernel.run("\n\n%%electron crash(a)\n\nb = a / 0\nb")
    kernel.run("run = ct.dispatch(ct.lattice(crash))(1)")

    error = kernel.run("print(ct.get_result(run, wait=True).get_node_result(0)['error'])")

    assert "line 5, in crash\n    b = a / 0" in error.text


def test_a_traceback_of_an_electron_in_a_cell_has_its_lines(kernel: Kernel) -> None:
    """Also those of functions of other cells that it calls; the function itself stays as it was."""
    kernel.succeed("import covalab as ct, inspect\n\ndef deeper(x):\n    return 1 / x  # too deep")
    kernel.succeed(
        "@ct.electron\ndef outer(x):\n    # a remark\n    return deeper(x)  # the way there\n"
        "@ct.electron\ndef source():\n    return inspect.getsource(deeper)"
    )
    kernel.succeed(
        "before = dict(vars(outer.electron_object.function))\nresult = ct.dispatch_sync(ct.lattice(outer))(0)"
    )

    shown = kernel.succeed("print(result.get_node_result(0)['error'])").text
    found = kernel.succeed("print(ct.dispatch_sync(ct.lattice(source))().result)").text
    same = kernel.succeed("before == dict(vars(outer.electron_object.function))").text

    assert "line 4, in outer\n    return deeper(x)  # the way there\n" in shown
    assert "line 4, in deeper\n    return 1 / x  # too deep\n" in shown
    assert found.startswith("def deeper(x):\n    return 1 / x  # too deep\n")
    assert same == "True"


def test_a_dispatch_shows_itself_and_knows_its_cell(kernel: Kernel, live: Client) -> None:
    """The output has the live view and two static ones; the list can find the cell again."""
    kernel.run("%%electron one()\n1")

    cell = kernel.run("%dispatch one()")

    (bundle,) = cell.outputs
    assert {"application/vnd.covalab.dispatch+json", "text/html", "text/plain"} <= bundle.keys()
    assert live.summary(bundle["application/vnd.covalab.dispatch+json"]["id"]).cell == cell.id


def test_a_cell_that_arrived_is_told_in_its_own_cell(kernel: Kernel) -> None:
    """What it shows changes when the value is there, while other cells run; a cell that needs it waits."""
    cell = kernel.run("%%electron --run\nimport time\ntime.sleep(0.5)\nslow = 42\nprint('printed')\nslow + 1")
    before = cell.text
    value = kernel.run("slow")
    deadline = time.monotonic() + 30
    while "done in" not in cell.text and time.monotonic() < deadline:
        kernel.run("pass")  # updates arrive with the messages of the next cell

    assert before.startswith(("[make_slow: waiting", "[make_slow: running"))
    assert value.text.endswith("42")
    assert cell.text.startswith("printed\n43\n[make_slow: done in ")
    assert cell.text.endswith(("set slow, time]", "set time, slow]"))


def test_a_mistake_is_one_line(kernel: Kernel) -> None:
    """No traceback through covalab, and the cell counts as failed."""
    cell = kernel.run("%%electron f(a)\nfrom math import *")

    assert cell.reply["status"] == "error"  # which is what stops "Run all"
    assert cell.reply["ename"] == "UsageError"
    assert cell.printed.count("\n") == 1
    assert "import *" in cell.printed


def test_loading_costs_little_and_starts_no_work_in_the_way(kernel: Kernel) -> None:
    """Neither Dask nor tornado's server side comes in with the magics."""
    loaded = kernel.run(
        "import sys\nprint([name for name in ('distributed', 'dask', 'apsw', 'anywidget') if name in sys.modules])"
    )

    assert loaded.text == "[]\n"


def test_tasks_import_what_autoreload_shows(kernel: Kernel, tmp_path: Path) -> None:
    """An edited helper, and a submodule of a package, in a cell and in its task; before it was saved by a second."""
    (tmp_path / "reloaded").mkdir()
    (tmp_path / "reloaded" / "__init__.py").write_text("")
    kernel.succeed(f"%load_ext autoreload\n%autoreload 2\nimport sys; sys.path.insert(0, {str(tmp_path)!r})")
    for number in (1, 22222, 3):
        (tmp_path / "reloaded_one.py").write_text(f"def one():\n    return {number}\n")
        (tmp_path / "reloaded" / "area.py").write_text(f"def area():\n    return {number}\n")
        here = kernel.succeed("import reloaded.area, reloaded_one\n[reloaded.area.area(), reloaded_one.one()]")
        kernel.succeed(
            "%%electron parts()\nimport reloaded.area as area, reloaded_one\n[area.area(), reloaded_one.one()]"
        )
        inside = kernel.succeed("ct.dispatch_sync(ct.lattice(parts))().result")
        kernel.succeed("%%electron outside()\n[reloaded.area.area(), reloaded_one.one()]")
        outside = kernel.succeed("ct.dispatch_sync(ct.lattice(outside))().result")

        assert here.text == inside.text == outside.text == f"[{number}, {number}]"


def test_variables_of_the_notebook_arrive(kernel: Kernel) -> None:
    """However they were set; figures become outputs, whatever shows them in the kernel."""
    kernel.succeed("%env APP_ONE=a=b c\n%set_env APP_TWO 2")
    kernel.succeed("import os\nos.environ.update({'APP_THREE': '3'})\nos.environ['MPLBACKEND'] = 'module://inline'")
    kernel.succeed(
        "%%electron look()\nimport os\n"
        "[os.environ.get(name) for name in ('APP_ONE', 'APP_TWO', 'APP_THREE', 'MPLBACKEND', 'JPY_PARENT_PID')]"
    )
    first = kernel.succeed("ct.dispatch_sync(ct.lattice(look))().result")
    kernel.succeed("del os.environ['APP_ONE']\nos.environ.pop('APP_TWO')")
    second = kernel.succeed("ct.dispatch_sync(ct.lattice(look))().result")

    assert first.text == f"['a=b c', '2', '3', '{INLINE_BACKEND}', None]"
    assert second.text == f"[None, None, '3', '{INLINE_BACKEND}', None]"


def test_a_task_of_a_notebook_has_what_a_cell_has(kernel: Kernel) -> None:
    """`display` and `get_ipython`, as built-in functions; its outputs are read from the result."""
    kernel.succeed("@ct.electron\ndef shows():\n    display(3)\n    return type(get_ipython()).__name__, __IPYTHON__")
    kernel.succeed("shown = ct.dispatch_sync(ct.lattice(shows))()")

    assert kernel.succeed("shown.result").text == "('ZMQInteractiveShell', True)"
    assert kernel.succeed("[one['data'] for one in shown.outputs[0]]").text == "[{'text/plain': '3'}]"
