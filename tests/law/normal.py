"""Accepted differences, one rule each: exactly those of `python/docs/differences.md`, nothing looser.

A rule rewrites what may differ between two plain runs of the same cell, too: addresses, times, ids that are drawn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Output = dict[str, Any]

_TEXT: tuple[tuple[str, str], ...] = (
    # Addresses and ids that are drawn anew in each run.
    (r"\b0?x[0-9a-f]{8,}\b", "0x"),  # scikit-learn shortens some
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"(?<=')(?:[0-9a-f]{32}|[0-9a-f]{16})(?=')", "ID"),  # of a display
    (r"\bT_[0-9a-f]{5}(?=[_\" {])", "T_"),  # pandas' Styler
    (r"\bsk-(container|estimator)-id-\d+", r"sk-\1-id"),  # scikit-learn: the number of tables that were shown before
    (r"\baltair-viz-[0-9a-f]{32}", "altair-viz"),
    # Times and rates.
    (r"\[\d\d:\d\d<[\d:?]+, [^\]]*\]", "[rate]"),  # tqdm
    (r"^(CPU times|Wall time): .*$", r"\1"),
    (r"^[\d.]+ [nμµm]?s ± .* per loop .*$", "per loop"),
    # The file that a cell is compiled as: IPython's name for it, and ours.
    (r"[\w/.-]*/ipykernel_\d+/\d+\.py", "<cell>"),
    (r"<(?:electron|cell|lattice) [^>\n]*>", "<cell>"),
    (r"(?<=<cell>):\d+: ", ": "),  # the magic's line counts in the notebook, and is not in the plain one
    (r"\(\d+\.py, line \d+\)", "(<cell>)"),  # of a SyntaxError
    # Each run has a folder of its own.
    (r"(?:/[\w.-]+)+/(?:plain|before|whole|run|mixed|file|parallel|reuse|back)/notebook\b", "<folder>"),
    (r"\b(Cell In) ?\[\d+\]", r"\1"),  # the number of the cell's execution
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def text_of(text: str | Sequence[str]) -> str:
    """Return text without what may differ."""
    found = text if isinstance(text, str) else "".join(text)
    for pattern, replacement in _TEXT:
        found = re.sub(pattern, replacement, found, flags=re.MULTILINE)
    return found


def stream_of(text: str | Sequence[str]) -> str:
    """Return printed text as a front end shows it in the end, after carriage returns and backspaces."""
    found = text if isinstance(text, str) else "".join(text)
    return text_of("\n".join(map(_shown_line, found.split("\n"))))


def _shown_line(line: str) -> str:
    shown: list[str] = []
    at = 0
    for character in line:
        if character == "\r":
            at = 0
        elif character == "\b":
            at = max(0, at - 1)
        else:
            shown[at : at + 1] = character
            at += 1
    return "".join(shown).rstrip() if "\r" in line else "".join(shown)


def outputs_of(outputs: Sequence[Output]) -> list[Output]:
    """Return outputs in a normal form: of each stretch of text between two displays, what each stream got.

    In which order the two streams came is not determined in a kernel either. Numbers of executions are left out.
    """
    found: list[Output] = []
    texts: dict[str, str] = {}

    def end_of_text() -> None:
        found.extend(
            {"output_type": "stream", "name": name, "text": stream_of(texts[name])}
            for name in sorted(texts, reverse=True)
            if texts[name]
        )
        texts.clear()

    for one in outputs:
        if one["output_type"] == "stream":
            texts[one["name"]] = texts.get(one["name"], "") + "".join(one["text"])
            continue
        end_of_text()
        if one["output_type"] == "error":
            found.append(one)
        else:
            data = {kind: _content(kind, content) for kind, content in one["data"].items()}
            metadata = {key: value for key, value in one.get("metadata", {}).items() if key != "needs_background"}
            found.append({"output_type": one["output_type"], "data": data, "metadata": metadata})
    end_of_text()
    return found


_VIEW = "application/vnd.jupyter.widget-view+json"


def without_views(plain: list[Output], background: list[Output]) -> tuple[list[Output], list[Output]]:
    """Return the outputs of both runs, with one text for each widget: in the background its own is that of the end."""
    if len(plain) != len(background):
        return plain, background
    ones, others = [*plain], [*background]
    for number, (one, other) in enumerate(zip(plain, background, strict=True)):
        if _VIEW in one.get("data", {}) and {*other.get("data", {})} <= {_VIEW, "text/plain"}:
            shown = {"data": {"text/plain": "a widget"}}
            ones[number], others[number] = one | shown, other | shown
    return ones, others


_MISSED = re.compile(r"covalab: nothing was displayed here under the id .*\n?")


def without_missed_updates(outputs: Sequence[Output]) -> tuple[int, list[Output]]:
    """Return how often outputs say that they have not changed what another cell displays, and the rest of them."""
    n_missed, found = 0, []
    for one in outputs:
        if one["output_type"] == "stream" and one["name"] == "stderr":
            text, n = _MISSED.subn("", "".join(one["text"]))
            n_missed += n
            if text or not n:
                found.append(one | {"text": text})
        else:
            found.append(one)
    return n_missed, found


def _content(kind: str, content: Any) -> Any:
    if kind == _VIEW:
        return "a widget"  # the view of a live object; its id is drawn
    if kind.startswith("text/") or kind == "image/svg+xml":
        return text_of(content)
    return content


def error_lines(error: Output) -> list[tuple[int, str]]:
    """Return the lines of cells that a traceback points at: number and code."""
    found = []
    is_cell = False
    for line in _ANSI.sub("", "\n".join(error["traceback"])).splitlines():
        if re.match(r"(Cell|Input) In ?\[?|File |<electron|<cell", line):
            is_cell = not re.match(r"File (/|~|<frozen)", line)
        if is_cell and (pointed := re.match(r"-+> ?(\d+) (.*)$", line)):
            found.append((int(pointed[1]), pointed[2].strip()))
    return found


def traceback_text(error: Output) -> str:
    """Return a traceback without colours."""
    return _ANSI.sub("", "\n".join(error["traceback"]))
