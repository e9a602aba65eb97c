"""The files beside a notebook that a dispatch may import are found without importing them, as they are now."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import covalab as ct
from covalab.blobs import BlobStore, InMemory
from covalab.core.codec import digest_of
from covalab.core.local_modules import LocalModules, unpack
from covalab.core.model import Digest
from covalab.sdk.code.local_modules import store_local_modules
from covalab.sdk.code.modules import beside

FILES = {
    "nb_helper.py": "import nb_other\nimport os, numpy\ndef h(): return 1\n",
    "nb_other.py": "N = 1\n",
    "nb_late.py": "def f():\n    from nb_shapes.deep import core\n    return core\n",
    "nb_unused.py": "",
    "nb_broken.py": "def f(:\n",
    "nb_shapes/__init__.py": "from . import unit\n",
    "nb_shapes/unit.py": "N = 1\n",
    "nb_shapes/area.py": "from .deep.core import *\nfrom nb_shapes.unit import N\n",
    "nb_shapes/alone.py": "",
    "nb_shapes/deep/__init__.py": "",
    "nb_shapes/deep/core.py": "from ..unit import N\nfrom . import rest as r\n",
    "nb_shapes/deep/rest.py": "",
    "nb_plugins/__init__.py": "import importlib\nALL = [importlib.import_module(f'{__name__}.{n}') for n in 'ab']\n",
    "nb_plugins/a.py": "",
    "nb_plugins/b.py": "import nb_other\n",
    "nb_space/inner.py": "",
    "nb_c.cpython-311-x86_64-linux-gnu.so": "",
    "nb_c.abi3.so": "",
    "nb_c.py": "",
    "json.py": "",
    "pytest.py": "",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of a notebook, which is searched first."""
    for name, source in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("nb_")]:
        del sys.modules[name]


def of_notebook(source: str, **names: Any) -> Any:
    """Return the function `f` of a cell."""
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    exec(source, namespace)
    return namespace["f"]


def found(*objects: Any) -> LocalModules:
    """Return the modules that are found, by name."""
    inline: dict[Digest, bytes] = {}
    digest = store_local_modules(objects, InMemory(), inline)
    assert set(inline) == ({digest} if digest else set())
    return {name: one for name, one in unpack(inline[digest]).items() if name.startswith("nb_")} if digest else {}


SHAPES = {"nb_shapes", "nb_shapes.unit"}
DEEP = {*SHAPES, "nb_shapes.deep", "nb_shapes.deep.core", "nb_shapes.deep.rest"}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("return 1", set()),
        ("import os, json, numpy, pytest; return 1", set()),
        ("import nb_helper", {"nb_helper", "nb_other"}),
        ("import nb_other as other", {"nb_other"}),
        ("from nb_other import N", {"nb_other"}),
        ("import nb_late", {"nb_late", *DEEP}),
        ("import nb_broken", {"nb_broken"}),
        ("import nb_shapes", SHAPES),
        ("import nb_shapes.alone", {*SHAPES, "nb_shapes.alone"}),
        ("from nb_shapes import alone", {*SHAPES, "nb_shapes.alone"}),
        ("import nb_shapes.area", {"nb_shapes.area", *DEEP}),
        ("from nb_shapes.deep.core import rest", DEEP),
        ("import nb_space.inner", {"nb_space", "nb_space.inner"}),
        ("import nb_c", set()),
        ("import nb_not_there, nb_shapes.not_there", SHAPES),
        ("import nb_plugins", {"nb_plugins", "nb_plugins.a", "nb_plugins.b", "nb_other"}),
        ("import importlib; importlib.import_module('nb_other')", {"nb_other"}),
        ("return __import__('nb_shapes.alone')", {*SHAPES, "nb_shapes.alone"}),
        ("def g():\n  return [__import__ and 1 for _ in (lambda: 1,)]\n return g", set()),
        ("def g():\n  import nb_other\n return g", {"nb_other"}),
        ("class A:\n  def g(self): import nb_other\n return A", {"nb_other"}),
        ("return lambda: [nb_other for _ in '1' for nb_other in [__import__('nb_other')]]", {"nb_other"}),
    ],
)
def test_what_a_function_imports_is_found(folder: Path, body: str, names: set[str]) -> None:
    """In its body, inside of what it defines, and from there on in the files; never what is installed."""
    function = of_notebook(f"def f():\n {body}")

    assert set(found(function)) == names
    assert not [name for name in sys.modules if name.startswith("nb_")], "nothing was imported to find out"


def test_each_travels_with_its_place(folder: Path) -> None:
    """A package is known as one; a namespace package has folders."""
    modules = found(of_notebook("def f(): import nb_shapes.unit, nb_space"))

    assert modules["nb_shapes"].path == os.fsencode(folder / "nb_shapes" / "__init__.py")
    assert modules["nb_shapes"].is_package
    assert modules["nb_shapes.unit"].source == b"N = 1\n"
    assert modules["nb_space"].source is None
    assert modules["nb_space"].folders == [os.fsencode(folder / "nb_space")]


HOLDERS: list[Callable[[Any], Any]] = [
    lambda f: f,
    functools.lru_cache,
    functools.partial,
    contextlib.contextmanager,
    lambda f: [f],
    lambda f: {"a": (f,)},
    ct.electron,
    lambda f: ct.electron(ct.lattice(f)),
    lambda f: ct.lattice(of_notebook("def f(): return g()", g=ct.electron(f))),
    lambda f: of_notebook("def f(): return g()", g=f),
    lambda f: of_notebook("def f(a=g): return a()", g=f),
    lambda f: of_notebook("def f(*, a=g): return a()", g=f),
    lambda f: of_notebook("def f(g=g):\n def h(): return g()\n return h\nf = f()", g=f),
    lambda f: of_notebook("class f:\n def m(self): return g()", g=f),
    lambda f: of_notebook("class A:\n @staticmethod\n def m(): return g()\nclass f(A): pass", g=f),
    lambda f: of_notebook("class A:\n @property\n def m(self): return g()\nf = A()", g=f),
    lambda f: of_notebook("class A:\n def m(self): return g()\nf = A().m", g=f),
    lambda f: of_notebook("class A:\n def __init__(self): self.g = g\nf = A()", g=f),
    lambda f: of_notebook("class A(dict): pass\nf = A(a=g)", g=f),
    lambda f: ct.electron(call_before=ct.DepsCall(f))(of_notebook("def f(): pass")),
    lambda f: ct.electron(call_after=ct.DepsCall(f))(of_notebook("def f(): pass")),
]


@pytest.mark.parametrize("holder", HOLDERS)
def test_it_is_found_wherever_the_function_is(folder: Path, holder: Callable[[Any], Any]) -> None:
    """Helpers that are carried, defaults, closures, classes, wrappers, hooks, electrons, sublattices."""
    assert set(found(holder(of_notebook("def f(): import nb_other")))) == {"nb_other"}


def test_what_is_loaded_and_referred_to_is_found(folder: Path) -> None:
    """A module, a submodule through its package, a function, and the class of an argument."""
    import nb_helper  # type: ignore[import-not-found]
    import nb_shapes.alone  # type: ignore[import-not-found]

    assert set(found(of_notebook("def f(): return m.h()", m=nb_helper))) == {"nb_helper", "nb_other"}
    alone = of_notebook("def f(): return m.alone", m=nb_shapes)
    assert set(found(alone)) == {*SHAPES, "nb_shapes.alone"}
    assert set(found(nb_helper.h)) == {"nb_helper", "nb_other"}
    exec("class Point: pass", vars(nb_helper))
    assert set(found((1, [nb_helper.Point()]))) == {"nb_helper", "nb_other"}


def test_relative_imports_of_a_function_are_found(folder: Path) -> None:
    """Those of a function of a package that travels by value, and of a script that was run as a module."""
    here = {"__name__": "nb_shapes.area", "__package__": "nb_shapes"}
    source = "def f():\n from . import alone\n from .deep import core"

    assert {"nb_shapes.alone", "nb_shapes.deep.core"} <= set(found(of_notebook(source, **here)))
    as_module = of_notebook(source, __package__="nb_shapes")
    assert {"nb_shapes.alone", "nb_shapes.deep.core"} <= set(found(as_module))


def test_an_edit_is_seen_at_once(folder: Path) -> None:
    """Of the same length, with the times of before, in a file of the same name, and one that is new or gone."""
    function = of_notebook("def f(): import nb_other, nb_new")
    file = folder / "nb_other.py"
    times = (1_000_000_000, 1_000_000_000)
    os.utime(file, times)
    assert found(function)["nb_other"].source == b"N = 1\n"
    file.write_text("N = 2\n")
    os.utime(file, times)
    assert found(function)["nb_other"].source == b"N = 2\n"
    (folder / "aside").write_text("N = 3\n")
    (folder / "aside").replace(file)
    assert found(function)["nb_other"].source == b"N = 3\n"
    (folder / "nb_new.py").write_text("")
    assert set(found(function)) == {"nb_other", "nb_new"}
    file.unlink()
    assert set(found(function)) == {"nb_new"}


def test_asking_again_reads_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last change is some time ago."""
    function = of_notebook("def f(): import nb_late")
    monkeypatch.setattr("covalab.sdk.code.source_files._RECENT_SECONDS", -1.0)
    before = found(function)
    monkeypatch.setattr("builtins.open", None)
    monkeypatch.setattr(os, "listdir", None)
    monkeypatch.setattr("ast.parse", None)

    assert found(function) == before


def test_what_is_installed_is_not_beside(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also not where somebody installed packages into a folder and put it on the path."""
    (folder / "something-1.0.dist-info").mkdir()

    assert not found(of_notebook("def f(): import nb_other"))


def test_too_much_stays_at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond the limit is read from its file, as everything was once."""
    (folder / "nb_big.py").write_text("import nb_other\n" + "#" * 1000)
    monkeypatch.setattr("covalab.sdk.code.local_modules.SIZE_LIMIT", 900)

    assert set(found(of_notebook("def f(): import nb_big, nb_unused"))) == {"nb_unused"}


def test_many_modules_are_a_blob(folder: Path, tmp_path: Path) -> None:
    """As long functions are."""
    (folder / "nb_long.py").write_bytes(b"N = '" + os.urandom(100_000).hex().encode() + b"'\n")
    inline: dict[Digest, bytes] = {}
    blobs = BlobStore(tmp_path / "blobs")

    digest = store_local_modules([of_notebook("def f(): import nb_long")], blobs, inline)

    assert not inline
    assert digest == digest_of([blobs.read(digest)])
    assert set(unpack(blobs.read(digest))) == {"nb_long"}


class Hostile:
    """An object that wants to be left alone."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_looking_harms_nothing(folder: Path) -> None:
    """An object that refuses, one that contains itself, and a generator that is not used up."""
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    numbers = iter(range(3))

    assert set(found(Hostile(), cyclic, numbers, of_notebook("def f(): import nb_other"))) == {"nb_other"}
    assert list(numbers) == [0, 1, 2]
    assert isinstance(of_notebook("def f(): pass"), FunctionType)


def test_an_edit_of_a_submodule_is_a_change_of_its_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it can travel by value is asked again: the new text may hold a lock."""
    import nb_shapes.alone

    assert nb_shapes in beside()
    (folder / "nb_shapes" / "alone.py").write_text("import threading\nLOCK = threading.Lock()\n")
    exec("import threading\nLOCK = threading.Lock()", vars(nb_shapes.alone))  # as %autoreload does
    assert nb_shapes not in beside()
