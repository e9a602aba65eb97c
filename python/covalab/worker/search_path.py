"""Search path of an interpreter: the entries of `sys.path` that belong to its environment, and to no notebook."""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path


@functools.cache
def environment_path() -> frozenset[str]:
    """Return the entries of `sys.path` that every process of this environment has, but for projects in place."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {os.path.join(folder, "lib-dynload") for folder in found}
    found |= {*site.getsitepackages(), site.getusersitepackages()}
    archive = f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    found |= {os.path.join(os.path.dirname(folder), archive) for folder in found}
    return frozenset(found)


@functools.cache
def installed_in_place() -> frozenset[str]:
    """Return the folders that ``.pth`` files add to `sys.path`: projects that are installed where they lie."""
    found: set[str] = set()
    for folder in (*site.getsitepackages(), site.getusersitepackages()):
        for file in Path(folder).glob("*.pth"):
            with suppress(OSError, UnicodeDecodeError):
                lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
                found |= {os.path.normpath(Path(folder, line)) for line in lines if not line.startswith("import")}
    return frozenset(found)
