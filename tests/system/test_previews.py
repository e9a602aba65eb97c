"""Previews of stored values: opened in a process of their environment, kept, limited in time and memory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

import covalab as ct
from covalab.client import Client
from covalab.core.codec import serialize_small
from covalab.core.model import DispatchId, Node, NodeKind
from covalab.core.previews import Preview, PreviewQuery, PreviewRequest
from covalab.core.protocol import Batch
from covalab.dispatcher import previews
from covalab.dispatcher.interpreters import Interpreter


class Odd:
    """Value whose opening or text does something."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __repr__(self) -> str:
        return str(eval(self.code)) if "covalab.worker.previews" in sys.modules else "not shown yet"


@ct.electron
def frame(n: int) -> Any:
    """Return a frame that is stored as a blob."""
    return pd.DataFrame({"n": range(n), "half": np.arange(n) / 2})


@ct.electron
def fails() -> int:
    """Fail."""
    return 1 // 0


@ct.electron
def odd(code: str) -> Odd:
    """Return a value that does something when it is shown."""
    return Odd(code)


@ct.lattice
def several(n: int) -> Any:
    """Return a collection of values."""
    return {"frame": frame(n), "texts": [odd("'shown'")], "n": n}


@ct.lattice
def one_fails() -> Any:
    """Return nothing."""
    return fails()


def shape(preview: Preview) -> tuple[int, list[str]]:
    """Return the rows of a table, and the first of those that are shown."""
    assert preview.table is not None, preview
    return preview.table.n_rows, preview.table.rows[0]


def test_a_stored_value_is_shown_and_kept(live: Client, data_dir: Path) -> None:
    """A blob, a parameter, the lattice's own collection; again from the folder; gone with a deleted dispatch."""
    run = ct.dispatch(several)(100_000)
    ct.get_result(run, wait=True)
    graph = live.graph(run)
    number = next(place for place, node in enumerate(graph.nodes) if node.name == "frame")

    assert shape(live.preview(run, number)) == (100_000, ["0", "0"])
    query = PreviewQuery(sort=1, descending=True, offset=10, count=5)
    assert shape(live.preview(run, number, query)) == (100_000, ["99989", "49994.5"])
    kept = {path: path.stat().st_mtime_ns for path in (data_dir / "previews").glob("??/*")}
    assert live.preview(run, number, query).size > 1_000_000
    assert {path: path.stat().st_mtime_ns for path in (data_dir / "previews").glob("??/*")} == kept

    whole = live.preview(run, graph.output).tree
    assert whole is not None
    assert [item.key for item in whole.items] == ["frame", "texts", "n"]
    assert whole.items[1].items[0].text == "shown"
    parameter = next(edge.source for edge in graph.edges if edge.target == number)
    assert live.preview(run, parameter).text.text == "100000"  # type: ignore[union-attr]

    other = ct.dispatch(one_fails)()
    ct.get_result(other, wait=True)
    assert live.preview(other, 0).why == "its task is failed"
    live.delete(other)
    assert not (data_dir / "previews").exists()
    assert shape(live.preview(run, number)) == (100_000, ["0", "0"])
    with pytest.raises(ct.MissingLatticeRecordError, match="999"):
        live.preview(run, 999)


@ct.lattice
def oddities() -> Any:
    """Return values that go wrong when they are shown."""
    return [odd("__import__('os')._exit(7)"), odd("bytes(10**12)"), odd("print('x') or 'printed'"), odd("1 // 0")]


def test_a_value_that_ends_its_process_does_no_harm(live: Client) -> None:
    """Each time the reason is told, and the next value is shown by another process."""
    run = ct.dispatch(oddities)()
    ct.get_result(run, wait=True)
    nodes = [number for number, node in enumerate(live.graph(run).nodes) if node.name == "odd"]

    assert "ended" in live.preview(run, nodes[0]).why
    assert "memory" in live.preview(run, nodes[1]).why.lower()
    assert live.preview(run, nodes[2]).text.text == "printed"  # type: ignore[union-attr]
    assert "ZeroDivisionError" in live.preview(run, nodes[3]).why


def test_a_value_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is ended, and the next request starts another."""
    blobs = tmp_path / "blobs"
    batch = Batch(0, DispatchId("d"), [], {}, 0.0, str(tmp_path), [str(Path(__file__).parents[2])], str(blobs), "")

    def request(code: str) -> PreviewRequest:
        node = Node("f", NodeKind.ELECTRON)
        value = serialize_small(Odd(code), text="")
        return PreviewRequest(code, 0, {0: node}, {0: []}, {0: value}, PreviewQuery(), batch)

    async def ask() -> list[Preview]:
        maker = previews.PreviewMaker(Interpreter(sys.executable, {}), tmp_path)
        answers = [await maker.make(request("'fine'"))]
        monkeypatch.setattr(previews, "TIME_LIMIT", 1.0)
        answers.append(await maker.make(request("[x for x in iter(int, 1)]")))
        monkeypatch.setattr(previews, "TIME_LIMIT", 60.0)
        answers.append(await maker.make(request("'fine again'")))
        await maker.stop()
        return [msgspec.json.decode(made, type=Preview) for made, _ in answers]

    fine, long, again = asyncio.run(ask())
    assert fine.text is not None
    assert again.text is not None
    assert (fine.text.text, again.text.text) == ("fine", "fine again")
    assert long.why == "opening or showing it takes longer than 1 s"
