"""Names that travel together are in another namespace what they were."""

from __future__ import annotations

import builtins
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.namespace.peer import Peer

from covalab.core.errors import DataFolderError, SerializationError
from covalab.namespace import standard_library
from covalab.namespace.pickling import dumps, loads


def _moved(kernel: Peer, task: Peer, cell: str, names: str) -> None:
    kernel.run(cell)
    task("load", kernel("dump", names.split()))


CASES = {
    # what is defined; the names that travel; what is run then; expressions that must be equal in both processes
    "global looked up late": ("k = 3\nf = lambda x: x * k", "f k", "k = 4", ["f(2)"]),
    "global of a method": (
        "k = 1\nclass A:\n    def m(self): return k\na = A()",
        "a A k",
        "k = 7",
        ["a.m()", "type(a) is A"],
    ),
    "global of a wrapped function": (
        """
        import functools
        def twice(f):
            @functools.wraps(f)
            def inner(*a): return 2 * f(*a)
            return inner
        @twice
        def g(x): return x + n
        n = 1
        """,
        "g n",
        "n = 10",
        ["g(1)", "g.__name__", "g.__wrapped__(1)"],
    ),
    "global of a partial": (
        "import functools\nn = 1\ndef add(a, b): return a + b + n\np = functools.partial(add, 1)",
        "p n",
        "n = 5",
        ["p(1)", "p.args"],
    ),
    "results of a cached function": (
        "import functools\n@functools.lru_cache(2)\ndef c(x, y=0): return [x, y, c]\na = c(1)\nc(2, y=3)\nc(1)",
        "c a",
        "b = c(2, y=3)",
        ["c.cache_info()", "c(1) is a", "b[:2]", "a[2] is c"],
    ),
    "cached function that keeps what cannot be pickled": (
        "import functools\n@functools.cache\ndef c(): return (n for n in 'ab')\nc()",
        "c",
        "",
        ["next(c.__wrapped__())"],
    ),
    "global of a cached function": (
        "import functools\nn = 1\n@functools.cache\ndef c(x): return x + n",
        "c n",
        "n = 5",
        ["c(1)", "c.__name__"],
    ),
    "recursion": ("def fac(n): return 1 if n < 2 else n * fac(n - 1)", "fac", "", ["fac(10)"]),
    "recursion in a closure": (
        "def outer():\n    def inner(n): return 1 if n < 2 else n * inner(n - 1)\n    return inner\nf = outer()",
        "f",
        "",
        ["f(5)"],
    ),
    "variable of two closures": (
        """
        def counter():
            n = 0
            def up():
                nonlocal n
                n += 1
            def get(): return n
            return up, get
        up, get = counter()
        """,
        "up get",
        "up(); up()",
        ["get()"],
    ),
    "attributes of a function": ("def f(): f.calls += 1\nf.calls = 2", "f", "f()", ["f.calls"]),
    "defaults": (
        "def f(a=1, *, b=[]):\n    'Doc.'\n    b.append(a)\n    return b",
        "f",
        "f()",
        ["f(2)", "f.__doc__", "f.__kwdefaults__"],
    ),
    "annotations": ("def f(x: int, y: 'T' = 1) -> str: ...", "f", "", ["f.__annotations__"]),
    "object that hands on": (
        """
        class Proxy:
            def __init__(self, inner): self._inner = inner
            def __getattr__(self, name): return getattr(self._inner, name)
        a = [3, 1]
        p = Proxy(a)
        q = Proxy(p)
        """,
        "q p a Proxy",
        "q.append(2)",
        ["p.count(2)", "a", "q._inner is p", "type(p) is Proxy"],
    ),
    "object that hands on, with slots": (
        """
        class Wrapped:
            __slots__ = "inner", "calls"
            def __init__(self, inner):
                object.__setattr__(self, "inner", inner)
                object.__setattr__(self, "calls", [])
            def __getattr__(self, name): return self.inner[name]
            def __setattr__(self, name, value): self.inner[name] = value
        w = Wrapped({"x": 1})
        """,
        "w",
        "w.y = 2; w.calls.append(w.x)",
        ["w.y", "w.inner", "w.calls"],
    ),
    "list that hands on": (
        """
        class Row(list):
            def __getattr__(self, name): return self[self.names.index(name)]
        r = Row([1, 2])
        r.names = ["a", "b"]
        """,
        "r",
        "r.append(3); r.names.append('c')",
        ["r.c", "r.a", "list(r)"],
    ),
    "progress bar": (
        "from tqdm import tqdm\nbar = tqdm(total=3, disable=False)\nbar.update(2)\nbar.close()",
        "bar",
        "bar.n += 1",
        ["bar.n", "bar.total"],
    ),
    "view": ("import numpy as np\na = np.zeros(6)\nb = a[1:4]", "b a", "b[0] = 9", ["a", "b.base is a"]),
    "windows": (
        "import numpy as np\na = np.arange(6)\nw = np.lib.stride_tricks.sliding_window_view(a[1:], 2)\nv = w[::-1]",
        "w v a",
        "a[2] = 9",
        ["a", "w", "v", "w.flags.writeable", "w.strides"],
    ),
    "windows over objects": (
        "import numpy as np\na = np.array([[1], 0, 2], object); w = np.lib.stride_tricks.as_strided(a, (2, 2), (8, 8))",
        "w a",
        "a[1] = 9",
        ["a", "w", "a[0] is w[0, 0]"],
    ),
    "views without their base": (
        "import numpy as np\nb = np.zeros(6)\nc = b[::2]\nb = b[1:]",
        "b c",
        "b[1] = 5",
        ["c", "b"],
    ),
    "view with steps back": (
        "import numpy as np\na = np.arange(12).reshape(3, 4)\nb = a[::-1, ::2]\nt = a.T",
        "t b a",
        "b[0, 0] = 99; t[3, 0] = 77",
        ["a", "b", "t", "b.strides"],
    ),
    "order of a matrix": (
        "import numpy as np\na = np.asfortranarray(np.arange(6.0).reshape(2, 3))\nb = a[:, 1]",
        "a b",
        "b[0] = -1",
        ["a", "a.flags.f_contiguous", "a.strides"],
    ),
    "elements without a buffer": (
        "import numpy as np\na = np.array(['2020-01-01', '2021-01-01'], 'M8[D]')\nb = a[:1]",
        "a b np",
        "b[0] = np.datetime64('1999-01-01')",
        ["a", "a.dtype"],
    ),
    "view of objects": (
        "import numpy as np\na = np.array([[1], None, 2, 3], object)\nb = a[1:]\nc = a[::-2]\nd = a.reshape(2, 2).T",
        "a b c d",
        "b[0] = 'y'; c[0] = 'z'; d[0, 1] = 'w'",
        ["a", "b", "c", "d", "b.base is a", "c.base is a", "d.base is a"],
    ),
    "records": (
        "import numpy as np\na = np.array([(1, 2.0)], dtype=[('i', int), ('f', float)])\nb = a['f']",
        "a b",
        "b[0] = 5",
        ["a"],
    ),
    "array that can grow": ("import numpy as np\na = np.arange(3)", "a", "a.resize((2, 3), refcheck=False)", ["a"]),
    "read-only array": (
        "import numpy as np\na = np.arange(3)\na.flags.writeable = False",
        "a",
        "",
        ["a.flags.writeable", "a.flags.owndata"],
    ),
    "tables that copy on write": (
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})\ne = df.copy(deep=False)\ns = df['a']",
        "df e s",
        "e.loc[0, 'a'] = 9; s[1] = 7",
        ["df", "e", "s"],
    ),
    "class attribute": ("class C: n = 1\nc = C()\nC.n = 5", "c C", "", ["C.n", "c.n", "vars(c)"]),
    "super and property": (
        """
        class A:
            def who(self): return 'A'
        class B(A):
            def who(self): return super().who() + 'B'
            @property
            def p(self): return __class__.__name__
            @classmethod
            def make(cls): return cls()
            @staticmethod
            def s(): return 1
        b = B()
        """,
        "b B",
        "",
        ["b.who()", "b.p", "type(B.make()) is B", "B.s()"],
    ),
    "enumeration": (
        "import enum\nclass Color(enum.Enum):\n    RED = 1\n    BLUE = 2\nr = {Color.RED: 'r'}",
        "Color r",
        "",
        ["list(Color)", "r[Color.RED]", "Color(2) is Color.BLUE"],
    ),
    "data class": (
        (
            "from dataclasses import dataclass, field\n"
            "@dataclass(order=True)\nclass P:\n    x: int = 1\n    y: list = field(default_factory=list)\np = P(3)"
        ),
        "p P",
        "",
        ["p", "P(1) < p", "P()"],
    ),
    "named tuple": (
        (
            "from typing import NamedTuple\nfrom collections import namedtuple\n"
            "class T(NamedTuple):\n    a: int\n    b: str = 'x'\nt = T(1)\nU = namedtuple('U', 'p q')\nu = U(1, 2)"
        ),
        "t T u U",
        "",
        ["t", "t._replace(a=2)", "u", "isinstance(u, U)", "T._fields"],
    ),
    "typed dictionary": (
        "from typing import TypedDict\nclass D(TypedDict, total=False):\n    a: int\nd = D(a=1)",
        "d D",
        "",
        ["d", "D.__annotations__", "D.__optional_keys__"],
    ),
    "protocol and abstract class": (
        """
        from abc import ABC, abstractmethod
        from typing import Protocol, runtime_checkable
        @runtime_checkable
        class Has(Protocol):
            def go(self): ...
        class Shape(ABC):
            @abstractmethod
            def area(self): ...
        class Square(Shape):
            def area(self): return 4
            def go(self): ...
        s = Square()
        """,
        "s Shape Has",
        "",
        ["s.area()", "isinstance(s, Shape)", "isinstance(s, Has)", "isinstance(1, Has)"],
    ),
    "slots": (
        (
            "class S:\n    __slots__ = ('a', '__b')\n    def __init__(self): self.a = 1; self.__b = 2\n"
            "s = S()\ndef refused():\n    try: s.c = 1\n    except AttributeError as e: return str(e)"
        ),
        "s S refused",
        "",
        ["s.a", "s._S__b", "refused()"],
    ),
    "hooks of a class do not run again": (
        """
        made = []
        class Meta(type):
            def __init__(cls, *a, **k):
                super().__init__(*a, **k)
                made.append(cls.__name__)
        class Plugin(metaclass=Meta):
            known = []
            def __init_subclass__(cls, *, tag, **k):
                super().__init_subclass__(**k)
                Plugin.known.append(tag)
        class One(Plugin, tag='one'): ...
        """,
        "made Plugin One Meta",
        "class Two(Plugin, tag='two'): ...",
        ["made", "Plugin.known", "type(One) is Meta"],
    ),
    "two names of one object": ("a = [1]\nb = a\nc = {'a': a}", "a b c", "b.append(2)", ["a", "c", "a is b"]),
    "cycle": ("a = []\nb = {'a': a}\na.append(b)", "a b", "", ["a[0] is b", "b['a'] is a"]),
    "generators of numbers": (
        "import random, numpy as np\nr = random.Random(3)\nr.random()\ng = np.random.default_rng(2)\ng.random()",
        "r g",
        "",
        ["r.random()", "g.random()", "g.integers(100, size=3)"],
    ),
    "object of a module": (
        "from os import environ\nfrom random import randint\nimport random",
        "environ randint random",
        "import os; random.seed(1)",
        ["environ is os.environ", "randint(1, 10**9)"],
    ),
    "submodule": ("import xml.etree.ElementTree", "xml", "", ["xml.etree.ElementTree.__name__"]),
    "the namespace itself": ("g = globals()\nx = 1", "g x", "g['x'] = 5", ["x"]),
    "iterators": (
        "it = iter([1, 2, 3])\nnext(it)\ne = enumerate('abc')\nnext(e)\nz = zip(it, e)",
        "it e z",
        "",
        ["next(z)", "next(it)", "next(e)"],
    ),
    "iterators at their end": (
        (
            "data = [1, 2]\ntold, backwards, untold = iter(data), reversed(data), iter(data)\n"
            "list(told), list(backwards), next(untold), next(untold)"
        ),
        "data told backwards untold",
        "data.append(3)",
        ["next(told, 'end')", "next(backwards, 'end')", "next(untold, 'end')", "type(backwards).__name__"],
    ),
    "protocol": (
        "from typing import Protocol\nclass Has(Protocol):\n    def norm(self): ...\nclass Mine(Has): pass",
        "Has Mine",
        "",
        ["'_is_protocol' in vars(Has)", "Has._is_protocol", "Mine._is_protocol"],
    ),
    "generic class": (
        "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass Box(Generic[T]):\n    v: T\nb = Box[int]()",
        "b Box T",
        "",
        ["isinstance(b, Box)", "Box.__parameters__[0] is T"],
    ),
    "single dispatch": (
        "import functools\nn = 1\n@functools.singledispatch\ndef d(x): return n\n@d.register\ndef e(x: int): return n",
        "d n",
        "n = 10",
        ["d('a')", "d(1)", "d.dispatch(int).__name__"],
    ),
    "exceptions": (
        """
        class Hot(Exception):
            def __init__(self, d):
                super().__init__(f"{d} degrees")
                self.d = d
        try:
            try:
                int("x")
            except ValueError as e:
                raise Hot(9) from e
        except Hot as e:
            h = e
        try:
            open("/nowhere")
        except OSError as e:
            o = e
        try:
            bytes([255]).decode()
        except UnicodeDecodeError as e:
            u = e
        k = KeyError("a")
        k.add_note("note")
        """,
        "h o u k Hot",
        "",
        ["h.args", "h.d", "type(h.__cause__)", "str(o)", "o.errno", "o.filename", "str(u)", "u.start", "k.__notes__"],
    ),
    "enumerations": (
        """
        from enum import Enum, Flag
        class Suit(Enum):
            CLUBS = "C"
            H = "H"
        class P(Flag):
            A = 1
            B = 2
        """,
        "Suit P",
        "",
        ["Suit.CLUBS.value", "list(Suit)", "'CLUBS' in vars(Suit)", "P.A | P.B", "Suit('H')"],
    ),
    "closed files": (
        "with open('/dev/null') as f: pass\nwith open('/dev/zero', 'rb') as b: pass",
        "f b",
        "",
        ["f", "f.closed", "f.name", "f.mode", "b", "b.closed"],
    ),
    "matches": (
        "import re\nm = re.search('(a)(b)?', 'xxab')\nl = list(re.finditer('[a-z]', 'a1b'))",
        "m l",
        "",
        ["m.groups()", "m.span()", "m.string", "[x.span() for x in l]", "m"],
    ),
    "views of a dictionary": (
        "d = {'a': 1}\nk, v, i = d.keys(), d.values(), d.items()",
        "d k v i",
        "d['b'] = 2",
        ["k", "v", "i"],
    ),
    "view of bytes": ("b = bytearray(b'abc')\nm = memoryview(b)", "m b", "m[0] = 122", ["b", "m.tolist()"]),
    "weak references": (
        "import weakref\nclass A: ...\na = A()\nr = weakref.ref(a)\ngone = weakref.ref(A())",
        "a r gone",
        "",
        ["r() is a", "gone()"],
    ),
    "locks and queues": (
        "import threading, queue\nlock = threading.Lock()\nq = queue.Queue()\nq.put(1)\ne = threading.Event()\ne.set()",
        "lock q e",
        "",
        ["lock.acquire(False)", "q.get_nowait()", "q.empty()", "e.is_set()"],
    ),
    "order of attributes": (
        "class Z:\n    z = 1\n    a = 2\n    m = 3",
        "Z",
        "",
        ["[n for n in vars(Z) if n[0] != '_']"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_values_are_the_same_in_another_process(kernel: Peer, task: Peer, case: str) -> None:
    """And behave the same after the same lines."""
    cell, names, then, expressions = CASES[case]
    _moved(kernel, task, cell, names)
    for peer in (kernel, task):
        peer.run(then)

    assert task.values(*expressions) == kernel.values(*expressions)


def test_a_module_that_the_notebook_has_made_travels(kernel: Peer, task: Peer) -> None:
    """Also where it is among the loaded ones: no import finds it elsewhere, and its functions took others with them."""
    kernel.run(
        "import sys, types\nmade = types.ModuleType('law_made')",
        "exec('value = 3\\ndef get(): return value\\nclass C: n = 1', made.__dict__)\nsys.modules['law_made'] = made",
        "from law_made import get, C\nc = C()\ndef mean(rows): return sum(rows)",
    )
    task("load", kernel("dump", ["get", "c", "mean", "made"]))

    assert task.values("get()", "c.n", "mean([1])", "made.value") == ["3", "1", "1", "3"]


def test_a_class_is_one_however_often_it_comes(kernel: Peer, task: Peer) -> None:
    """With the attributes that it has now, and without those that it lost."""
    _moved(kernel, task, "class C:\n    n = 1\n    old = 2\nc = C()", "c C")
    kernel.run("d = C()\nC.n = 9\ndel C.old\nC.new = lambda self: self.n")
    task("load", kernel("dump", ["d"]))

    assert task.values("type(d) is C", "C.n", "c.new()", "hasattr(C, 'old')") == ["True", "9", "9", "False"]


def test_a_class_keeps_what_its_base_has_as_well(kernel: Peer, task: Peer) -> None:
    """What the base gets later is not for the class, which said so itself."""
    _moved(kernel, task, "class A: rate, how = 1, None\nclass B(A): rate, how = 1, None\nb = B()", "A B b")
    task.run("A.rate, A.how = 2, 'new'")

    assert task.values("B.rate, b.how", "B.__module__") == ["(1, None)", "'__main__'"]


_KINDS_OF_ARRAYS = """
    import numpy as np
    masked = np.ma.masked_greater(np.arange(12.0), 8)
    part = masked[2:6]
    people = np.zeros(3, dtype=[("name", "U8"), ("age", "i4")])
    row, records = people[1], people.view(np.recarray)
    record, matrix = records[2], np.arange(4).reshape(2, 2).view(np.matrix)
    line, sole, bare = matrix[0], np.ma.array([1, 2], mask=[0, 1]), np.ma.masked_array([3.0])
    mapped = np.memmap("mapped.bin", "f4", "w+", shape=(4, 400))
    mapped_row = mapped[1]
"""
_NAMES_OF_ARRAYS = [
    *("masked", "part", "people", "row", "records", "record", "matrix", "line", "sole", "bare", "mapped", "mapped_row")
]
_CHANGES = """
    part[0] = 77; part[1] = np.ma.masked; row["age"] = 40; record.age = 50; line[0, 1] = 9; mapped_row[0] = -5
    masked[5] = 3; sole[0] = 5; bare[0] = np.ma.masked; people["age"][0] = 7
"""


def test_further_kinds_of_arrays_and_rows_of_them_share_memory(kernel: Peer, task: Peer, tmp_path: Path) -> None:
    """Masked arrays, records, matrices and arrays that map a file, in one process as in the other."""
    cell = _KINDS_OF_ARRAYS.replace("mapped.bin", str(tmp_path / "mapped.bin"))
    kernel.run(cell)
    task("load", kernel("dump", ["np", *_NAMES_OF_ARRAYS]))
    task.run(_CHANGES)
    there = task.values(*_NAMES_OF_ARRAYS, "type(row)", "mapped[1, 0]", "part.sharedmask")

    assert kernel.value("mapped[1, 0]") == "np.float32(-5.0)"
    kernel.run(_CHANGES)
    assert there == kernel.values(*_NAMES_OF_ARRAYS, "type(row)", "mapped[1, 0]", "part.sharedmask")


def test_what_a_cell_writes_to_a_part_of_them_is_written(kernel: Peer, task: Peer, tmp_path: Path) -> None:
    """In the arrays that the notebook has, which share their memory still."""
    cell = _KINDS_OF_ARRAYS.replace("mapped.bin", str(tmp_path / "mapped.bin"))
    for peer in (kernel, task):
        peer.run(cell)
        peer.run(_CHANGES)
    expected = task.values(*_NAMES_OF_ARRAYS)
    kernel.run(cell)
    task("receive", kernel("send", ["np", *_NAMES_OF_ARRAYS]))
    task.run(_CHANGES)
    kernel("deliver", task("reply", None))

    assert kernel.values(*_NAMES_OF_ARRAYS) == expected
    kernel.run("part[3] = 66")
    assert kernel.value("masked[5]") == "np.float64(66.0)"


def test_a_class_of_a_module_that_is_not_loaded_yet_is_no_copy(kernel: Peer, task: Peer) -> None:
    """`np.recarray` says that it is of `numpy.rec`; `super()` in its methods refused the copy."""
    kernel.run("import numpy as np\nrec = np.zeros(2, [('a', 'i4')]).view(np.recarray)")
    task("load", kernel("dump", ["np", "rec"]))

    assert task.values("rec[0].a", "type(rec) is np.recarray") == ["np.int32(0)", "True"]


def test_an_object_that_lets_nobody_set_its_slots_comes_with_them(kernel: Peer, task: Peer) -> None:
    """It set them by itself; pickles would do so by its own method."""
    cell = """
        class Point:
            __slots__ = ("x", "__hidden")
            def __init__(self): object.__setattr__(self, "x", [1]); object.__setattr__(self, "_Point__hidden", 2)
            def __setattr__(self, name, value): raise TypeError(name)
            def both(self): return self.x, self.__hidden
        point = Point()
    """
    kernel.run(cell)
    task("load", kernel("dump", ["point"]))

    assert task.value("point.both()") == "([1], 2)"


def test_a_large_base_is_not_written_for_a_small_view(kernel: Peer) -> None:
    """But where two views share it, it is."""
    kernel.run("import numpy as np\nbig = np.zeros(100_000)\na = big[:10]\nb = big[5:10]\ndel big")

    assert len(kernel("dump", ["a"])) < 2_000
    assert len(kernel("dump", ["a", "b"])) > 800_000


def test_deep_structures_are_pickled() -> None:
    """A linked list of ten thousand objects."""
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]

    back = loads(dumps({"deep": deep}, {}).join(), {})["deep"]

    depth = 0
    while back:
        back, depth = back[0], depth + 1
    assert depth == 10_000


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("g = (i for i in range(3))", "'g' of type generator"),
        ("import threading\nx = {'a': [threading.Lock()]}\nx['a'][0].acquire()", "x['a'][0] is a _thread.lock"),
        ("class A: ...\nx = A()\nx.it = (i for i in [1])", "x.it is a generator"),
        ("x = open('/dev/null')", "'x' of type _io.TextIOWrapper"),
        ("import sqlite3\nx = sqlite3.connect(':memory:')", "'x' of type sqlite3.Connection"),
    ],
)
def test_the_message_names_the_variable(cell: str, words: str) -> None:
    """And the part of it that cannot be pickled."""
    namespace = {"__name__": "__main__"}
    exec(textwrap.dedent(cell), namespace)
    values = {name: value for name, value in namespace.items() if name in ("g", "x")}

    with pytest.raises(SerializationError) as caught:
        dumps({"before": 1, **values}, namespace)

    assert words in str(caught.value)
    for value in values.values():
        getattr(value, "close", bool)()


class _LikeCompiled:
    """Object whose code looks for `__builtins__` among the globals of its caller, as code that Cython made does."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_by_compiled, ()


def _made_by_compiled() -> str:
    return str(sys._getframe(1).f_globals["__builtins__"] is not None)


@pytest.mark.parametrize("namespace", [{}, {"__builtins__": builtins}, {"tree": 1}])
def test_compiled_code_finds_python_where_it_is_opened(namespace: dict[str, Any]) -> None:
    """A kd-tree of scipy could not be read from a result; nothing is added to the names there."""
    spatial = pytest.importorskip("scipy.spatial")

    names = {"tree": spatial.cKDTree(np.arange(6.0).reshape(3, 2)), "other": _LikeCompiled()}
    before = dict(namespace)

    found = loads(dumps(names, {"__name__": "__main__"}).join(), namespace)

    assert found["tree"].n == 3
    assert found["other"] == "True"
    assert namespace == before


class _TwoKinds(ValueError, OSError):
    """An exception of two built-in kinds, of which the second has more in its objects."""


@pytest.mark.parametrize("kind", [_TwoKinds, DataFolderError])
def test_an_exception_of_two_built_in_kinds_is_made_by_the_larger_one(kind: type[Exception]) -> None:
    """The first of its bases would refuse to make it."""
    error = kind("no room")
    error.__cause__ = KeyError("why")
    made, arguments, state, _, _, put = standard_library.reduce_exception(error)
    again = made(*arguments)
    put(again, state)

    assert (type(again), again.args, repr(again.__cause__)) == (kind, ("no room",), "KeyError('why')")
