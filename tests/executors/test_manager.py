"""Which executors there are, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from covalab import executor
from covalab.core.errors import ExecutorNotFound
from covalab.executors.manager import _ExecutorManager

PLUG_IN = """
from covalab.executor import BaseExecutor

executor_plugin_name = "Fancy"
_EXECUTOR_PLUGIN_DEFAULTS = {"colour": "red", "size": 1}


class Fancy(BaseExecutor):
    def __init__(self, colour="", size=0, **kwargs):
        super().__init__(**kwargs)
        self.colour, self.size = colour, size

    def run(self, function, args, kwargs, task_metadata):
        return function(*args, **kwargs)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which the user keeps plug-ins."""
    monkeypatch.setenv("COVALENT_EXECUTOR_DIR", str(tmp_path))
    monkeypatch.setenv("COVALAB_CONFIG", str(tmp_path / "covalab.toml"))
    return tmp_path


def test_the_built_in_ones_are_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By Covalent's short names, which are printed when that is asked for."""
    assert _ExecutorManager().list_executors() == ["local", "dask", "remote_executor"]
    assert capsys.readouterr().out == "local\ndask\nremote_executor\n"


def test_a_plug_in_is_called_after_its_module(folder: Path) -> None:
    """Not after its class; its defaults are arguments, and the configuration goes before them."""
    (folder / "quick_one.py").write_text(PLUG_IN)
    (folder / "covalab.toml").write_text("[executors.quick_one]\nsize = 7\n")
    manager = _ExecutorManager()
    found = manager.get_executor("quick_one")

    assert manager.list_executors(print_names=False)[-1] == "quick_one"
    assert (type(found).__name__, found.short_name(), found.colour, found.size) == ("Fancy", "quick_one", "red", 7)
    assert manager.get_executor(found) is found
    assert manager.defaults("quick_one") == {"colour": "red", "size": 1}


def test_plug_ins_are_found_in_every_folder_that_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Separated by colons; `EXECUTOR_PLUGIN_NAME` in capitals or not; a folder that is not there is passed over."""
    for name in ("first", "second"):
        (folder / name).mkdir()
    (folder / "first" / "small.py").write_text(PLUG_IN)
    (folder / "second" / "capitals.py").write_text(PLUG_IN.replace("executor_plugin_name", "EXECUTOR_PLUGIN_NAME"))
    monkeypatch.setenv("COVALENT_EXECUTOR_DIR", f"{folder}/first:{folder}/nothing:{folder}/second")

    assert set(_ExecutorManager().list_executors(print_names=False)) >= {"small", "capitals"}
    assert _ExecutorManager().get_executor("capitals").short_name() == "capitals"


def test_a_broken_plug_in_keeps_no_other_away(folder: Path) -> None:
    """Who asks for it learns why it is not there, until it is mended."""
    (folder / "broken.py").write_text("import no_such_module")
    (folder / "nameless.py").write_text("x = 1")
    (folder / "foreign.py").write_text("import covalent_of_old\n")
    manager = _ExecutorManager()

    with pytest.raises(ExecutorNotFound, match=r"No executor found by name 'broken' \(.*no_such_module.*there is dask"):
        manager.get_executor("broken")
    with pytest.raises(ExecutorNotFound, match="EXECUTOR_PLUGIN_NAME"):
        manager.find("nameless")
    (folder / "broken.py").write_text(PLUG_IN)
    assert manager.get_executor("broken").colour == "red"


def test_a_plug_in_for_covalent_says_how_to_open_the_doorway(folder: Path) -> None:
    """Where the doorway is closed."""
    (folder / "theirs.py").write_text("import covalent\n")

    with pytest.raises(ExecutorNotFound, match=r"call covalab\.compat\.install\(\) first"):
        _ExecutorManager().find("theirs")


def test_what_is_no_executor_is_refused() -> None:
    """Neither a name nor an instance."""
    with pytest.raises(TypeError, match="is named or made from BaseExecutor"):
        _ExecutorManager().get_executor(3)


def test_classes_are_attributes_of_the_package() -> None:
    """Those that are there; the error names who knows them."""
    assert executor.LocalExecutor.__name__ == "LocalExecutor"
    with pytest.raises(AttributeError, match="list_executors"):
        _ = executor.NoSuchExecutor
