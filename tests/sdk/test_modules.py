"""Which modules lie beside the notebook, and that they, and only they, travel by value."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cloudpickle
import numpy as np
import pytest

import covalab
from covalab.sdk.code.modules import beside, beside_by_value, by_value

NAMES = ("beside_one", "beside_locked", "beside_package", "beside_package.inner")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of a notebook, with three modules in it that can be imported."""
    (tmp_path / "beside_one.py").write_text("class Point: pass\ndef answer(): return 42\n")
    (tmp_path / "beside_locked.py").write_text("import threading\nLOCK = threading.Lock()\n")
    package = tmp_path / "beside_package"
    package.mkdir()
    (package / "__init__.py").write_text("from beside_package import inner\n")
    (package / "inner.py").write_text("def answer(): return 43\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in NAMES:
        sys.modules.pop(name, None)


def names() -> set[str]:
    """Return the names of the modules beside."""
    return {module.__name__ for module in beside()}


def carries(module: ModuleType, function: str) -> bool:
    """Whether pickling a function now carries its code."""
    return b"co_code" in (data := cloudpickle.dumps(getattr(module, function))) or b"CodeType" in data


def test_only_modules_beside_the_notebook_are_found(folder: Path) -> None:
    """Loaded ones, packages by their own name; not the standard library, installed packages or projects in place."""
    assert not names().intersection(NAMES)
    importlib.import_module("beside_one")
    importlib.import_module("beside_package")

    assert names().intersection(NAMES) == {"beside_one", "beside_package"}
    for installed in (json, np, pytest, covalab, cloudpickle):
        assert installed.__name__ not in names()


def test_a_module_that_cannot_be_pickled_stays_at_home(folder: Path) -> None:
    """It holds a lock, so it travels by name; edited and imported anew, it is tried again."""
    importlib.import_module("beside_locked")
    assert "beside_locked" not in names()

    (folder / "beside_locked.py").write_text("NUMBER = 1\n")
    del sys.modules["beside_locked"]
    importlib.invalidate_caches()
    importlib.import_module("beside_locked")
    assert "beside_locked" in names()


def test_a_large_module_stays_at_home(folder: Path) -> None:
    """Data beside the code would be sent with every dispatch; arrays count, too."""
    (folder / "beside_locked.py").write_text("import numpy\nDATA = numpy.zeros(2_000_000)\n")
    importlib.invalidate_caches()
    importlib.import_module("beside_locked")

    assert "beside_locked" not in names()


def test_code_travels_only_while_it_is_asked_for(folder: Path) -> None:
    """Submodules go with their package; afterwards everything is as it was."""
    one, inner = importlib.import_module("beside_one"), importlib.import_module("beside_package.inner")
    before = cloudpickle.list_registry_pickle_by_value()
    with beside_by_value():
        assert carries(one, "answer")
        assert carries(inner, "answer")

    assert not carries(one, "answer")
    assert not carries(inner, "answer")
    assert cloudpickle.list_registry_pickle_by_value() == before


def test_the_users_own_wish_stays(folder: Path) -> None:
    """A module that the user registered stays registered; two at once do not end each other's."""
    one = importlib.import_module("beside_one")
    cloudpickle.register_pickle_by_value(one)
    with by_value([one]):
        pass
    assert carries(one, "answer")
    cloudpickle.unregister_pickle_by_value(one)

    with by_value([one]):
        with by_value([one]):
            pass
        assert carries(one, "answer")


def test_asking_again_costs_little(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found out once is kept: no module is pickled a second time."""
    importlib.import_module("beside_one")
    found = names()
    monkeypatch.delattr(cloudpickle, "dumps")

    assert names() == found
