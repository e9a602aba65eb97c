"""Importing covalab is quick, light and leaves no trace; its public surface is one sorted list."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import covalab as ct
from covalab._version import __version__

FORBIDDEN = {
    *("dask", "distributed", "tornado", "ipywidgets", "anywidget", "jupyter_server", "numpy", "networkx", "asyncio"),
    *("cloudpickle", "apsw", "click", "rich"),
}

PROBE = """
import json, os, sys
written = []
def audit(event, args):
    if event == "open":
        path, mode, flags = args
        writing = (mode and set(mode) & set("wax+")) or (flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writing:
            written.append(str(path))
    elif event in ("os.mkdir", "os.rename", "os.remove", "socket.connect", "subprocess.Popen"):
        written.append(f"{event} {args!r}")
sys.addaudithook(audit)
before = set(sys.modules)
import covalab
count = len(set(sys.modules) - before)
light = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
USED
used = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(json.dumps({"count": count, "light": light, "used": used, "written": written}))
"""


def probe(tmp_path: Path, use: str = "") -> dict[str, Any]:
    """Import covalab in a fresh interpreter with an empty home; return what it loaded and wrote."""
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "COVALAB_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE.replace("USED", use)],
        env=environ,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_importing_loads_nothing_heavy_and_writes_nothing(tmp_path: Path) -> None:
    """Not Dask, not tornado, not a widget, not NumPy; no file, folder, process or connection."""
    found = probe(tmp_path)

    assert not FORBIDDEN.intersection(found["light"])
    assert found["written"] == []
    assert list(tmp_path.iterdir()) == []


def test_using_the_whole_surface_loads_nothing_heavy(tmp_path: Path) -> None:
    """Neither does touching every public name: dispatching needs none of it."""
    found = probe(tmp_path, "[getattr(covalab, name) for name in covalab.__all__]")

    assert not (FORBIDDEN - {"cloudpickle"}).intersection(found["used"])
    assert found["written"] == []


def test_importing_loads_few_modules(tmp_path: Path) -> None:
    """What makes an import slow is their number; `tests/bench` has the seconds."""
    assert probe(tmp_path)["count"] < 50


def test_the_public_surface_is_one_sorted_list() -> None:
    """`ct.<Tab>` shows exactly the names in `__all__`, each of which is there and documented."""
    assert ct.__all__ == sorted(ct.__all__)
    assert dir(ct) == ct.__all__
    for name in set(ct.__all__) - {"metadata"}:  # the standard library's
        assert inspect.getdoc(getattr(ct, name)), name


def test_what_type_checkers_see_is_what_there_is() -> None:
    """The names that load when used are those of the list, from the places where they are defined."""
    assert sorted([*ct._HOME, *ct._MODULES]) == ct.__all__
    for name, module in ct._HOME.items():
        assert getattr(importlib.import_module(module), name) is getattr(ct, name)
    for name, module in ct._MODULES.items():
        assert importlib.import_module(module) is getattr(ct, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """So that `hasattr` and `from covalab import ...` say the usual things."""
    assert not hasattr(ct, "no_such_name")


def test_the_version_has_one_source() -> None:
    """The package says what the wheel is built with."""
    assert ct.__version__ == __version__


def test_jupyter_finds_the_front_end_and_the_server_extension() -> None:
    """The two functions that Jupyter looks for."""
    assert ct._jupyter_labextension_paths() == [{"src": "labextension", "dest": "covalab"}]
    (point,) = ct._jupyter_server_extension_points()
    assert point["module"] == "covalab"
    assert point["app"].name == "covalab"
