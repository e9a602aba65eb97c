"""`covalab.executor.executor_plugins.dask`, Covalent's path of `covalab.executors.dask`: the same module."""

import sys

from covalab.executors import dask
from covalab.executors.dask import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = dask
