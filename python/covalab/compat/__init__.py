"""Doorway for programs that say `import covalent`: makes it mean covalab, in this process and in its tasks.

Only when asked, by `install` or ``python -m covalab.compat script.py``; an installed Covalent is never taken for ours,
nor ours for it. The doorway is a folder on `sys.path`, and a dispatch takes the path along, so that workers have it.
In the folder is one package, `covalent`; the modules below it are made by `finder` of the rows in `table`.
Objects that are pickled behind it name covalab, and can be unpickled without it.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import Final

from covalab.core.errors import CovalentFound
from covalab.sdk.doorway import DOORWAY

__all__ = ["DOORWAY", "SPOKEN", "install", "uninstall"]

SPOKEN: Final = "0.240.0"
"""Version of Covalent whose API this is; ``covalent.__version__`` says so."""


def install(*, replace: bool = False) -> None:
    """Make `import covalent`, and the paths that Covalent's documentation imports, mean covalab from here on.

    Doing it twice changes nothing.

    Parameters
    ----------
    replace
        Also where Covalent itself is installed: it cannot be imported any more.

    Raises
    ------
    CovalentFound
        If Covalent itself is installed and not to be replaced, or has been imported already.

    Examples
    --------
    >>> install()
    >>> import covalent
    >>> covalent.electron(abs)(-1)
    1
    """
    imported = sys.modules.get("covalent")
    if imported is not None and not _is_ours(imported):
        where, remedy = _file_of(imported), "call covalab.compat.install(replace=True) before anything imports it"
        raise CovalentFound(where, remedy)
    if DOORWAY in sys.path:
        return
    spec = None if imported is not None else find_spec("covalent")
    if spec is not None and not replace:
        where = spec.origin or str(list(spec.submodule_search_locations or ()))
        remedy = "uninstall it, or call covalab.compat.install(replace=True) to use covalab in its place"
        raise CovalentFound(where, remedy)
    # In front: what comes after it may be the Covalent that is to be replaced.
    sys.path.insert(0, DOORWAY)
    importlib.invalidate_caches()


def uninstall() -> None:
    """Close the doorway: `import covalent` means again what it meant."""
    while DOORWAY in sys.path:
        sys.path.remove(DOORWAY)
    imported = sys.modules.get("covalent")
    if imported is not None and _is_ours(imported):
        # Then all below it is, too: only the finder of this package was asked.
        for name in [name for name in sys.modules if name.partition(".")[0] == "covalent"]:
            del sys.modules[name]
    # It is loaded by the package `covalent` only, so perhaps never.
    if finder := sys.modules.get("covalab.compat.finder"):
        finder.close()
    importlib.invalidate_caches()


def _is_ours(module: object) -> bool:
    return _file_of(module).startswith(DOORWAY)


def _file_of(module: object) -> str:
    return str(getattr(module, "__file__", None) or module)
