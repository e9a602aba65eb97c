"""Outputs of real dispatches: what a notebook would show of each node, while it runs and afterwards."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until
from tests.worker.test_outputs import kinds

import covalab as ct
from covalab.client import Client
from covalab.core.graph_state import LOSSES_ALLOWED
from covalab.core.run_log import LogQuery
from covalab.sdk.results.run_log import followed_lines, log_lines
from covalab.view.bundle import MIME_TYPE
from covalab.worker.capture import OUTPUT_LIMIT

pytestmark = pytest.mark.sampled(6, of="file")

PNG = "display_data image/png text/plain"
HTML_ = "display_data text/html text/plain"
TEXT = "display_data text/plain"


@ct.electron
def plotting() -> int:
    """Leave a figure open."""
    import matplotlib.pyplot as plt

    plt.plot([1, 2, 3])
    return 1


@ct.electron
def showing(after: object = None) -> int:
    """Print and display."""
    import pandas as pd
    from IPython.display import HTML, clear_output, display

    print("gone")
    clear_output()
    print("a")
    print("b", file=sys.stderr)
    display(pd.DataFrame({"x": [1]}))
    handle = display("old", display_id=True)
    print("c")
    handle.update(HTML("<b>new</b>"))
    return 2


@ct.electron
def raising(after: object = None) -> int:
    """Display something, then fail."""
    from IPython.display import display

    display("before")
    return 1 // 0


@ct.electron
def printing(after: object = None) -> int:
    """Print only, also in a child process."""
    import subprocess

    print("mine")
    sys.stdout.flush()
    subprocess.run(["echo", "child"], check=True)
    return 3


@ct.electron
def bad_repr(after: object = None) -> int:
    """Display what cannot be displayed."""
    from IPython.display import display

    class Bad:
        def __repr__(self) -> str:
            message = "no"
            raise ValueError(message)

    display(Bad())
    return 4


@ct.electron
def flooding(after: object = None) -> int:
    """Print two gigabytes around a display."""
    from IPython.display import display

    block = ("x" * 99 + "\n") * 100_000
    print("first")
    for number in range(200):
        sys.stdout.write(block)
        if number == 100:
            display("in the middle")
    print("last")
    return 5


@ct.lattice
def shown() -> Any:
    """Run all of them, so that those that fail spoil no other."""
    return [plotting(), showing(), printing(), bad_repr()]


def run(lattice: Any, *args: Any) -> ct.Result:
    """Run a lattice to its end."""
    return ct.get_result(ct.dispatch(lattice)(*args), wait=True, timeout=240)


def of(result: ct.Result, name: str) -> list[str]:
    """Return the outputs of a node, as short texts."""
    found = [number for number in result.outputs if result.get_node_result(number)["node_name"] == name]
    return kinds(result.outputs[found[0]]) if found else []


def test_each_node_has_what_a_notebook_would_show(live: Client) -> None:
    """From a script: figures, tables, text in order, updates."""
    result = run(shown)

    assert of(result, "plotting") == [PNG]
    assert of(result, "showing") == ["a\n", "b\n", HTML_, HTML_, "c\n"]
    assert of(result, "printing") == ["mine\nchild\n"]
    assert of(result, "bad_repr")[0] == "ValueError"
    assert len(result.outputs) == 4
    assert result.get_node_result(min(result.outputs))["outputs"] == result.outputs[min(result.outputs)]


def test_a_result_shows_the_outputs_of_its_nodes(live: Client) -> None:
    """A figure is a figure, a table a table, printed text is text; of a failed node its error."""
    bundle = run(shown)._repr_mimebundle_()

    for part in ('src="data:image/png;base64', 'class="dataframe"', "<b>new</b>", "mine\nchild"):
        assert part in bundle["text/html"]
    assert "[printing]\nmine\nchild" in bundle["text/plain"]
    saved = {one["name"]: kinds(one["outputs"]) for one in bundle[MIME_TYPE]["outputs"]["nodes"]}
    assert saved["plotting"] == [PNG]
    assert saved["showing"] == ["a\n", "b\n", HTML_, HTML_, "c\n"]

    failed = run(ct.lattice(raising))._repr_mimebundle_()
    assert "ZeroDivisionError" in failed["text/html"]
    assert "[raising]" not in failed["text/plain"], "one node alone has no heading"


def test_a_task_that_fails_has_its_error_last(live: Client) -> None:
    """After what it displayed; its traceback is in no text."""
    result = run(ct.lattice(raising))
    outputs = result.outputs[0]

    assert kinds(outputs) == [TEXT, "ZeroDivisionError"]
    assert "1 // 0" in "\n".join(outputs[-1]["traceback"])
    assert "covalab" not in "\n".join(outputs[-1]["traceback"])


def test_two_gigabytes_are_bounded(live: Client) -> None:
    """Beginning, end, and what was displayed between them."""
    result = run(ct.lattice(flooding))
    outputs = result.outputs[0]
    text = "".join(one.get("text", "") for one in outputs)

    assert TEXT in kinds(outputs)
    assert text.startswith("first\n")
    assert text.endswith("last\n")
    assert text.count("bytes left out") == 1
    assert len(text) < OUTPUT_LIMIT + 200


@ct.electron(retries=1, retry_delay=0.1)
def second_time(folder: str) -> str:
    """Fail the first time."""
    from IPython.display import display

    file = Path(folder, "was here")
    print(f"first {file.exists()}")
    time.sleep(0.3)
    print("then")
    display(f"run {file.exists()}")
    if not file.exists():
        file.touch()
        raise ValueError
    return "done"


def test_each_attempt_keeps_its_outputs(live: Client, tmp_path: Path) -> None:
    """Those of the last are the node's."""
    result = run(ct.lattice(second_time), str(tmp_path))
    detail = live.node(result.dispatch_id, 0 if result.get_node_result(0)["attempts"] else 1)
    (first,) = detail.attempts

    assert first.outcome.outputs is not None
    assert b"run False" in live.blobs.load(first.outcome.outputs)
    assert "run True" in str(result.outputs[detail.node])
    assert "run False" not in str(result.outputs[detail.node])

    # The log of the whole run has both, with what they printed, in the order of time.
    kinds_and_texts = [(line.kind, line.text) for line in log_lines(live, result.dispatch_id)]
    texts = [re.sub(r"[0-9.]+ (ms|s)\b|worker [^\s,]+", "…", text) for _, text in kinds_and_texts]
    assert texts == [
        "Dispatch started",
        "Started on …",
        "first False",
        "then",
        *[text for kind, text in kinds_and_texts if kind == "stderr"],
        "Failed after …: ValueError; runs again in …",
        "Started on …, attempt 2",
        "first True",
        "then",
        "Completed after …",
        "Dispatch completed after …",
    ]
    assert texts[4].startswith("Traceback")
    times = {line.text: line.at for line in log_lines(live, result.dispatch_id, text="second_time", kinds="stdout")}
    assert times["then"] - times["first True"] > 0.2
    assert [line.kind for line in log_lines(live, result.dispatch_id, kinds="failure")] == ["failure"]
    assert result.log("failure").endswith("s")


@ct.electron
def slow(folder: str) -> int:
    """Display step after step, each when it is asked for."""
    from IPython.display import clear_output, display

    display("one")
    Path(folder, "pid").write_text(str(os.getpid()))
    for step in ("two", "clear", "three"):
        while not Path(folder, step).exists():
            time.sleep(0.01)
        if step == "clear":
            clear_output()
        else:
            print(step)
    return os.getpid()


def test_outputs_are_read_while_they_are_made(live: Client, tmp_path: Path) -> None:
    """A reader that replaces its tail with each answer has what there is, whatever it missed."""
    dispatch = ct.dispatch(ct.lattice(slow))(str(tmp_path))
    node = next(n for n, one in enumerate(live.graph(dispatch).nodes) if one.name == "slow")
    mine: list[Any] = []
    number = 0

    def read() -> list[str]:
        nonlocal number
        answer = live.outputs(dispatch, node, number)
        assert answer.number >= number or answer.is_final
        mine[answer.first :] = answer.outputs
        number = answer.number
        return kinds(mine)

    until(lambda: read() == [TEXT])
    assert live.outputs(dispatch, node, number).outputs == []
    assert live.outputs(dispatch, node, 0).outputs == mine
    (tmp_path / "two").touch()
    until(lambda: read() == [TEXT, "two\n"])
    # So does who reads the log of the whole run; who follows it gets the rest.
    page = live.log(dispatch, LogQuery(count=1))
    assert ([line.text for line in page.lines], page.more, page.has_ended) == (["two"], True, False)
    follower = ThreadPoolExecutor(1).submit(lambda: list(followed_lines(live, dispatch, shown=page.lines)))
    assert live.outputs(dispatch, node, number).first == 2
    (tmp_path / "clear").touch()
    until(lambda: read() == [])
    (tmp_path / "three").touch()
    until(lambda: live.outputs(dispatch, node, number).is_final)
    assert read() == ["three\n"]
    last = live.outputs(dispatch, node, number)
    assert (last.outputs, last.first, last.number, last.is_final) == ([], 1, number, True)
    assert ct.get_result(dispatch).outputs == {node: mine}
    followed = [line.text.partition(" after ")[0] for line in follower.result(30)]
    # Its start may be heard of late, and is not kept from who follows.
    assert [text for text in followed if not text.startswith("Started on ")] == [
        "three",
        "Completed",
        "Dispatch completed",
    ]


@ct.electron(time_limit=8)
def limited(folder: str) -> int:
    """Do the same, for eight seconds."""
    number: int = slow(folder)
    return number


@pytest.mark.parametrize("how", ["cancelled", "killed", "out of time"])
def test_what_was_displayed_before_a_task_was_stopped_is_kept(live: Client, tmp_path: Path, how: str) -> None:
    """Its process is gone, and its files have it."""
    electron = limited if how == "out of time" else slow
    dispatch = ct.dispatch(ct.lattice(electron))(str(tmp_path))
    node = next(n for n, one in enumerate(live.graph(dispatch).nodes) if one.name == electron.__name__)
    until(lambda: kinds(live.outputs(dispatch, node).outputs) == [TEXT])
    if how == "cancelled":
        (tmp_path / "two").touch()
        until(lambda: len(live.outputs(dispatch, node).outputs) == 2)
        ct.cancel(dispatch)
    elif how == "killed":
        for _ in range(LOSSES_ALLOWED + 1):
            pid = until((tmp_path / "pid").read_text)
            os.kill(int(pid), signal.SIGKILL)
            (tmp_path / "pid").write_text("")
    result = ct.get_result(dispatch, wait=True, timeout=120)

    outputs = kinds(result.outputs[node])
    assert outputs[0] == TEXT
    assert outputs[1:-1] == (["two\n"] if how == "cancelled" else [])
    page = live.log(dispatch, LogQuery(kinds="stdout"))
    assert ([line.text for line in page.lines], page.is_by_start) == (["two"] if how == "cancelled" else [], False)
    assert result.outputs[node][-1]["output_type"] == "error"


@ct.electron
@ct.lattice
def inner() -> Any:
    """Be a dispatch of its own."""
    print("building")
    return plotting()


def test_a_sublattice_has_the_outputs_of_its_own_nodes(live: Client) -> None:
    """Its node has what was shown when it was built."""
    result = run(ct.lattice(inner))
    node = min(result.outputs)
    child = result.get_node_result(node)["sublattice_result"]

    assert kinds(result.outputs[node]) == ["building\n"]
    assert [kinds(outputs) for outputs in child.outputs.values()] == [[PNG]]


def test_a_redispatch_that_reuses_a_value_has_its_outputs(live: Client) -> None:
    """Large ones are blobs, which stay as long as either is there."""
    first = run(ct.lattice(plotting))
    again = ct.get_result(ct.redispatch(first.dispatch_id, reuse_previous_results=True)(), wait=True)

    assert again.outputs == first.outputs
    live.delete(first.dispatch_id)
    assert kinds(next(iter(again.refresh().outputs.values()))) == [PNG]


def test_a_backend_that_was_chosen_stays(live: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures go where the user wants them."""
    monkeypatch.setenv("MPLBACKEND", "svg")

    assert run(ct.lattice(plotting)).outputs == {}
