"""`covalab.triggers.sqlite_trigger`, Covalent's path of `covalab.triggers.sqlite`: the same module."""

import sys

from covalab.triggers import sqlite
from covalab.triggers.sqlite import *  # noqa: F403 - for tools that read and do not run

sys.modules[__name__] = sqlite
