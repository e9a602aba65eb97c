"""Provenance that a process takes, without asking more of git than it must."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.waiting import until

from covalab.core.provenance import Git, unpack_packages
from covalab.sdk import provenance


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder."""
    own = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *own, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_state_of_the_repository_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder below; after a change; with packed references; in a working tree; without passwords."""
    monkeypatch.setattr(provenance, "_FRESH_SECONDS", 0.2)
    monkeypatch.setattr(provenance, "_WAIT_SECONDS", 30.0)
    root = tmp_path / "repository"
    below = root / "a" / "b"
    below.mkdir(parents=True)
    assert provenance.taken(str(tmp_path)).git is None
    git(root, "init")
    assert provenance.taken(str(below)).git == Git("", "main", dirty=False)
    (root / "file").write_text("1")
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    git(root, "remote", "add", "origin", "https://ada:secret@example.org/a.git")
    commit, address = git(root, "rev-parse", "HEAD"), "https://***@example.org/a.git"
    until(lambda: provenance.taken(str(below)).git == Git(commit, "main", dirty=False, remote=address))
    (root / "file").write_text("2")
    until(lambda: provenance.taken(str(below)).git == Git(commit, "main", dirty=True, remote=address))
    git(root, "pack-refs", "--all")
    assert provenance.taken(str(below)).git == Git(commit, "main", dirty=True, remote=address)
    git(root, "worktree", "add", "-b", "side", str(tmp_path / "side"))
    until(lambda: provenance.taken(str(tmp_path / "side")).git == Git(commit, "side", dirty=False, remote=address))
    git(root, "checkout", "--detach", "-f")
    until(lambda: provenance.taken(str(root)).git == Git(commit, "", dirty=False, remote=address))


def test_a_slow_git_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is not known whether files were changed; nor where there is no git at all."""
    git(tmp_path, "init")
    monkeypatch.setenv("PATH", "")
    found = provenance.taken(str(tmp_path)).git
    assert found is not None
    assert found.dirty is None


def test_all_installed_packages_are_named() -> None:
    """With the versions that their metadata has."""
    packages = unpack_packages(provenance.taken("/").packages)
    assert packages["msgspec"] == __import__("msgspec").__version__
    assert len(packages) > 50
