"""`covalab.executor.utils.context`, Covalent's path of `covalab.worker.context`: the same module."""

import sys

from covalab.worker import context
from covalab.worker.context import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = context
