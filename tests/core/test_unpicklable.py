"""A value that cannot be pickled: the message names the variable, the way to it, and what to do instead."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

import pytest

from covalab.core.codec import encode
from covalab.core.errors import SerializationError

NOTEBOOK = """
import collections, functools, logging, queue, re, threading, types

lock = threading.Lock()


class Model:
    steps = 1

    def __init__(self):
        self.lock = lock

    def fit(self, x):
        return x


class Slotted:
    __slots__ = ("db", "n")


class Shared:
    pool = db
    n = 1

    def get(self):
        return 1


class Own:
    def __getstate__(self):
        return {"n": 1, "inner": {"db": db}}


class Refuses:
    def __reduce__(self):
        raise ValueError("not me")


model, slotted, own = Model(), Slotted(), Own()
slotted.db = db
config = {"n": 1, "db": db}
nested = {"a": [1, (2, {"k": model})]}
stack = [0, [1, lock]]
members = {lock}
waiting = queue.Queue()
numbers = (i for i in range(3))
match = re.match("a", "a")
local = threading.local()
handler = logging.StreamHandler()
Row = collections.namedtuple("Row", "name lock")
row = Row("a", lock)
user_dict = collections.UserDict(model=model)
namespace = types.SimpleNamespace(model=model)


def uses_lock(x): return lock
def uses_attribute(x): return model
def uses_item(x): return config
def uses_nested(x): return nested
def uses_element(x): return stack
def uses_member(x): return members
def uses_slot(x): return slotted
def uses_row(x): return row
def uses_class(x): return Shared
def uses_instance(x): return Shared()
def uses_state(x): return own
def uses_queue(x): return waiting
def uses_numbers(x): return numbers
def uses_match(x): return match
def uses_local(x): return local
def uses_handler(x): return handler
def uses_user_dict(x): return user_dict
def uses_namespace(x): return namespace
def helper(x): return uses_lock(x)
def careful(x): return helper(x)
def with_default(x, guard=lock): return x
def with_keyword(x, *, options=config): return x
def in_comprehension(x): return [lock for _ in range(3)]
def in_lambda(x): return (lambda: lock)()
def uses_refuses(x): return refuses


refuses = Refuses()


def make(held):
    def closed(x): return held
    return closed


def through(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args)
    return wrapper


@through
def decorated(x): return lock


@functools.lru_cache
def cached(x): return lock


@functools.singledispatch
def shown(x): return x


@shown.register
def _(x: int): return lock


def uses_cached(x): return cached(x)
def uses_shown(x): return shown(x)


class Worker:
    def work(self, x): return lock
    @staticmethod
    def still(x): return lock
    @property
    def it(self): return lock
    @classmethod
    def of(cls, x): return lock
    @functools.cached_property
    def once(self): return lock


def uses_worker(x): return Worker


uses_lock.note = 1
noted = make(1)
noted.guard = lock
bound = functools.partial(lambda guard, x: x, lock)
named = functools.partial(lambda x, guard: x, guard=lock)
fit = model.fit
annotated = make(1)
annotated.__annotations__ = {"x": lock}
"""


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """Return what a notebook defines."""
    namespace: dict[str, Any] = {"__name__": "__main__", "db": sqlite3.connect(":memory:")}
    exec(NOTEBOOK, namespace)
    return namespace


def message(value: Any, what: str = "the function of electron 'f'") -> str:
    """Return what is said about a value that cannot be pickled."""
    with pytest.raises(SerializationError) as caught:
        encode(value, what=what)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("uses_lock", "uses 'lock' (a global of the notebook), which is a _thread.lock and cannot be pickled"),
        ("uses_attribute", "uses 'model.lock' (a global of the notebook), which is a _thread.lock"),
        ("uses_item", "uses \"config['db']\" (a global of the notebook), which is a sqlite3.Connection"),
        ("uses_nested", "uses \"nested['a'][1][1]['k'].lock\" (a global of the notebook), which is a _thread.lock"),
        ("uses_element", "uses 'stack[1][1]' (a global"),
        ("uses_member", "uses 'a member of members' (a global"),
        ("uses_slot", "uses 'slotted.db' (a global of the notebook), which is a sqlite3.Connection"),
        ("uses_row", "uses 'row[1]' (a global"),
        ("uses_class", "uses 'Shared.pool' (a global of the notebook), which is a sqlite3.Connection"),
        ("uses_instance", "uses 'Shared.pool' (a global"),
        ("uses_state", "uses \"own.inner['db']\" (a global of the notebook), which is a sqlite3.Connection"),
        ("uses_queue", "uses 'waiting' (a global of the notebook), which is a queue.Queue"),
        ("uses_numbers", "uses 'numbers' (a global of the notebook), which is a generator"),
        ("uses_match", "uses 'match' (a global of the notebook), which is a re.Match"),
        ("uses_local", "uses 'local' (a global of the notebook), which is a _thread._local"),
        ("uses_handler", "uses 'handler' (a global of the notebook), which is a logging.StreamHandler"),
        ("uses_user_dict", "uses \"user_dict.data['model'].lock\" (a global of the notebook), which is a _thread.lock"),
        ("uses_namespace", "uses 'namespace.model.lock' (a global of the notebook), which is a _thread.lock"),
        ("uses_refuses", "uses 'refuses' (a global of the notebook), which is a Refuses and cannot be pickled"),
        ("careful", "uses 'lock' (a global of the notebook, by way of careful -> helper -> uses_lock), which is a"),
        ("with_default", "uses 'guard' (the default of a parameter of with_default), which is a _thread.lock"),
        ("with_keyword", "uses \"options['db']\" (the default of a parameter of with_keyword), which is a"),
        ("in_comprehension", "uses 'lock' (a global of the notebook), which is a _thread.lock"),
        ("in_lambda", "uses 'lock' (a global of the notebook), which is a _thread.lock"),
        ("decorated", "uses 'lock' (a global of the notebook), which is a _thread.lock"),
        ("cached", "uses 'lock' (a global of the notebook), which is a _thread.lock"),
        ("uses_cached", "uses 'lock' (a global of the notebook, by way of uses_cached -> cached), which is a"),
        ("uses_shown", "uses 'lock' (a global of the notebook, by way of uses_shown -> shown -> _), which is a"),
        ("uses_worker", "uses 'lock' (a global of the notebook, by way of uses_worker -> Worker."),
        ("noted", "uses 'closed.guard', which is a _thread.lock"),
        ("bound", "uses 'args[0]' (an argument of the partial <lambda>), which is a _thread.lock"),
        ("named", "uses 'guard' (an argument of the partial <lambda>), which is a _thread.lock"),
        ("fit", "uses 'self.lock' (the object that fit is a method of, of type Model), which is a _thread.lock"),
    ],
)
def test_the_variable_is_named(names: dict[str, Any], name: str, expected: str) -> None:
    """Globals, defaults, attributes, items, elements, methods, classes and helpers, as a notebook has them."""
    said = message(names[name])

    assert said.startswith(f"the function of electron 'f' {expected}")
    assert "cannot be sent to another process; " in said
    assert said.endswith(")")


@pytest.mark.parametrize(
    ("held", "kind", "advice"),
    [
        (threading.Lock(), "_thread.lock", "create it inside the electron"),
        ((i for i in [1]), "generator", "make a list of it first"),
        (sqlite3.connect(":memory:"), "sqlite3.Connection", "connect inside the electron"),
        (open(__file__, "rb"), "_io.BufferedReader", "pass its path, and open it inside the electron"),  # noqa: SIM115, PTH123
        (threading.Event(), "threading.Event", "create it inside the electron"),
    ],
    ids=lambda held: type(held).__name__,
)
def test_the_way_out_fits_the_kind(names: dict[str, Any], held: Any, kind: str, advice: str) -> None:
    """The message says of which kind a variable of the enclosing function is, and what to do instead."""
    said = message(names["make"](held))

    article = "an" if kind[0] in "aeiou" else "a"
    assert f"uses 'held' (a variable of the function around it, make), which is {article} {kind} and" in said
    assert advice in said


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model", "of type Model cannot be pickled: x.lock is a _thread.lock, which cannot be sent"),
        ("config", "of type dict cannot be pickled: x['db'] is a sqlite3.Connection"),
        ("row", "of type Row cannot be pickled: x[1] is a _thread.lock"),
        ("nested", "cannot be pickled: x['a'][1][1]['k'].lock is a _thread.lock"),
        ("own", "of type Own cannot be pickled: x.inner['db'] is a sqlite3.Connection"),
        ("lock", "of type _thread.lock cannot be pickled: TypeError: cannot pickle '_thread.lock' object; create it"),
        ("waiting", "of type queue.Queue cannot be pickled: TypeError: cannot pickle '_thread.lock' object; create it"),
        ("careful", "uses 'lock' (a global of the notebook, by way of careful -> helper -> uses_lock), which is a"),
    ],
)
def test_the_part_of_an_argument_is_named(names: dict[str, Any], name: str, expected: str) -> None:
    """For a value it is the place in it, after the name of the argument."""
    said = message(names[name], "argument 'x' of electron 'f' (node 3)")

    assert said.startswith("argument 'x' of electron 'f' (node 3) ")
    assert expected in said


def test_a_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """With very many objects the message comes after a while, with a name or without."""
    many: dict[str, Any] = {f"k{i}": [[j] for j in range(10)] for i in range(150_000)}
    many["last"] = threading.Lock()
    started = time.process_time()
    named = message(many, "argument 'x' of electron 'f'")
    monkeypatch.setattr("covalab.core.unpicklable._SECONDS", 0.0)
    unnamed = message(many, "argument 'x' of electron 'f'")

    assert time.process_time() - started < 20
    assert "cannot pickle '_thread.lock' object" in named
    assert unnamed.startswith("argument 'x' of electron 'f' of type dict cannot be pickled: TypeError: cannot pickle")


def test_an_object_that_reduces_without_end_is_refused() -> None:
    """It ends, and the message says what is wrong."""

    class Endless:
        def __reduce__(self) -> Any:
            return (list, ([Endless()],))

    assert "nested too deeply" in message(Endless())


def test_a_repr_that_raises_does_not_hide_the_message(names: dict[str, Any]) -> None:
    """Keys of the user's own appear by their `repr`, if that works."""

    class Key:
        def __repr__(self) -> str:
            raise ValueError

    assert "cannot pickle '_thread.lock' object" in message({Key(): names["lock"]})
