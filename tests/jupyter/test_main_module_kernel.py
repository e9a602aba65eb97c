"""Definitions of a real notebook are found by what looks for them by name, inside of tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.jupyter.kernels import Kernel, a_kernel

from covalab.client import Client

DEFINED = """
import dataclasses, pickle, typing
@dataclasses.dataclass
class Config:
    n: int
    next: "typing.Optional[Config]" = None
def square(x):
    return x * x
def use():
    assert pickle.loads(pickle.dumps(Config(3))) == Config(3)
    assert pickle.loads(pickle.dumps(square)) is square
    assert typing.get_type_hints(Config)["next"] == typing.Optional[Config]
    import joblib
    joblib.dump([square, Config(1)], "file")
    assert joblib.load("file") == [square, Config(1)]
    import multiprocessing
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(square, [1, 2]) == [1, 4]
            assert pool.map(Config, [1, 2]) == [Config(1), Config(2)]
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(2) as pool:
        assert pool.submit(square, 3).result() == 9
    return "found"
"""


@pytest.fixture
def kernel(live: Client) -> Iterator[Kernel]:
    """Return a kernel that has loaded the extension."""
    with a_kernel() as kernel:
        kernel.succeed("%load_ext covalab\nimport covalab as ct")
        kernel.succeed("import os, tempfile; os.chdir(tempfile.mkdtemp())")
        yield kernel


def test_definitions_of_the_notebook(kernel: Kernel) -> None:
    """In a function that is an electron, and in a cell that uses what other cells defined."""
    kernel.succeed(DEFINED)
    kernel.succeed("@ct.electron\ndef task(c): return use(), pickle.loads(pickle.dumps(c)) == c")
    function = kernel.run("ct.dispatch(ct.lattice(lambda: task(Config(5))))().result(60)")
    kernel.succeed("%%electron cell()\nuse()")
    cell = kernel.run("ct.dispatch(ct.lattice(cell))().result(60)")

    assert function.text == "('found', True)", function.reply
    assert cell.text == "'found'", cell.reply


def test_definitions_of_the_cell_itself(kernel: Kernel) -> None:
    """They are variables of a function there, and have the names of the notebook all the same."""
    kernel.succeed(
        f"%%electron --run\n{DEFINED}\nfactor = 3\ndef scaled(x): return x * factor\nresult = use(), scaled(2)"
    )
    kernel.run("%result --wait")
    value = kernel.run("result")
    made = kernel.succeed("%%electron made()\nclass Box:\n    n = 3\nBox()")
    shown = kernel.run("box = ct.dispatch(ct.lattice(made))().result(60)\n(type(box).__qualname__, box.n)")

    assert value.text == "('found', 6)", value.reply
    assert made.reply["status"] == "ok"
    assert shown.text == "('Box', 3)"
