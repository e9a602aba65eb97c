"""Cells and tasks show what they would show in a notebook. They run in a process whose streams are taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.worker.test_batch_runner import Batches, calls

from covalab.core.model import Outcome
from covalab.core.outputs import Event, StreamText, fold, read_frames, recorded
from covalab.core.process_variables import INLINE_BACKEND
from covalab.worker.outputs import recorder as recorder_module
from covalab.worker.outputs.recorder import Recorder, to_json

CELLS = """
import json, sys, traceback
from covalab.core.outputs import fold
from covalab.worker import context
from covalab.worker.capture import Capture
from covalab.worker.outputs import ipython
from covalab.worker.outputs.recorder import recorder
from covalab.worker.outputs.shell import run_cell
ipython.install()
context.process.task = context.Context("d", 0)
cells, folder, told = json.load(open(sys.argv[1])), sys.argv[2], []
capture = Capture(folder)
capture.enter()
for number, (text, first_line) in enumerate(cells):
    end = run_cell(text, filename=f"<cell c{number} 12345678>", namespace=globals(), first_line=first_line)
    texts = capture.texts()
    error = end.error
    plain = "".join(traceback.format_exception(error)) if error is not None else ""
    told.append([fold(recorder.take(), *texts), repr(end.value), end.has_value, plain])
    capture.take()
capture.leave()
json.dump(told, open(sys.argv[3], "w"))
"""


NOT_HERE = (
    "covalab: nothing was displayed here under the id 'of-another': what an earlier cell has displayed stays as it "
    "was. Display it again in this cell.\n"
)


class Ran(NamedTuple):
    """A cell that ran: its outputs, its value as text, whether it has one, and its traceback."""

    outputs: list[dict[str, Any]]
    value: str
    has_value: bool
    error: str


def run_cells(folder: Path, *cells: str, first_line: int = 1) -> list[Ran]:
    """Run cells one after the other in one namespace of a fresh process."""
    given, told = folder / "cells.json", folder / "told.json"
    given.write_text(json.dumps([[textwrap.dedent(cell), first_line] for cell in cells]))
    environment = {**os.environ, "MPLBACKEND": INLINE_BACKEND, "IPYTHONDIR": str(folder / "ipython")}
    command = [sys.executable, "-c", CELLS, str(given), str(folder / "spool"), str(told)]
    subprocess.run(command, check=True, timeout=120, env=environment, cwd=folder)
    return [Ran(*one) for one in json.loads(told.read_text())]


def kinds(outputs: list[dict[str, Any]]) -> list[str]:
    """Return outputs as short texts: text of streams, names of errors, MIME types of the rest."""
    return [
        one["text"]
        if one["output_type"] == "stream"
        else one["ename"]
        if one["output_type"] == "error"
        else f"{one['output_type']} {' '.join(sorted(one['data']))}"
        for one in outputs
    ]


TURNS = """
from sys import stderr
print("a")
print("b", file=stderr)
print("c")
display(1)
print("d", end="")
print("e", file=stderr)
"""

SHOWN: dict[str, tuple[str, list[str]]] = {
    "nothing": ("x = 1", []),
    "a value": ("1 + 1", ["execute_result text/plain"]),
    "no value, because of a semicolon": ("1 + 1;", []),
    "a value after text": ("print('a')\n2", ["a\n", "execute_result text/plain"]),
    "None": ("None", []),
    "a table": ("import pandas as pd\npd.DataFrame({'a': [1]})", ["execute_result text/html text/plain"]),
    "a style": ("pd.DataFrame({'a': [1]}).style", ["execute_result text/html text/plain"]),
    "markup": (
        "from IPython.display import *\ndisplay(HTML('<b>'), Latex('$x$'))",
        ["display_data text/html text/plain", "display_data text/latex text/plain"],
    ),
    "a figure that is left open": (
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        ["display_data image/png text/plain"],
    ),
    "a figure that is shown, and text after it": (
        "plt.plot([1, 2])\nplt.show()\nprint('after')",
        ["display_data image/png text/plain", "after\n"],
    ),
    "two figures": ("plt.plot([1])\nplt.figure()\nplt.plot([2]);", ["display_data image/png text/plain"] * 2),
    "a figure that was closed": ("plt.plot([1])\nplt.close()", []),
    "a figure as a value": ("fig, ax = plt.subplots()\nplt.close(fig)\nfig", ["execute_result image/png text/plain"]),
    "a vector figure": (
        "%config InlineBackend.figure_formats = ['svg']\nplt.plot([1]);",
        ["display_data image/svg+xml text/plain"],
    ),
    "sympy": ("import sympy\nsympy.Symbol('x') ** 2", ["execute_result text/latex text/plain"]),
    "rich": ("import rich\nrich.print('[b]x[/b]')", ["display_data text/html text/plain"]),
    "a widget": ("import ipywidgets\nipywidgets.IntSlider()", ["display_data text/plain"]),
    "a shell line": ("!echo from a shell", ["from a shell\r\n"]),
    "a magic": ("%%html\n<b>x</b>", ["display_data text/html text/plain"]),
    "captured": ("%%capture found\nprint(1)\ndisplay(2)", []),
    "streams in order": (
        TURNS,
        ["a\n", "b\n", "c\n", "display_data text/plain", "d", "e\n"],
    ),
    "cleared": ("print('a')\ndisplay(1)\nclear_output()\nprint('b')", ["b\n"]),
    "cleared later": ("display(1)\nclear_output(wait=True)\nprint('b')", ["b\n"]),
    "updated": (
        "h = display(1, display_id=True)\nprint('x')\nh.update(HTML('y'))",
        ["display_data text/html text/plain", "x\n"],
    ),
    "displayed for another cell": ("other = display(1, display_id='of-another')", ["display_data text/plain"]),
    "updated by another cell": (
        "for step in range(3): other.update(step)\nprint('x')",
        [NOT_HERE, "x\n"],
    ),
    "from a thread": (
        "import threading\nt = threading.Thread(target=display, args=(1,))\nt.start()\nt.join()",
        ["display_data text/plain"],
    ),
    "awaited": ("import asyncio\nawait asyncio.sleep(0.01)\n3", ["execute_result text/plain"]),
    "a repr that raises": (
        "class Bad:\n    def _repr_html_(self): raise ValueError('no')\nBad()",
        ["ValueError", "execute_result text/plain"],
    ),
    "an error": ("print('before')\n1 / 0", ["before\n", "ZeroDivisionError"]),
    "an error after an open figure": (
        "plt.plot([1])\n1 / 0",
        ["ZeroDivisionError", "display_data image/svg+xml text/plain"],
    ),
    "no Python": ("def (:", ["SyntaxError"]),
    "only a comment": ("# nothing", []),
    "bytes and numbers in a bundle": (
        "import numpy as np\ndisplay({'image/png': b'\\x89', 'application/json': {'a': np.float64(1)}}, raw=True)",
        ["display_data application/json image/png"],
    ),
    "a child process": ("import subprocess\nsubprocess.run(['echo', 'x'])\nNone", ["x\n"]),
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """Run all cells of the table, one after the other, as a notebook does."""
    ran = run_cells(tmp_path_factory.mktemp("cells"), *(text for text, _ in SHOWN.values()))
    return dict(zip(SHOWN, ran, strict=True))


@pytest.mark.parametrize("name", SHOWN)
def test_a_cell_shows_what_a_notebook_shows(shown: dict[str, Ran], name: str) -> None:
    """In the same order."""
    assert kinds(shown[name].outputs) == SHOWN[name][1], shown[name]


def test_a_cell_has_a_value_if_it_shows_one(shown: dict[str, Ran]) -> None:
    """It is given to whoever ran it."""
    assert (shown["a value"].value, shown["a value"].has_value) == ("2", True)
    assert not shown["no value, because of a semicolon"].has_value
    assert not shown["None"].has_value
    assert (shown["awaited"].value, shown["awaited"].has_value) == ("3", True)


def test_results_are_numbered_and_underscores_have_them(tmp_path: Path) -> None:
    """As in a kernel."""
    ran = run_cells(tmp_path, "40 + 1", "_ + 1", "Out[1], _2, In[1]", "_ = 5", "_")

    assert [one.value for one in ran] == ["41", "42", "(41, 42, '40 + 1')", "None", "5"]
    assert ran[0].outputs[0]["execution_count"] == 1
    assert ran[2].outputs[0]["execution_count"] == 3


def test_a_traceback_has_the_lines_of_its_own_cell_as_shown(tmp_path: Path) -> None:
    """Also of a function of another cell, below empty lines, and in syntax errors."""
    ran = run_cells(
        tmp_path, "\n\ndef f():\n    return 1 / 0", "f()", "\n\ndef (:", "%%time\n\n1 / 0", "%nosuch 1", first_line=3
    )
    of_f, of_syntax = ran[1], ran[2]

    assert 'File "<cell c1 12345678>", line 3, in <module>\n    f()' in of_f.error
    assert 'File "<cell c0 12345678>", line 6, in f\n    return 1 / 0' in of_f.error
    assert "IPython" not in of_f.error
    text = "\n".join(of_f.outputs[0]["traceback"])
    assert "run_cell" not in text
    assert "c0" in text
    assert 'File "<cell c2 12345678>", line 5' in of_syntax.error
    assert "ZeroDivisionError" in ran[3].error
    assert 'File "<cell c4 12345678>", line 3' in ran[4].error
    assert "Line magic function `%nosuch` not found" in ran[4].error
    assert "IPython/" not in ran[4].error


def test_what_a_cell_sets_is_in_the_namespace_that_it_was_given(tmp_path: Path) -> None:
    """`globals()` and `__main__` are the same."""
    ran = run_cells(
        tmp_path, "x = 1", "import __main__\n__main__.x, globals() is vars(__main__)", "get_ipython().user_ns['x']"
    )

    assert [one.value for one in ran[1:]] == ["(1, True)", "1"]


def test_libraries_find_a_kernel(tmp_path: Path) -> None:
    """They look at the name of the shell's class, its configuration, and the built-in names."""
    (ran,) = run_cells(
        tmp_path,
        "type(get_ipython()).__name__, 'IPKernelApp' in get_ipython().config, "
        "__import__('IPython').get_ipython() is get_ipython()",
    )

    assert ran.value == "('ZMQInteractiveShell', True, True)"


def test_a_cell_leaves_no_history_and_no_thread(tmp_path: Path) -> None:
    """Neither a database nor a folder of IPython's."""
    (ran,) = run_cells(tmp_path, "import sys, threading\nthreading.active_count(), 'sqlite3' in sys.modules")

    assert ran.value == "(1, False)"
    assert not (tmp_path / "ipython").exists()


def test_magics_find_the_folder_of_the_user(tmp_path: Path) -> None:
    """As in a kernel."""
    ran = run_cells(tmp_path, "x = 1\n%store x", "del x\n%store -r x\nx")

    assert ran[1].value == "1"
    assert (tmp_path / "ipython").is_dir()


# Tasks: functions that nothing of IPython is imported for, unless they import it.


def run_tasks(folder: Path, *functions: Callable[..., Any]) -> list[tuple[Outcome, list[str]]]:
    """Run functions one after the other in one process; return their outcomes, and their outputs as short texts."""
    batches = Batches(folder)
    tasks, code = calls(*functions)
    for task in tasks:  # a batch each: after a task that leaves a thread its batch ends
        batches.add(task, code=code)
    found = batches.outcomes()
    blobs = folder / "blobs"

    def load(value: Any) -> bytes:
        data: bytes = value.data or (blobs / value.digest[:2] / value.digest).read_bytes()
        return data

    return [(found[node], kinds(recorded(found[node], load))) for node in sorted(found)]


def test_tasks_show_what_they_display(tmp_path: Path) -> None:
    """Each its own, with `display` among the built-in functions; the last ones show nothing of the ones before."""

    def table() -> None:
        import pandas as pd

        print("before")
        display(pd.DataFrame({"a": [1]}))  # type: ignore[name-defined] # noqa: F821
        print("after")

    def figure() -> None:
        import matplotlib.pyplot as plt

        plt.plot([1, 2])

    def vector() -> None:
        import matplotlib.pyplot as plt
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")  # type: ignore[no-untyped-call]
        plt.plot([1, 2])

    def other_backend() -> None:
        import matplotlib as mpl

        mpl.use("agg")
        import matplotlib.pyplot as plt

        plt.plot([1, 2])

    def raising() -> None:
        from IPython.display import HTML, display

        display(HTML("x"))
        raise ValueError

    def silent() -> None:
        pass

    ran = run_tasks(tmp_path, table, figure, vector, figure, other_backend, figure, raising, silent)

    png = "display_data image/png text/plain"
    assert [outputs for _, outputs in ran] == [
        ["before\n", "display_data text/html text/plain", "after\n"],
        [png],
        ["display_data image/svg+xml text/plain"],
        [png],
        [],
        [png],
        ["display_data text/html text/plain", "ValueError"],
        [],
    ]
    assert ran[0][0].stdout == "before\nafter\n"
    assert ran[7][0].outputs is None


def test_a_task_that_only_prints_stores_its_text_once(tmp_path: Path) -> None:
    """Unless both streams come in turns: then the order is kept."""

    def prints() -> None:
        print("a")

    def both() -> None:
        print("a")
        print("b", file=__import__("sys").stderr)

    def turns() -> None:
        both()
        print("c")

    ran = run_tasks(tmp_path, prints, both, turns)

    assert [outcome.outputs is None for outcome, _ in ran] == [True, True, False]
    assert [outputs for _, outputs in ran] == [["a\n"], ["a\n", "b\n"], ["a\n", "b\n", "c\n"]]


def test_nothing_of_ipython_is_imported_for_a_task_that_shows_nothing(tmp_path: Path) -> None:
    """It would take longer than the task."""

    def loaded() -> None:
        import sys

        print("IPython" in sys.modules, "matplotlib" in sys.modules)

    assert run_tasks(tmp_path, loaded)[0][1] == ["False False\n"]


def test_a_thread_that_was_left_behind_shows_nothing_in_the_next_task(tmp_path: Path) -> None:
    """As what it prints is dropped."""

    def leaves() -> None:
        import threading
        import time

        def late() -> None:
            time.sleep(0.5)
            display("late")  # type: ignore[name-defined] # noqa: F821

        display("in time")  # type: ignore[name-defined] # noqa: F821
        threading.Thread(target=late, daemon=True).start()

    def waits() -> None:
        import time

        time.sleep(1.5)
        display("mine")  # type: ignore[name-defined] # noqa: F821

    ran = run_tasks(tmp_path, leaves, waits)

    assert [len(outputs) for _, outputs in ran] == [1, 1]


def test_a_process_that_a_task_forks_shows_nothing(tmp_path: Path) -> None:
    """As in a kernel: only what it prints."""

    def forks() -> None:
        import os

        display("parent")  # type: ignore[name-defined] # noqa: F821
        if os.fork() == 0:
            display("child")  # type: ignore[name-defined] # noqa: F821
            print("printed", flush=True)
            os._exit(0)
        os.wait()

    assert run_tasks(tmp_path, forks)[0][1] == ["display_data text/plain", "printed\n"]


# The recorder: what it writes is bounded.


def folded(events: list[Event]) -> list[dict[str, Any]]:
    """Fold events without text."""
    return fold(events, StreamText(b""), StreamText(b""))


def test_too_many_outputs_are_left_out_and_said() -> None:
    """The first ones stay."""
    recorder = Recorder()
    for number in range(recorder_module.OUTPUTS_LIMIT + 24):
        recorder.display({"text/plain": str(number)}, None)
    outputs = folded(recorder.take())

    assert [one["data"]["text/plain"] for one in outputs[:-1]] == [str(n) for n in range(recorder_module.OUTPUTS_LIMIT)]
    assert "left out" in outputs[-1]["text"]
    assert recorder.take() == []


def test_an_output_that_is_too_large_keeps_its_text() -> None:
    """And what comes after it."""
    recorder = Recorder()
    recorder.display({"text/plain": "small", "text/html": "x" * (recorder_module.BYTES_LIMIT + 1)}, None)
    recorder.display({"text/plain": "next"}, None)
    outputs = folded(recorder.take())

    assert [one.get("data") for one in outputs if one["output_type"] != "stream"] == [
        {"text/plain": "small"},
        {"text/plain": "next"},
    ]
    assert sum("left out" in one.get("text", "") for one in outputs) == 1


def test_what_was_cleared_or_updated_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An animation of any length shows its last picture, and its file stays small."""
    monkeypatch.setattr(recorder_module, "_FILE_LIMIT", 100_000)
    out, err = (os.open(tmp_path / name, os.O_CREAT | os.O_RDWR) for name in ("x.out", "x.err"))
    recorder = Recorder()
    recorder.open(str(tmp_path / "x.display"), (out, err))
    recorder.display({"text/plain": "0"}, None, "i")
    for number in range(5_000):
        recorder.update({"text/plain": f"{number}" + "x" * 100}, None, "i")
    largest = (tmp_path / "x.display").stat().st_size
    for number in range(5_000):
        recorder.clear(wait=True)
        recorder.display({"text/plain": f"{number}" + "y" * 100}, None)
    written = (tmp_path / "x.display").read_bytes()
    outputs = folded(recorder.take())
    recorder.close()

    assert max(largest, len(written)) < 300_000
    assert [one["data"]["text/plain"] for one in outputs] == ["4999" + "y" * 100]
    assert folded(read_frames(written)[0]) == outputs


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": b"\x89P"}, {"a": "iVA="}),
        ({1: 2}, {"1": 2}),
        ({"a": {1, 2}}, {"a": [1, 2]}),
        ({"a": "\ud800"}, {"a": "?"}),
        ({"a": float("nan")}, {"a": None}),
        ({(1, 2): "x"}, {"(1, 2)": "x"}),
        ({"a": object}, {"a": "<class 'object'>"}),
        ({"a": 2**70}, {"a": 2**70}),
    ],
)
def test_what_json_does_not_know_becomes_what_it_is_nearest_to(value: object, expected: object) -> None:
    """Bundles are made by libraries of all kinds."""
    assert json.loads(to_json(value)) == expected


def test_recursive_bundles_end() -> None:
    """And are no error of the task."""
    value: dict[str, Any] = {}
    value["self"] = value

    assert json.loads(to_json(value))


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        ("import IPython; from tqdm.auto import tqdm; print(tqdm.__module__)", "tqdm.auto"),
        ("import plotly.io; print(plotly.io.renderers.default)", "plotly_mimetype"),
        (
            "import IPython; from ipykernel.zmqshell import ZMQInteractiveShell as S; print(type(get_ipython()) is S)",
            "True",
        ),
        ("import random; random.seed(1); import rich.table; print(random.random())", "0.13436424411240122"),
        ("import random; random.seed(1); import rich.console; print(random.random())", "0.13436424411240122"),
    ],
)
def test_libraries_find_a_notebook(code: str, printed: str) -> None:
    """They look at the shell, its class and its module when they are imported."""
    begin = (
        "from covalab.worker import context; from covalab.worker.outputs import ipython; ipython.install();"
        "context.process.task = context.Context('d', 0); ipython.act_as_notebook();"
    )
    run = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, check=True)

    assert run.stdout.split() == [printed]
