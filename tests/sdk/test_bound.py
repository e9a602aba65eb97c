"""What a stand-in for a value refuses, and that it names the way out."""

from __future__ import annotations

import copy
import operator
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import covalab as ct
from covalab import compat
from covalab.blobs import InMemory
from covalab.client import Client
from covalab.core.errors import GraphError
from covalab.sdk.building.lattice import Lattice


@ct.electron
def train(x: Any = 1) -> Any:
    """Return what was given."""
    return x


def build(body: Callable[[Any], Any]) -> list[str]:
    """Build a lattice that does `body` to an electron; return the names of its nodes."""
    plan, _ = Lattice(lambda: body(train())).plan((), {}, InMemory())
    return [node.name for node in plan.graph.nodes]


def _loop(e: Any) -> None:
    for _ in e:
        pass


def _starred(e: Any) -> Any:
    first, *rest = e
    return first, rest


def _set_item(e: Any) -> None:
    e["a"] = 1


def _set_attribute(e: Any) -> None:
    e.a = 1


def _delete(e: Any) -> None:
    del e["a"]


def _with(e: Any) -> None:
    with e:
        pass


MISUSES: dict[str, Callable[[Any], Any]] = {
    "truth": bool,
    "if not": operator.not_,
    "equality": lambda e: e == 1,
    "inequality": lambda e: e != 1,
    "less": lambda e: e < 1,
    "greater": lambda e: e >= 1,
    "for": _loop,
    "list": list,
    "tuple": tuple,
    "sorted": sorted,
    "star": lambda e: max(*e),
    "starred unpacking": _starred,
    "dict": dict,
    "in": lambda e: 1 in e,
    "len": len,
    "int": int,
    "float": float,
    "complex": complex,
    "range": range,
    "an index": lambda e: [1, 2][e],
    "abs": abs,
    "minus": operator.neg,
    "round": round,
    "floor division": lambda e: e // 2,
    "modulo": lambda e: 5 % e,
    "matrix product": lambda e: e @ e,
    "power on the right": lambda e: 2**e,
    "a method": lambda e: e.mean(),
    "a call": lambda e: e(1),
    "an item set": _set_item,
    "an attribute set": _set_attribute,
    "an item deleted": _delete,
    "with": _with,
    "reversed": reversed,
    "pickle": pickle.dumps,
    "copy": copy.copy,
}


@pytest.mark.parametrize("misuse", MISUSES.values(), ids=MISUSES)
def test_what_needs_the_value_is_refused(misuse: Callable[[Any], Any]) -> None:
    """Each raises a TypeError that names the electron and says what to do instead."""
    with pytest.raises(
        TypeError, match=r"<electron '.*train.*' \(node \d+\)>.*(inside an electron|pass it to an electron)"
    ):
        build(misuse)


ANSWERS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "truth": (bool, True),
    "if not": (operator.not_, False),
    "equality": (lambda e: (e == 1, e == e, 1 == e), (False, True, False)),  # noqa: PLR0124, SIM300
    "inequality": (lambda e: (e != 1, e != e), (True, False)),  # noqa: PLR0124
    "and": (lambda e: e and 5, 5),
    "in a list": (lambda e: (e in [3, 4], 3 in [e, e], e in [0, e]), (False, False, True)),
    "in": (lambda e: 1 in e, False),
    "int": (int, 0),
    "float": (float, 0.0),
    "complex": (complex, 0j),
    "list": (list, []),
    "tuple": (tuple, ()),
    "dict": (dict, {}),
    "set": (set, set()),
    "sorted": (sorted, []),
    "sum": (sum, 0),
    "a star in a list": (lambda e: [*e], []),
    "any": (any, False),
    "map": (lambda e: list(map(train, e)), []),
}

LOOPS: dict[str, Callable[[Any], Any]] = {
    "for": lambda e: [train(x) for x in e],
    "enumerate": lambda e: [train(x) for _, x in enumerate(e)],
    "zip": lambda e: [train(x) for x, _ in zip(e, [1, 2], strict=False)],
    "a generator": lambda e: [train(x) for x in (y for y in e)],
    "a method": lambda e: e.count(1),
    "a call": lambda e: e(1),
}


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn the setting off that keeps the errors."""
    monkeypatch.setenv("COVALAB_STRICT_LATTICES", "false")


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("name", ANSWERS)
def test_the_answer_may_be_covalents_with_a_warning(name: str) -> None:
    """About the stand-in, with the text of the error and the way out; of one line once."""
    ask, answer = ANSWERS[name]
    seen: list[Any] = []

    def body(e: Any) -> Any:
        seen.extend(ask(e) for _ in range(3))
        return e

    with pytest.warns(UserWarning, match=r"<electron 'train' \(node 0\)>.*inside an electron") as warned:
        build(body)
    assert seen == [answer] * 3
    assert [type(one) for one in seen] == [type(answer)] * 3
    assert {one.filename for one in warned} == {__file__}
    assert len({one.lineno for one in warned}) == len(warned) == 1


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("name", LOOPS)
def test_what_has_no_answer_is_an_electron_that_fails(name: str, live: Client) -> None:
    """A loop over a value, a method of it: the dispatch is made, and its error says what to do instead."""
    body = LOOPS[name]

    @ct.lattice
    def workflow() -> Any:
        return body(train([1, 2]))

    with pytest.warns(UserWarning, match="inside an electron"):
        dispatch = ct.dispatch(workflow)()
    result = ct.get_result(dispatch, wait=True)
    assert result.status == ct.status.FAILED
    assert "no value yet" in str(result.error) or "how long it is" in str(result.error)


STILL_ERRORS = ("less", "greater", "starred unpacking", "len", "range", "an index", "abs", "minus", "round")


@pytest.mark.usefixtures("lenient")
@pytest.mark.parametrize("name", [*STILL_ERRORS, "floor division", "modulo", "matrix product", "reversed", "with"])
def test_what_covalent_refuses_is_refused(name: str) -> None:
    """With the same error as ever."""
    with pytest.raises(TypeError, match="inside an electron"):
        build(MISUSES[name])


def test_the_setting_is_off_behind_the_doorway(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless somebody has said otherwise; `get_config` says what holds."""
    assert ct.get_config("sdk.strict_lattices") == "true"
    monkeypatch.setattr(sys, "path", [compat.DOORWAY, *sys.path])
    assert ct.get_config("sdk.strict_lattices") == "false"
    monkeypatch.setenv("COVALAB_STRICT_LATTICES", "true")
    assert ct.get_config("sdk.strict_lattices") == "true"
    with pytest.raises(TypeError, match="inside an electron"):
        build(bool)


def test_the_error_of_a_loop_names_the_ways_out() -> None:
    """Unpacking, indexing, or an electron that loops."""
    with pytest.raises(TypeError, match=r"`a, b = \.\.\.`.*`e\[0\]`.*inside an electron"):
        build(_loop)
    with pytest.raises(TypeError, match="names of which one has a star"):
        build(_starred)


def test_a_stand_in_can_be_a_key_and_compared_with_none() -> None:
    """Identity works: sets, dicts and `is` ask for nothing that is not there."""

    def use(e: Any) -> Any:
        assert e is not None
        assert len({e, e}) == 1
        return {"seen": {e: 1}[e]}

    assert build(use)[0] == "train"


def test_unpacking_one_and_no_name_works() -> None:
    """`(a,) = e` is one node; `[] = e` is none."""

    def use(e: Any) -> Any:
        (a,) = e
        [] = e
        return a

    assert build(use)[:3] == ["train", ":train()[0]", ":parameter:0"]


def test_an_array_leaves_the_operation_to_the_electron() -> None:
    """`array * e` is one node, not an array of nodes."""
    names = build(lambda e: [np.ones(2) * e, np.float64(2) + e])

    assert names[1] == "train_*_[1. 1.]"
    assert names[3] == "2.0_+_train"


def test_probing_makes_no_node() -> None:
    """Looking for special attributes finds none and adds nothing to the graph."""

    def use(e: Any) -> Any:
        for name in ("__array__", "_repr_html_", "_ipython_display_", "keys", "__dask_graph__"):
            assert not hasattr(e, name)
        return e

    assert build(use) == ["train", ":postprocess:reconstruct"]


def test_a_stand_in_says_what_it_is() -> None:
    """Its text names the electron and the node, so a print in a body is useful; it is warned of, its `repr` is not."""
    seen: list[str] = []
    build(lambda e: seen.append(f"{e!r}"))
    for text in (str, format, lambda e: f"{e}", lambda e: f"{e:}", lambda e: f"{e}{e}", "{}".format, "%s".__mod__):
        with pytest.warns(
            UserWarning, match=r"the text of <electron 'train' \(node 0\)>.*inside an electron"
        ) as warned:
            build(lambda e, text=text: seen.append(text(e)))  # type: ignore[misc]
        assert len(warned) == 1

    assert {text.replace(seen[0] * 2, seen[0]) for text in seen} == {"<electron 'train' (node 0)>"}


def cell(n: int = 1) -> tuple[int, int]:
    """Stand for a cell with two outputs."""
    return n, n + 1


cell.__covalab_outputs__ = ("X", "y")  # type: ignore[attr-defined]
cell.__covalab_source__ = "X, y = n, n + 1"  # type: ignore[attr-defined]
two = ct.electron(cell)


def outputs_of(use: Callable[[Any], Any]) -> list[str]:
    """Build a lattice that does something with an electron that has two known outputs."""
    plan, _ = Lattice(lambda: use(two())).plan((), {}, InMemory())
    return [node.name for node in plan.graph.nodes]


def test_known_outputs_can_be_iterated() -> None:
    """A cell that says how many outputs it has can be unpacked, indexed, starred and looped over."""

    def use(e: Any) -> Any:
        X, y = e  # noqa: N806
        first, *rest = e
        return [X, y, first, rest, list(e), e[1], e[-2]]

    assert outputs_of(use).count(":cell()[1]") == 3


def test_a_wrong_number_of_outputs_is_an_error() -> None:
    """The error names the outputs."""

    def three(e: Any) -> Any:
        a, b, c = e
        return a, b, c

    with pytest.raises(GraphError, match=r"'cell' \(node 0\)> has 2 outputs \(X, y\), not 3"):
        outputs_of(three)
    with pytest.raises(GraphError, match="there is no number 2"):
        outputs_of(lambda e: e[2])


def test_a_cell_carries_its_source() -> None:
    """A function that was made from a cell says itself how it reads."""
    plan, _ = Lattice(two).plan((), {}, InMemory())

    assert plan.graph.functions[0].source == "X, y = n, n + 1"
