"""What `electron` and `lattice` accept beside a function, checked where it is written and not on a worker.

Covalent's whole signature is accepted. What cannot be done yet is refused by name; nothing is ignored in silence.
"""

from __future__ import annotations

import datetime as dt
import math
import warnings
from typing import Any

from covalab.core.errors import GraphError
from covalab.sdk.execution import is_executor


def refuse_unsupported(where: str, **given: Any) -> None:
    """Raise for the first option that was given and is not supported yet.

    Raises
    ------
    GraphError
        Naming the option.
    """
    for name, value in given.items():
        if value is not None and value is not False and value not in ([], (), ""):
            message = f"{where}: `{name}` is not supported by this version of covalab; leave it out"
            raise GraphError(message)


def checked_executor(where: str, executor: Any, backend: Any = None) -> Any:
    """Return an executor, named or as an instance; `backend` is Covalent's older word for it.

    Whether there is such an executor is asked when a graph is built, where the name decides something.

    Raises
    ------
    GraphError
        If it is neither.
    """
    if backend is not None:
        warnings.warn("`backend` is deprecated; write `executor`", DeprecationWarning, stacklevel=3)
        executor = backend
    if executor is not None and not isinstance(executor, str) and not is_executor(executor):
        message = f"{where}: executor is the name or an instance of an executor, one of them, not {executor!r}"
        raise GraphError(message)
    return executor


def checked_retries(where: str, retries: object) -> int:
    """Check how often a failed node is tried again."""
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        message = f"{where}: retries must be a whole number from 0 on, not {retries!r}"
        raise GraphError(message)
    return retries


def checked_time_limit(where: str, time_limit: object) -> float | None:
    """Check how long one try may take, in seconds."""
    if time_limit is None:
        return None
    seconds = time_limit.total_seconds() if isinstance(time_limit, dt.timedelta) else time_limit
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not (0 < seconds < math.inf):
        message = f"{where}: time_limit must be seconds above 0 or a timedelta, not {time_limit!r}"
        raise GraphError(message)
    return float(seconds)
