"""A cell waits for what another one may still change, under whatever name."""

from __future__ import annotations

import ast
import math
import textwrap
from typing import Any

import numpy as np
import pytest

from covalab.jupyter.notebook.waiting import (
    ALL_NAMES,
    RANDOM,
    SETTINGS,
    may_change_classes,
    names_changed,
    names_needed,
    objects_in,
)


class Model:
    """Something that is fitted in place."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def fit(self) -> None:
        """Change nothing."""


DATA = [1.5]
ARRAY = np.zeros(4)
MODEL = Model(DATA)
CHANGED = {id(DATA), id(ARRAY), id(MODEL)}
NAMESPACE = {"data": DATA, "array": ARRAY, "model": MODEL}


@pytest.mark.parametrize(
    "value",
    [
        DATA,
        {"k": [DATA]},
        MODEL,
        Model(Model(DATA)),
        ARRAY[1:],
        ARRAY.reshape(2, 2).T,
        lambda held=MODEL: held,
        MODEL.fit,
        iter(DATA),
        (MODEL,),
    ],
    ids=[
        "itself",
        "in a dictionary",
        "object",
        "deep",
        "view",
        "view of a view",
        "default",
        "method",
        "iterator",
        "tuple",
    ],
)
def test_what_shares_an_object_is_waited_for(value: object) -> None:
    """Views of arrays, attributes and methods are ways to it."""
    assert not CHANGED.isdisjoint(objects_in([value], NAMESPACE))


@pytest.mark.parametrize("value", [[1.5], np.zeros(4), math, len, Model, Model([1.5]), "text", None])
def test_equal_values_code_and_modules_share_nothing(value: object) -> None:
    """A function refers to all names of its module, and is not looked into."""
    assert CHANGED.isdisjoint(objects_in([value], NAMESPACE))


@pytest.mark.parametrize(
    ("code", "looks"),
    [
        ("'x' in globals()", True),
        ("[name for name in dir()]", True),
        ("eval(text)", True),
        ("eval('x + 1')", False),
        ("dir(x), vars(x)", False),
        ("import sys\nsys.modules[__name__].x", True),
        ("get_ipython().user_ns['x']", True),
        ("x = 1", False),
    ],
)
def test_a_cell_that_may_look_at_any_name_waits_for_all(code: str, looks: bool) -> None:
    """So do `eval` and `exec` of a text that is not in the cell."""
    assert (ALL_NAMES in names_needed(ast.parse(code), {})) is looks


@pytest.mark.parametrize(
    "value", [NAMESPACE, Model(NAMESPACE), Model(NAMESPACE).fit], ids=["itself", "shell", "method"]
)
def test_what_reaches_all_names_is_not_waited_for(value: object) -> None:
    """As the shell does, and the methods of it that notebooks have."""
    assert CHANGED.isdisjoint(objects_in([value], NAMESPACE))


@pytest.fixture(scope="module")
def robots() -> dict[str, Any]:
    """Classes of a notebook, and names that lead to them only through objects."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cell = """
import abc, enum
class Robot: speed = 1
class Fast(Robot): pass
class Slow(Robot, abc.ABC):
    @classmethod
    def set_speed(cls, speed): cls.speed = speed
    def hurry(self): self.__class__.speed += 1
one, many, deep = Robot(), [Robot()], {"k": (Slow(),)}
bound, held = Fast().__repr__, lambda x=Fast(): x
kinds = [Fast]
"""
    exec(cell, namespace)
    return namespace


@pytest.mark.parametrize("name", ["one", "many", "deep", "bound", "held", "kinds", "Fast", "Robot"])
def test_a_class_of_the_notebook_that_changes_is_waited_for_by_its_objects(robots: dict[str, Any], name: str) -> None:
    """A method that is set in one cell is called in the next one, which mentions only an object."""
    changed = objects_in([robots["Robot"]], robots, with_classes=False)
    assert not changed.isdisjoint(objects_in([robots[name]], robots))


def test_objects_of_one_class_that_stays_as_it_is_share_nothing(robots: dict[str, Any]) -> None:
    """So cells with objects of one class run beside each other."""
    changed = objects_in([robots["one"], robots["bound"]], robots, with_classes=False)
    assert changed.isdisjoint(objects_in([robots["many"]], robots))


@pytest.mark.parametrize(
    ("code", "may"),
    [
        ("many[0].__class__.speed = 5", True),
        ("type(many[0]).speed = 5", True),
        ("one.speed = 5", False),
        ("Slow().hurry()", True),
        ("many.append(3)", False),
    ],
)
def test_a_cell_that_asks_objects_for_their_classes_may_change_these(
    robots: dict[str, Any], code: str, may: bool
) -> None:
    """It need not name them."""
    assert may_change_classes(ast.parse(code), robots) is may


@pytest.mark.parametrize(
    ("cell", "sets"),
    [
        ("old = np.seterr(divide='ignore')", "numpy"),
        ("decimal.getcontext().prec = 5", ""),
        ("plt.rcParams['figure.dpi'] = 50", "matplotlib"),
        ("pd.options.display.max_rows = 5", "pandas"),
        ("os.environ['A'] = '1'", ""),
        ("warnings.filterwarnings('ignore')", ""),
        ("sns.set_theme()", "matplotlib"),
        ("sns.set()", "matplotlib"),
        ("sklearn.set_config(display='text')", ""),
        ("logging.getLogger('a').setLevel(10)", ""),
        ("get_ipython().run_line_magic('pprint', '')", ""),
        ("InteractiveShell.ast_node_interactivity = 'all'", ""),
        ("a = pd.options.display.max_rows == 5", None),
        ("a = os.environ['A'] == '1'; os.path.join('a', 'b')", None),
        ("table.style.format('{}'); model.fit(x, options=3)", None),
        ("x = 1", None),
    ],
)
def test_a_cell_that_changes_settings_is_known(cell: str, sets: str | None) -> None:
    """By the package whose settings they are, or as those of the process."""
    found = names_changed(ast.parse(cell), {}) & {*SETTINGS.values()}
    assert found == (set() if sets is None else {SETTINGS[sets]})
    assert not any(one.isidentifier() for one in SETTINGS.values())


@pytest.fixture(scope="module")
def analysis() -> dict[str, Any]:
    """Names of a notebook that has imported several packages."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cell = """
import functools, math, random, json
import numpy as np, pandas as pd, matplotlib.pyplot as plt, networkx as nx
from random import randint
from numpy.random import rand
from sklearn.model_selection import train_test_split
from sklearn.linear_model import LogisticRegression
rng, own, table = np.random.default_rng(1), random.Random(1), pd.DataFrame({"a": [1]})
array, numbers, model = np.zeros(3), [1, 2], LogisticRegression()
models = {"first": [model]}
def split(): return train_test_split(numbers)
count = 0
def counted():
    global count
    count += 1
def twice(): return [counted(), counted()]
def widen(some, by): some[0] *= by
def keep(one, kept=[], *, more={}): kept.append(one)
def again(): again.calls += 1
again.calls = 0
@functools.cache
def known(n): return n
def counter(n=0):
    def one_more():
        nonlocal n
        n += 1
    return one_more
lift, push, partly = counter(), numbers.append, functools.partial(counter())
def inner():
    def deepest():
        global count
        del count
    return deepest
def total(): return sum(numbers)
def imports():
    import scipy.stats
    return scipy.stats.norm.rvs()
class Study:
    def __init__(self): self.model = model
study = Study()
"""
    exec(cell, namespace)
    return namespace


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("n = 3\nnames = ['a', n]\ndef f(x): return plt.plot(x)", []),
        ("total()", [""]),
        ("print(numbers)", [""]),
        ("numbers", [""]),
        ("import json", [""]),
        ("array + 1", ["", "numpy"]),
        ("table.head()", ["", "numpy", "pandas", "matplotlib"]),
        ("plt.plot(numbers)", ["", "numpy", "matplotlib"]),
        ("import seaborn as sns\nsns.lineplot(x=numbers)", ["", "numpy", "pandas", "matplotlib"]),
        ("split()", ["", "numpy", "pandas", "matplotlib"]),
        ("study", ["", "numpy", "pandas", "matplotlib"]),
    ],
)
def test_a_cell_waits_for_settings_that_may_matter_to_it(
    analysis: dict[str, Any], cell: str, wanted: list[str]
) -> None:
    """A cell that only sets a number waits for none."""
    found = names_needed(ast.parse(cell), analysis) & {*SETTINGS.values()}
    assert found == {SETTINGS[one] for one in wanted}


def test_a_global_of_a_function_is_waited_for_before_it_is_there() -> None:
    """The function came first, from another cell with `--run`: it ran without its number."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def scaled(x): return [x * SCALE + one.size for one in ()]", namespace)
    needed = names_needed(ast.parse("scaled(2)"), namespace)
    assert "SCALE" in needed
    assert "size" not in needed


@pytest.mark.parametrize(
    ("cell", "waits"),
    [
        ("smf.ols('y ~ widen(x)', table)", True),
        ("table.query('a > @widen')", True),
        ("eval('widen + 1')", True),
        ("by_text()", True),
        ("by_formula()", True),
        ("print('widen the table')", False),
    ],
)
def test_a_name_in_a_text_that_is_code_is_waited_for(cell: str, waits: bool) -> None:
    """A formula was evaluated with the value from before, or without its function, while that was on its way."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("widen = 1\ndef by_text(): return eval('widen')\ndef by_formula(): return ols('y ~ widen(x)')", namespace)
    assert ("widen" in names_needed(ast.parse(cell), namespace)) is waits


@pytest.mark.parametrize(
    ("cell", "draws"),
    [
        ("np.random.rand()", True),
        ("random.choice(numbers)", True),
        ("randint(1, 2)", True),
        ("rand(3)", True),
        ("from numpy.random import normal\nnormal()", True),
        ("from numpy import random as r\nr.normal()", True),
        ("table.sample(1)", True),
        ("split()", True),
        ("imports()", True),
        ("train_test_split(numbers)", True),
        ("from sklearn.model_selection import cross_val_score\ncross_val_score(1, 2)", True),
        ("models['first'][0].fit([[1]], [1])", True),
        ("study.model.fit([[1]], [1])", True),
        ("nx.spring_layout(3)", True),
        ("for model in models.values(): model.fit()", True),
        ("rng.random(3)", False),
        ("rng.shuffle(array)", False),
        ("own.random()", False),
        ("array.mean(), np.sqrt(2), math.sqrt(2)", False),
        ("table.groupby('a').sum()", False),
        ("plt.plot(numbers)", False),
        ("total()", False),
        ("model", False),
        ("x = 1", False),
    ],
)
def test_what_may_draw_from_the_global_generators_waits_for_what_does(
    analysis: dict[str, Any], cell: str, draws: bool
) -> None:
    """Scikit-learn draws from NumPy's where no word says so; the notebook's own generators are waited for by name."""
    assert (RANDOM in names_needed(ast.parse(cell), analysis)) is draws


@pytest.mark.parametrize(
    ("cell", "changed"),
    [
        ("view = table.iloc[0]\nview['a'] = 2", {"table"}),
        ("part = numbers\nfor one in range(3): part.append(one)", {"numbers"}),
        ("first = array.reshape(3, 1)\nagain = first.T\nagain += 1", {"array"}),
        ("with plt.rc_context(): axes = table.plot()\naxes.set_title('a')", {"table"}),
        ("np.add(array, 1, out=array[:])", {"array"}),
        ("table.sort_values('a', inplace=True)", {"table"}),
        ("copy = table * 2\ncopy['b'] = array", {"table"}),
        ("y = table.sum()\nz = array + 1", set()),
        ("fresh = {}\nfresh['a'] = numbers[0]", set()),
    ],
)
def test_a_cell_may_change_what_it_changes_a_part_of(analysis: dict[str, Any], cell: str, changed: set[str]) -> None:
    """Under a name of its own: `view = data.isel(y=0); view[:] = 0` changed `data`, and the next cell did not wait."""
    found = names_changed(ast.parse(cell), analysis)
    assert found & {"table", "numbers", "array", "models"} == changed


@pytest.mark.parametrize(
    ("cell", "changed"),
    [
        ("[one.integers(9) for one in streams]", {"streams"}),
        ("y = list(map(next, halves))", {"halves"}),
        ("paid = [account.pay() for account in bank['open']]", {"bank"}),
        ("score = validated(model, table)", {"model"}),
        ("len(many), settings['a']", set()),
    ],
)
def test_what_changes_by_use_is_waited_for_also_in_a_collection(cell: str, changed: set[str]) -> None:
    """Streams of numbers in a list: the next cell was sent a list in which nothing had been drawn."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    code = """
        import numpy
        class Account:
            def pay(self): self.paid = True
        streams = [numpy.random.default_rng(one) for one in (1, 2)]
        halves = (iter([1, 2]), zip('ab', 'cd'))
        bank = {'open': [Account()]}
        model = type('Model', (), {'__module__': 'library'})()
        model.random_state = numpy.random.RandomState(1)
        many, settings, table = [*range(2000)], {'a': [1]}, numpy.zeros(3)
    """
    exec(textwrap.dedent(code), namespace)
    assert names_changed(ast.parse(cell), namespace) == changed


@pytest.mark.parametrize(
    ("cell", "changed"),
    [
        ("counted()", {"count"}),
        ("[twice() for _ in range(3)]", {"count"}),
        ("inner()()", {"count"}),
        ("def up():\n    global count\n    count += 1\nup()", {"count"}),
        ("widen(numbers, 2)", {"numbers"}),
        ("widen(some=numbers, by=2)", {"numbers"}),
        ("keep(3)", {"keep"}),
        ("again()", {"again"}),
        ("known(3)", {"known"}),
        ("lift()", {"lift"}),
        ("push(3)", {"push"}),
        ("partly()", {"partly"}),
        ("math.sqrt(4), counter()", set()),
        ("print(count, numbers)", set()),
    ],
)
def test_what_functions_of_the_notebook_change_is_waited_for(
    analysis: dict[str, Any], cell: str, changed: set[str]
) -> None:
    """Numbers too, which they set as globals; and arguments, also of functions that use no global."""
    assert names_changed(ast.parse(cell), analysis) == changed
