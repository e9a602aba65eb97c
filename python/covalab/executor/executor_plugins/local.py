"""`covalab.executor.executor_plugins.local`, Covalent's path of `covalab.executors.local`: the same module."""

import sys

from covalab.executors import local
from covalab.executors.local import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = local
