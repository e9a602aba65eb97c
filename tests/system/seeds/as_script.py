"""Runs blocks of code as a script has them: in `__main__`, without a running loop but for those that await.

Reads JSON from stdin: `blocks`, and `names` that are there before the first. Writes to the file that is its argument
which names there are afterwards, as far as JSON can hold them.
"""

from __future__ import annotations

import ast
import asyncio
import json
import linecache
import sys
import types
from pathlib import Path
from typing import Any


def run(blocks: list[str], names: dict[str, Any]) -> dict[str, Any]:
    """Run blocks one after another, and return what they leave behind."""
    script = sys.modules["__main__"] = types.ModuleType("__main__")
    space = script.__dict__
    space.update(names)
    for number, text in enumerate(blocks):
        name = f"<block {number}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # for tracebacks
        awaited = eval(compile(text, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), space)
        if awaited is not None:
            asyncio.run(awaited)
    return {name: value for name, value in space.items() if isinstance(value, str | list | dict) and name[0] != "_"}


if __name__ == "__main__":
    left = run(**json.load(sys.stdin))
    Path(sys.argv[1]).write_text(json.dumps(left, default=str))
