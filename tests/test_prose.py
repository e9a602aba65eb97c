"""First lines of docstrings are a noun and a verb, or an imperative verb; none begins with a pronoun."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import covalab

ROOT = Path(covalab.__file__).parent
REFUSED = ("What", "Who", "From", "Whoever", "Somebody", "Nobody")
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def first_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the first line of every docstring of a module, with its line number."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Documented):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text.partition("\n")[0]


def refused(path: Path) -> list[str]:
    """Return the docstrings of a module that begin with a refused word."""
    return [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for line, text in first_lines(path)
        if text.split()[0].rstrip(":,") in REFUSED
    ]


def test_no_docstring_begins_with_a_pronoun() -> None:
    """The first line names the thing: "Change feed: ...", "Return the ..."."""
    found = [line for path in sorted(ROOT.rglob("*.py")) for line in refused(path)]

    assert found == []
