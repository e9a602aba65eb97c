"""Outputs of a cell (nbformat's dicts) as HTML and as text, and cut to a size. Pure.

For pages without our extension: exports of a saved notebook, other front ends, terminals. Scripts and HTML of an output
stay as they are: the page that shows them decides by its own rule of trust, as for the outputs of a kernel.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

Output = Mapping[str, Any]
"""One output in the shape of nbformat 4."""

_IMAGES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp")
_WIDGET: Final = "application/vnd.jupyter.widget-view+json"

_PRE: Final = "margin:0;white-space:pre-wrap;font-family:monospace;text-align:left"
_STDERR: Final = f"{_PRE};padding:2px 4px;background:rgba(255,80,80,0.13)"
_IMAGE: Final = "max-width:100%"

_ESCAPE_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")

# Jupyter's own colours: they can be read on light and on dark paper.
_COLOURS: Final = [
    (62, 66, 77),
    (231, 92, 88),
    (0, 162, 80),
    (221, 182, 43),
    (32, 143, 251),
    (209, 96, 196),
    (96, 198, 200),
    (160, 160, 160),
]


def joined(text: object) -> str:
    """Return a text that nbformat may hold as a list of lines."""
    return "".join(map(str, text)) if isinstance(text, (list, tuple)) else str(text)


def folded(text: str) -> str:
    r"""Return a text as a terminal shows it: `\r` returns to the start of the line, `\b` removes one character.

    Examples
    --------
    >>> folded("10 %\r20 %\r30 %\ndone"), folded("abc\b\bX")
    ('30 %\ndone', 'aX')
    """
    if "\r" not in text and "\b" not in text:
        return text
    return "\n".join(_folded_line(line) for line in text.replace("\r\n", "\n").split("\n"))


def _folded_line(line: str) -> str:
    shown = ""
    for part in line.split("\r"):
        kept: list[str] = []
        for piece in re.split("(\b)", part) if "\b" in part else [part]:
            if piece != "\b":
                kept.extend(piece)
            elif kept:
                kept.pop()
        text = "".join(kept)
        # What a shorter text does not overwrite stays; with escape sequences the lengths are not those on the screen.
        shown = text + shown[len(text) :] if "\x1b" not in shown + text else text or shown
    return shown


def without_escapes(text: str) -> str:
    """Return a text without escape sequences of terminals, such as colours."""
    return _ESCAPE_SEQUENCE.sub("", text) if "\x1b" in text else text


# -- HTML --------------------------------------------------------------------------------------------------------


def outputs_html(outputs: Iterable[Output]) -> str:
    """Return outputs as HTML that needs no other file and no style sheet."""
    return "".join(f'<div style="margin:2px 0">{part}</div>' for output in outputs if (part := _html(output)))


def _html(output: Output) -> str:
    match output.get("output_type"):
        case "stream":
            return _pre(joined(output.get("text", "")), _STDERR if output.get("name") == "stderr" else _PRE)
        case "error":
            return _pre(_traceback(output), _STDERR)
        case "display_data" | "execute_result":
            return _data_html(output.get("data") or {}, output.get("metadata") or {})
    return ""


def _data_html(data: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Return the richest representation that a page without any library shows."""
    makers: dict[str, Callable[[str], str]] = {
        "text/html": str,
        "image/svg+xml": lambda text: text[text.find("<svg") :] if "<svg" in text else text,
        **{kind: lambda text, kind=kind: _image(kind, text, metadata) for kind in _IMAGES},  # type: ignore[misc]
        "text/latex": html.escape,
        "text/markdown": _markdown,
        "application/javascript": lambda text: f"<script>{text}</script>",
        "text/plain": lambda text: _pre(text, _PRE),
    }
    for kind, make in makers.items():
        if kind in data:
            return make(joined(data[kind]))
    known = next((kind for kind in data if kind != _WIDGET), None)
    if known is None:
        return ""
    return _pre(json.dumps(data[known], indent=1) if known.endswith("json") else joined(data[known]), _PRE)


def _image(kind: str, data: str, metadata: Mapping[str, Any]) -> str:
    its = metadata.get(kind)
    its = its if isinstance(its, Mapping) else metadata
    sizes = "".join(f' {name}="{int(its[name])}"' for name in ("width", "height") if _is_number(its.get(name)))
    alt = html.escape(str(its.get("alt", "")))
    return f'<img src="data:{kind};base64,{"".join(data.split())}" alt="{alt}"{sizes} style="{_IMAGE}">'


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _markdown(text: str) -> str:
    from markdown_it import MarkdownIt  # noqa: PLC0415 - start-up time: few outputs are Markdown

    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


def _pre(text: str, style: str) -> str:
    text = folded(text)
    return f'<pre style="{style}">{_coloured(text) if chr(27) in text else html.escape(text)}</pre>' if text else ""


def _coloured(text: str) -> str:
    """Return a text with its colours as HTML. Inline, since a page without Jupyter's style sheet has no classes."""
    from rich.style import Style  # noqa: PLC0415 - start-up time: only coloured text needs it
    from rich.terminal_theme import TerminalTheme  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    theme = TerminalTheme((255, 255, 255), (0, 0, 0), _COLOURS, _COLOURS)
    body = text.rstrip("\n")  # not all versions of rich keep the last line's end
    found = Text.from_ansi(body, no_wrap=True, end="")
    parts: list[str] = []
    for piece in found.render(_NoConsole(), end=""):  # type: ignore[arg-type]
        shown = html.escape(piece.text)
        style = piece.style
        rule = style.get_html_style(theme) if isinstance(style, Style) and style else ""
        parts.append(f'<span style="{rule}">{shown}</span>' if rule else shown)
    return "".join(parts) + text[len(body) :]


class _NoConsole:
    """Part of a rich console that `Text.render` uses: styles by name. Text that was decoded has no named styles."""

    @staticmethod
    def get_style(style: object, *, default: object = None) -> object:
        return style if not isinstance(style, str) else default


# -- text --------------------------------------------------------------------------------------------------------


def outputs_text(outputs: Iterable[Output]) -> str:
    """Return outputs as plain text: streams, tracebacks and the `text/plain` of the rest."""
    parts = (without_escapes(folded(_text(output))) for output in outputs)
    return "".join(part if part.endswith("\n") else f"{part}\n" for part in parts if part).rstrip("\n")


def _text(output: Output) -> str:
    match output.get("output_type"):
        case "stream":
            return joined(output.get("text", ""))
        case "error":
            return _traceback(output)
        case "display_data" | "execute_result":
            data = output.get("data") or {}
            return joined(data["text/plain"]) if "text/plain" in data else f"<{', '.join(data)}>" if data else ""
    return ""


def _traceback(output: Output) -> str:
    traceback = "\n".join(map(str, output.get("traceback") or ()))
    return traceback or error_line(output)


def error_line(output: Output) -> str:
    """Return name and first line of the message of an error."""
    first = joined(output.get("evalue", "")).strip().partition("\n")[0]
    return ": ".join(part for part in (str(output.get("ename", "")), first) if part)


# -- size --------------------------------------------------------------------------------------------------------


def size_of(output: Output) -> int:
    """Return the approximate number of characters of an output."""
    if output.get("output_type") == "stream":
        return len(joined(output.get("text", "")))
    if output.get("output_type") == "error":
        return len(_traceback(output))
    return sum(
        len(joined(part)) if isinstance(part, (str, list)) else len(json.dumps(part))
        for part in (output.get("data") or {}).values()
    )


def bounded(outputs: Sequence[Output], limit: int, remedy: str) -> tuple[list[Output], int]:
    """Cut outputs that are too large in all: texts keep their beginning and end, others become a note.

    Parameters
    ----------
    outputs
        The outputs.
    limit
        Largest number of characters of all together.
    remedy
        The way to see what is left out, as an expression.

    Returns
    -------
    list, int
        The outputs, and the number of those that were cut.
    """
    sizes = [size_of(output) for output in outputs]
    if sum(sizes) <= limit:
        return list(outputs), 0
    share = _share(sizes, limit)
    kept = [
        output if size <= share else _cut(output, size, share, remedy)
        for output, size in zip(outputs, sizes, strict=True)
    ]
    return kept, sum(size > share for size in sizes)


def _share(sizes: Iterable[int], limit: int) -> int:
    """Return the size to which each is cut so that all together have the limit; smaller ones stay as they are."""
    ordered = sorted(sizes)
    for at, (size, before) in enumerate(zip(ordered, accumulate(ordered, initial=0), strict=False)):
        share = (limit - before) // (len(ordered) - at)
        if size > share:
            return max(share, 0)
    return limit


def _cut(output: Output, size: int, share: int, remedy: str) -> Output:
    if output.get("output_type") == "stream":
        return {**output, "text": shortened(joined(output.get("text", "")), share, remedy)}
    if output.get("output_type") == "error":
        return {**output, "traceback": [shortened(_traceback(output), share, remedy)]}
    kinds = ", ".join(output.get("data") or {})
    note = f"[{kinds}, {size_text(size)}, is not kept in the notebook: {remedy}]"
    return {"output_type": "display_data", "data": {"text/plain": note}, "metadata": {}}


def shortened(text: str, limit: int, remedy: str) -> str:
    """Return the beginning and the end of a text, with a note between them that says what is left out."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 2], text[len(text) - limit // 2 :]
    # Whole lines, unless a line is very long.
    head = head[: at + 1] if (at := head.rfind("\n", len(head) // 2)) >= 0 else head
    tail = tail[at + 1 :] if (at := tail.find("\n", 0, max(1, len(tail) // 2))) >= 0 else tail
    left_out = len(text) - len(head) - len(tail)
    note = f"[{size_text(left_out)} left out here: {remedy}]"
    return "\n".join(_lines(head.removesuffix("\n"), note, tail))


def _lines(*parts: str) -> Iterator[str]:
    return (part for part in parts if part)


def size_text(size: int) -> str:
    """Return a number of characters in a unit of bytes.

    Examples
    --------
    >>> size_text(312), size_text(48_000), size_text(3_210_000)
    ('312 bytes', '48 kB', '3.2 MB')
    """
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
