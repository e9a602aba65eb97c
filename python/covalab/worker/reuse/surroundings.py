"""Surroundings of a run: files, environment variables, packages and local modules that it depended on, then and now."""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from blake3 import blake3

from covalab.core.codec import digest_of
from covalab.core.process_variables import ALL_NAMES, is_read_by_libraries, is_read_by_no_package
from covalab.worker.reuse import local_code, packages
from covalab.worker.search_path import environment_path

_YOUNG: Final = 2_000_000_000
"""Nanoseconds within which a file may change twice and keep its time."""


@functools.lru_cache(maxsize=4096)
def is_of_environment(path: str) -> bool:
    """Return whether a file belongs to the interpreter or an installed package, for which its version stands."""
    return path.startswith(environment_folders())


@functools.cache
def environment_folders() -> tuple[str, ...]:
    """Return the folders of the interpreter and of installed packages."""
    folders = {*environment_path(), os.path.join(sys.prefix, "share"), os.path.join(sys.base_prefix, "lib")}
    return tuple(os.path.join(folder, "") for folder in {*folders, *map(os.path.realpath, folders)})


class FileFact(msgspec.Struct, frozen=True, array_like=True):
    """A file that was read, or a folder that was listed; one with an empty digest was not there.

    `settled_at` is the time in nanoseconds until which it had not changed, by the clock of its file system.
    """

    path: str
    size: int = -1
    time: int = -1
    inode: int = -1
    digest: str = ""
    is_folder: bool = False
    settled_at: int = -1

    @classmethod
    def of(cls, path: str) -> FileFact | None:
        """Return a file as it is now; None of what is no plain file."""
        try:
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode):
                return None
            digest = _digest_of_file(path)
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError):
            return None
        return cls(path, found.st_size, found.st_mtime_ns, found.st_ino, digest, settled_at=_now_ns())

    @property
    def mark(self) -> tuple[int, ...]:
        """Size, time and inode, by which a change is seen without reading it."""
        return (self.size, self.time, self.inode) if self.digest else ()

    def has_changed(self) -> bool:
        """Return whether it is another one now."""
        if self.is_folder:
            return listing_digest(self.path) != self.digest
        try:
            found = os.stat(self.path)
        except OSError:
            return bool(self.digest)
        if not self.digest or found.st_size != self.size or not stat.S_ISREG(found.st_mode):
            return True
        is_same = (found.st_mtime_ns, found.st_ino) == (self.time, self.inode)
        if is_same and self.time + _YOUNG < self.settled_at:
            return False
        try:
            return _digest_of_file(self.path) != self.digest
        except OSError:
            return True


def _now_ns() -> int:
    import time  # noqa: PLC0415 - the name is that of a field here

    return time.time_ns()


def _digest_of_file(path: str) -> str:
    return blake3().update_mmap(path).hexdigest()


def listing_digest(path: str) -> str:
    """Return the digest of the names in a folder; empty if there is none."""
    try:
        return digest_of([name.encode("utf-8", "surrogateescape") + b"\0" for name in sorted(os.listdir(path))])
    except OSError:
        return ""


class Surroundings(msgspec.Struct, frozen=True, array_like=True):
    """Surroundings of a run: all that it depended on beside its inputs."""

    files: list[FileFact] = []
    variables: dict[str, str] = {}  # digests of environment variables that were read; "": it was not set
    other_variables: str = ""  # digest of those that libraries read by themselves, or of all
    reads_all_variables: bool = False
    packages: dict[str, str] = {}  # versions of distributions
    modules: dict[str, tuple[str, str]] = {}  # files and digests of local modules


def take(
    files: Iterable[FileFact],
    variables: Iterable[str],
    tops: Iterable[str],
    modules: Iterable[str],
    environment: Mapping[bytes, bytes],
) -> Surroundings:
    """Return the surroundings of a run.

    Parameters
    ----------
    files
        The files that it read.
    variables
        The environment variables that it read; `ALL_NAMES` among them if it may be any.
    tops
        The top-level packages that it can reach.
    modules
        The local modules that it can reach.
    environment
        All environment variables, as they were before.
    """
    names = set(variables)
    reads_all = ALL_NAMES in names
    return Surroundings(
        list(files),
        {name: _digest_of_variable(environment, name) for name in sorted(names - {ALL_NAMES})},
        _digest_of_variables(environment, reads_all=reads_all),
        reads_all,
        packages.versions_of(tops),
        {name: _module(name) for name in sorted(modules)},
    )


def change(then: Surroundings) -> str:
    """Return what has changed since surroundings were taken, for people; nothing if they are the same."""
    environment: Mapping[bytes, bytes] = os.environb._data  # type: ignore[attr-defined] # noqa: SLF001 - no copy
    for name, digest in then.variables.items():
        if _digest_of_variable(environment, name) != digest:
            return f"the environment variable {name} has another value"
    if _digest_of_variables(environment, reads_all=then.reads_all_variables) != then.other_variables:
        return "environment variables have other values"
    for name, version in then.packages.items():
        now = packages.version_of(name)
        if now != version:
            return f"{name} is {now or 'not installed'}, it was {version or 'not installed'}"
    for name, (place, digest) in then.modules.items():
        if local_code.digest_of_module(name, place) != digest:
            return f"the module {name} has changed"
    for fact in then.files:
        if fact.has_changed():
            return f"{'the folder ' if fact.is_folder else ''}{fact.path} has changed"
    return ""


def _module(name: str) -> tuple[str, str]:
    place = local_code.place_of_module(name)
    return place, local_code.digest_of_module(name, place)


def _digest_of_variable(environment: Mapping[bytes, bytes], name: str) -> str:
    value = environment.get(name.encode("utf-8", "surrogateescape"))
    return "" if value is None else digest_of([b"=", value])


def _digest_of_variables(environment: Mapping[bytes, bytes], *, reads_all: bool) -> str:
    chosen = sorted(
        (name, value)
        for name, value in environment.items()
        if (not is_read_by_no_package(name) if reads_all else is_read_by_libraries(name))
    )
    return digest_of([msgspec.msgpack.encode(chosen)])
