"""The named waits of older versions, in seconds. Only whether there is one matters."""

import sys

SHORT = 30
LONG = 3_000
VERY_LONG = 60_000
EXTREME = sys.maxsize
