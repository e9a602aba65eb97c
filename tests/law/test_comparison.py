"""The comparison sees what it is for: each kind of difference is found, and accidental ones are not."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.law.compare import Difference, differences
from tests.law.describe import described
from tests.law.kernels import Output
from tests.law.ways import Run, files_in

MAKE = """def make():
    n = 0
    def up():
        nonlocal n
        n += 1
    return up, lambda: n"""


def names(code: str) -> dict[str, Any]:
    """Run code in a namespace of its own, and describe what it leaves."""
    namespace: dict[str, Any] = {"__name__": "__main__", "np": np, "pd": pd}
    exec(compile(code, "<cell>", "exec", dont_inherit=True), namespace)
    hidden = {"__name__", "__builtins__", "np", "pd"}
    found = described({name: one for name, one in namespace.items() if name not in hidden}, namespace)
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def compared(plain: Run, background: Run) -> list[Difference]:
    """Return the differences."""
    return differences(plain, background)


@pytest.mark.parametrize(
    ("plain", "background"),
    [
        ("a = [1]; b = a", "a = [1]; b = [1]"),
        ("a = [1]; d = {'k': [a, a]}", "a = [1]; d = {'k': [a, list(a)]}"),
        ("a = np.zeros(4); b = a[:2]", "a = np.zeros(4); b = a[:2].copy()"),
        ("a = np.zeros(4); b = a[:2]", "a = np.zeros(4); b = a[2:]"),
        ("a = np.zeros(4)", "a = np.zeros(4); a.flags.writeable = False"),
        ("a = np.zeros(4)", "a = np.zeros(4, 'f4')"),
        ("f = lambda x: x + 1", "f = lambda x: x + 2"),
        ("k = 1\ndef f(): return k", "k = 1\ndef make(k):\n    def f(): return k\n    return f\nf = make(1)\ndel make"),
        ("seen = []\ndef f(): seen.append(1)", "seen = []\ndef f(s=seen): s.append(1)"),
        ("class A: n = 1\na = A()", "class A: n = 2\na = A()"),
        ("class A: pass\na = A(); isinstance(a, A)", "class A: pass\na = A()\nclass A: pass"),
        ("x = 1.0", "x = 1"),
        ("x = 0.1 + 0.2", "x = 0.3"),
        ("df = pd.DataFrame({'a': [1, 2]})", "df = pd.DataFrame({'a': [1.0, 2]})"),
        ("df = pd.DataFrame({'a': [1, 2]})", "df = pd.DataFrame({'a': [1, 2]}, index=[0, 2])"),
        ("s = pd.Series([1], name='a')", "s = pd.Series([1], name='b')"),
        ("it = iter([1, 2]); next(it)", "it = iter([1, 2])"),
        ("a = []; it = iter(a)", "a = []; it = iter(a); next(it, 0)"),
        ("d = {'_n_threads': 1}", "d = {'_n_threads': 2}"),
        ("d = {'refit_time_': 1}", "d = {'refit_time_': [1]}"),
        ("r = np.random.default_rng(1)", "r = np.random.default_rng(1); r.random()"),
        ("x = 1", "x = 1; y = 2"),
        ("x = 1; y = 2", "x = 1"),
        ("d = {'a': 1, 'b': 2}", "d = {'b': 2, 'a': 1}"),
        (f"{MAKE}\nup, read = make()", f"{MAKE}\nup, _ = make()\n_, read = make()\ndel _"),
    ],
)  # fmt: skip
def test_another_value_is_found(plain: str, background: str) -> None:
    """A difference in names, types, values, code, identity or memory is one, and a namespace is the same as itself."""
    assert compared(Run([], names(plain)), Run([], names(background)))
    assert not compared(Run([], names(plain)), Run([], names(plain)))


def _png(colour: int, size: int = 20) -> str:
    stream = io.BytesIO()
    Image.new("L", (size, size), colour).save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()


def _shown(**data: Any) -> Output:
    return {
        "output_type": "display_data",
        "data": {key.replace("_", "/"): one for key, one in data.items()},
        "metadata": {},
    }


VIEW = "application/vnd.jupyter.widget-view+json"


def _out(text: str, name: str = "stdout") -> Output:
    return {"output_type": "stream", "name": name, "text": text}


def _error(line: str, number: int) -> Output:
    lines = ["ValueError  Traceback", f"Cell In[3], line {number}", f"----> {number} {line}", "ValueError: no"]
    return {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": lines}


@pytest.mark.parametrize(
    ("plain", "background"),
    [
        ([_out("a\n")], [_out("b\n")]),
        ([_out("a\n")], []),
        ([_out("a\n")], [_out("a\n", "stderr")]),
        ([_out("a"), _shown(text_plain="x"), _out("b")], [_out("ab"), _shown(text_plain="x")]),
        ([_shown(image_png=_png(0))], [_shown(image_png=_png(90))]),
        ([_shown(image_png=_png(0))], [_shown(image_png=_png(0, 21))]),
        ([_shown(text_plain="x", text_html="<b>x</b>")], [_shown(text_plain="x")]),
        ([_error("f(1)", 2)], [_error("g(1)", 2)]),
        ([_error("f(1)", 2)], [_error("f(1)", 7)]),
        ([_out("\r50 %\r100 %")], [_out("\r50 %")]),
        ([_shown(text_plain="0%", **{VIEW: {"model_id": "1"}})], [_out("100%")]),
    ],
)
def test_another_output_is_found(plain: list[Output], background: list[Output]) -> None:
    """A difference in text, stream, order, MIME types, pixels or the line of an error is one."""
    assert compared(Run([plain]), Run([background]))


@pytest.mark.parametrize(
    ("plain", "background"),
    [
        ([_out("<A at 0x7f0011223344>\n")], [_out("<A at 0x7fffeeddccbb>\n")]),
        ([_out("a\n"), _out("e\n", "stderr"), _out("b\n")], [_out("a\nb\n"), _out("e\n", "stderr")]),
        ([_out("\r10 %\r100 %\n")], [_out("\r100 %\n")]),
        ([_out(" 50%|##  | 5/10 [00:01<00:01, 4.9it/s]")], [_out(" 50%|##  | 5/10 [00:00<00:00, 99.1it/s]")]),
        ([_out("CPU times: user 1 ms\nWall time: 2 ms\n")], [_out("CPU times: user 9 ms\nWall time: 3 s\n")]),
        ([_error("f(1)", 2)], [_error("f(1)", 3)]),
        ([_shown(image_png=_png(0))], [_shown(image_png=_png(1))]),
        ([_shown(text_plain="0%", **{VIEW: {"model_id": "1"}})], [_shown(text_plain="100%")]),
    ],
)
def test_an_accident_is_no_difference(plain: list[Output], background: list[Output]) -> None:
    """What differs between two runs of a kernel, too, is not told."""
    assert not compared(Run([plain]), Run([background]))


@pytest.mark.parametrize(
    ("plain", "background", "n"),
    [
        ({"numpy.random": "1", "numpy.random is seeded": True}, {"numpy.random": "2"}, 1),
        (
            {"numpy.random": "1", "numpy.random is seeded": True},
            {"numpy.random": "1", "numpy.random is seeded": False},
            0,
        ),
        ({"numpy.random": "1", "numpy.random is seeded": True}, {}, 1),
        ({"numpy.random": "1", "numpy.random is seeded": False}, {"numpy.random": "2"}, 0),
        ({"numpy.random": "1", "numpy.random is seeded": False}, {}, 0),
    ],
)
def test_numbers_that_nobody_seeded_are_no_difference(plain: Any, background: Any, n: int) -> None:
    """A generator whose state came from another process does not know that it was seeded."""
    assert len(compared(Run([], hidden=plain), Run([], hidden=background))) == n


def test_files_are_compared(tmp_path: Path) -> None:
    """What a notebook leaves in its folder is a part of what it gives."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.txt").write_text("1")
    before = files_in(tmp_path)
    (tmp_path / "a" / "b.txt").write_text("2")
    (tmp_path / "c").write_bytes(b"\xff")

    found = compared(Run([], files=before), Run([], files=files_in(tmp_path)))

    assert [one.where for one in found] == ["a/b.txt", "c"]


def test_a_display_that_another_cell_would_have_changed_may_differ_once() -> None:
    """The cell that would change it says so; another difference is one all the same."""
    said = "covalab: nothing was displayed here under the id 'a': what an earlier cell has displayed stays as it was.\n"

    def run(*cells: str, notice: bool) -> Run:
        shown: list[list[Output]] = [
            [{"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}] for text in cells
        ]
        return Run([*shown, [{"output_type": "stream", "name": "stderr", "text": said}] if notice else []])

    assert not compared(run("done", "x", notice=False), run("working", "x", notice=True))
    assert compared(run("done", "x", notice=False), run("working", "y", notice=True))
    assert compared(run("done", "x", notice=False), run("working", "x", notice=False))
