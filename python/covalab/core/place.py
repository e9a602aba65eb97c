"""Place of a task at its worker: given to others while the task waits for another dispatch.

Otherwise tasks that dispatch and wait would hold all workers, and what they wait for could never run.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext


class _Place:
    """The place that this process takes; nothing to give outside of a task."""

    given: AbstractContextManager[None] = nullcontext()
    """Entered around every request that the dispatcher may hold open. Several threads may be inside at once."""


place = _Place()
