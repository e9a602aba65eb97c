"""The output of a cell that runs in the background."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.view.test_bundle import Seen

from covalab.view.cell_view import CELL_MIME_TYPE, KEPT, CellView, cell_bundle, names_message, state_line
from covalab.view.outputs import bounded, folded, outputs_html, outputs_text, size_of

PIXEL = base64.b64encode(b"not really a picture").decode()


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    """Return a stream output."""
    return {"output_type": "stream", "name": name, "text": text}


def shown(**data: Any) -> dict[str, Any]:
    """Return a displayed value; an argument `image_png` is the type `image/png`."""
    return {
        "output_type": "display_data",
        "data": {name.replace("_", "/"): part for name, part in data.items()},
        "metadata": {},
    }


def failed(*traceback: str) -> dict[str, Any]:
    """Return an error output."""
    return {"output_type": "error", "ename": "ValueError", "evalue": "bad\nsecond line", "traceback": list(traceback)}


def cell(*outputs: dict[str, Any], **fields: Any) -> CellView:
    """Return a cell that is done, unless the fields say otherwise."""
    given: dict[str, Any] = {"state": "done", "is_final": True, "started_at": 100.0, "ended_at": 103.2, "number": 7}
    return CellView(id="d-1", node=2, name="fit", outputs=list(outputs), **given | fields)


def test_the_bundle_has_a_part_for_every_kind_of_page() -> None:
    """Our type holds the outputs as they are; HTML and text hold the same for pages without the extension."""
    outputs = [stream("a\n"), shown(text_html="<b>t</b>", text_plain="t"), failed("Traceback", "ValueError: bad")]

    bundle = cell_bundle(cell(*outputs, message=names_message(["x", "model"])))

    ours = json.loads(json.dumps(bundle[CELL_MIME_TYPE]))
    assert ours["outputs"] == outputs
    assert (ours["id"], ours["node"], ours["number"], ours["is_final"], ours["n_cut"]) == ("d-1", 2, 7, True, 0)
    assert "<b>t</b>" in bundle["text/html"]
    assert "done in 3.2 s, set <code>x</code>, <code>model</code>" in bundle["text/html"]
    assert bundle["text/plain"] == "a\nt\nTraceback\nValueError: bad\n[fit: done in 3.2 s, set x, model]"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("10 %\r20 %\r30 %\n", "30 %\n"),
        ("\r  0%|    |\r 50%|==  |\r100%|====|\n", "100%|====|\n"),
        ("1/10\b\b\b\b2/10\b\b\b\b3/10", "3/10"),
        ("longer\rab", "abnger"),
        ("\x1b[31mred\x1b[0m   \r\x1b[32mgo\x1b[0m", "\x1b[32mgo\x1b[0m"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("no return\n\n", "no return\n\n"),
        ("\b\babc", "abc"),
        ("ends\r", "ends"),
    ],
)
def test_text_is_folded_as_on_a_terminal(raw: str, text: str) -> None:
    """A progress bar is one line: what was overwritten is not there."""
    assert folded(raw) == text


def test_colours_are_inline() -> None:
    """ANSI colours become inline styles, and what a user printed stays text."""
    seen = Seen(outputs_html([stream("plain \x1b[31mred\x1b[0m \x1b[1;32mbold\x1b[0m <script>alert(1)</script>\n\n")]))

    assert seen.text == "plain red bold <script>alert(1)</script>\n\n"
    assert [tag for tag, _ in seen.tags] == ["div", "pre", "span", "span"]
    assert "color" in str(seen.tags[2][1]["style"])
    assert "bold" in str(seen.tags[3][1]["style"])


@pytest.mark.parametrize(
    ("output", "part"),
    [
        (shown(image_png=PIXEL, text_plain="<Figure>"), f'src="data:image/png;base64,{PIXEL}"'),
        (shown(image_png=f"{PIXEL[:10]}\n{PIXEL[10:]}\n"), f'src="data:image/png;base64,{PIXEL}"'),
        (shown(image_jpeg=PIXEL), f'src="data:image/jpeg;base64,{PIXEL}"'),
        (shown(text_html=["<table>", "</table>"], text_plain="df"), "<table></table>"),
        (shown(text_html="<script>draw()</script>"), "<script>draw()</script>"),
        (shown(text_latex="$$a < b$$", text_plain="x"), "$$a &lt; b$$"),
        (shown(text_markdown="# Title\n\n|a|\n|-|\n|1|", text_plain="x"), "<h1>Title</h1>"),
        (shown(text_plain="<Axes: >"), "&lt;Axes: &gt;"),
        (shown(application_json={"a": 1}), "&quot;a&quot;: 1"),
        (stream("careful\n", "stderr"), "rgba(255,80,80"),
        (failed(), "ValueError: bad"),
        (failed("\x1b[31mFile\x1b[0m", "  1/0"), "  1/0"),
    ],
)
def test_each_kind_of_output_has_html(output: dict[str, Any], part: str) -> None:
    """The richest representation that needs no library is shown."""
    assert part in outputs_html([output])


def test_svg_without_its_prolog() -> None:
    """An XML declaration would be text in the middle of a page."""
    text = outputs_html([shown(**{"image_svg+xml": '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg><g/></svg>'})])

    assert text == '<div style="margin:2px 0"><svg><g/></svg></div>'


def test_sizes_of_pictures_are_kept() -> None:
    """Retina figures say how large they are shown."""
    output = shown(image_png=PIXEL) | {"metadata": {"image/png": {"width": 320, "height": "<bad>"}}}

    assert ' width="320"' in outputs_html([output])
    assert "bad" not in outputs_html([output])


def test_a_widget_shows_its_text() -> None:
    """A widget of a task process has nothing behind it: its text is shown, and nothing if there is none."""
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}

    assert "IntSlider" in outputs_html([{**shown(), "data": {**view, "text/plain": "IntSlider(value=0)"}}])
    assert outputs_html([{**shown(), "data": view}]) == ""


def test_text_of_outputs() -> None:
    """Plain text has no escape sequences, and each output begins on a line of its own."""
    outputs = [stream("a"), stream("\x1b[31mb\x1b[0m\n", "stderr"), shown(text_plain="c"), shown(image_png=PIXEL)]

    assert outputs_text(outputs) == "a\nb\nc\n<image/png>"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"state": "waiting", "message": "for `loss`", "started_at": None, "ended_at": None}, "waiting for `loss`"),
        ({"state": "running", "ended_at": None}, "running"),
        ({}, "done in 3.2 s"),
        ({"message": "set `x`"}, "done in 3.2 s, set `x`"),
        ({"started_at": None}, "done"),
        ({"state": "cancelled"}, "cancelled after 3.2 s"),
        ({"state": "failed"}, "failed after 3.2 s: ValueError: bad"),
        ({"state": "failed", "message": "the worker was lost"}, "failed after 3.2 s: the worker was lost"),
    ],
)
def test_state_lines(fields: dict[str, Any], line: str) -> None:
    """One line says what happened."""
    assert state_line(cell(failed(), **fields)) == line


def test_a_running_cell_says_of_when_it_is() -> None:
    """A saved notebook may be read much later."""
    line = state_line(cell(state="running", ended_at=None, is_final=False, seen_at=112.0))

    assert line.startswith("running 12 s (as of 1970-01-01 ")


def test_many_names_are_cut() -> None:
    """A line stays a line."""
    assert names_message([f"n{at}" for at in range(20)]).endswith("`n11` and 8 more names")


def test_large_outputs_are_cut_and_say_so() -> None:
    """Small outputs stay whole, a long text keeps its beginning and end, a large picture becomes a note."""
    lines = "".join(f"line {at}\n" for at in range(1_000))
    outputs = [stream("first\n"), stream(lines), shown(image_png="A" * 20_000), stream("last\n")]

    kept, n_cut = bounded(outputs, 4_000, "see()")

    assert n_cut == 2
    assert (kept[0], kept[3]) == (outputs[0], outputs[3])
    text = kept[1]["text"]
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("\nline 998\nline 999\n")
    assert "left out here: see()]\n" in text
    assert "image/png, 20 kB, is not kept in the notebook: see()" in kept[2]["data"]["text/plain"]
    assert sum(map(size_of, kept)) < 4_300


@pytest.mark.parametrize("sizes", [[0], [5] * 100, [1, 2, 3_000], [10_000], [600, 600], [0, 0, 1_001]])
def test_what_fits_is_not_cut(sizes: list[int]) -> None:
    """The limit is for all together, and those that are below their share stay."""
    outputs = [stream("x" * size) for size in sizes]

    kept, n_cut = bounded(outputs, 1_000, "see()")

    assert (n_cut > 0) == (sum(sizes) > 1_000)
    assert [size_of(it) for it in kept if "see()" not in it["text"]] == [
        size for size, it in zip(sizes, kept, strict=True) if "see()" not in it["text"]
    ]
    assert sum(min(size_of(it), 1_000) for it in kept) <= 1_000 + 60 * n_cut


def test_a_long_print_loop_is_kept_whole() -> None:
    """A hundred thousand lines are as in a plain notebook; more than the limit is cut to it."""
    lines = "".join(f"{at}\n" for at in range(100_000))

    bundle = cell_bundle(cell(stream(lines)))
    much = cell_bundle(cell(stream("x" * (2 * KEPT))))

    assert bundle[CELL_MIME_TYPE]["outputs"][0]["text"] == lines
    assert lines in bundle["text/html"]
    assert len(bundle["text/plain"]) < 101_000
    assert much[CELL_MIME_TYPE]["n_cut"] == 1
    assert len(json.dumps(much)) < 2.1 * KEPT
