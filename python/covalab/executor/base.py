"""`covalab.executor.base`, Covalent's path of `covalab.executors.base`: the same module."""

import sys

from covalab.executors import base
from covalab.executors.base import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = base
