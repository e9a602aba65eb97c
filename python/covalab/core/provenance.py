"""Provenance of a dispatch: of which code, packages and machine it is. Structs, and how they are read. Pure."""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

_HIDDEN: Final = "***"


class Git(msgspec.Struct, frozen=True):
    """State of the repository in which a dispatch was made; `dirty` is None where that was not known in time."""

    commit: str = ""
    branch: str = ""
    dirty: bool | None = None
    remote: str = ""


class Provenance(msgspec.Struct, frozen=True):
    """State of the process that dispatched. `packages` are all that are installed, packed: they are most of it."""

    host: str = ""
    system: str = ""
    python: str = ""
    packages: bytes = b""
    git: Git | None = None


def pack_packages(packages: dict[str, str]) -> bytes:
    """Return names and versions of packages, packed."""
    return zlib.compress(msgspec.json.encode(dict(sorted(packages.items()))), 6) if packages else b""


def unpack_packages(packed: bytes) -> dict[str, str]:
    """Return what `pack_packages` packed.

    Examples
    --------
    >>> unpack_packages(pack_packages({"b": "2", "a": "1"}))
    {'a': '1', 'b': '2'}
    """
    return msgspec.json.decode(zlib.decompress(packed), type=dict[str, str]) if packed else {}


def package_of(folder: str) -> tuple[str, str] | None:
    """Return name and version of a package from the name of the folder of its metadata.

    Examples
    --------
    >>> package_of("numpy-2.1.0.dist-info"), package_of("my_package-1.0rc1.egg-info"), package_of("numpy")
    (('numpy', '2.1.0'), ('my-package', '1.0rc1'), None)
    """
    for ending in (".dist-info", ".egg-info"):
        if folder.endswith(ending):
            name, _, version = folder.removesuffix(ending).partition("-")
            return name.replace("_", "-").lower(), version.partition("-py")[0]
    return None


def without_password(address: str) -> str:
    """Return the address of a repository without what may be a password or token in it.

    Examples
    --------
    >>> without_password("https://ada:secret@example.org/a.git"), without_password("git@example.org:a.git")
    ('https://***@example.org/a.git', 'git@example.org:a.git')
    """
    scheme, found, rest = address.partition("://")
    if not found or "@" not in rest.partition("/")[0]:
        return address
    return f"{scheme}://{_HIDDEN}@{rest.partition('@')[2]}"


def commit_of(head: str, packed_refs: str, ref: str | None) -> tuple[str, str]:
    """Return commit and branch from the files of a repository: `HEAD`, `packed-refs`, and that of the branch (or None).

    Examples
    --------
    >>> commit_of("ref: refs/heads/main", "", "abc"), commit_of("ref: refs/heads/a/b", "1f refs/heads/a/b", None)
    (('abc', 'main'), ('1f', 'a/b'))
    >>> commit_of("deadbeef", "", None)
    ('deadbeef', '')
    """
    head = head.strip()
    if not head.startswith("ref:"):
        return head, ""
    name = head.removeprefix("ref:").strip()
    if ref is None:
        lines = (line.split(" ", 1) for line in packed_refs.splitlines() if not line.startswith(("#", "^")))
        ref = next((commit for commit, *its in lines if its == [name]), "")
    return ref.strip(), name.removeprefix("refs/heads/")
