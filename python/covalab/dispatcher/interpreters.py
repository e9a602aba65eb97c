"""Interpreter of a pool: the one of the kernel that dispatched, or that of a conda environment.

Looks at folders only: `conda` itself takes seconds to answer the same.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from covalab.core.errors import CovalabError
from covalab.core.model import Environment
from covalab.core.os_text import received
from covalab.core.placement import PoolKey


class InterpreterNotFound(CovalabError, LookupError):
    """There is no such conda environment, or no Python in it."""


class Interpreter(NamedTuple):
    """An interpreter, and the variables that its processes see beside the dispatcher's own."""

    python: str
    variables: Mapping[str, str]


def interpreter_of(key: PoolKey, environment: Environment) -> Interpreter:
    """Return the interpreter of a pool.

    Raises
    ------
    InterpreterNotFound
        If the conda environment is not there; the message says where it was looked for.
    """
    own = {name: received(value) for name, value in environment.shell_env.items()}
    if not key.conda_env:
        return Interpreter(key.python, own)
    prefix = _conda_prefix(key.conda_env, own)
    python = prefix / "bin" / "python"
    if not python.exists():
        message = f"conda environment {key.conda_env!r} ({prefix}) has no Python: `conda install -p {prefix} python`"
        raise InterpreterNotFound(message)
    kept = {name: value for name, value in own.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    path = f"{python.parent}{os.pathsep}{own.get('PATH') or os.environ.get('PATH', '')}"
    return Interpreter(str(python), kept | {"PATH": path, "CONDA_PREFIX": str(prefix)})


def _conda_prefix(name: str, variables: Mapping[str, str]) -> Path:
    if os.sep in name or name.startswith("~"):
        prefix = Path(name).expanduser()
        if prefix.is_dir():
            return prefix
        message = f"there is no conda environment in {prefix}; create it, or correct the executor's conda_env"
        raise InterpreterNotFound(message)
    looked = list(dict.fromkeys(_candidates(name, variables)))
    for prefix in looked:
        if prefix.is_dir():
            return prefix
    where = f"it would be in one of {', '.join(map(str, looked))}" if looked else "no conda was found either"
    message = (
        f"there is no conda environment {name!r}: {where}; create it, or give its folder as the executor's conda_env"
    )
    raise InterpreterNotFound(message)


def _candidates(name: str, variables: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders in which conda, mamba and micromamba may keep an environment of this name."""
    seen = {**os.environ, **variables}
    for folders in (seen.get("CONDA_ENVS_PATH", ""), seen.get("CONDA_ENVS_DIRS", "")):
        yield from (Path(folder).expanduser() / name for folder in folders.split(os.pathsep) if folder)
    for root in _roots(seen):
        yield root if name == "base" else root / "envs" / name
    known = Path("~/.conda/environments.txt").expanduser()  # conda writes every environment it makes into this file
    if known.is_file():
        yield from (Path(line) for line in known.read_text(errors="replace").split("\n") if Path(line).name == name)


def _roots(seen: Mapping[str, str]) -> Iterator[Path]:
    if seen.get("MAMBA_ROOT_PREFIX"):
        yield Path(seen["MAMBA_ROOT_PREFIX"])
    if seen.get("CONDA_EXE"):
        yield Path(seen["CONDA_EXE"]).resolve().parents[1]
    if seen.get("CONDA_PREFIX"):
        active = Path(seen["CONDA_PREFIX"])
        yield active.parents[1] if active.parent.name == "envs" else active
    conda = shutil.which("conda", path=seen.get("PATH"))
    if conda:
        yield Path(conda).resolve().parents[1]
    yield from (Path("~").expanduser() / folder for folder in ("miniforge3", "miniconda3", "anaconda3", "micromamba"))
