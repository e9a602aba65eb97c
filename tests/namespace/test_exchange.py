"""A cell that runs in another process changes the notebook as if it had run there."""

from __future__ import annotations

from typing import Any

import pytest
from tests.namespace.peer import Peer, PeerError

from covalab.namespace import delivery
from covalab.namespace.exchange import deliver, receive, send

# What the notebook has; the names that the cell mentions; the cell; expressions that must be as after a plain run.
CASES: dict[str, tuple[str, str, str, list[str]]] = {
    "mock, which says that it is an iterator at its end": (
        "from unittest.mock import MagicMock\nmock = MagicMock()\nalias = mock",
        "mock",
        "mock.load(3)\nmock.size = 5",
        ["mock.load.call_count", "alias.size", "alias is mock"],
    ),
    "object that has no length, and answers to any name": (
        """
class Lazy:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Lazy()
    def __len__(self): raise RuntimeError("no length")
    def __bool__(self): raise TypeError("neither true nor false")
lazy = Lazy()
""",
        "lazy",
        "lazy.n = 3",
        ["lazy.n", "type(lazy.other) is Lazy"],
    ),
    "class of objects": (
        """
class Robot:
    speed = 1
    def move(self): return self.speed
class Slotted:
    __slots__ = ("a",)
class Twin:
    __slots__ = ("a",)
class Numbers(list): pass
class More(list): pass
robots = [Robot(), Robot(), Slotted(), Numbers([1])]
robots[2].a = 1
first = robots[0]
""",
        "robots Twin More",
        """
robots[0].__class__ = type("Super", (type(robots[0]),), {"speed": 50})
robots[0].extra = 1
robots[2].__class__ = Twin
robots[3].__class__ = More
robots[3].append(2)
type(robots[1]).move = lambda self: self.speed * 2
""",
        [
            "[robot.move() for robot in robots[:2]]",
            "first is robots[0]",
            "type(first).__name__, isinstance(first, Robot), first.extra",
            "type(robots[2]).__name__, robots[2].a",
            "type(robots[3]) is More, robots[3]",
        ],
    ),
    "objects that restore what belongs to them": (
        """
import io, weakref, pandas as pd
from matplotlib.figure import Figure
class Canvas:
    def __init__(self, owner): self.owner = weakref.ref(owner)
class Drawing:
    def __init__(self): self.lines = []; self.canvas = Canvas(self)
    def __getstate__(self): return {"lines": self.lines}
    def __setstate__(self, state): self.__init__(); self.lines = state["lines"]
drawing, figure, table = Drawing(), Figure(), pd.DataFrame({"a": [1, 2]})
figure.subplots().plot([1, 2])
""",
        "drawing figure table Drawing Canvas weakref",
        """
drawing.lines.append(1)
drawing.more = 1
figure.suptitle("all")
table.attrs["unit"] = "m"
table["b"] = 3
""",
        [
            "drawing.canvas.owner() is drawing, drawing.lines",
            "figure.canvas.figure is figure, figure.draw_without_rendering(), figure.get_suptitle()",
            "table.flags.allows_duplicate_labels, table.attrs, table.b.sum()",
        ],
    ),
    "calls that a mock has recorded": (
        "from unittest.mock import Mock, call\nservice = Mock()\nservice.load(1, n=2)",
        "service call",
        "service.save()\nplain = call(3)\nlast = service.load.call_args",
        [
            "len(last), last == call(1, n=2), last.args, last.kwargs",
            "service.mock_calls, [len(one) for one in service.mock_calls]",
            "sorted(service._mock_children)",
            "len(plain), plain",
        ],
    ),
    "objects of new classes in what was there": (
        "a, d, s, o = [], {}, set(), type('Box', (), {})()",
        "a d s o",
        """
def made(n):
    return type(f"Made{n}", (), {"value": n, "double": lambda self: 2 * self.value})()
a.append(made(1))
d["k"] = made(2)
s.add(made(3))
o.inside = [made(4)]
""",
        ["[(one.value, one.double(), type(one).__name__) for one in (*a, *d.values(), *s, *o.inside)]"],
    ),
    "model with a formula": (
        """
import pandas as pd, statsmodels.formula.api as smf
data = pd.DataFrame({"x": [1.0, 2, 3, 5], "y": [2.0, 3, 5, 8]})
""",
        "data smf",
        "def centred(x): return x - x.mean()\na_fit = smf.ols('y ~ centred(x)', data).fit()",
        ["a_fit.params.round(3).tolist()"],
    ),
    "model with a formula of the notebook": (
        """
import pandas as pd, statsmodels.formula.api as smf
data = pd.DataFrame({"x": [1.0, 2, 3, 5], "y": [2.0, 3, 5, 8]})
def centred(x): return x - x.mean()
a_fit = smf.ols("y ~ centred(x)", data).fit()
""",
        "a_fit",
        "summary = a_fit.params.round(3).tolist()",
        ["summary"],
    ),
    "model with a formula of a number that the cell sets": (
        """
import pandas as pd, statsmodels.formula.api as smf
data = pd.DataFrame({"x": [1.0, 2, 3, 5], "y": [2.0, 3, 5, 8]})
""",
        "data smf",
        "scale = 2\npower = 2\na_fit = smf.ols('y ~ I(x * scale) + I(x ** power)', data).fit()",
        ["a_fit.params.round(3).tolist()", "scale, power"],
    ),
    "model with a formula of a number of the notebook": (
        """
import pandas as pd, statsmodels.formula.api as smf
data = pd.DataFrame({"x": [1.0, 2, 3, 5], "y": [2.0, 3, 5, 8]})
scale = [2]
a_fit = smf.ols("y ~ I(x * scale[0])", data).fit()
""",
        "a_fit scale",
        "summary = a_fit.params.round(3).tolist()\nboth = a_fit, scale",
        ["summary", "both[0] is a_fit, both[1] is scale"],
    ),
    "results that a function keeps": (
        """
from functools import cache
calls = 0
@cache
def fib(n):
    global calls
    calls += 1
    return n if n < 2 else fib(n - 1) + fib(n - 2)
""",
        "fib calls",
        "x = fib(10)",
        ["fib(9)", "calls", "fib.cache_info()", "fib(11)", "calls"],
    ),
    "results of a limited cache": (
        """
from functools import lru_cache
calls = []
k = 10
def make(add):
    @lru_cache(maxsize=3, typed=True)
    def f(a, *more, b=1):
        calls.append(a)
        return [a + b + k + add]
    return f
f = make(1)
first = f(1)
f(2, b=5)
""",
        "f calls k",
        "f(1.0, 3, b=2)\nf(1)\nf(7)\ntwo = f(7)",
        ["f.cache_info()", "f(1) is first", "f(7) is two", "f(2, b=5)", "calls", "f.__wrapped__(3)", "f.cache_info()"],
    ),
    "results that are forgotten": (
        "from functools import cache\n@cache\ndef f(x): return [x]\nold = f((1, 2))",
        "f",
        "f.cache_clear()",
        ["f.cache_info()", "f((1, 2)) is old"],
    ),
    "implementation for a type": (
        """
from functools import singledispatch
@singledispatch
def show(x): return "something"
@show.register
def show_int(x: int): return "int"
used = show([1])
same = {"f": show}
""",
        "show",
        "@show.register(list)\ndef show_list(x): return 'list', show(x[0])",
        ["show([1])", "show(2)", "show('x')", "show_list([1])", "same['f'] is show"],
    ),
    "implementation of a method": (
        """
from functools import singledispatchmethod
class A:
    @singledispatchmethod
    def go(self, x): return "any"
a = A()
used = a.go(3)
""",
        "A",
        "@A.go.register\ndef _(self, x: int): return 'int'",
        ["a.go(3)", "a.go('x')"],
    ),
    "alias": ("a = [1]\nb = a", "a", "a.append(2)", ["a", "b", "a is b"]),
    "alias that is not mentioned": ("a = [1]\nb = {'k': a}", "a", "a.append(2)\nz = a", ["b", "z is a"]),
    "element": ("rows = {'a': [1]}\nx = rows['a']", "x", "x.append(2)", ["rows", "rows['a'] is x"]),
    "view": ("import numpy as np\na = np.zeros(4)\nb = a[:2]", "b", "b[0] = 9", ["a", "b"]),
    "view of what is mentioned": (
        "import numpy as np\na = np.zeros(4)\nb = a[1:3]\nc = a[::2]",
        "a",
        "a += 1",
        list("abc"),
    ),
    "new view": ("import numpy as np\na = np.zeros(4)", "a", "b = a[:2]\nb[1] = 5", ["a", "b", "b.base is a"]),
    "small view of a large array": (
        "import numpy as np\nbig = np.zeros(100_000)\nv = big[10:13]",
        "v",
        "v[:] = 7",
        ["big[9:14]", "v.base is big"],
    ),
    "view of a view": (
        "import numpy as np\na = np.arange(12).reshape(3, 4)\nt = a.T\nr = t[::-1]",
        "r",
        "r[0, 0] = 100",
        ["a", "t"],
    ),
    "array changed by out": ("import numpy as np\na = np.ones(3)\nb = a", "a np", "np.add(a, 1, out=a)", ["b"]),
    "array sorted": ("import numpy as np\na = np.array([3, 1, 2])\nd = {'a': a}", "a", "a.sort()", ["d"]),
    "array with another shape": (
        "import numpy as np\na = np.arange(6)\nb = a",
        "a",
        "a.shape = (2, 3)",
        ["b", "a is b"],
    ),
    "array that grows": (
        "import numpy as np\na = np.arange(3)\nb = a",
        "a",
        "a.resize((2, 3), refcheck=False)",
        ["b", "a is b", "a.flags.owndata"],
    ),
    "array of objects": (
        "import numpy as np\nl = [1]\na = np.array([l, None], dtype=object)\nb = a",
        "a",
        "a[0].append(2)\na[1] = 'x'",
        ["b", "l", "a[0] is l"],
    ),
    "sorted in place": (
        "m = [[3, 1], [2, 0]]\nrow = m[0]",
        "m",
        "for r in m: r.sort()\nm.sort()",
        ["m", "row", "m[1] is row"],
    ),
    "objects that refer to each other": (
        "class N:\n    other = None\na = N(); b = N(); a.other = b; b.other = a",
        "a",
        "a.other.x = 5\na.other.other.y = 6",
        ["b.x", "a.y", "a.other is b", "type(a) is N"],
    ),
    "list in two dictionaries": ("l = []\nd = {'l': l}\ne = {'l': l}", "d", "d['l'].append(1)", ["e", "l"]),
    "column of a table": (
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})\nalias = df\nd = [df]",
        "df",
        "df['b'] = df['a'] * 2\ndf.loc[0, 'a'] = 9",
        ["alias", "d[0] is df", "df.dtypes.to_dict()"],
    ),
    "inplace": (
        "import pandas as pd\ndf = pd.DataFrame({'a': [2, 1], 'b': ['x', 'y']})\nalias = df",
        "df",
        "df.sort_values('a', inplace=True)\ndf.rename(columns={'b': 'c'}, inplace=True)",
        ["alias"],
    ),
    "index of a table": (
        "import pandas as pd\ndf = pd.DataFrame({'a': [1]})\nalias = df",
        "df",
        "df.index = ['k']\ndf.columns = ['z']\ndf.attrs['n'] = 1",
        ["alias", "alias.attrs"],
    ),
    "series": (
        "import pandas as pd\ns = pd.Series([1.0, 2.0], name='s')\nt = s",
        "s",
        "s[0] = 5\ns.name = 'n'\ns.index = ['a', 'b']",
        ["t", "t.name"],
    ),
    "series of a table": (
        "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2]})\ns = df['a']",
        "s",
        "s[0] = 9",
        ["df", "s"],
    ),
    "dates and categories": (
        "import pandas as pd\ndf = pd.DataFrame({'t': pd.to_datetime(['2020-01-01']), 'c': pd.Categorical([1])}); z=df",
        "df pd",
        "df.loc[0, 't'] = pd.Timestamp('1999-01-01'); df['n'] = 1",
        ["z", "z.dtypes.to_dict()"],
    ),
    "set": ("s = {(1, 2)}\nt = s", "s", "s.add((3, 4))\ns.discard((1, 2))", ["t"]),
    "deque": (
        "from collections import deque\nq = deque([1, 2], maxlen=3)\nr = q",
        "q",
        "q.append(3); q.append(4)",
        ["r"],
    ),
    "ordered dictionary": (
        "from collections import OrderedDict\nd = OrderedDict(a=1, b=2)\ne = d",
        "d",
        "d.move_to_end('a')",
        ["list(e)", "e"],
    ),
    "default dictionary and counter": (
        "from collections import defaultdict, Counter\nd = defaultdict(list)\nc = Counter('aab')\nx = [d, c]",
        "d c",
        "d['k'].append(1)\nc.update('bbb')",
        ["x"],
    ),
    "order of keys": ("d = {'a': 1, 'b': 2}\ne = d", "d", "d['a'] = d.pop('a')", ["list(e)"]),
    "bytes": ("b = bytearray(b'abc')\nc = b", "b", "b[0] = 122\nb.extend(b'!')", ["c"]),
    "array of the library": ("import array\na = array.array('i', [1])\nb = a", "a", "a.append(2)", ["b"]),
    "slots": (
        "class P:\n    __slots__ = ('x', 'y')\np = P(); p.x = 1\nq = p",
        "p",
        "p.x = 2\np.y = []",
        ["q.x", "q.y", "type(q) is P"],
    ),
    "data classes": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    v: list\na = A([1])\nk = [a]",
        "a",
        "a.v.append(2)\na.w = 1",
        ["k", "k[0].w"],
    ),
    "subclass of a list": (
        "class L(list):\n    def append(self, x): raise TypeError\nl = L([1])\nm = l",
        "l",
        "list.append(l, 2)\nl.note = 'x'",
        ["m", "m.note"],
    ),
    "subclass of a dictionary": (
        "class D(dict):\n    def __setitem__(self, k, v): raise TypeError\nd = D(a=1)\ne = d",
        "d",
        "dict.__setitem__(d, 'b', 2)",
        ["e", "type(e) is D"],
    ),
    "estimator": (
        (
            "from sklearn.linear_model import LinearRegression\nimport numpy as np\n"
            "m = LinearRegression()\nX = np.arange(4.0).reshape(-1, 1)\nmodels = {'m': m}"
        ),
        "m X",
        "m.fit(X, X.ravel())\nmodel = m",
        ["models['m'].coef_.round(3)", "model is m"],
    ),
    "pipeline": (
        (
            "from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler\n"
            "sc = StandardScaler()\np = make_pipeline(sc)"
        ),
        "p",
        "p.fit([[1.0], [3.0]])",
        ["sc.mean_", "p.steps[0][1] is sc"],
    ),
    "figure and axes": (
        (
            "import matplotlib; matplotlib.use('agg')\nimport matplotlib.pyplot as plt\n"
            "fig, ax = plt.subplots()\nplt.close(fig)"
        ),
        "ax",
        "ax.plot([1, 2])\nax.set_title('t')",
        ["len(fig.axes[0].lines)", "fig.axes[0].get_title()", "fig.axes[0] is ax", "plt.get_fignums()"],
    ),
    "generators of numbers": (
        (
            "import numpy as np, random\nr = np.random.default_rng(1)\ns = r\nq = random.Random(1)\nt = q\n"
            "o = np.random.RandomState(1)\np = o"
        ),
        "r q o",
        "a = r.random(); b = q.random(); c = o.rand()",
        ["s.random()", "t.random()", "p.rand()", "a, b, c", "r is s"],
    ),
    "class attribute": ("class C: n = 1\nc = C()", "C", "C.n = 5\nC.m = lambda self: self.n", ["C.n", "c.n", "c.m()"]),
    "class attribute removed": ("class C:\n    n = 1\n    m = 2\nc = C()", "C", "del C.m", ["hasattr(c, 'm')", "c.n"]),
    "class attribute changed by an instance": (
        "class C:\n    made = []\n    def __init__(self): self.made.append(1)\nd = C.made",
        "C",
        "x = C()",
        ["d", "C.made is d", "type(x) is C"],
    ),
    "attribute of a function": ("def f(): ...\nf.calls = 0\ng = f", "f", "f.calls += 3", ["g.calls", "f is g"]),
    "variable of a closure": (
        (
            "def make():\n    n = 0\n    def up():\n        nonlocal n; n += 1\n        return n\n    return up\n"
            "up = make()\nother = up"
        ),
        "up",
        "up(); up()",
        ["other()", "up is other"],
    ),
    "function that changes a global": (
        "seen = []\nkeep = seen\ndef note(x): seen.append(x)",
        "note",
        "note(3)",
        ["seen", "keep"],
    ),
    "function that rebinds a global": ("n = 1\ndef up():\n    global n\n    n += 1", "up", "up()", ["n"]),
    "method that reads a global": ("k = 2\nclass A:\n    def m(self): return k\na = A()", "a", "r = a.m()", ["r"]),
    "deleted": ("x = [1]\ny = x", "x", "del x", ["'x' in globals()", "y"]),
    "deleted by a function": ("x = 1\ndef drop():\n    global x\n    del x", "drop", "drop()", ["'x' in globals()"]),
    "moved between containers": (
        "i = [0]\na = [i]\nb = []",
        "a b",
        "b.append(a.pop())\nb[0].append(1)",
        ["a", "b", "i", "b[0] is i"],
    ),
    "input bound to something new": ("a = [1]\nb = a", "a", "a = [2]", ["a", "b"]),
    "input changed, then bound": ("a = [1]\nb = a", "a", "a.append(2)\na = [3]", ["a", "b"]),
    "input in a tuple": ("x = [1]\ny = x", "x", "x = (x, 2)\nx[0].append(3)", ["x", "y", "x[0] is y"]),
    "exchanged": ("a = [1]\nb = [2]\nc = a", "a b", "a, b = b, a\na.append(9)", ["a", "b", "b is c"]),
    "new objects refer to old ones": (
        "a = [1]\nd = {}",
        "a d",
        "d['a'] = a\nn = {'d': d}\nd['n'] = n\na.append(d)",
        ["d['a'] is a", "n['d'] is d", "d['n'] is n", "a[1] is d"],
    ),
    "two new names of one object": ("x = 1", "x", "a = [x]\nb = a", ["a is b", "a"]),
    "definitions": (
        "k = 2",
        "k",
        (
            "import math, os.path as p\nfrom json import dumps\ndef f(x): return x * k\nclass C: v = 1\n"
            "for i in range(3): pass\n_n = 4\nwith open('/dev/null') as h: pass\ndel h"
        ),
        ["f(3)", "C().v", "math.pi", "p.sep", "dumps(1)", "i", "_n", "f.__globals__ is globals()", "C.__module__"],
    ),
    "iterator over a list": ("l = [1, 2, 3]\nit = iter(l)\nk = it", "it", "a = next(it)", ["a", "next(k)", "k is it"]),
    "iterators of other kinds": (
        "r = iter(range(9)); t = iter((1, 2, 3)); d = iter({'a': 1, 'b': 2}); s = iter('abc')\nk = [r, t, d, s]",
        "r t d s",
        "x = [next(r), next(t), next(d), next(s)]",
        ["x", "[list(i) for i in k]"],
    ),
    "cycles": (
        (
            "from itertools import cycle\nsource = iter('abc'); shared = cycle(source)\n"
            "kept = [cycle('abc') for _ in range(4)] + [shared]\nfresh, begun, turned, round, _ = kept\n"
            "next(begun); [next(turned) for _ in range(3)]; [next(round) for _ in range(4)]"
        ),
        "fresh begun turned round shared source cycle",
        (
            "x = [next(fresh), next(begun), next(begun), next(turned), [next(round) for _ in range(4)], next(shared)]\n"
            "other = cycle([]); next(other, None)"
        ),
        ["x", "[[next(one) for _ in range(7)] for one in kept]", "list(source)"],
    ),
    "a model of a table that the cell has changed": (
        (
            "import numpy as np, pandas as pd, statsmodels.formula.api as smf\n"
            "table = pd.DataFrame({'x': np.arange(9.0), 'y': np.arange(9.0) ** 2}); alias = table"
        ),
        "table smf",
        "table['group'] = list('aabbccaab')\nfit = smf.ols('y ~ x + C(group)', table).fit()",
        ["fit.params.round(6).tolist()", "list(alias.columns)", "fit.model.data.frame is table"],
    ),
    "a cycle that comes round": (
        "from itertools import cycle\ncolours, empty, whole = cycle('rgb'), cycle(''), cycle('ab')\nkept = colours",
        "colours empty whole",
        "x = [next(colours) for _ in range(4)], next(empty, None), [next(whole) for _ in range(2)]",
        ["x", "[next(kept) for _ in range(5)], list(empty), [next(whole) for _ in range(3)]", "kept is colours"],
    ),
    "zip": ("z = zip([1, 2], 'ab')\ny = z", "z", "a = next(z)", ["a", "list(y)", "y is z"]),
    "enumeration": ("e = enumerate('abc')", "e", "a = next(e)", ["a", "list(e)"]),
    "exhausted": ("l = [1]\nit = iter(l)\nk = it", "it", "a = list(it)", ["a", "l.append(2) or list(k)"]),
    "state of its own": (
        (
            "class S:\n    def __init__(self): self.items = [1]; self.lock = None\n"
            "    def __getstate__(self): return {'items': list(self.items)}\n"
            "    def __setstate__(self, s): self.__dict__.update(s)\ns = S()\nt = s"
        ),
        "s",
        "s.items.append(2)",
        ["t.items", "t is s"],
    ),
    "text in memory": (
        "import io\nf = io.StringIO()\nf.write('a')\ng = f",
        "f",
        "w = f.write('b')",
        ["g.getvalue()", "g.tell()"],
    ),
    "exception": ("e = ValueError(1)\nf = e", "e", "e.args = (2,)\ne.note = 'n'", ["f.args", "f.note"]),
    "nothing changed": ("a = [1]\nb = a", "a", "len(a)", ["a", "a is b"]),
    "the namespace": ("x = 1\ng = globals()", "x g", "g['y'] = x + 1", ["y", "g is globals()"]),
    "cached property": (
        "import functools\nclass A:\n    @functools.cached_property\n    def p(self): return [1]\na = A()\nb = a",
        "a",
        "a.p.append(2)",
        ["b.p"],
    ),
    "graph": (
        "import networkx as nx\nG = nx.Graph()\nG.add_edge(1, 2)\nH = G\nadj = G.adj",
        "G",
        "G.add_edge(2, 3, w=1)",
        ["sorted(H.edges)", "H is G"],
    ),
}


def _run_there(kernel: Peer, task: Peer, names: str, cell: str) -> object:
    task("receive", kernel("send", names.split()))
    task.run(cell)
    return kernel("deliver", task("reply", None))


@pytest.mark.parametrize("case", CASES)
def test_a_cell_changes_the_notebook_as_if_it_had_run_there(kernel: Peer, task: Peer, case: str) -> None:
    """Names, values, and which objects are the same."""
    before, names, cell, expressions = CASES[case]
    kernel.run(before, cell)
    expected = kernel.values(*expressions)
    kernel("reset")
    kernel.run(before)

    delivered = _run_there(kernel, task, names, cell)

    assert kernel.values(*expressions) == expected
    assert delivered.unsendable == {}  # type: ignore[attr-defined]


def _between(kernel: Peer, task: Peer, before: str, names: str, cell: str, meanwhile: str) -> list[str]:
    """Run a cell there, and one here while it runs. Return the warnings."""
    kernel.run(before)
    task("receive", kernel("send", names.split()))
    task.run(cell)
    kernel.run(meanwhile)
    return list(kernel("deliver", task("reply", None)).warnings)


@pytest.mark.parametrize(
    ("before", "cell", "meanwhile", "warning", "expressions"),
    [
        ("a = 1", "a = 2", "a = 3", "'a' was set in the notebook", {"a": "2"}),
        ("a = 1", "b = a", "a = 3", "", {"a": "3", "b": "1"}),
        ("a = [1]", "a.append(2)", "a.append(3)", "'a' was changed in the notebook", {"a": "[1, 2]"}),
        ("a = [1]\nb = a", "a.append(2)", "a = 5", "'a' was set in the notebook", {"a": "5", "b": "[1, 2]"}),
        ("a = {'k': [1]}", "a['k'].append(2)", "a['k'].append(3)", "'a' was changed", {"a": "{'k': [1, 2]}"}),
        ("a = {'k': [1]}", "a['k'].append(2)", "a['z'] = 1", "", {"a": "{'k': [1, 2], 'z': 1}"}),
        ("a = [1]", "len(a)", "a.append(3)", "", {"a": "[1, 3]"}),
        ("a = [1]", "del a", "a = 4", "'a' was set in the notebook", {"'a' in globals()": "False"}),
        ("a = 1", "c = a", "del a", "", {"'a' in globals()": "False", "c": "1"}),
        (
            "import numpy as np\na = np.zeros(2)\nb = a[:1]",
            "a += 1",
            "b[0] = 7",
            "'a' was changed in the notebook",
            {"a": "array([1., 1.])", "b": "array([1.])"},
        ),
        ("class C: n = 1", "C.n = 2", "C.n = 3", "'C' was changed in the notebook", {"C.n": "2"}),
        ("class C: n = 1", "C.n = 2", "c = C()", "", {"c.n": "2"}),
    ],
)
def test_what_the_notebook_did_meanwhile_is_not_lost_silently(
    kernel: Peer, task: Peer, before: str, cell: str, meanwhile: str, warning: str, expressions: dict[str, str]
) -> None:
    """The cell's result counts for what it set or changed; nothing is said where the two do not meet."""
    warnings = _between(kernel, task, before, "a C", cell, meanwhile)

    assert {expression: kernel.value(expression) for expression in expressions} == expressions
    assert len(warnings) == bool(warning)
    assert warning in "".join(warnings)


def test_what_cannot_be_sent_is_named(kernel: Peer, task: Peer) -> None:
    """Also what only a function mentions; the rest is sent."""
    kernel.run("g = (i for i in [1])\nx = [1]\nd = {'g': g, 'x': x}\ndef f(): return next(g)")
    data = kernel("send", ["x", "d", "f"])
    task("receive", data)
    unsendable = kernel("unsendable")

    assert sorted(unsendable) == ["d", "g"]
    assert "d['g'] is a generator" in unsendable["d"]
    assert task.values("x", "f.__name__") == ["[1]", "'f'"]


def test_names_that_cannot_all_be_opened_are_not_bound_at_all(kernel: Peer, task: Peer) -> None:
    """Also those that came before the one that fails; what they meant stays."""
    kernel.run(
        "class Bomb:\n    def __setstate__(self, state): raise ValueError(state)\n"
        "def f(): return n\nb = Bomb()\nb.x = 1\nn = 1"
    )
    task.run("f = 'mine'")
    with pytest.raises(PeerError, match="the variables of the cell cannot be opened here: ValueError"):
        task("receive", kernel("send", ["f", "b", "n"]))

    assert task.values("f", "[name for name in ('Bomb', 'b', 'n') if name in globals()]") == ["'mine'", "[]"]


def test_what_cannot_come_back_is_named(kernel: Peer, task: Peer) -> None:
    """New names, and objects into which something was put that cannot be pickled; the rest is delivered."""
    kernel.run("a = [1]\nb = [2]\nn = 1")
    delivered = _run_there(kernel, task, "a b n", "g = (i for i in a)\na.append(g)\nb.append(3)\nn = 2\nm = [g]")

    assert sorted(delivered.unsendable) == ["a", "g", "m"]  # type: ignore[attr-defined]
    assert kernel.values("a", "b", "n", "'g' in globals()") == ["[1]", "[2, 3]", "2", "False"]


def test_a_temporary_folder_of_another_process_is_not_brought_without_its_files(kernel: Peer, task: Peer) -> None:
    """That of the notebook can be used there; one that is deleted already is only a name."""
    kernel.run("import tempfile, os\nmine = tempfile.TemporaryDirectory()\nhere = [mine]")
    cell = """
open(mine.name + "/file", "w").close()
new, done = tempfile.TemporaryDirectory(), tempfile.TemporaryDirectory()
done.cleanup()
here.append(3)
"""
    delivered = _run_there(kernel, task, "tempfile mine here", cell)

    assert list(delivered.unsendable) == ["new"]  # type: ignore[attr-defined]
    assert "deleted when the process of the cell ends" in delivered.unsendable["new"]  # type: ignore[attr-defined]
    assert kernel.values("os.listdir(mine.name)", "here[0] is mine, here[1:]", "os.path.exists(done.name)") == [
        "['file']",
        "(True, [3])",
        "False",
    ]


def test_classes_that_sqlalchemy_maps_are_named(kernel: Peer, task: Peer) -> None:
    """They, and their objects, stay where they are; the rest comes."""
    base = "from sqlalchemy.orm import declarative_base, DeclarativeBase\nfrom sqlalchemy import Column, Integer\n"
    cell = """
Base = declarative_base()
class New(DeclarativeBase): pass
class Book(Base):
    __tablename__ = "book"
    id = Column(Integer, primary_key=True)
book, n = Book(id=1), 3
"""
    kernel.run(base + "Here = declarative_base()")
    delivered = _run_there(kernel, task, "Here Column Integer declarative_base DeclarativeBase", cell)

    assert sorted(delivered.unsendable) == ["Base", "Book", "New", "book"]  # type: ignore[attr-defined]
    assert "SQLAlchemy maps it in the process" in delivered.unsendable["Book"]  # type: ignore[attr-defined]
    assert kernel.value("n") == "3"


def test_an_object_that_cannot_be_changed_in_place_is_another_one_and_it_is_said(kernel: Peer, task: Peer) -> None:
    """Where names mean it they mean the new one."""
    kernel.run("e = enumerate('abc')\nalias = e\nk = [e]")
    delivered = _run_there(kernel, task, "e", "a = next(e)")

    assert "'e' is another object now" in delivered.warnings[0]  # type: ignore[attr-defined]
    assert kernel.values("alias is e", "next(e)", "k[0] is e") == ["True", "(1, 'b')", "False"]


def test_functions_bring_the_names_that_they_mention(kernel: Peer, task: Peer) -> None:
    """Recursively, and methods too."""
    kernel.run(
        "k = 2\nunused = [0]\ndef f(x): return x * k\ndef g(x): return f(x) + 1\n"
        "class A:\n    def m(self): return g(1)\na = A()"
    )
    task("receive", kernel("send", ["a"]))

    assert task.values("a.m()", "sorted(set(globals()) & {'k', 'f', 'g', 'A', 'a', 'unused'})") == [
        "3",
        "['a', 'f', 'g', 'k']",
    ]


def test_a_class_that_is_not_mentioned_by_name_is_changed_too(kernel: Peer, task: Peer) -> None:
    """By way of its instance."""
    kernel.run("class A:\n    n = 0\n    def up(self): type(self).n += 1\na = A()")
    _run_there(kernel, task, "a", "a.up(); a.up()")

    assert kernel.values("A.n", "a.n", "type(a) is A") == ["2", "2", "True"]


_METRES = """
    import numpy as np, pandas as pd
    from pandas.api.extensions import ExtensionArray, ExtensionDtype
    class MetresType(ExtensionDtype):
        name, type = "metres", float
        @classmethod
        def construct_array_type(cls): return Metres
    class Metres(ExtensionArray):
        def __init__(self, values): self.values = np.asarray(values, float)
        @classmethod
        def _from_sequence(cls, scalars, *, dtype=None, copy=False): return cls(list(scalars))
        dtype = property(lambda self: MetresType())
        nbytes = property(lambda self: self.values.nbytes)
        def __len__(self): return len(self.values)
        def __getitem__(self, item):
            found = self.values[item]
            return found if np.isscalar(found) else Metres(found)
        def __setitem__(self, key, value): self.values[key] = value
        def isna(self): return np.isnan(self.values)
        def copy(self): return Metres(self.values.copy())
    heights = pd.Series(Metres([1.0, 2.5]))
"""


def test_a_column_of_the_notebooks_own_type_is_opened_after_that_type(kernel: Peer, task: Peer) -> None:
    """Pandas asks an array for its type as soon as it has it."""
    kernel.run(_METRES)
    _run_there(kernel, task, "heights", "heights[1] = 9.0")

    assert kernel.values("heights.array.values", "type(heights.dtype) is MetresType") == ["array([1., 9.])", "True"]


def test_halves_of_a_tee_are_not_sent(kernel: Peer, task: Peer) -> None:
    """One went on without what the other had read, and read memory that is nobody's: the kernel crashed."""
    kernel.run("import itertools\nleft, right = itertools.tee(range(6))\nboth = [left]")
    kernel("send", ["left", "both", "itertools"])
    assert "'left' of type itertools._tee cannot be pickled" in kernel("unsendable")["left"]
    assert "shares what it has read" in kernel("unsendable")["both"]

    task("receive", kernel("send", ["itertools"]))
    task.run("one, other = itertools.tee([1])\nnext(one)")
    assert "shares what it has read" in kernel("deliver", task("reply", None)).unsendable["one"]


def test_nothing_is_sent_back_that_did_not_change(kernel: Peer, task: Peer) -> None:
    """A large array that a cell only reads."""
    kernel.run("import numpy as np\na = np.zeros(1_000_000)\nl = list(range(100_000))")
    task("receive", kernel("send", ["a", "l", "np"]))
    task.run("s = float(a.sum()) + len(l)")

    assert len(task("reply", None)) < 1_000


def test_a_failure_in_the_middle_says_what_was_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a failure that nobody thought of."""
    kernel = {"a": [1], "b": [2]}
    task: dict[str, Any] = {}
    sent = send(["a", "b"], kernel)
    received = receive(sent.data, task)
    task["a"].append(2)
    task["b"].append(3)
    changes: list[Any] = []

    def replace_content(old: Any, new: Any) -> None:
        if changes:
            msg = "no"
            raise ValueError(msg)
        changes.append(new)
        old[:] = new

    monkeypatch.setattr(delivery, "replace_content", replace_content)
    with pytest.raises(delivery.DeliveryError, match=r"could not be put into the notebook: .*; changed already: a"):
        deliver(sent, received.reply(), kernel)
