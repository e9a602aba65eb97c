"""`covalab.fs`, Covalent's name of `covalab.files`: the same module."""

import sys

from covalab import files
from covalab.files import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = files
