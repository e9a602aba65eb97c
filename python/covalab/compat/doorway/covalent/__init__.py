"""Stands for Covalent's package; see `covalab.compat`."""

from covalab.compat import SPOKEN
from covalab.compat.door import open_to

__version__ = SPOKEN
open_to(__name__, "covalab")
