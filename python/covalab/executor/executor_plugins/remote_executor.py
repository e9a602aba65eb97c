"""`covalab.executor.executor_plugins.remote_executor`, Covalent's path of `covalab.executors.remote`."""

import sys

from covalab.executors import remote
from covalab.executors.remote import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = remote
