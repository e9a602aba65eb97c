"""A dispatch says which interpreter, folder and cell it comes from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest

import covalab as ct
from covalab.core.model import Environment
from covalab.core.os_text import received
from covalab.sdk.environment import environment, origin
from covalab.worker.environment import enter_folder


def test_it_is_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Interpreter, folder, versions and the variables that decide what can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    found = environment()

    assert (found.python, found.prefix, found.cwd) == (sys.executable, sys.prefix, str(tmp_path))
    assert found.shell_env["VIRTUAL_ENV"] == "/somewhere"
    assert "CONDA_PREFIX" not in found.shell_env
    assert found.versions["covalab"] == ct.__version__
    assert set(found.versions) == {"python", "covalab", "cloudpickle", "distributed"}


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff", b"a \x80 b", b"\xe9t\xe9/\xfc", b"100%\xc3"])
def test_folders_that_are_no_utf8_travel(name: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Working folder, entries of the path and variables can be sent, and name the same folders where they arrive."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("JPY_SESSION_NAME", f"{folder}/a.ipynb")
    found = msgspec.msgpack.decode(msgspec.msgpack.encode(environment()), type=Environment)

    assert received(found.cwd) == str(folder)
    assert str(folder) in map(received, found.path)
    assert received(found.shell_env["PATH"]).startswith(str(folder))
    assert msgspec.msgpack.encode(origin())
    monkeypatch.chdir(tmp_path)
    enter_folder(found.cwd, found.path)
    assert str(Path.cwd()) == str(folder)


def test_the_scripts_folder_travels_and_the_usual_path_does_not(tmp_path: Path) -> None:
    """A fresh interpreter with these entries finds what the script finds, and no entry is one it has anyway."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; sys.path.append('relative'); from covalab.sdk.environment import environment; "
        "print(chr(10).join(environment().path))"
    )
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True, capture_output=True, text=True)
    path = done.stdout.splitlines()
    fresh = subprocess.run(
        [sys.executable, "-c", "import sys; print(chr(10).join(sys.path[1:]))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()

    assert path[0] == str(tmp_path)
    assert path[-1] == str(tmp_path / "relative")
    assert not {entry for entry in fresh if "lib/python" in entry} & set(path)


def test_no_notebook_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a script there is neither a notebook nor a cell."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)

    found = origin()

    assert (found.notebook, found.cell, found.pid) == ("", "", os.getpid())


@pytest.mark.parametrize(
    ("message", "cell"),
    [({"metadata": {"cellId": "c1"}}, "c1"), ({"metadata": {}}, ""), ({}, ""), ({"metadata": None}, "")],
)
def test_the_running_cell_is_named(monkeypatch: pytest.MonkeyPatch, message: dict[str, Any], cell: str) -> None:
    """The kernel's parent message has the id, from front ends that send one."""
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda _: message))
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/a.ipynb")

    found = origin()

    assert (found.notebook, found.cell) == ("/home/me/a.ipynb", cell)
