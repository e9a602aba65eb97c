"""Values, functions and names as notebooks have them go through a dispatch and arrive as they were."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import covalab as ct

pytestmark = pytest.mark.sampled(2)

NOTEBOOK = """
import collections, functools, os, sys, typing
import covalab as ct

Point = collections.namedtuple("Point", "x y")
UserId = typing.NewType("UserId", int)
calls = []


class Tagged(dict):
    tag = "none"


class Config:
    n = 1


@functools.lru_cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@functools.singledispatch
def show(x):
    return "object"


@show.register
def _(x: Point):
    return f"point {x.x}"


class Model:
    @functools.cached_property
    def slow(self):
        return fib(20)

    @functools.cache
    def area(self, n):
        return n * 2


@ct.electron
def norm(p):
    return abs(p.x) + abs(p.y)


@ct.electron
def kinds(*values):
    return [type(value).__name__ for value in values]


@ct.electron
def one():
    return 1


@ct.electron
def notebook(model, self=0, **kwargs):
    return fib(30), show(model), show(Point(1, 2)), model.slow, model.area(3), UserId(4), self, kwargs


@ct.electron
def deep(x):
    n = 0
    while x:
        x, n = x[0], n + 1
    return n


@ct.electron
def changed(config):
    return config


@ct.lattice
def flow(p, self, config):
    e = one()
    tagged = Tagged(a=1)
    tagged.tag = "mine"
    nest = []
    for _ in range(3000):
        nest = [nest]
    cycle = []
    cycle.append(cycle)
    return {
        "norm": norm(p),
        "made again": norm(Point(e, y=2)),
        "kinds": kinds(
            p, tagged, collections.Counter("a"), collections.defaultdict(list), collections.OrderedDict(a=e)
        ),
        "notebook": notebook(Model(), self=self, function=1, task=2),
        "deep": deep(nest),
        "cycle": kinds(cycle),
        "value": Point(e, 3),
        "plain": kinds((1,), {2}, [3]),
        "tagged": tagged,
        "config": changed(config),
    }


result = ct.dispatch_sync(flow)(Point(3, -4), self="me", config=Config())
assert result.status == "COMPLETED", result.error
Config.n = 2
found = result.result
assert found["norm"] == 7
assert found["made again"] == 3
assert found["kinds"] == ["Point", "Tagged", "Counter", "defaultdict", "OrderedDict"], found["kinds"]
assert found["notebook"][:6] == (832040, "object", "point 1", 6765, 6, 4), found["notebook"]
assert found["notebook"][6:] == ("me", {"function": 1, "task": 2}), found["notebook"]
assert found["deep"] == 3000
assert found["cycle"] == ["list"]
assert found["value"] == Point(1, 3) and type(found["value"]) is Point
assert found["plain"] == ["list", "list", "list"]
assert type(found["tagged"]) is Tagged and found["tagged"].tag == "mine"
assert type(found["config"]) is Config and Config.n == 2
print("all arrived")
"""


@pytest.mark.usefixtures("live")
def test_what_a_script_defines_arrives(tmp_path: Path) -> None:
    """Named tuples, counters, cached and single-dispatch functions, deep and cyclic values, and an argument `self`."""
    script = tmp_path / "notebook.py"
    script.write_text(NOTEBOOK)
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "all arrived", done.stderr


@ct.electron
def look(file: str, **others: Any) -> Any:
    """Return the working folder, what is in it, and the content of a file."""
    print("looking at", file)
    import beside_me  # type: ignore[import-not-found]

    return os.getcwd(), sorted(os.listdir()), Path(file).read_text(), beside_me.x, others  # noqa: PTH208, PTH109


@ct.electron
def failing(text: str) -> None:
    """Fail with a text."""
    raise ValueError(text)


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff\xfe", b"a b\x80/\xfc", b"100%\xe9", b"\xc3\xa9-\xe9"])
def test_names_that_are_no_utf8(name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task works in such a folder, imports from one, opens such a file, and returns and prints its name."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    folder.mkdir(parents=True)
    (folder / "lib\udcff").mkdir()
    (folder / "lib\udcff" / "beside_me.py").write_text("x = 41\n")
    file = os.fsdecode(b"data-\xe9.txt")
    (folder / file).write_text("content")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder / "lib\udcff"))

    @ct.lattice
    def flow(file: str) -> Any:
        return look(file), look(file, many={file: (file,)}), file

    result = ct.dispatch_sync(flow)(file)
    expected = (str(folder), [file, "lib\udcff"], "content", 41)

    assert result.status == "COMPLETED", result.error
    assert result.result == [(*expected, {}), (*expected, {"many": {file: [file]}}), file]
    shown = file.encode("utf-8", "backslashreplace").decode()
    assert result.get_node_result(0)["stdout"] == f"looking at {shown}\n"
    again = ct.get_result(ct.redispatch(result.dispatch_id)(), wait=True)
    assert again.result == result.result
    failed = ct.dispatch_sync(ct.lattice(failing))(file)
    assert f"ValueError: {shown}" in str(failed.error)


@pytest.mark.usefixtures("live")
def test_a_sublattice_rebuilds_containers_too() -> None:
    """On a worker, where a sublattice is built, the same rules hold."""
    point = collections.namedtuple("point", "x y")  # noqa: PYI024 - as notebooks have it

    @ct.electron
    def add(x: int, y: int) -> int:
        return x + y

    @ct.electron
    def total(p: Any) -> Any:
        return p.x + p.y, type(p).__name__

    @ct.electron
    @ct.lattice
    def inner(p: Any) -> Any:
        return total(p._replace(x=add(p.x, 1)))

    @ct.lattice
    def flow() -> Any:
        return inner(point(add(1, 1), 2))

    assert ct.dispatch_sync(flow)().result == (5, "point")
