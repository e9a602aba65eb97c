"""Provenance that is taken when a dispatch is made: packages once per process, git without waiting for it."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

from covalab.core.codec import printable
from covalab.core.provenance import Git, Provenance, commit_of, pack_packages, package_of, without_password
from covalab.worker.search_path import environment_path

_WAIT_SECONDS: Final = 0.015
"""How long a dispatch waits for git to say whether files were changed. In most repositories it needs less."""

_FRESH_SECONDS: Final = 10.0
_GIT_SECONDS: Final = 10.0
_TEXT_LIMIT: Final = 500


def taken(folder: str) -> Provenance:
    """Return the provenance of what this process dispatches now from a folder."""
    return Provenance(
        host=_host(),
        system=_system(),
        python=platform.python_version(),
        packages=_packages(),
        git=_git(folder),
    )


@functools.cache
def _host() -> str:
    return printable(platform.node(), _TEXT_LIMIT)


@functools.cache
def _system() -> str:
    return printable(f"{platform.system()} {platform.release()} {platform.machine()}", _TEXT_LIMIT)


@functools.cache
def _packages() -> bytes:
    """Return the installed packages, packed. By the names of folders: reading the metadata would take a second."""
    found: dict[str, str] = {}
    for entry in sorted(environment_path()):
        with suppress(OSError):
            names = os.listdir(entry)  # noqa: PTH208 - paths of a thousand entries cost more
            found.update(package for name in names if (package := package_of(name)) is not None)
    return pack_packages(found)


def _git(folder: str) -> Git | None:
    """Return the state of the repository that a folder is in."""
    with suppress(OSError, UnicodeDecodeError):
        for place in (Path(folder), *Path(folder).parents):
            if (place / ".git").exists():
                own, common = _folders(place / ".git")
                head = (own / "HEAD").read_text()
                ref = _read(common / head.partition(":")[2].strip()) if head.startswith("ref:") else None
                commit, branch = commit_of(head, _read(common / "packed-refs") or "", ref)
                remote = without_password(_remote(_read(common / "config") or ""))
                return Git(
                    commit, printable(branch, _TEXT_LIMIT), _Status.of(str(place)), printable(remote, _TEXT_LIMIT)
                )
    return None


def _folders(git: Path) -> tuple[Path, Path]:
    """Return the folder of a working tree's own state, and that which it shares with others."""
    own = git
    if git.is_file():
        own = (git.parent / git.read_text().partition(":")[2].strip()).resolve()
    common = _read(own / "commondir")
    return own, (own / common.strip()).resolve() if common else own


def _read(path: Path) -> str | None:
    try:
        return path.read_text() if path.is_file() else None
    except OSError:
        return None


def _remote(config: str) -> str:
    """Return the address of `origin` in the configuration of a repository."""
    is_in = False
    for line in map(str.strip, config.splitlines()):
        if line.startswith("["):
            is_in = line == '[remote "origin"]'
        elif is_in and line.partition("=")[0].strip() == "url":
            return line.partition("=")[2].strip()
    return ""


class _Status:
    """Answers of git about changed files, by repository, and the threads that ask it."""

    known: ClassVar[dict[str, tuple[float, bool | None]]] = {}
    asked: ClassVar[dict[str, threading.Thread]] = {}

    @classmethod
    def of(cls, root: str) -> bool | None:
        """Return whether files that git knows were changed; None if it does not say so in time."""
        at, dirty = cls.known.get(root, (-_FRESH_SECONDS, None))
        if time.monotonic() - at < _FRESH_SECONDS:
            return dirty
        thread = cls.asked.get(root)
        if thread is None or not thread.is_alive():
            thread = cls.asked[root] = threading.Thread(target=cls._ask, args=(root,), daemon=True, name="covalab-git")
            thread.start()
        thread.join(_WAIT_SECONDS)
        at, dirty = cls.known.get(root, (-_FRESH_SECONDS, None))
        return dirty if time.monotonic() - at < _FRESH_SECONDS else None

    @classmethod
    def _ask(cls, root: str) -> None:
        # No program that the repository's configuration names is to run because somebody dispatches.
        command = ["git", "-c", "core.fsmonitor=false", "status", "--porcelain", "--untracked-files=no"]
        dirty = None
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                command,
                cwd=root,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_GIT_SECONDS,
                check=False,
            )
            dirty = bool(done.stdout.strip()) if done.returncode == 0 else None
        cls.known[root] = time.monotonic(), dirty
