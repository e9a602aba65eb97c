"""While a node runs, `__main__` has the definitions of the notebook that came with it, as in the notebook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.worker.test_batch_runner import Batches, value
from tests.worker.test_kept_functions import of_notebook

from covalab.core.codec import digest_of, encode, serialize_small
from covalab.core.model import Outcome
from covalab.core.protocol import Argument, TaskSpec
from covalab.jupyter.cells.cell import names_of, read_cell
from covalab.jupyter.cells.compiling import Recipe, arguments_of, function_of

pytestmark = pytest.mark.sampled(5)

DEFINITIONS = """
import dataclasses, enum, typing
from collections import namedtuple
@dataclasses.dataclass
class Config:
    n: int = 1
    next: 'typing.Optional[Config]' = None
class Color(enum.Enum):
    RED = 1
class Outer:
    class Inner:
        n = 5
Point = namedtuple("Point", "x y")
K = 2
def square(x): return K * x * x // K
def make(n): return Config(n)
def width(c): return c.n
def broken(x): raise Trouble(x)
class Trouble(Exception): pass
def initialize(n):
    global started
    started = n
def has_started(_): return started
"""

USED = (
    "(Config, Color, Outer, Point, square, make, width, broken, Trouble, initialize, has_started, dataclasses, typing)"
)

TASKS = {
    "pickle of an instance": "import pickle; return pickle.loads(pickle.dumps(Config(3))) == Config(3)",
    "pickle of functions": "import pickle; return pickle.loads(pickle.dumps([square, make])) == [square, make]",
    "pickle of classes": "import pickle; c = (Config, Outer.Inner); return pickle.loads(pickle.dumps(c)) == c",
    "pickle in Python": "import pickle; return pickle._loads(pickle._dumps(Config(3))) == Config(3)",
    "pickle of an enum": "import pickle; return pickle.loads(pickle.dumps(Color.RED)) is Color.RED",
    "pickle of a named tuple": "import pickle; return type(pickle.loads(pickle.dumps(Point(1, 2)))) is Point",
    "old protocols": "import pickle; return all(pickle.loads(pickle.dumps(Config(), n)) == Config() for n in range(6))",
    "joblib": "import joblib; joblib.dump([Config(3), square], 'f'); return joblib.load('f') == [Config(3), square]",
    "shelve": "import shelve; s = shelve.open('s'); s['x'] = Config(); return s['x'] == Config()",
    "pandas": "import pandas as pd; pd.to_pickle(Config(), 'f'); return pd.read_pickle('f') == Config()",
    "cloudpickle": "import cloudpickle; return cloudpickle.loads(cloudpickle.dumps(Config(3))) == Config(3)",
    "copy": "import copy; return copy.deepcopy([Config(3), square]) == [Config(3), square]",
    "type hints": "return typing.get_type_hints(Config)['next'] == typing.Optional[Config]",
    "a new dataclass": (
        "namespace = {'__name__': '__main__', '__annotations__': {}}\n"
        "exec('from __future__ import annotations\\nimport dataclasses, typing\\n@dataclasses.dataclass\\nclass A:\\n"
        " n: typing.ClassVar[int] = 1\\n m: int = 2', namespace); return len(dataclasses.fields(namespace['A'])) == 1"
    ),
    "import": "from __main__ import square as same; import __main__; return same is square is __main__.square",
    "names": "import __main__ as m; return 'square' in dir(m) and vars(m)['square'] is square and hasattr(m, 'K')",
    "assignment": "import __main__; __main__.K = 3; return globals()['K'] == 3 and square(2) == 4",
    "deletion": "import __main__; del __main__.K; return 'K' not in globals() and not hasattr(__main__, 'K')",
    "name": "import sys; return sys.modules['__main__'].__name__ == __name__ == '__main__'",
    "inspect": "import inspect; return inspect.getmodule(Config) is inspect.getmodule(square) is not None",
    "fork": "return use('fork')",
    "spawn": "return use('spawn')",
    "forkserver": "return use('forkserver')",
    "pool of executors": "return executors('fork') and executors('spawn')",
    "initializer by fork": "return started_in('fork')",
    "initializer by spawn": "return started_in('spawn')",
    "manager": (
        "import multiprocessing\nwith multiprocessing.Manager() as m:\n"
        " l = m.list([Config(1)]); l.append(square); return l[0] == Config(1) and l[1] is square"
    ),
    "process and queue": (
        "import multiprocessing\nm = multiprocessing.get_context('fork')\nq = m.Queue()\n"
        "p = m.Process(target=lambda: q.put(Config(4)))\np.start(); c = q.get(); p.join(); return c == Config(4)"
    ),
    "joblib processes": "import joblib; return joblib.Parallel(2)(joblib.delayed(square)(i) for i in (2, 3)) == [4, 9]",
    "joblib with instances": (
        "import joblib; return joblib.Parallel(2)(joblib.delayed(make)(i) for i in (2, 3)) == [Config(2), Config(3)]"
    ),
    "joblib by multiprocessing": (
        "import joblib\nwith joblib.parallel_config('multiprocessing'):\n"
        " return joblib.Parallel(2)(joblib.delayed(make)(i) for i in (2, 3)) == [Config(2), Config(3)]"
    ),
    "threads": (
        "import pickle\nfrom concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor() as e:\n"
        " return e.submit(lambda: pickle.loads(pickle.dumps(Config(3)))).result() == Config(3)"
    ),
}

HELPERS = """
def use(method):
    import multiprocessing
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(square, [2, 3]) == [4, 9]
        made = pool.map(make, [2, 3])
        assert made == [Config(2), Config(3)] and type(made[0]) is Config
        assert pool.map(width, made) == [2, 3]
        assert pool.apply(type, (Color.RED,)) is Color
        try:
            pool.apply(broken, (1,))
        except Trouble as error:
            assert error.args == (1,)
            return True
def executors(method):
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        return list(pool.map(square, [2, 3])) == [4, 9] and pool.submit(make, 3).result() == Config(3)
def started_in(method):
    import multiprocessing
    with multiprocessing.get_context(method).Pool(2, initialize, (7,)) as pool:
        return pool.map(has_started, range(3)) == [7] * 3
"""


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batches:
    """Return a worker without batches; what tasks write without a folder is not left in that of the tests."""
    monkeypatch.chdir(tmp_path)
    return Batches(tmp_path)


def run(batches: Batches, functions: list[Callable[..., Any]], args: tuple[object, ...] = ()) -> list[Outcome]:
    """Run functions one after the other."""
    tasks, code = [], {}
    for node, function in enumerate(functions):
        data = encode(function).join()
        code[digest_of([data])] = data
        given = [Argument(value=serialize_small(arg)) for arg in args]
        tasks.append(TaskSpec(node, "task", digest_of([data]), given, {}))
    batches.add(*tasks, code=code)
    outcomes = batches.outcomes()
    return [outcomes[node] for node in range(len(functions))]


def indented(source: str) -> str:
    """Return code as the body of a function."""
    return "".join(f" {line}\n" for line in source.split("\n"))


@pytest.mark.parametrize("kind", TASKS)
def test_a_function_of_the_notebook(batches: Batches, kind: str) -> None:
    """Twice, since nothing may be left for the second."""
    helpers = HELPERS if any(name in TASKS[kind] for name in ("use(", "executors(", "started_in(")) else ""
    task = of_notebook(f"{DEFINITIONS}{helpers}def task():\n {USED}\n{indented(TASKS[kind])}")

    outcomes = run(batches, [task, task])

    assert [(outcome.failure and outcome.failure.traceback) for outcome in outcomes] == [None, None]
    assert [value(outcome) for outcome in outcomes] == [True, True]
    assert [outcome.stderr for outcome in outcomes] == ["", ""]


# What is set in `__main__` from inside is no variable of the cell; and a variable that two functions share is, for
# processes that are not forked, two.
@pytest.mark.parametrize("kind", sorted(TASKS.keys() - {"assignment", "deletion", "initializer by spawn"}))
def test_a_cell(batches: Batches, kind: str) -> None:
    """What the cell itself defines, at its top level."""
    source = TASKS[kind]
    lines = [f"%%electron\n{DEFINITIONS}{HELPERS}", f"def last():\n{indented(source)}", "last()"]
    task = a_cell("\n".join(lines))

    outcomes = run(batches, [task, task])

    assert [(outcome.failure and outcome.failure.traceback) for outcome in outcomes] == [None, None]
    assert [value(outcome) for outcome in outcomes] == [True, True]


def a_cell(text: str) -> Callable[..., Any]:
    """Return the function that a notebook makes of a cell without inputs."""
    cell = read_cell(text)
    names = names_of(cell, lambda _: "none", given=())
    recipe = Recipe("load", arguments_of([]), (), names.prelude)
    return function_of(cell, recipe, {"__name__": "__main__"})


IN_CELLS = {
    "a closure": "n = 3\ndef f(x): return x * n\nimport pickle\npickle.loads(pickle.dumps(f))(2) == 6",
    "redefined": (
        "import pickle\ndef f(): return 1\na = pickle.dumps(f)\ndef f(): return 2\n"
        "pickle.loads(pickle.dumps(f))() == pickle.loads(a)() == 2"
    ),
    "a method": "import pickle\nclass A:\n def f(self): return 3\npickle.loads(pickle.dumps(A().f))() == 3",
    "a base class": "import pickle\nclass A: pass\nclass B(A): n = 2\npickle.loads(pickle.dumps(B())).n == 2",
    "in a thread": (
        "import pickle, threading\nclass A: n = 2\nfound = []\n"
        "t = threading.Thread(target=lambda: found.append(pickle.loads(pickle.dumps(A())).n))\n"
        "t.start(); t.join(); found == [2]"
    ),
    "a coroutine": (
        "import pickle, asyncio as a\nclass A: n = 2\nawait a.sleep(0)\npickle.loads(pickle.dumps(A())).n == 2"
    ),
    "defined after the pool": (
        "import multiprocessing\ndef f(x): return x\nm = multiprocessing.get_context('fork')\n"
        "with m.Pool(1, maxtasksperchild=1) as p:\n"
        "    r = p.map(f, [1, 2, 3], 1)\nr == [1, 2, 3]"
    ),
    "nested stays refused": (
        "import pickle\ndef f():\n def g(): pass\n return g\ntry:\n    pickle.dumps(f())\n    r = False\n"
        "except (AttributeError, pickle.PicklingError) as error:\n    r = 'f.<locals>.g' in str(error)\nr"
    ),
    "qualified names": "class A:\n def f(self): pass\n(A.__qualname__, A.f.__qualname__) == ('A', 'A.f')",
    "decorated": (
        "import functools, pickle\ndef d(f):\n @functools.wraps(f)\n def g(): return f() + 1\n return g\n"
        "@d\ndef h(): return 1\npickle.loads(pickle.dumps(h))() == 2"
    ),
}


@pytest.mark.parametrize("kind", IN_CELLS)
def test_definitions_of_a_cell_that_refer_to_it(batches: Batches, kind: str) -> None:
    """They have the names, and find the variables, that they have in a plain cell."""
    task = a_cell(f"%%electron\n{IN_CELLS[kind]}")

    outcomes = run(batches, [task, task])

    assert [(outcome.failure and outcome.failure.traceback) for outcome in outcomes] == [None, None]
    assert [value(outcome) for outcome in outcomes] == [True, True]


def test_functions_inside_arguments_are_found(batches: Batches) -> None:
    """As in a pipeline with a step of one's own."""
    step = of_notebook(f"{DEFINITIONS}def task(x): return square(x)")
    config = step.__globals__["Config"](4)
    task = of_notebook(
        "def task(steps, made):\n import pickle\n f = steps['f'][0]\n"
        " return pickle.loads(pickle.dumps(f)) is f and pickle.loads(pickle.dumps(made)) == made"
    )
    step.__name__ = step.__qualname__ = "my_step"

    outcomes = run(batches, [task, task], ({"f": [step]}, config))

    assert [value(outcome) for outcome in outcomes] == [True, True]


def test_what_a_node_pickled_opens_in_the_notebook(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name that the class has there."""
    task = of_notebook(f"{DEFINITIONS}def task():\n import pickle\n return pickle.dumps(Config(7))")

    (outcome,) = run(batches, [task])

    monkeypatch.setattr("__main__.Config", task.__globals__["Config"], raising=False)
    import pickle

    assert pickle.loads(value(outcome)) == task.__globals__["Config"](7)


def test_what_cannot_be_pickled_does_not_keep_the_rest_from_a_spawned_process(batches: Batches) -> None:
    """A lock or an open file among the globals."""
    task = of_notebook(
        "import threading\ndef make():\n lock = threading.Lock()\n def f():\n  with lock: return 1\n return f\n"
        "def square(x): return x * x\n"
        "def task():\n import multiprocessing\n global locked\n locked = make()\n"
        " with multiprocessing.get_context('spawn').Pool(1) as p: return p.map(square, [3])"
    )

    (outcome,) = run(batches, [task])

    assert value(outcome) == [9]


def test_between_nodes_the_main_module_is_the_processs_own(batches: Batches) -> None:
    """A function of a module sees an empty one, not that of another node."""
    first = of_notebook("n = 1\ndef task(): return n")
    second = of_notebook("def task():\n import __main__\n return hasattr(__main__, 'n')")

    assert value(run(batches, [first, second])[1]) is False
