"""Covalent's statuses of a dispatch or a node, as objects that compare with plain strings. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from covalab.core.lifecycle import covalent_text
from covalab.core.model import Status as CoreStatus


@dataclass(eq=False)
class Status:
    """Status by Covalent's name. It equals another of the same text, and the text itself; only ``NEW_OBJECT`` is false.

    Examples
    --------
    >>> Status("COMPLETED") == "COMPLETED", str(Status("RUNNING")), bool(Status("NEW_OBJECT"))
    (True, 'RUNNING', False)
    """

    STATUS: str

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Status):
            return self.STATUS == other.STATUS
        return other == self.STATUS if isinstance(other, str) else NotImplemented

    # Programs written for Covalent expect a status that cannot be a key.
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return self.STATUS != "NEW_OBJECT"

    def __str__(self) -> str:
        return self.STATUS


class RESULT_STATUS:  # noqa: N801 - Covalent's name
    """Statuses by name: ``ct.status.COMPLETED`` and so on.

    Examples
    --------
    >>> RESULT_STATUS.is_terminal(RESULT_STATUS.FAILED), RESULT_STATUS.is_terminal("RUNNING")
    (True, False)
    """

    NEW_OBJECT = Status("NEW_OBJECT")
    STARTING = Status("STARTING")
    PENDING_REUSE = Status("PENDING_REUSE")
    PENDING_REPLACEMENT = Status("PENDING_REPLACEMENT")
    COMPLETED = Status("COMPLETED")
    POSTPROCESSING = Status("POSTPROCESSING")
    PENDING_POSTPROCESSING = Status("PENDING_POSTPROCESSING")
    POSTPROCESSING_FAILED = Status("POSTPROCESSING_FAILED")
    FAILED = Status("FAILED")
    RUNNING = Status("RUNNING")
    CANCELLED = Status("CANCELLED")
    DISPATCHING = Status("DISPATCHING")
    DISPATCHING_SUBLATTICE = Status("DISPATCHING")

    @staticmethod
    def is_terminal(status: Status | str) -> bool:
        """Return whether a dispatch or node with this status will never change again."""
        return str(status) in ("COMPLETED", "FAILED", "CANCELLED")


status = RESULT_STATUS


def shown(core: CoreStatus) -> Status:
    """Return the status that users see for one of the core's."""
    return Status(covalent_text(core))
