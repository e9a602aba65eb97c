"""Packages that tasks of this environment have imported, kept for the next pool. Losing them costs time only."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_FOLDER: Final = "COVALAB_LEARNED_IMPORTS"
_LIMIT: Final = 8_000


def read() -> list[str]:
    """Return the names, in the order of their import."""
    path = _path()
    with suppress(OSError, UnicodeDecodeError):
        if path is not None:
            return [name for name in path.read_text().split() if name.replace(".", "_").isidentifier()][:_LIMIT]
    return []


def write(names: list[str]) -> None:
    """Keep the names."""
    path = _path()
    with suppress(OSError):
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_text("\n".join(names[:_LIMIT]))
            temporary.replace(path)


def _path() -> Path | None:
    folder = os.environ.get(_FOLDER)
    if not folder:
        return None
    return Path(folder) / f"{hashlib.sha256(sys.prefix.encode()).hexdigest()[:16]}.txt"
