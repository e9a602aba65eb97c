"""`covalab.triggers.database_trigger`, Covalent's path of `covalab.triggers.database`: the same module."""

import sys

from covalab.triggers import database
from covalab.triggers.database import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = database
