"""Modules that travel with a function: those that were named, and those that lie beside the notebook.

A module that travels is pickled by value, as if its code stood in a cell. So an edited helper module is used by the
next dispatch although workers live long, and workers that do not have the file need none.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import ModuleType
from typing import Final, TypeAlias

from covalab.sdk.environment import usual_path
from covalab.worker.search_path import installed_in_place

NEVER_BESIDE: Final = frozenset({"__main__", "__mp_main__", "covalab", "cloudpickle"})
"""Not beside a notebook, wherever they lie: the first two travel by value anyway, the others are on every worker."""

_SIZE_LIMIT: Final = 8 * 1024**2
"""Bytes of a module that travels: a larger one is data, or a project, and would be sent with every dispatch."""

_Known: TypeAlias = "tuple[str, str, int, tuple[int, ...]]"

_lock: Final = threading.Lock()
_asked: Final[Counter[str]] = Counter()
"""How many are encoding with a module by value right now; cloudpickle knows only whether."""
_places: Final[dict[str, tuple[ModuleType, str, str]]] = {}
"""Files and folders of the modules that were there at the last look."""
_travels: Final[dict[_Known, bool]] = {}
"""Which modules can be pickled by value, as they were when that was tried."""


@contextmanager
def by_value(modules: Iterable[ModuleType]) -> Iterator[None]:
    """Let everything that is pickled meanwhile carry the code of some modules instead of their names.

    Parameters
    ----------
    modules
        The modules; what lies inside of a package goes with it.
    """
    import cloudpickle  # noqa: PLC0415 - decorating a function pickles nothing

    ours: list[ModuleType] = []
    with _lock:
        theirs = cloudpickle.list_registry_pickle_by_value() - set(_asked)
        for module in modules:
            name = module.__name__
            if name in theirs or name not in sys.modules:  # the user's own wish, or it travels by value anyway
                continue
            cloudpickle.register_pickle_by_value(module)
            _asked[name] += 1
            ours.append(module)
    try:
        yield
    finally:
        with _lock:
            for module in ours:
                _asked[module.__name__] -= 1
                if not _asked[module.__name__]:
                    del _asked[module.__name__]
                    cloudpickle.unregister_pickle_by_value(module)


@contextmanager
def beside_by_value() -> Iterator[None]:
    """Let everything that is pickled meanwhile carry the code of the modules that lie beside the notebook.

    Values are pickled so, too: a class must be the same one in a function and in the value that the function is given.
    """
    with by_value(beside()):
        yield


def beside() -> list[ModuleType]:
    """Return the modules of this process that lie beside the notebook or script, and can be pickled by value.

    Those are the ones found through an entry of `sys.path` that is neither of the environment (the standard library,
    ``site-packages``, ``PYTHONPATH``) nor of a project that is installed in place (``pip install -e``). Of a package
    only the package itself is named. One that holds what cannot be pickled, such as a lock or an open file, or that
    is larger than 8 MB, is left out: it travels by name, as every other module does.
    """
    roots = {os.path.abspath(entry) for entry in sys.path}
    roots -= usual_path() | installed_in_place()
    candidates: dict[_Known, ModuleType] = {}
    for name, module in list(sys.modules.items()):
        if "." in name or name in NEVER_BESIDE:
            continue
        known = _places.get(name)
        if known is None or known[0] is not module:
            known = _places[name] = module, *_place(module)  # looking at each took a fifth of a dispatch
        _, file, root = known
        if root in roots:
            files = (file, *_files_inside(name)) if hasattr(module, "__path__") else (file,)
            candidates[name, file, id(module), tuple(map(_changed_at, files))] = module
    for name in _places.keys() - sys.modules.keys():
        _places.pop(name, None)  # not to keep alive what the user has dropped
    for key, module in candidates.items():
        if key not in _travels:
            _travels[key] = _can_travel(module)
    return [module for key, module in candidates.items() if _travels[key]]


def _place(module: ModuleType) -> tuple[str, str]:
    """Return a module's file (a package's folder, if it has none), and the folder in which it was looked for."""
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return (file, _root(file, is_package=hasattr(module, "__path__"))) if file.endswith(".py") else ("", "")
    if file is None and hasattr(module, "__path__"):
        for folder in module.__path__:
            return folder, os.path.dirname(folder)
    return "", ""


@cache  # each dispatch asks for every module of the process
def _root(file: str, *, is_package: bool) -> str:
    folder = os.path.dirname(file)
    return os.path.dirname(folder) if is_package else folder


def _files_inside(package: str) -> list[str]:
    """Return the files of the loaded modules of a package: an edit of one of them may be what it cannot travel with."""
    loaded = [module for name, module in list(sys.modules.items()) if name.startswith(f"{package}.")]
    return [file for module in loaded if (file := _place(module)[0])]


def _changed_at(file: str) -> int:
    with suppress(OSError):
        return os.stat(file).st_mtime_ns
    return 0


def _can_travel(module: ModuleType) -> bool:
    from covalab.core.pickling import dumps  # noqa: PLC0415 - decorating a function pickles nothing

    size = 0

    def count(buffer: pickle.PickleBuffer) -> bool:
        nonlocal size
        size += buffer.raw().nbytes
        return False  # large arrays are not copied to find out

    with by_value([module]):
        try:
            data = dumps(module, count)
        except Exception:  # noqa: BLE001 - pickling runs the user's code
            return False
    return len(data) + size <= _SIZE_LIMIT
