"""`constraints.txt`: one version of each package, and nothing of the machine or the registry that it was made with."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import tomlkit
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


def normalized(requirement: str) -> str:
    """Return the name of a package as `constraints.txt` has it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_every_line_is_a_version() -> None:
    """No address, no path, no option: a file with one works on that machine only."""
    pin = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[a-z0-9.!+]+( ; [a-z_ '<>=.0-9!()*]+)?", re.IGNORECASE)

    assert [line for line in LINES if not line.startswith("#") and not pin.fullmatch(line)] == []
    assert [line for line in LINES if "/" in line.replace(".ci/pin", "")] == []


def test_every_package_that_is_asked_for_has_one() -> None:
    """Those of the library, of its extras that the tests use, and of the tests; `.ci/pin` writes them."""
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()
    groups = project["dependency-groups"]
    asked = [*project["project"]["dependencies"], *groups["law"]]
    asked += [it for it in groups["dev"] if isinstance(it, str) and not it.startswith("covalab")]
    asked += [it for name in ("demo", "database", "s3") for it in project["project"]["optional-dependencies"][name]]
    pinned = {normalized(line) for line in LINES if not line.startswith("#")}

    assert len(asked) > 40
    assert [it for it in asked if normalized(it) not in pinned] == []


def test_versions_with_known_holes_are_not_accepted() -> None:
    """Scripts in Dask's pages, the origin check of the Jupyter server, the write-ahead log of SQLite."""
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8")).unwrap()["project"]
    asked = {it.name: it.specifier for it in map(Requirement, project["dependencies"])}
    floors = {
        "distributed": ("2026.1.0", "2026.1.1"),
        "jupyter-server": ("2.19.9", "2.20"),
        "apsw": ("3.51.2", "3.51.3"),
    }

    for name, (bad, good) in floors.items():
        assert not asked[name].contains(bad), name
        assert asked[name].contains(good), name
    assert Version(apsw.sqlite_lib_version()) >= Version("3.51.3")
