"""Which modules travel with a function: those that were named, and those that lie beside the notebook.

A module that travels is pickled by value, as if its code stood in a cell. So an edited helper module is used by the
next dispatch although workers live long, and workers that do not have the file need none.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

_lock: Final = threading.Lock()
_asked: Final[Counter[str]] = Counter()
"""How many are encoding with a module by value right now; cloudpickle knows only whether."""


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
