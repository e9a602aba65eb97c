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
from operator import attrgetter
from typing import Any, Final, NamedTuple

_ABSENT: Final = object()
_LIMITS: Final = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_STACK,
)


class _Setting(NamedTuple):
    """A setting: how to read it, how to set it, and how to copy what was read if it can change in place."""

    get: Callable[[], Any]
    put: Callable[[Any], object]
    copy: Callable[[Any], Any] = lambda value: value


class ProcessSettings:
    """The settings of this process at one moment."""

    def __init__(self) -> None:
        self._builtins = dict(vars(builtins))
        self._builtin_values = [*vars(builtins).values()]
        self._settings = _settings()
        self._getters = [setting.get for setting in self._settings]
        self._before = [setting.copy(setting.get()) for setting in self._settings]
        self._umask = os.umask(0o77)
        os.umask(self._umask)

    def take_place(self) -> None:
        """Take the search path, the working folder and the environment variables again, after a batch has set them."""
        for position in _PLACE:
            setting = self._settings[position]
            self._before[position] = setting.copy(setting.get())

    def put_back_builtins(self) -> None:
        """Put the built-in functions back: first of all, because everything else uses them."""
        # No built-in function is called before this is decided.
        now: Any = _vars_of_builtins()
        if [*now.values()] != self._builtin_values:
            now.clear()
            now.update(self._builtins)

    def put_back(self) -> None:
        """Put everything else back."""
        os.umask(self._umask)  # setting it costs what reading it does
        warnings_again()
        now = [get() for get in self._getters]
        if now == self._before:
            return
        for setting, value, before in zip(self._settings, now, self._before, strict=True):
            if value != before:
                with suppress(Exception):  # what the task set may be of any kind
                    setting.put(before)


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


def _attributes(owner: Any, *names: str) -> _Setting:
    """Return several attributes, which are always there, as one setting."""

    def put(values: tuple[Any, ...]) -> None:
        for name, value in zip(names, values, strict=True):
            setattr(owner, name, value)

    return _Setting(partial(attrgetter(*names), owner), put)


def _optional(owner: Any, name: str) -> _Setting:
    """Return an attribute, which need not be there."""

    def put(value: Any) -> None:
        if value is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, value)

    # From the dictionary: a failed `getattr` makes an exception, whether or not somebody sees it.
    return _Setting(partial(vars(owner).get, name, _ABSENT), put)


def _list(owner: Any, name: str) -> _Setting:
    """Return a list that is an attribute. The same list is put back: others may have a reference to it."""
    original = getattr(owner, name)

    def put(items: list[Any]) -> None:
        original[:] = items
        setattr(owner, name, original)

    return _Setting(partial(getattr, owner, name), put, list)


def _settings() -> list[_Setting]:
    """Return all settings; the first ones are those that a batch sets itself (`_PLACE`)."""
    found = [
        _Setting(_environment, _put_environment, dict),
        _Setting(_working_folder, os.chdir),
        _list(sys, "path"),
        _attributes(os, "environ", "environb"),
        _list(sys, "argv"),
        _list(sys, "meta_path"),
        _list(sys, "path_hooks"),
        _list(warnings, "filters"),
        _attributes(warnings, "showwarning", "formatwarning", "defaultaction"),
        _attributes(
            sys, "excepthook", "displayhook", "unraisablehook", "breakpointhook", "stdin", "dont_write_bytecode"
        ),
        _optional(threading, "excepthook"),
        _optional(sys, "tracebacklimit"),
        _Setting(sys.gettrace, sys.settrace),
        _Setting(sys.getprofile, sys.setprofile),
        _Setting(threading.gettrace, threading.settrace),
        _Setting(threading.getprofile, threading.setprofile),
        _Setting(sys.getrecursionlimit, sys.setrecursionlimit),
        _Setting(sys.getswitchinterval, sys.setswitchinterval),
        _Setting(sys.getdlopenflags, sys.setdlopenflags),
        _Setting(sys.get_asyncgen_hooks, lambda hooks: sys.set_asyncgen_hooks(*hooks)),
        _Setting(gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()),
        _Setting(gc.get_threshold, lambda limits: gc.set_threshold(*limits)),
        _Setting(gc.get_debug, gc.set_debug),
        _Setting(
            faulthandler.is_enabled, lambda enabled: faulthandler.enable(2) if enabled else faulthandler.disable()
        ),
        _Setting(tracemalloc.is_tracing, lambda tracing: tracemalloc.start() if tracing else tracemalloc.stop()),
        _Setting(socket.getdefaulttimeout, socket.setdefaulttimeout),
        _Setting(partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)),
        _Setting(
            partial(multiprocessing.get_start_method, True),
            partial(multiprocessing.set_start_method, force=True),
        ),
        _Setting(_limits, _put_limits),
    ]
    if hasattr(sys, "get_int_max_str_digits"):
        found.append(_Setting(sys.get_int_max_str_digits, sys.set_int_max_str_digits))
    if hasattr(os, "sched_getaffinity"):
        found.append(_Setting(partial(os.sched_getaffinity, 0), partial(os.sched_setaffinity, 0)))
    return found


_PLACE: Final = (0, 1, 2)

# Reading the variables themselves decodes each of them; its dictionary of bytes is compared in less than a microsecond.
_variables: Final[dict[bytes, bytes]] = getattr(os.environb, "_data", None) or {}
_environb: Final = os.environb


def _environment() -> dict[bytes, bytes]:
    return _variables or dict(_environb)


def _put_environment(before: dict[bytes, bytes]) -> None:
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


def _limits() -> list[tuple[int, int]]:
    return [*map(resource.getrlimit, _LIMITS)]


def _put_limits(before: list[tuple[int, int]]) -> None:
    for limit, (soft, hard) in zip(_LIMITS, before, strict=True):
        # A hard limit that was lowered stays, and the other one cannot be above it.
        hard_now = resource.getrlimit(limit)[1]
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (hard, hard) if soft == hard else (soft, hard))
            continue
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (hard_now if soft == resource.RLIM_INFINITY else min(soft, hard_now), hard_now))
