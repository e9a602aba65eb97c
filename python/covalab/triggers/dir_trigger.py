"""`covalab.triggers.dir_trigger`, Covalent's path of `covalab.triggers.dir`: the same module."""

import sys

from covalab.triggers import dir as module
from covalab.triggers.dir import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = module
