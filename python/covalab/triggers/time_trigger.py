"""`covalab.triggers.time_trigger`, Covalent's path of `covalab.triggers.time`: the same module."""

import sys

from covalab.triggers import time
from covalab.triggers.time import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = time
