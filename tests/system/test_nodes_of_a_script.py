"""Nodes of a script start from what was sent, in a process that shows nothing of the nodes before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from covalab.client import Client

SCRIPT = """
import dataclasses, logging, os, pickle, random, sys, warnings
import numpy as np
import covalab as ct

COUNT = {"n": 0}

@dataclasses.dataclass
class Config:
    n: int = 0
    steps = 0

class Model:
    steps = 0
    def fit(self, _=None):
        self.steps += 1
        return self.steps

frame = np.zeros(50_000)
model = Model()

def square(x):
    return x * x

@ct.electron
def count(_, seen=[]):
    COUNT["n"] += 1
    seen.append(1)
    Config.steps += 1
    frame[0] += 1
    return COUNT["n"], len(seen), Config.steps, int(frame[0])

@ct.electron
def change(_):
    os.environ["X_LEFT"] = "1"
    sys.setrecursionlimit(777)
    warnings.simplefilter("error")
    logging.disable(logging.CRITICAL)
    random.seed(1), np.random.seed(1)
    os.umask(0o777)
    return random.random()

@ct.electron
def look(_):
    warnings.warn("shown")
    logging.basicConfig(level=logging.INFO)
    logging.info("logged")
    return os.environ.get("X_LEFT"), sys.getrecursionlimit() == 777, random.random(), float(np.random.rand())

@ct.electron
def find(c):
    import multiprocessing
    with multiprocessing.get_context(METHOD).Pool(2) as pool:
        made = pool.map(Config, [1, 2])
        return pool.map(square, [2, 3]), made == [Config(1), Config(2)], pickle.loads(pickle.dumps(c)) == c

fit = ct.electron(model.fit)

@ct.lattice
def flow():
    return [count(i) for i in range(20)], [(change(i), look(i)) for i in range(10)], [fit(i) for i in range(5)]

@ct.lattice
def found():
    return find(Config(3))

if __name__ == "__main__":
    for _ in range(2):
        counts, states, fits = ct.dispatch_sync(flow)().result
        assert [tuple(c) for c in counts] == [(1, 1, 1, 1)] * 20, counts
        assert fits == [1] * 5, fits
        looks = [look for _, look in states]
        assert all(tuple(look[:2]) == (None, False) for look in looks), looks
        assert len({number for look in looks for number in look[2:]}) == 20, looks
    for METHOD in ("fork", "spawn", "forkserver"):
        result = ct.dispatch_sync(found)()
        assert list(result.result) == [[4, 9], True, True], result
    print("fine")
"""


def test_a_script(live: Client, tmp_path: Path) -> None:
    """Two dispatches, one after the other, and processes that tasks start."""
    (tmp_path / "script.py").write_text(SCRIPT)

    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)

    assert done.stdout == "fine\n", done.stderr
