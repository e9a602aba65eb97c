"""Packages of the environment: which distribution a package belongs to, its version, and what it requires itself."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from covalab.worker.search_path import environment_path

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_SEPARATORS: Final = re.compile(r"[-_.]+")
_KINDS: Final = (".dist-info", ".egg-info")


class _Table(msgspec.Struct):
    """Distributions: versions, where each is described, by top-level packages, and what each requires."""

    versions: dict[str, str]
    folders: dict[str, str]


def _normal(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()


def _folders() -> list[Path]:
    return _existing(environment_path())


@functools.lru_cache(maxsize=1)
def _existing(folders: frozenset[str]) -> list[Path]:
    return [path for path in map(Path, sorted(folders)) if path.is_dir()]


def _stamp() -> tuple[int, ...]:
    return tuple(path.stat().st_mtime_ns for path in _folders())


@functools.lru_cache(maxsize=1)
def _table(_stamp: tuple[int, ...]) -> _Table:
    versions: dict[str, str] = {}
    folders: dict[str, str] = {}
    for folder in _folders():
        for entry in folder.iterdir():
            if entry.suffix in _KINDS:
                name, _, version = entry.stem.partition("-")
                versions.setdefault(_normal(name), version)
                folders.setdefault(_normal(name), str(entry))
    return _Table(versions, folders)


@functools.lru_cache(maxsize=1)
def _by_top(stamp: tuple[int, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, folder in _table(stamp).folders.items():
        for top in _tops_of(Path(folder)):
            found.setdefault(top, []).append(name)
    return found


def _tops_of(folder: Path) -> set[str]:
    try:
        return {*(folder / "top_level.txt").read_text().split()}
    except OSError:
        pass
    try:
        lines = (folder / "RECORD").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    firsts = {line.partition(",")[0].partition("/")[0] for line in lines}
    return {first.partition(".")[0] for first in firsts if not first.endswith(_KINDS) and not first.startswith("..")}


@functools.lru_cache(maxsize=512)
def _required(folder: str) -> tuple[str, ...]:
    """Return what a distribution requires without extras."""
    try:
        head = (Path(folder) / "METADATA").read_text(errors="replace").partition("\n\n")[0]
    except OSError:
        return ()
    found = []
    for line in head.splitlines():
        if line.startswith("Requires-Dist:") and "extra ==" not in line:
            match = _NAME.match(line.removeprefix("Requires-Dist:").strip())
            if match is not None:
                found.append(_normal(match[0]))
    return tuple(found)


def version_of(distribution: str) -> str:
    """Return the version of a distribution; empty if it is not installed."""
    return _table(_stamp()).versions.get(distribution, "")


def versions_of(tops: Iterable[str]) -> dict[str, str]:
    """Return the versions of the distributions of some top-level packages, and of all that they require."""
    stamp = _stamp()
    table = _table(stamp)
    waiting = [name for top in tops for name in _by_top(stamp).get(top, ())]
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = table.versions.get(name, "")
            if name in table.folders:
                waiting += _required(table.folders[name])
    return dict(sorted(found.items()))


def is_installed(top: str) -> bool:
    """Return whether a top-level package belongs to a distribution."""
    return top in _by_top(_stamp())
