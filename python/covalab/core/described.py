"""Structs as browsers may see them: every value described, none included. Pure."""

from __future__ import annotations

import msgspec

from covalab.core.model import Failure, NodeDetail


def described(detail: NodeDetail) -> NodeDetail:
    """Return what is known of a node as a browser may see it: values are described, not included."""
    replace = msgspec.structs.replace
    attempts = [
        replace(it, outcome=replace(it.outcome, failure=_without_original(it.outcome.failure)))
        for it in detail.attempts
    ]
    value = None if detail.value is None else replace(detail.value, data=None)
    return replace(detail, value=value, failure=_without_original(detail.failure), attempts=attempts)


def _without_original(failure: Failure | None) -> Failure | None:
    return None if failure is None else msgspec.structs.replace(failure, original=None)
