"""Objects of notebooks that cloudpickle cannot pickle arrive: one process writes them, another opens and looks."""

from __future__ import annotations

import copyreg
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tblib.pickling_support

from covalab.core.codec import decode, encode
from covalab.core.errors import DataFolderError
from covalab.core.transportable import TransportableObject
from covalab.namespace import pickling

NOTEBOOK = '''
import collections, contextvars, functools, itertools, sys, types, typing, weakref
from abc import ABC, abstractmethod

made = {}
unit = 10


@functools.lru_cache
def fib(n):
    """Numbers of Fibonacci."""
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@functools.lru_cache(maxsize=3, typed=True)
def sized(x):
    return x * unit


@functools.cache
def even(n):
    return n == 0 or odd(n - 1)


@functools.cache
def odd(n):
    return n != 0 and even(n - 1)


def uses(n):
    return fib(n), [fib(i) for i in range(3)]


def outer(step):
    @functools.cache
    def inner(x):
        return x + step
    return inner


class Model:
    weight = 2

    def __init__(self):
        self.own = functools.lru_cache(self._own)

    def _own(self, x):
        return x * self.weight

    @functools.lru_cache(maxsize=None)
    def area(self, n):
        return n * self.weight

    @staticmethod
    @functools.cache
    def plain(n):
        return n + 1

    @classmethod
    @functools.cache
    def of(cls, n):
        return cls.weight + n

    @functools.cached_property
    def slow(self):
        """A property."""
        return self.weight * 100

    once = functools.partialmethod(area, 5)


class Percent(functools.cached_property):
    pass


class Special(Model):
    @functools.cached_property
    def more(self):
        return super().slow + 1


@functools.singledispatch
def show(x):
    """Show."""
    return "object"


@show.register
def _(x: int):
    return "int"


@show.register(list)
def _(x):
    return [show(one) for one in x]


class Mine:
    pass


@show.register
def _(x: Mine):
    return "mine"


show.extra = 5


class Shower:
    @functools.singledispatchmethod
    def show(self, x):
        return "object"

    @show.register
    def _(self, x: str):
        return "str" + str(self.n)

    n = 4


class Base(ABC):
    @functools.cached_property
    @abstractmethod
    def it(self): ...


class Concrete(Base):
    @functools.cached_property
    def it(self):
        return 3


fib.note = "kept"
fib(20)
UserId = typing.NewType("UserId", int)
P = typing.ParamSpec("P")
T = typing.TypeVar("T")


def counted(f: typing.Callable[P, T]) -> typing.Callable[P, T]:
    @functools.wraps(f)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return f(*args, **kwargs), UserId(3)
    return wrapper


@counted
@functools.cache
def decorated(x: UserId) -> UserId:
    return x


level = contextvars.ContextVar("level", default=1)
unset = contextvars.ContextVar("unset")
changed = contextvars.ContextVar("changed", default=1)
changed.set([7])


def levels():
    token = level.set(level.get() + 1)
    return level.get(), changed.get(), unset.get("nothing")


held = Mine()
cache = weakref.WeakValueDictionary(a=held)
by_object = weakref.WeakKeyDictionary({held: 1})


def forgets():
    return len(cache), len(by_object), type(cache).__name__


def holds():
    return len(cache), cache["a"] is held, by_object[held]


data = bytearray(b"12345678")
made = dict(
    fib=fib, sized=sized, even=even, uses=uses, inner=outer(3), nested=functools.partial(functools.partial(fib), 10),
    model=Model(), Model=Model, special=Special(), show=show, shows=[show, show], Shower=Shower, concrete=Concrete(),
    lambda_=functools.lru_cache(lambda x: x + unit), builtin=functools.lru_cache(pow),
    partial=functools.cache(functools.partial(pow, 2)), twice=functools.cache(functools.cache(outer(1))),
    both=[fib, uses], decorated=decorated, UserId=UserId, P=P, levels=levels, unset=unset, forgets=forgets,
    holds=holds, imported=functools.lru_cache(itertools.count), view=memoryview(b"abc"), writable=memoryview(data),
    numbers=memoryview(data).cast("d"), table=memoryview(data).cast("B", (2, 4)), strided=memoryview(data)[::2],
    large=memoryview(bytearray(100_000)), keys={1: 2}.keys(), items={1: 2}.items(),
    proxy=types.MappingProxyType({1: 2}), count=itertools.count(3),
    zipped=zip([1], [2]), numbered=enumerate("ab"), mapped=map(lambda x: x + unit, [1]),
    chain=itertools.chain([1], [2]), odict=collections.OrderedDict(a=1).keys(),
)
'''

WRITE = """
import pathlib, pickle, sys
from covalab.core.codec import encode

def written(it):
    try:
        return encode(it).join()
    except Exception as error:
        return repr(error)

pathlib.Path(sys.argv[1]).write_bytes(pickle.dumps({name: written(it) for name, it in made.items()}))
"""

READ = """
import json, pathlib, pickle, sys
from covalab.core.codec import decode, encode

def seen(written, expression):
    try:
        it = decode(written)
        return repr(eval(expression, {**globals(), "it": it}))
    except Exception as error:
        return repr(error)

written = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
cases = json.loads(sys.argv[2])
print(json.dumps({f"{name}: {expression}": seen(written[name], expression) for name, expression in cases}))
"""

CASES = [
    ("fib", "it(30), it.cache_info().misses, it.cache_info().hits", "(832040, 31, 28)"),
    (
        "fib",
        "it.cache_info().currsize, it.__name__, it.__doc__, it.note",
        "(0, 'fib', 'Numbers of Fibonacci.', 'kept')",
    ),
    ("fib", "it.cache_parameters(), it.__wrapped__.__name__", "({'maxsize': 128, 'typed': False}, 'fib')"),
    ("fib", "it.__wrapped__.__globals__['fib'] is it", "True"),
    ("fib", "decode(encode(it).join())(9)", "34"),
    ("sized", "it(2), it.cache_parameters(), it(2.0)", "(20, {'maxsize': 3, 'typed': True}, 20.0)"),
    ("even", "it(10), it(7), it.__wrapped__.__globals__['odd'].cache_info().currsize > 0", "(True, False, True)"),
    ("uses", "it(5)", "(5, [0, 1, 1])"),
    ("inner", "it(4), it.cache_clear()", "(7, None)"),
    ("nested", "it()", "55"),
    ("model", "it.area(3), it.own(4), it.plain(1), it.of(1), it.once()", "(6, 8, 2, 3, 10)"),
    ("model", "type(it).area.cache_info().currsize, it.own.__wrapped__.__self__ is it", "(0, True)"),
    (
        "model",
        "it.slow, it.__dict__['slow'], type(it).slow.__doc__, type(it).slow.attrname",
        "(200, 200, 'A property.', 'slow')",
    ),
    ("Model", "it().slow, it().area(1)", "(200, 2)"),
    ("special", "it.more, it.slow", "(201, 200)"),
    (
        "show",
        "it(1), it('a'), it([1, 'a']), it.__name__, it.__doc__, it.extra",
        "('int', 'object', ['int', 'object'], 'show', 'Show.', 5)",
    ),
    ("show", "[it.dispatch(k)(k()) for k in it.registry]", "['object', 'int', [], 'mine']"),
    ("show", "it.register(str, lambda x: 'later') and it('a')", "'later'"),
    ("shows", "it[0] is it[1]", "True"),
    ("Shower", "it().show(1), it().show('a')", "('object', 'str4')"),
    ("concrete", "it.it", "3"),
    ("lambda_", "it(1)", "11"),
    ("builtin", "it(2, 3)", "8"),
    ("partial", "it(5)", "32"),
    ("twice", "it(5)", "6"),
    ("both", "it[1].__globals__['fib'] is it[0]", "True"),
    ("decorated", "it(4)", "(4, 3)"),
    ("UserId", "it(3), it.__name__, it.__supertype__", "(3, 'UserId', <class 'int'>)"),
    ("P", "it.__name__", "'P'"),
    ("levels", "it(), it()", "((2, [7], 'nothing'), (3, [7], 'nothing'))"),
    ("unset", "it.name, it.get(5)", "('unset', 5)"),
    ("forgets", "it()", "(0, 0, 'WeakValueDictionary')"),
    ("holds", "it()", "(1, True, 1)"),
    ("imported", "next(it(5))", "5"),
    ("view", "type(it).__name__, bytes(it), it.readonly", "('memoryview', b'abc', True)"),
    ("writable", "it.readonly, it.__setitem__(0, 65), bytes(it)", "(False, None, b'A2345678')"),
    ("numbers", "it.format, len(it)", "('d', 1)"),
    ("table", "it.shape, it.tolist()", "((2, 4), [[49, 50, 51, 52], [53, 54, 55, 56]])"),
    ("strided", "bytes(it)", "b'1357'"),
    ("large", "type(it).__name__, len(it), it.readonly", "('memoryview', 100000, False)"),
    ("keys", "type(it).__name__, list(it)", "('dict_keys', [1])"),
    ("items", "type(it).__name__, list(it)", "('dict_items', [(1, 2)])"),
    ("proxy", "type(it).__name__, it[1]", "('mappingproxy', 2)"),
    ("count", "next(it), next(it)", "(3, 4)"),
    ("zipped", "type(it).__name__, list(it)", "('zip', [(1, 2)])"),
    ("numbered", "type(it).__name__, next(it)", "('enumerate', (0, 'a'))"),
    ("mapped", "type(it).__name__, list(it)", "('map', [11])"),
    ("chain", "list(it)", "[1, 2]"),
    ("odict", "list(it)", "['a']"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what another process sees of the things that a notebook made."""
    folder = tmp_path_factory.mktemp("pickling")
    script, written = folder / "notebook.py", folder / "made"
    script.write_text(NOTEBOOK + WRITE)
    subprocess.run([sys.executable, str(script), str(written)], check=True)
    cases = json.dumps([(name, expression) for name, expression, _ in CASES])
    done = subprocess.run([sys.executable, "-c", READ, str(written), cases], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("name", "expression", "expected"), CASES)
def test_it_arrives(seen: dict[str, str], name: str, expression: str, expected: str) -> None:
    """An object does in another process what it does in the notebook."""
    assert seen[f"{name}: {expression}"] == expected


def notebook(source: str, **names: Any) -> dict[str, Any]:
    """Run source as a notebook's cell does; return its names."""
    namespace: dict[str, Any] = {"__name__": "__main__", **names}
    exec(source, namespace)
    return namespace


@functools.lru_cache
def _importable(x: int) -> int:
    return x


def test_an_importable_cached_function_travels_by_name() -> None:
    """It stays the one that others use, with its cache."""
    assert decode(encode(_importable).join()) is _importable
    assert decode(encode([_importable]).join()) == [_importable]


def test_a_context_variable_of_a_module_travels_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of it would be a variable that nobody else knows."""
    import decimal
    from contextvars import ContextVar

    variable: ContextVar[int] = ContextVar("theirs", default=1)
    monkeypatch.setattr(decimal, "theirs", variable, raising=False)

    assert decode(encode([variable]).join())[0] is variable


def test_a_cached_function_of_a_module_that_travels_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in a helper module beside the notebook is pickled with its code, as every function of that module."""
    import cloudpickle

    (tmp_path / "helper_with_cache.py").write_text("import functools\n@functools.cache\ndef f(x): return x + 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    helper = __import__("helper_with_cache")
    cloudpickle.register_pickle_by_value(helper)
    try:
        data = encode(helper.f).join()
    finally:
        cloudpickle.unregister_pickle_by_value(helper)
    monkeypatch.delitem(sys.modules, "helper_with_cache")
    (tmp_path / "helper_with_cache.py").unlink()

    assert decode(data)(1) == 2


def test_a_transportable_object_takes_them_too() -> None:
    """Covalent's own wrapper of a value pickles as everything else does."""
    cached = notebook("import functools\n@functools.cache\ndef f(x): return x + 1")["f"]

    assert TransportableObject(cached).get_deserialized()(1) == 2
    name = TransportableObject("caf\udce9")
    assert TransportableObject.deserialize(name.serialize()).get_deserialized() == "caf\udce9"


@pytest.mark.parametrize("travelling", ["instance", "list", "function", "subclass", "exception"])
def test_a_class_that_comes_home_is_not_set_back(travelling: str) -> None:
    """Opening a value of a class of the notebook leaves the class as it is now, not as it was when it was sent."""
    names = notebook(
        """
class Config(Exception):
    n = 1
    seen = []
    def f(self): return "old"
class Sub(Config): pass
def use(): return Config.n
"""
    )
    config = names["Config"]
    value = {
        "instance": config(),
        "list": [config, 1],
        "function": names["use"],
        "subclass": names["Sub"](),
        "exception": {"error": config("x")},
    }[travelling]
    data = encode(value).join()
    config.n, config.f = 2, lambda self: "new"
    config.seen.append(1)
    seen = config.seen
    decode(data)

    assert (config.n, config().f()) == (2, "new")
    assert config.seen is seen == [1]


def test_a_class_that_is_the_value_itself_brings_its_attributes() -> None:
    """A task that changes a class and returns it means the change."""
    config = notebook("class Config:\n    n = 1")["Config"]
    data = encode(config).join()
    config.n = 2

    assert decode(data) is config
    assert config.n == 1


def test_a_class_that_was_opened_here_takes_what_is_sent_later() -> None:
    """In a process that did not define it, a class is as it was last sent."""
    script = (
        "import sys; from covalab.core.codec import decode\n"
        "for sent in sys.argv[1:]: print(type(decode(bytes.fromhex(sent))).n)"
    )
    config = notebook("class Config:\n    n = 1")["Config"]
    sent = []
    for config.n in (1, 5, 2):
        sent.append(encode(config()).join().hex())
    done = subprocess.run([sys.executable, "-c", script, *sent], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["1", "5", "2"]


def test_the_recursion_limit_is_put_back() -> None:
    """A deep value changes nothing for the rest of the process."""
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    before = sys.getrecursionlimit()

    assert encode(deep).size > 20_000
    assert sys.getrecursionlimit() == before


class _Refused(DataFolderError):
    """An exception with a way of its own to be pickled."""

    def __reduce__(self) -> Any:
        return type(self), ("told otherwise",)


def _by_codec(value: Any) -> Any:
    return decode(encode(value).join())


def _by_namespace(value: Any) -> Any:
    return pickling.loads(pickling.dumps({"value": value}, {}).join(), {})["value"]


@pytest.mark.parametrize("pickled", [_by_codec, _by_namespace])
@pytest.mark.parametrize("kind", [DataFolderError, _Refused])
def test_exceptions_are_opened_although_tblib_reduces_them(
    pickled: Callable[[Any], Any], kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`import dask.multiprocessing` has it do so for all classes that there are; it makes no exception of two kinds."""
    monkeypatch.setitem(copyreg.dispatch_table, kind, tblib.pickling_support.pickle_exception)
    with pytest.raises(kind) as caught:
        raise kind(5, "no room")
    found = pickled([caught.value])[0]

    assert (type(found), found.args) == (kind, (5, "no room") if kind is DataFolderError else ("told otherwise",))
    assert found.__traceback__ is None
