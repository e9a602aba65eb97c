"""Reuse across dispatches: cells of a session, and electrons with `cache=True`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from tests.system.test_sessions import run

import covalab as ct
from covalab.cli import main
from covalab.client import Client, connect
from covalab.core.errors import GraphError
from covalab.jupyter.notebook import session as notebook_session
from covalab.sdk.results.result import Result
from covalab.worker.session.cell_text import CellText

pytestmark = pytest.mark.usefixtures("live")


@pytest.fixture
def reusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all cells take part."""
    monkeypatch.setattr(notebook_session, "CellText", functools.partial(CellText, reuse=True))


def test_cells_of_another_dispatch_stand_for_those_of_this_one(reusing: None, live: Client) -> None:
    """Values and outputs come from there, the node says so, and a run that was deleted counts no more."""
    cells = ["import os\nx = [1, 2]", "y = x\nprint('made', len(y))\ny", "x.append(3)", "z = sum(y)\nz"]
    first, second = run(cells), run(cells)
    edited = run([*cells[:3], "z = len(y)\nz"])

    assert (second.result, edited.result) == (6, 3)
    assert second["x"] is second["y"]
    nodes = [live.node(second.dispatch_id, node) for node in _cells(second)]
    assert [(node.attempt, node.stdout) for node in nodes] == [(0, ""), (0, "made 2\n"), (0, ""), (0, "")]
    assert {node.reuse.dispatch for node in nodes if node.reuse is not None} == {first.dispatch_id}
    last = live.node(edited.dispatch_id, _cells(edited)[-1])
    assert last.attempt == 1
    assert last.reuse is not None
    assert last.reuse.reasons == ("no run of this text is kept",)

    said = CliRunner().invoke(main, ["explain", second.dispatch_id, str(nodes[1].node)])
    assert f"from node {nodes[1].node} of {first.dispatch_id}" in said.output
    said = CliRunner().invoke(main, ["explain", edited.dispatch_id, last.name])
    assert "no run of this text is kept" in said.output

    for one in (first, second, edited):
        live.delete(one.dispatch_id)
    again = run(cells)
    assert [live.node(again.dispatch_id, node).attempt for node in _cells(again)] == [1, 1, 1, 1]


def _cells(result: Result) -> list[int]:
    record = ct.get_result(result.dispatch_id)._record
    settings = record.graph.settings
    return [n for n, node in enumerate(record.graph.nodes) if node.settings >= 0 and settings[node.settings].session]


def test_an_electron_with_a_cache_is_called_once(tmp_path: Path) -> None:
    """For each argument, and again when a file that it reads changes, or its version is raised."""
    data, calls = tmp_path / "data.txt", tmp_path / "calls"
    data.write_text("5")

    def value_of(n: int, version: str = "") -> Any:
        @ct.electron(cache=True, version=version, key=lambda n, folder: n)
        def load(n: int, folder: str) -> int:
            import pathlib

            here = pathlib.Path(folder)
            print("loaded", n)
            return n + int((here / "data.txt").read_text())

        @ct.lattice
        def flow(n: int, folder: str) -> int:
            return load(n, folder)

        result = ct.get_result(ct.dispatch(flow)(n, str(tmp_path)), wait=True, timeout=120)
        assert result.status == ct.status.COMPLETED, result.error
        return result.result, result.get_node_result(0)["stdout"], connect().node(result.dispatch_id, 0).attempt

    del calls
    assert value_of(1) == (6, "loaded 1\n", 1)
    assert value_of(1) == (6, "loaded 1\n", 0)
    assert value_of(2) == (7, "loaded 2\n", 1)
    assert value_of(1, "2") == (6, "loaded 1\n", 1)
    data.write_text("7")
    assert value_of(1) == (8, "loaded 1\n", 1)


def test_options_of_the_cache_are_checked() -> None:
    """Where they are written."""
    for options in ({"ttl": 5}, {"cache": True, "ttl": -1}, {"cache": True, "key": 5}):
        with pytest.raises(GraphError):
            ct.electron(**options)(len)  # type: ignore[call-overload]
    assert ct.electron(cache=True)(len)("abc") == 3
    assert msgspec.structs.replace(CellText("x", 1, "f")).reuse is False
