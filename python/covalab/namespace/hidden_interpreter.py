"""Hidden state of the interpreter and of the standard library: settings that are read and set by functions.

Rows like those of `hidden_libraries`: a function reads the settings as a flat dictionary, one sets some of them, one
returns those of a new process.
"""

from __future__ import annotations

import csv
import gc
import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from covalab import umask

_Settings: TypeAlias = "dict[str, Any]"
_START_METHODS: Final = multiprocessing.get_all_start_methods()
_OF_DIALECT: Final = (
    *("delimiter", "doublequote", "escapechar", "lineterminator", "quotechar", "quoting", "skipinitialspace"),
    "strict",
)


def _read_stack() -> int:
    size = threading.stack_size()  # sets it to 0 by that
    threading.stack_size(size)
    return size


def _put_collection(state: tuple[bool, tuple[int, ...]]) -> None:
    is_enabled, thresholds = state
    gc.set_threshold(*thresholds)
    (gc.enable if is_enabled else gc.disable)()


def _put_method(method: str) -> None:
    # Setting it makes a context, and code that chooses a method later would fail.
    if method != _read_method():
        multiprocessing.set_start_method(method, force=True)


def _read_method() -> str:
    return multiprocessing.get_start_method(allow_none=True) or _START_METHODS[0]


def _read_interpreter() -> _Settings:
    return {name: read() for name, (read, _) in _SETTINGS.items()}


def _put_interpreter(settings: _Settings) -> None:
    for name, value in settings.items():
        if name in _SETTINGS:
            _SETTINGS[name][1](value)


_SETTINGS: Final[dict[str, tuple[Callable[[], Any], Callable[[Any], object]]]] = {
    "switch interval": (sys.getswitchinterval, sys.setswitchinterval),
    "garbage collection": (lambda: (gc.isenabled(), gc.get_threshold()), _put_collection),
    "mask of new files": (umask.current, os.umask),
    "stack of new threads": (_read_stack, threading.stack_size),
    "time limit of sockets": (socket.getdefaulttimeout, socket.setdefaulttimeout),
    "start of processes": (_read_method, _put_method),
}


def _defaults_of_interpreter() -> _Settings:
    return {**_AT_START, "mask of new files": umask.current()}  # that of whoever runs the notebook


_AT_START: Final = {
    "switch interval": 0.005,
    "garbage collection": (True, gc.get_threshold()),
    "stack of new threads": 0,
    "time limit of sockets": None,
    "start of processes": _START_METHODS[0],
}


def _read_csv() -> _Settings:
    dialects = {name: csv.get_dialect(name) for name in csv.list_dialects() if name not in _OWN_DIALECTS}
    return {
        "longest field": csv.field_size_limit(),
        **{
            f"dialect {name}": {key: getattr(dialect, key) for key in _OF_DIALECT} for name, dialect in dialects.items()
        },
    }


def _put_csv(settings: _Settings) -> None:
    for name, value in settings.items():
        dialect = name.removeprefix("dialect ")
        if dialect == name:
            csv.field_size_limit(value)
        elif value is not None:
            csv.register_dialect(dialect, **value)
        elif dialect in csv.list_dialects():
            csv.unregister_dialect(dialect)


_OWN_DIALECTS: Final = frozenset({"excel", "excel-tab", "unix"})

PLACES: Final[dict[str, tuple[str, Callable[[], _Settings], Callable[[_Settings], None], Callable[[], _Settings]]]] = {
    "interpreter": ("", _read_interpreter, _put_interpreter, _defaults_of_interpreter),
    "csv": ("csv", _read_csv, _put_csv, lambda: {"longest field": 131072}),
}
"""By name: the module without which there is nothing to read, how it is read, set, and what it is in a new process."""
