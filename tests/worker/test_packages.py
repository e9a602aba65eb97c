"""Packages in a folder of their own: made once, whole or not at all, and seen only by the task that wants them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.wheels import make_wheel

from covalab.core.errors import DepsFailed
from covalab.worker import packages
from covalab.worker.packages import packages_folder, visible

NAME = "covalab_tiny"


@pytest.fixture
def wheels(tmp_path: Path) -> Iterator[list[str]]:
    """Return the options of pip that find two versions of a tiny package and nothing else."""
    folder = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        make_wheel(folder, NAME, version, f"VERSION = '{version}'\n")
    make_wheel(folder, "covalab_needy", "1.0", f"import {NAME}\n", (NAME, "numpy"))
    yield ["--no-index", f"--find-links={folder}"]
    sys.modules.pop(NAME, None)


def imported() -> str:
    """Return the version of the tiny package that can be imported now, empty if none can."""
    try:
        return str(importlib.import_module(NAME).VERSION)
    except ModuleNotFoundError:
        return ""


def test_two_versions_live_side_by_side(tmp_path: Path, wheels: list[str]) -> None:
    """Each is seen only while its folder is visible, here and in child processes; nothing is installed elsewhere."""
    one = packages_folder(tmp_path / "p", [*wheels, f"{NAME}==1.0"])
    two = packages_folder(tmp_path / "p", [*wheels, f"{NAME}==2.0"])
    assert one is not None
    assert two is not None
    seen = []
    for folder in (one, two, one):
        with visible(folder):
            child = subprocess.run(
                [sys.executable, "-c", f"import {NAME}; print({NAME}.VERSION)"],
                capture_output=True,
                text=True,
                check=True,
            )
            seen.append((imported(), child.stdout.strip()))
        seen.append((imported(), ""))

    assert seen == [("1.0", "1.0"), ("", ""), ("2.0", "2.0"), ("", ""), ("1.0", "1.0"), ("", "")]
    assert not [entry for entry in sys.path if entry.startswith(str(tmp_path / "p"))]
    assert str(tmp_path) not in os.environ.get("PYTHONPATH", "")


def test_a_module_is_the_same_one_when_its_folder_is_seen_again(tmp_path: Path, wheels: list[str]) -> None:
    """Some libraries can be loaded only once in a process; one that was loaded before is back afterwards."""
    folder = packages_folder(tmp_path / "p", [*wheels, NAME])
    assert folder is not None
    with visible(folder):
        first = importlib.import_module(NAME)
    theirs = type(sys)(NAME)
    sys.modules[NAME] = theirs
    with visible(folder):
        assert importlib.import_module(NAME) is first
    assert sys.modules[NAME] is theirs


def test_a_folder_is_made_once(tmp_path: Path, wheels: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time nothing is started; other requirements are another folder."""
    first = packages_folder(tmp_path / "p", [*wheels, NAME])
    monkeypatch.setattr(packages, "_install", None)

    assert packages_folder(tmp_path / "p", [*wheels, NAME]) == first
    with pytest.raises(TypeError):
        packages_folder(tmp_path / "p", [*wheels, f"{NAME}<2"])


def test_what_is_installed_already_is_used(tmp_path: Path) -> None:
    """In a version that will do, with markers and comments; then there is no folder at all."""
    version = np.__version__
    text = f"# needed\nnumpy>={version}  # arrays\nnot-there-xyz; python_version < '3'\n"

    assert packages_folder(tmp_path / "p", ["numpy", f"numpy=={version}"]) is None
    assert packages_folder(tmp_path / "p", [], text) is None
    assert not (tmp_path / "p").exists()


def test_dependencies_that_are_installed_stay_where_they_are(tmp_path: Path, wheels: list[str]) -> None:
    """Of what a package needs, only what the environment lacks is in its folder: two NumPys do not go together."""
    version = np.__version__
    make_wheel(tmp_path / "wheels", "numpy", version, "raise ImportError('the copy')\n")
    folder = packages_folder(tmp_path / "p", [*wheels, "covalab_needy"])
    assert folder is not None
    found = {path.name for path in folder.iterdir()}

    assert {f"{NAME}.py", "covalab_needy.py"} <= found
    assert "numpy.py" not in found
    with visible(folder):
        importlib.import_module("covalab_needy")
        assert importlib.import_module("numpy") is np


def test_a_failed_installation_leaves_nothing(tmp_path: Path, wheels: list[str]) -> None:
    """The error has the command, its exit code and the end of what it printed."""
    with pytest.raises(DepsFailed, match=r"DepsPip: `.*covalab_tiny==9.0` ended with exit code 1: (.|\n)*covalab.tiny"):
        packages_folder(tmp_path / "p", [*wheels, f"{NAME}==9.0"])

    assert not [path for path in (tmp_path / "p").iterdir() if path.suffix != ".lock"]


def test_what_a_killed_worker_left_is_removed(tmp_path: Path, wheels: list[str]) -> None:
    """The next one that makes the folder cleans up."""
    folder = packages_folder(tmp_path / "p", [*wheels, NAME])
    assert folder is not None
    folder.rename(folder.with_name(f".{folder.name}.dead"))
    packages_folder(tmp_path / "p", [*wheels, NAME])

    assert {path.name for path in (tmp_path / "p").iterdir()} == {folder.name, f"{folder.name}.lock"}


def test_several_processes_make_one_folder(tmp_path: Path, wheels: list[str]) -> None:
    """A lock lets one install; all have it afterwards."""
    call = f"packages_folder(Path({str(tmp_path / 'p')!r}), {[*wheels, NAME]!r})"
    code = f"from pathlib import Path; from covalab.worker.packages import packages_folder; {call}"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) for _ in range(3)]

    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len([path for path in (tmp_path / "p").iterdir() if path.is_dir()]) == 1


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, wheels: list[str]) -> None:
    """With the place and what to do."""
    (tmp_path / "p").write_text("in the way")
    with pytest.raises(DepsFailed, match="make it writable"):
        packages_folder(tmp_path / "p", [*wheels, NAME])


@pytest.mark.parametrize(
    ("has_pip", "has_uv", "command"),
    [(True, True, "-m pip install"), (False, True, "uv pip install"), (False, False, "-m pip install")],
)
def test_the_installer_is_pip_or_else_uv(
    has_pip: bool, has_uv: bool, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the pip that Python brings. uv, which does not read pip's settings, is told of the common ones."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if has_pip else None)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/uv" if has_uv else None)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.invalid/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/a /b")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    bundled = tmp_path / "ensurepip" / "_bundled"  # what some distributions leave out
    bundled.mkdir(parents=True)
    (bundled.parent / "__init__.py").touch()
    (bundled / "pip-1-py3-none-any.whl").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "ensurepip", raising=False)
    words, variables = packages._installer()

    assert command in " ".join(words)
    if "uv" in words[0]:
        assert variables["UV_DEFAULT_INDEX"] == "https://index.invalid/simple"
        assert variables["UV_FIND_LINKS"] == "/a,/b"
    else:
        assert variables == ({} if has_pip else {"PYTHONPATH": str(bundled / "pip-1-py3-none-any.whl")})
    sys.modules.pop("ensurepip", None)
    if not has_pip and not has_uv:
        (bundled / "pip-1-py3-none-any.whl").unlink()
        with pytest.raises(DepsFailed, match="has no pip, and there is no uv"):
            packages._installer()
        sys.modules.pop("ensurepip", None)


def test_a_local_project_that_changed_is_installed_again(tmp_path: Path) -> None:
    """A wheel or folder that is named by its path is known by when it changed."""
    path = make_wheel(tmp_path / "wheels", NAME, "1.0", "VERSION = 'a'\n")
    first = packages_folder(tmp_path / "p", [str(path)])
    os.utime(path, (1, 1))

    assert packages_folder(tmp_path / "p", [str(path)]) != first
