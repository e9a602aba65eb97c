"""Explanations: why a cell or electron ran, or why an earlier run stood for it, as texts for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from covalab.core.model import Failure, NodeState, Reuse

_NO_PART: Final = "it takes no part in reuse"


def explanation(state: NodeState, reuse: Reuse | None, failure: Failure | None = None) -> list[tuple[str, str]]:
    """Return why a node ran, was reused, or, by its `failure`, was not run, as facts and texts; nothing for others.

    Examples
    --------
    >>> state = NodeState(1, "completed", attempt=1)
    >>> explanation(state, Reuse(doubts=("uses `time`",)))
    [('ran', 'no run of it was looked for'), ('is not kept for reuse', 'uses `time`')]
    >>> explanation(NodeState(1, "completed"), None)
    [('reused', 'the run before it had completed it')]
    >>> explanation(NodeState(1, "skipped"), None, Failure("dependency", "follows from cell 3, which failed"))
    [('not run', 'follows from cell 3, which failed')]
    """
    if state.status == "skipped" and failure is not None:
        return [("not run", failure.message)]
    if state.status not in ("completed", "failed"):
        return []
    if reuse is None:
        return [("reused", "the run before it had completed it")] if state.is_reused else [("ran", _NO_PART)]
    if reuse.dispatch:
        return [("reused", f"from node {reuse.node} of {reuse.dispatch}"), *(("because", one) for one in reuse.reasons)]
    rows = [("ran", text) for text in reuse.reasons or ("no run of it was looked for",)]
    return rows + [("is not kept for reuse", text) for text in reuse.doubts]


_BESIDE: Final = "side by side with cell "


def order_lines(reasons: Mapping[int, Sequence[str]]) -> list[str]:
    """Return which cells ran side by side, and which waited for others, as lines for people.

    Parameters
    ----------
    reasons
        Why each cell ran when it did, by its number.

    Examples
    --------
    >>> order_lines({3: ["side by side with cell 2"], 4: ["side by side with cell 2"], 5: ["after cell 4: why"]})
    ['cells 3, 4 ran side by side with cell 2', 'cell 5 ran after cell 4: why']
    """
    beside: dict[str, list[str]] = {}
    waited: list[str] = []
    for number, texts in reasons.items():
        for text in texts:
            if text.startswith(_BESIDE):
                beside.setdefault(text, []).append(str(number))
            elif text.startswith("after cell "):
                waited.append(f"cell {number} ran {text}")
    together = [f"cell{'s' * (len(found) > 1)} {', '.join(found)} ran {text}" for text, found in beside.items()]
    return together + (waited if together else [])


def explained(state: NodeState, reuse: Reuse | None, failure: Failure | None = None) -> str:
    """Return an explanation in one line.

    Examples
    --------
    >>> explained(NodeState(1, "completed", attempt=1), Reuse(reasons=("x has another value",)))
    'ran: x has another value'
    """
    return "; ".join(f"{fact}: {text}" for fact, text in explanation(state, reuse, failure))
