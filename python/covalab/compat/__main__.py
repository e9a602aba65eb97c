"""`python -m covalab.compat script.py [args]`: run a program written for Covalent on covalab.

Also ``-m module [args]``, as Python itself.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys

from covalab.compat import install
from covalab.core.errors import CovalentFound


def main() -> int:
    """Run the program as `__main__`, with `covalent` meaning covalab."""
    parser = argparse.ArgumentParser(prog="python -m covalab.compat", description=__doc__)
    parser.add_argument("--replace", action="store_true", help="also where Covalent itself is installed")
    parser.add_argument("-m", dest="module", action="store_true", help="what follows is a module, not a file")
    parser.add_argument("program", help="a Python file, or with -m a module")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="for the program")
    arguments = parser.parse_args()
    if not arguments.module:
        # The folder of the script goes first, as when Python runs it; before the doorway looks who is there.
        sys.path[0] = os.path.dirname(os.path.realpath(arguments.program))  # noqa: PTH120 - as Python writes it
    try:
        install(replace=arguments.replace)
    except CovalentFound as error:
        print(f"python -m covalab.compat: {error}", file=sys.stderr)
        return 2
    sys.argv = [arguments.program, *arguments.args]
    if arguments.module:
        runpy.run_module(arguments.program, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(arguments.program, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
