"""Hidden state of a process: what cells share without a name: random generators, options, settings, folder, variables.

`capture` reads it, or only what differs from an earlier capture, and `apply` sets it in another process. A library is
looked at when it is loaded; only `apply` loads one, because the process that was captured had set something in it.
"""

from __future__ import annotations
import __future__

import functools
import importlib
import io
import locale
import operator
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, TypeAlias

from covalab.core.codec import USERS_ERRORS
from covalab.namespace import hidden_interpreter, hidden_libraries
from covalab.namespace.pickling import NamespaceUnpickler, pickled

_Settings: TypeAlias = "dict[str, Any]"
GENERATORS: Final = ("random", "numpy.random", "torch")
"""Places that are global generators of random numbers."""


class HiddenState:
    """Hidden state, or a part of it: settings by the place that they belong to. A pickle of it is a few kilobytes."""

    __slots__ = ("parts",)

    def __init__(self, parts: Mapping[str, _Settings]) -> None:
        self.parts = dict(parts)

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __repr__(self) -> str:
        return f"HiddenState({', '.join(self.parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return load_state, (_dumped(self.parts),)


def _dumped(parts: dict[str, _Settings]) -> bytes:
    namespace = vars(sys.modules["__main__"])
    try:
        return pickled(parts, namespace).head
    except USERS_ERRORS:  # one of them is of a kind of its own
        good: dict[str, _Settings] = {}
        for place, settings in parts.items():
            for name, value in settings.items():
                try:
                    pickled(value, namespace)
                except USERS_ERRORS:
                    continue
                good.setdefault(place, {})[name] = value
        return pickled(good, namespace).head


def load_state(data: bytes) -> HiddenState:
    """Return a state; pickles name this function."""
    return HiddenState(NamespaceUnpickler(io.BytesIO(data), vars(sys.modules["__main__"])).load())


def capture(base: HiddenState | None = None) -> HiddenState:
    """Return the hidden state, or what of it differs from an earlier capture of the same process.

    Settings of libraries that were not loaded then are compared with the libraries' defaults.
    """
    if base is not None:
        return HiddenState(_changed(_read_all(), base))
    return HiddenState({name: settings for name, settings in _read_all().items() if settings})


def capture_both(base: HiddenState) -> tuple[HiddenState, HiddenState]:
    """Return the hidden state, and what of it differs from an earlier capture."""
    now = _read_all()
    return HiddenState({name: settings for name, settings in now.items() if settings}), HiddenState(_changed(now, base))


def _read_all() -> dict[str, _Settings]:
    parts: dict[str, _Settings] = {}
    for name, place in _PLACES.items():
        if not place.module or place.module in sys.modules:
            with suppress(*USERS_ERRORS):  # half imported, or of another version than is known here
                parts[name] = place.read()
    return parts


def _changed(now: Mapping[str, _Settings], base: HiddenState) -> dict[str, _Settings]:
    parts: dict[str, _Settings] = {}
    for name, settings in now.items():
        with suppress(*USERS_ERRORS):  # as above
            before = base.parts[name] if name in base.parts else _PLACES[name].defaults()
            if changed := _difference(settings, before):
                parts[name] = changed
    return parts


def read(name: str) -> _Settings | None:
    """Return the settings of one place; None if they cannot be read."""
    try:
        return _PLACES[name].read()
    except USERS_ERRORS:  # half imported
        return None


def difference(now: HiddenState, before: HiddenState) -> HiddenState:
    """Return what differs between two whole captures of the same process, as `capture` does."""
    emptied: dict[str, _Settings] = {name: {} for name in before.parts}  # a capture leaves out what has no settings
    return HiddenState(_changed({**emptied, **now.parts}, before))


def changed_settings(name: str, settings: Mapping[str, Any]) -> _Settings:
    """Return the settings of a place that are not its library's defaults."""
    return _difference(dict(settings), _PLACES[name].defaults())


def merged(state: HiddenState, change: HiddenState) -> HiddenState:
    """Return a state with changes put on it."""
    parts = dict(state.parts)
    for name, settings in change.parts.items():
        parts[name] = {**parts.get(name, {}), **settings}
    return HiddenState(parts)


def _difference(now: _Settings, before: Mapping[str, Any]) -> _Settings:
    """Return the settings that are others now; those that are gone are None."""
    changed = {name: value for name, value in now.items() if name not in before or not _is_equal(value, before[name])}
    changed.update({name: None for name in before if name not in now})
    return changed


def _is_equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except USERS_ERRORS:
        return False


def apply(state: HiddenState) -> tuple[str, ...]:
    """Set a hidden state in this process, and in the present context where a setting belongs to a context.

    Modules should be loaded first, since some set filters of warnings.

    Returns
    -------
    tuple
        The places that could not be set, each with the reason.
    """
    failed: list[str] = []
    for name, settings in state.parts.items():
        place = _PLACES.get(name)
        if place is None:
            continue
        try:
            place.put(settings)
        except USERS_ERRORS as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
    return tuple(failed)


@contextmanager
def kept_generators() -> Iterator[None]:
    """Put the global generators of random numbers back at the end: what is imported meanwhile may draw from them."""
    before = {name: _PLACES[name].read() for name in GENERATORS if _PLACES[name].module in sys.modules}
    yield
    for name, state in before.items():
        if not _is_equal(_PLACES[name].read(), state):
            _PLACES[name].put(state)


# The process.


def _read_environment() -> _Settings:
    return dict(os.environ)


def _put_environment(settings: _Settings) -> None:
    for name, value in settings.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if "TZ" in settings:
        time.tzset()


def _read_process() -> _Settings:
    settings: _Settings = {
        "path": list(sys.path),
        "arguments": list(sys.argv),
        "recursion limit": sys.getrecursionlimit(),
        "digits": getattr(sys, "get_int_max_str_digits", int)(),
        "filters": list(warnings.filters),
        "locale": locale.setlocale(locale.LC_ALL),
        "future": _read_future(),
    }
    try:
        settings["folder"] = os.getcwd()  # noqa: PTH109 - a `Path` costs three times as much
    except FileNotFoundError:  # somebody removed it
        return settings
    return settings


def _put_process(settings: _Settings) -> None:
    for name, value in settings.items():
        if value is not None:
            _SETTERS[name](value)


def _put_filters(filters: list[Any]) -> None:
    with warnings.catch_warnings():
        pass  # what was shown already may be shown again under the new filters
    warnings.filters[:] = filters  # type: ignore[index]


def _read_future() -> int:
    """Return the flags of `from __future__` that the notebook's compiler has, in all cells after that line."""
    shell = getattr(getattr(sys.modules.get(_SHELL), "InteractiveShell", None), "_instance", None)
    return 0 if shell is None else shell.compile.flags & _FUTURE


def _put_future(flags: int) -> None:
    if flags != _read_future():
        shell = importlib.import_module(_SHELL).InteractiveShell.instance()
        shell.compile.flags = shell.compile.flags & ~_FUTURE | flags


_SHELL: Final = "IPython.core.interactiveshell"
_FUTURE: Final = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


def _put_path(path: list[str]) -> None:
    sys.path[:] = path


def _put_arguments(arguments: list[str]) -> None:
    sys.argv[:] = arguments


_SETTERS: Final[dict[str, Callable[[Any], object]]] = {
    "path": _put_path,
    "arguments": _put_arguments,
    "recursion limit": sys.setrecursionlimit,
    "digits": getattr(sys, "set_int_max_str_digits", bool),
    "filters": _put_filters,
    "locale": lambda value: locale.setlocale(locale.LC_ALL, value),
    "folder": os.chdir,
    "future": _put_future,
}


def _read_signals() -> _Settings:
    """Return the handlers of the signals that neither a kernel nor a task has a handler of its own for."""
    handlers = {name: signal.getsignal(getattr(signal, name)) for name in _SIGNALS}
    return {name: handler for name, handler in handlers.items() if handler is not None}


def _put_signals(settings: _Settings) -> None:
    for name, handler in settings.items():
        if name in _SIGNALS and handler is not None:
            signal.signal(getattr(signal, name), handler)


_SIGNALS: Final = tuple(name for name in ("SIGALRM", "SIGVTALRM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class _Place(NamedTuple):
    """Place of settings: the module without which there are none, and how they are read and set."""

    module: str
    read: Callable[[], _Settings]
    put: Callable[[_Settings], None]
    defaults: Callable[[], _Settings] = dict


_PLACES: Final[dict[str, _Place]] = {
    "environment": _Place("", _read_environment, _put_environment),
    "process": _Place("", _read_process, _put_process),
    "signals": _Place("", _read_signals, _put_signals, lambda: dict.fromkeys(_SIGNALS, signal.SIG_DFL)),
    **{name: _Place(*row) for name, row in (hidden_interpreter.PLACES | hidden_libraries.PLACES).items()},
}
