"""Logging: after a node, loggers are as before it: `logging.basicConfig` works in each node, and no line doubles."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from operator import attrgetter
from typing import Any, Final, TypeAlias

_Logger: TypeAlias = logging.Logger
_State: TypeAlias = "tuple[int, bool, bool, list[logging.Handler], list[Any]]"

_state_of: Final = attrgetter("level", "propagate", "disabled", "handlers", "filters")
_logging: Final = vars(logging)
_FRESH: Final[_State] = (logging.NOTSET, True, False, [], [])


class LoggingState:
    """The loggers of this process at one moment, and what counts for all of them."""

    def __init__(self) -> None:
        self._manager = logging.Logger.manager
        self._common = self._read_common()
        self._captures_warnings = _captures_warnings()
        self._loggers: list[_Logger] = []
        self._states: list[_State] = []
        self._objects: list[Any] = []
        self._add_loggers(is_start=True)

    def _read_common(self) -> tuple[Any, ...]:
        manager = self._manager
        return (
            manager.disable,
            manager.loggerClass,
            manager.logRecordFactory,
            logging.raiseExceptions,
            logging.lastResort,
            logging.getLoggerClass(),
            logging.getLogRecordFactory(),
        )

    def put_back(self) -> None:
        """Put the loggers back."""
        if (
            [*self._manager.loggerDict.values()] == self._objects  # a place holder may have become a logger
            and [*map(_state_of, self._loggers)] == self._states
            and self._read_common() == self._common
            and _captures_warnings() is self._captures_warnings
        ):
            return
        logging.captureWarnings(self._captures_warnings)
        manager = self._manager
        manager.disable, manager.loggerClass, manager.logRecordFactory = self._common[:3]
        logging.raiseExceptions, logging.lastResort = self._common[3:5]
        logging.setLoggerClass(self._common[5])
        logging.setLogRecordFactory(self._common[6])
        for logger, state in zip(self._loggers, self._states, strict=True):
            if _state_of(logger) != state:
                _put(logger, state)
        self._add_loggers(is_start=False)
        # Clears what loggers remember about their levels.
        manager.root.setLevel(manager.root.level)

    def _add_loggers(self, *, is_start: bool) -> None:
        """Take up the loggers that are new."""
        self._objects = [*self._manager.loggerDict.values()]
        known = set(self._loggers)
        for logger in (self._manager.root, *self._objects):
            if not isinstance(logger, logging.Logger) or logger in known:
                continue
            if not is_start and not _is_set_up_by_its_module(logger):
                _put(logger, _FRESH)
            level, propagate, disabled, handlers, filters = _state_of(logger)
            self._loggers.append(logger)
            self._states.append((level, propagate, disabled, [*handlers], [*filters]))


def _is_set_up_by_its_module(logger: _Logger) -> bool:
    """Whether a new logger has handlers because a module that was imported gave it some.

    The module is not imported again by the next node, which must find them. A module that sets no handlers sets no
    level either, as a rule: then it is the task that did.
    """
    return bool(logger.handlers) and logger.name.partition(".")[0] in sys.modules and logger.name != "__main__"


def _put(logger: _Logger, state: _State) -> None:
    level, propagate, disabled, handlers, filters = state
    for handler in [*logger.handlers]:
        if handler not in handlers:
            logger.removeHandler(handler)
            with suppress(Exception):  # a handler of the user's own kind
                handler.flush()
                handler.close()
    logger.handlers[:] = handlers
    logger.filters[:] = filters
    logger.propagate, logger.disabled = propagate, disabled
    logger.setLevel(level)


def _captures_warnings() -> bool:
    return _logging.get("_warnings_showwarning") is not None
