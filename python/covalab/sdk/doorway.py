"""Doorway for programs that say `import covalent` (`covalab.compat`): where it is, and whether it is open here.

A lattice is built more like Covalent's behind it: such a program was tried out with what Covalent does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

DOORWAY: Final = str(Path(__file__).parents[1] / "compat" / "doorway")
"""Folder with the package that takes the place of Covalent's."""


def is_open() -> bool:
    """Return whether `import covalent` means covalab in this process."""
    return DOORWAY in sys.path
