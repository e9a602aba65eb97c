"""Package that takes the place of Covalent's; see `covalab.compat`."""

from covalab.compat import SPOKEN
from covalab.compat.finder import open_package

__version__ = SPOKEN
open_package(__name__)
