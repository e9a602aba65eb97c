"""Hidden state of a session by parts, each as a digest: what a cell could read of it, and what it changed.

Settings are compared with the defaults of their library, so that it does not matter whether that was imported already.
Imports add filters of warnings and set levels of loggers, in one process earlier than in another; so of these two it
counts what code has done that names them.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final

from covalab.core.codec import USERS_ERRORS, digest_of
from covalab.namespace import hidden_state
from covalab.namespace.hidden_state import HiddenState
from covalab.namespace.pickling import pickled
from covalab.worker.outputs.ipython import after_import

GENERATORS: Final = frozenset({"random", "numpy.random", "torch"})
_BY_NAME: Final = frozenset({"environment"})
"""Parts that are compared one by one (`worker.reuse.surroundings`)."""
_FILTERS: Final = "filters"
_LOGGING: Final = "logging"
_PROCESS: Final = "process"
_SETS_STATE: Final = frozenset({"setstate", "set_state", "set_rng_state", "set_bit_generator"})
_WORDS: Final = {
    _FILTERS: frozenset({"warnings", "filterwarnings", "simplefilter", "catch_warnings", "resetwarnings"}),
    _LOGGING: frozenset({"logging", "setLevel", "basicConfig", "getLogger", "disable", "set_verbosity"}),
}


class _Process:
    """The states of generators when their libraries were imported here."""

    at_import: Final[dict[str, str]] = {}
    is_watching = False


def watch_imports() -> None:
    """Note the states of generators when their libraries are imported."""
    if not _Process.is_watching:
        _Process.is_watching = True
        for name in GENERATORS - {"random"}:
            after_import(name, partial(_note, name))


def _note(name: str, _module: Any) -> None:
    settings = hidden_state.read(name)
    if settings is not None:
        _Process.at_import[name] = _digest(settings)


def digests(now: HiddenState, change: HiddenState) -> dict[str, str]:
    """Return the digests of the parts of a state of which something changed; with no change, of all."""
    found: dict[str, str] = {}
    for name, settings in now.parts.items():
        if name in _BY_NAME or name == _LOGGING or (change and name not in change.parts):
            continue
        if name in GENERATORS:
            found[name] = _digest(settings)
        elif name == _PROCESS:
            found[name] = _digest({key: value for key, value in settings.items() if key != _FILTERS})
        else:
            others = hidden_state.changed_settings(name, settings)
            found[name] = _digest(others) if others else ""
    return found


def after(
    before: Mapping[str, str], change: HiddenState, now: HiddenState, words: Collection[str], has_imported: bool
) -> dict[str, str]:
    """Return the digests of all parts after a cell.

    Parameters
    ----------
    before
        Those before it.
    change, now
        What it changed, and the state after it.
    words
        The names in its code.
    has_imported
        Whether it has loaded modules.
    """
    found = dict(before)
    if not change:
        return found
    for name, digest in digests(now, change).items():
        # A generator that came with its library, and was not used since, is as good as none.
        if name not in before and _Process.at_import.get(name) == digest:
            continue
        found[name] = digest
    for name in (_FILTERS, _LOGGING):
        value = change.parts.get(_PROCESS, {}).get(_FILTERS) if name == _FILTERS else change.parts.get(_LOGGING)
        if value and (not has_imported or not _WORDS[name].isdisjoint(words)):
            found[name] = digest_of([before.get(name, "").encode(), _digest(value).encode()])
    return found


def read(before: Mapping[str, str], after_: Mapping[str, str], words: Collection[str]) -> dict[str, str]:
    """Return the parts that count for a run: settings, and those generators that it used.

    Code that sets a generator to the state that it has changes nothing, and would change it where the state is another.
    """
    sets = any("seed" in word.lower() or word in _SETS_STATE for word in words)
    return {
        name: digest
        for name, digest in before.items()
        if name not in GENERATORS or sets or after_.get(name, "") != digest
    }


def used_unknown(before: Mapping[str, str], after_: Mapping[str, str]) -> list[str]:
    """Return the generators that a cell used as they came with their library, which is elsewhere in each process."""
    return sorted(name for name in GENERATORS if name in after_ and name not in before)


def packed(change: HiddenState, after_: Mapping[str, str]) -> bytes:
    """Return a change as bytes, without the generators that nobody has used."""
    parts = {name: settings for name, settings in change.parts.items() if name not in GENERATORS or name in after_}
    return pickle.dumps(HiddenState(parts)) if parts else b""


def _digest(value: Any) -> str:
    try:
        head, *buffers = pickled(value, {}).frames
    except USERS_ERRORS:
        return digest_of([repr(value).encode()])
    return digest_of([head, *buffers])
