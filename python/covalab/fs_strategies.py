"""`covalab.fs_strategies`, Covalent's path of `covalab.files.strategies`: the same module."""

import sys

from covalab.files import strategies
from covalab.files.strategies import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = strategies
