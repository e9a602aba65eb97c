"""Settings of the interpreter and of this process: read at the start, and put back after a node where it changed them.

Not covered, because nothing shows them cheaply or nothing can take them back: attributes and registries of modules,
open file descriptors, a lowered priority, a lowered hard limit.
"""

from __future__ import annotations

import builtins
import faulthandler
import gc
import locale
import multiprocessing
import os
import resource
import socket
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

from covalab import umask
from covalab.worker import import_filters

_ABSENT: Final = object()
_LIMITS: Final = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE)
"""Limits that tasks set for themselves; each costs a third of a microsecond to read."""


class ProcessSettings:
    """The settings of this process at one moment."""

    def __init__(self) -> None:
        self.take_builtins()
        self._before = _copied(_read())
        import_filters.keep_in(self._before[_POSITION_OF_FILTERS])
        self._setters = _setters()
        self._umask = umask.current()
        self._stack = threading.stack_size()  # sets it to 0 by that
        threading.stack_size(self._stack)

    def take_place(self) -> None:
        """Take the variables, the working folder and the search path again, after a batch has set them."""
        self._before = (*_copied(_read()[:_N_OF_PLACE]), *self._before[_N_OF_PLACE:])

    def take_builtins(self) -> None:
        """Take the built-in functions again, after some were added."""
        self._builtins = dict(vars(builtins))
        self._builtin_values = [*vars(builtins).values()]

    def put_back_builtins(self) -> None:
        """Put the built-in functions back: first of all, because everything else uses them."""
        # No built-in function is called before this is decided.
        now: Any = _vars_of_builtins()
        if [*now.values()] != self._builtin_values:
            now.clear()
            now.update(self._builtins)

    def put_back(self) -> None:
        """Put everything else back."""
        os.umask(self._umask)  # setting them costs what reading them does
        threading.stack_size(self._stack)
        warnings_again()
        now = _read()
        if now == self._before:
            return
        for put, value, before in zip(self._setters, now, self._before, strict=True):
            if value != before:
                with suppress(Exception):  # what the task set may be of any kind
                    put(before)


_vars_of_builtins: Final = partial(vars, builtins)


def warnings_again() -> None:
    """Let every warning be shown again that was shown before, whatever the place that it came from."""
    if warnings.onceregistry:  # type: ignore[attr-defined]
        warnings.onceregistry.clear()  # type: ignore[attr-defined]
    # A module's list of warnings that were shown counts only while the filters are of the same version.
    _new_version_of_filters()


def _enter_catch_warnings() -> None:
    with warnings.catch_warnings():
        pass


# The first is private and 40 times as fast; newer versions of Python do not have it.
_new_version_of_filters: Final[Callable[[], None]] = getattr(warnings, "_filters_mutated", _enter_catch_warnings)

_sys: Final = vars(sys)
_N_OF_PLACE: Final = 3
_POSITION_OF_FILTERS: Final = 7
_no_digits_limit: Final = cast("Callable[[], int]", int)
_get_digits_limit: Final = getattr(sys, "get_int_max_str_digits", _no_digits_limit)  # since Python 3.11
_own_affinity: Final = partial(getattr(os, "sched_getaffinity", bool), 0)
_get_locale: Final = partial(locale.setlocale, locale.LC_ALL)


def _read() -> tuple[Any, ...]:
    """Return all settings; those that a batch sets itself (`_N_OF_PLACE`) come first."""
    # One expression, and not a table of functions: calling each of them would take three times as long.
    return (
        ([*_variables], [*_variables.values()]) if _variables else dict(_environb),
        _working_folder(),
        sys.path,
        (os.environ, os.environb),
        sys.argv,
        sys.meta_path,
        sys.path_hooks,
        warnings.filters,
        (warnings.showwarning, warnings.formatwarning, warnings.defaultaction),  # type: ignore[attr-defined]
        (sys.excepthook, sys.displayhook, sys.unraisablehook, sys.breakpointhook, sys.stdin, sys.dont_write_bytecode),
        _sys.get("tracebacklimit", _ABSENT),
        threading.excepthook,
        sys.gettrace(),
        sys.getprofile(),
        threading.gettrace(),
        threading.getprofile(),
        sys.getrecursionlimit(),
        sys.getswitchinterval(),
        sys.getdlopenflags(),
        sys.get_asyncgen_hooks(),
        _get_digits_limit(),
        gc.isenabled(),
        gc.get_threshold(),
        gc.get_debug(),
        faulthandler.is_enabled(),
        tracemalloc.is_tracing(),
        socket.getdefaulttimeout(),
        _get_locale(),
        multiprocessing.get_start_method(True),
        [*map(resource.getrlimit, _LIMITS)],
        _own_affinity(),
    )


def _setters() -> tuple[Callable[[Any], object], ...]:
    """Return what sets each of the settings that `_read` returns, in the same order."""
    return (
        _put_environment,
        os.chdir,
        _list_setter(sys, "path"),
        _attribute_setter(os, "environ", "environb"),
        _list_setter(sys, "argv"),
        _list_setter(sys, "meta_path"),
        _list_setter(sys, "path_hooks"),
        _list_setter(warnings, "filters"),
        _attribute_setter(warnings, "showwarning", "formatwarning", "defaultaction"),
        _attribute_setter(
            sys, "excepthook", "displayhook", "unraisablehook", "breakpointhook", "stdin", "dont_write_bytecode"
        ),
        _put_traceback_limit,
        partial(setattr, threading, "excepthook"),
        sys.settrace,
        sys.setprofile,
        threading.settrace,
        threading.setprofile,
        sys.setrecursionlimit,
        sys.setswitchinterval,
        sys.setdlopenflags,
        lambda hooks: sys.set_asyncgen_hooks(*hooks),
        getattr(sys, "set_int_max_str_digits", id),
        lambda enabled: gc.enable() if enabled else gc.disable(),
        lambda limits: gc.set_threshold(*limits),
        gc.set_debug,
        lambda enabled: faulthandler.enable(2) if enabled else faulthandler.disable(),
        lambda tracing: tracemalloc.start() if tracing else tracemalloc.stop(),
        socket.setdefaulttimeout,
        partial(locale.setlocale, locale.LC_ALL),
        partial(multiprocessing.set_start_method, force=True),
        _put_limits,
        partial(getattr(os, "sched_setaffinity", id), 0),
    )


def _copied(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return settings that stay as they are, also where they are lists or dictionaries that change in place."""
    return tuple(type(value)(value) if type(value) in (list, dict, set) else value for value in values)


def _attribute_setter(owner: Any, *names: str) -> Callable[[Any], None]:
    def put(values: tuple[Any, ...]) -> None:
        for name, value in zip(names, values, strict=True):
            setattr(owner, name, value)

    return put


def _list_setter(owner: Any, name: str) -> Callable[[Any], None]:
    """Return what sets a list that is an attribute. It stays the same list: others may have a reference to it."""
    original = getattr(owner, name)

    def put(items: list[Any]) -> None:
        original[:] = items
        setattr(owner, name, original)

    return put


def _put_traceback_limit(before: Any) -> None:
    if before is _ABSENT:
        del sys.tracebacklimit
    else:
        sys.tracebacklimit = before


# The dictionary of bytes below `os.environ`, which decodes what is read from it; lists of its names and values are
# compared four times as fast as the dictionary is.
_variables: Final[dict[bytes, bytes]] = getattr(os.environb, "_data", None) or {}
_environb: Final = os.environb


def _put_environment(names_and_values: Any) -> None:
    pairs = zip(*names_and_values, strict=True) if isinstance(names_and_values, tuple) else names_and_values
    before: dict[bytes, bytes] = dict(pairs)
    zone = _environb.get(b"TZ")
    for name in _environb.keys() - before.keys():
        del _environb[name]
    for name, value in before.items():
        if _environb.get(name) != value:
            _environb[name] = value
    if zone != before.get(b"TZ"):
        time.tzset()


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a `Path` costs three times as much
    except FileNotFoundError:  # the task removed it
        return ""


def _put_limits(before: list[tuple[int, int]]) -> None:
    for limit, (soft, hard) in zip(_LIMITS, before, strict=True):
        # A hard limit that was lowered stays, and the other one cannot be above it.
        hard_now = resource.getrlimit(limit)[1]
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (hard, hard) if soft == hard else (soft, hard))
            continue
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (hard_now if soft == resource.RLIM_INFINITY else min(soft, hard_now), hard_now))
