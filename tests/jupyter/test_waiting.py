"""A cell waits for what another one may still change, under whatever name."""

from __future__ import annotations

import ast
import math
from typing import Any

import numpy as np
import pytest

from covalab.jupyter.notebook.waiting import (
    ALL_NAMES,
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
        ("old = np.seterr(divide='ignore')", True),
        ("decimal.getcontext().prec = 5", True),
        ("plt.rcParams['figure.dpi'] = 50", True),
        ("pd.options.display.max_rows = 5", True),
        ("os.environ['A'] = '1'", True),
        ("warnings.filterwarnings('ignore')", True),
        ("sns.set_theme()", True),
        ("logging.getLogger('a').setLevel(10)", True),
        ("a = pd.options.display.max_rows == 5", False),
        ("a = os.environ['A'] == '1'; os.path.join('a', 'b')", False),
        ("table.style.format('{}'); model.fit(x, options=3)", False),
        ("x = 1", False),
    ],
)
def test_every_cell_waits_for_one_that_changes_settings(cell: str, sets: bool) -> None:
    """Any code may use them, and they come with the names of the cell."""
    assert (SETTINGS in names_changed(ast.parse(cell), {})) is sets
    assert SETTINGS in names_needed(ast.parse("x = 1"), {})
    assert not SETTINGS.isidentifier()
