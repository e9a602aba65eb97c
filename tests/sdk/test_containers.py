"""A container without an electron in it arrives as it is; one with electrons is made again, or refused by name."""

from __future__ import annotations

import collections
import enum
import time
import typing
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from tests.sdk.test_trace import OUT, plan_of, run

import covalab as ct
from covalab.core.errors import GraphError
from covalab.core.model import NodeKind
from covalab.sdk.building.containers import contents_of

Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - the older kind, which notebooks have


class Segment(typing.NamedTuple):
    """The newer kind of named tuple."""

    start: Any
    end: Any = None


class Shifted(Point):
    """A named tuple with a method, and attributes of its own."""

    def total(self) -> Any:
        """Return a sum."""
        return self.x + self.y


class Stack(list[Any]):
    """A list with a tag."""

    tag = "none"


class Tagged(dict[Any, Any]):
    """A dict with a tag."""

    def __init__(self, *args: Any, tag: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tag = tag


class Version(tuple[int, ...]):
    """A tuple with an order of its own."""

    __slots__ = ()

    def __str__(self) -> str:
        return ".".join(map(str, self))


class Tags(set[str]):
    """A set with a method."""

    def joined(self) -> str:
        """Return the tags in order."""
        return ",".join(sorted(self))


class Endless(list[Any]):
    """A list whose iteration does not end."""

    def __iter__(self) -> Any:
        while True:
            yield 1


class Colour(enum.Enum):
    """Two colours."""

    RED = 1


@ct.electron
def same(x: Any) -> Any:
    """Return it."""
    return x


@ct.electron
def one() -> int:
    """Return 1."""
    return 1


def stack(*items: Any, tag: str) -> Stack:
    """Return a list with a tag."""
    made = Stack(items)
    made.tag = tag
    return made


@pytest.mark.parametrize(
    "value",
    [
        Point(1, 2),
        Segment([1], {"a": Point(3, 4)}),
        Shifted(1, 2),
        Counter("aab"),
        defaultdict(list, a=[1]),
        OrderedDict(b=1, a=2),
        stack(1, 2, tag="mine"),
        Tagged(a=1, tag="mine"),
        Version((1, 2)),
        Tags({"a", "b"}),
        time.gmtime(0),
        collections.ChainMap({1: 2}),
        Tagged({Colour.RED: stack(Counter("x"), tag="in")}, tag="out"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_subclass_of_a_plain_container_arrives_as_it_is(value: Any) -> None:
    """Its type and what it holds beside its elements are kept: as an argument, inside plain ones, as the value."""
    for plan in (plan_of(lambda: same(value)), plan_of(lambda: value)):
        found = run(plan)
        assert type(found) is type(value)
        assert found == value
        assert getattr(found, "__dict__", {}) == getattr(value, "__dict__", {})
        assert [node.kind for node in plan.graph.nodes].count(NodeKind.PARAMETER) == 1
    found = run(plan_of(lambda: same([0, {"k": (value,)}])))
    assert type(found[1]["k"][0]) is type(value)


def test_a_named_tuple_as_a_key_stays_one() -> None:
    """A key of a plain dict is a named tuple afterwards, also inside a tuple."""
    found = run(plan_of(lambda: same({Point(1, 2): 3, (Point(3, 4), 5): 6})))

    assert found == {Point(1, 2): 3, (Point(3, 4), 5): 6}
    assert [type(key) for key in found] == [Point, tuple]


def test_plain_containers_are_taken_apart_as_ever() -> None:
    """Lists, tuples, sets and dicts are nodes with nodes below, also without an electron: it is Covalent's graph."""
    graph = plan_of(lambda: same([1, (2,), {3}])).graph

    assert [node.name for node in graph.nodes] == [
        *("same", ":electron_list:", ":parameter:1", ":electron_list:", ":parameter:2"),
        *(":electron_list:", ":parameter:3", OUT),
    ]


def _count() -> int:
    return 7


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda e: Point(e, 2), Point(1, 2)),
        (lambda e: Segment(start=[e, e]), Segment([1, 1])),
        (lambda e: Shifted(e, {"k": e}), Shifted(1, {"k": 1})),
        (lambda e: Counter(a=e, b=2), Counter(a=1, b=2)),
        (lambda e: defaultdict(_count, a=e), defaultdict(_count, a=1)),
        (lambda e: OrderedDict(b=e, a=(e,)), OrderedDict(b=1, a=[1])),
        (lambda e: Segment(Point(e, 1), OrderedDict(a=Point(2, 3))), Segment(Point(1, 1), OrderedDict(a=Point(2, 3)))),
        (lambda e: OrderedDict({e: "key"}), OrderedDict({1: "key"})),
    ],
)
def test_one_with_electrons_is_made_again(made: Callable[[Any], Any], expected: Any) -> None:
    """Named tuples, counters, ordered and default dicts are themselves again when the electrons have values."""

    def body(*, is_value: bool) -> Any:
        e = one()
        return made(e) if is_value else same(made(e))

    for is_value in (False, True):
        found = run(plan_of(body, is_value=is_value))
        assert type(found) is type(expected)
        assert found == expected
    if isinstance(expected, defaultdict):
        assert run(plan_of(body, is_value=False))["other"] == _count()


def test_making_again_is_a_node_before_its_elements() -> None:
    """A node comes before those of its arguments, and many of one class share a function."""
    graph = plan_of(lambda: same([Point(e, 0) for e in (one(), one(), one())])).graph

    assert [node.name for node in graph.nodes[3:9]] == [
        *("same", ":electron_list:", ":Point:", ":electron_list:", ":parameter:0", ":Point:")
    ]
    assert [function.name for function in graph.functions].count("Point") == 1
    assert sorted(edge.source for edge in graph.edges if edge.name.startswith("node:")) == [3]


def test_the_lattices_value_is_linked_to_the_electrons_in_it() -> None:
    """As for a plain list: one edge from every electron that the value is made of."""
    graph = plan_of(lambda: Segment(one(), {"a": [one()]})).graph

    assert sorted(edge.source for edge in graph.edges if edge.name.startswith("node:")) == [0, 1]


@pytest.mark.parametrize(
    "made",
    [
        lambda e: stack(1, e, tag="mine"),
        lambda e: Tagged(a=[e], tag="mine"),
        lambda e: Version((1, e)),
        lambda e: Tagged(a={"b": (e,)}),
        lambda e: [1, {"k": stack({"deep": e}, tag="")}],
    ],
)
def test_one_that_cannot_be_made_again_is_refused(made: Callable[[Any], Any]) -> None:
    """The message names the argument, the class, the electron and the way out; nothing becomes another type."""
    message = (
        r"argument 'x' of electron 'same' \(node 1\) is a .*(Stack|Tagged|Version) with <electron 'one' \(node 0\)"
    )
    with pytest.raises(GraphError, match=message + r".* pass a plain (list|dict|tuple) "):
        plan_of(lambda: same(made(one())))
    with pytest.raises(GraphError, match="the value of lattice"):
        plan_of(lambda: made(one()))


def _cycle(kind: str) -> Any:
    inner: list[Any] = [1]
    value: Any = inner
    if kind == "dict":
        value = {"a": 1, "in": inner}
    elif kind == "tuple":
        value = (1, inner)
    elif kind == "subclass":
        value = stack(inner, tag="mine")
    elif kind == "deep":
        value = [[[{"k": [inner]}]]]
    inner.append(value)
    return value


CYCLES = ["list", "dict", "tuple", "subclass", "deep"]


@pytest.mark.parametrize("kind", CYCLES)
def test_a_cycle_arrives_as_it_is(kind: str) -> None:
    """A container that contains itself is passed whole, and contains itself where it arrives."""
    value = _cycle(kind)
    found = run(plan_of(lambda: same(value)))

    assert type(found) is type(value)
    assert repr(found) == repr(value)
    assert repr(run(plan_of(lambda: value))) == repr(value)


@pytest.mark.parametrize("kind", CYCLES)
def test_a_cycle_with_an_electron_is_refused(kind: str) -> None:
    """The message names the argument and the electron: no recursion without end."""

    def body(*, is_value: bool) -> Any:
        value = _cycle(kind)
        inner = value
        while not (isinstance(inner, list) and inner[0] == 1):
            inner = inner.get("k", inner.get("in")) if isinstance(inner, dict) else inner[-1]
        inner.append(one())
        return value if is_value else same(value)

    with pytest.raises(
        GraphError, match=r"argument 'x' of electron 'same' \(node 1\) contains itself and has <electron"
    ):
        plan_of(body, is_value=False)
    with pytest.raises(GraphError, match="the value of lattice 'body' contains itself and has <electron 'one'"):
        plan_of(body, is_value=True)


def _nested(depth: int, wrap: Callable[[Any], Any], core: Any = 1) -> Any:
    for _ in range(depth):
        core = wrap(core)
    return core


WRAPS: dict[str, Callable[[Any], Any]] = {
    "list": lambda x: [x],
    "tuple": lambda x: (x, 0),
    "dict": lambda x: {"k": x},
    "named tuple": Segment,
    "mixed": lambda x: {"k": [(x,)]},
}


@pytest.mark.parametrize("depth", [90, 150, 5_000])
@pytest.mark.parametrize("wrap", WRAPS)
def test_a_deep_one_arrives(wrap: str, depth: int) -> None:
    """The depth of a structure does not matter: its innermost value is there where it arrives."""
    found = run(plan_of(lambda: same(_nested(depth if wrap != "mixed" else depth // 3, WRAPS[wrap], "core"))))

    while not isinstance(found, str):
        found = found["k"] if isinstance(found, dict) else found[0]
    assert found == "core"


@pytest.mark.parametrize("wrap", ["list", "tuple", "dict", "mixed"])
def test_a_deep_one_with_an_electron_is_refused(wrap: str) -> None:
    """The message says how deep it is, and which electron is in it."""
    with pytest.raises(GraphError, match=r"'same' \(node 1\) is nested [\d,]+ levels deep and has <electron 'one'"):
        plan_of(lambda: same(_nested(2_000, WRAPS[wrap], one())))


def test_lists_that_share_lists_a_thousand_million_times_arrive() -> None:
    """Taken apart it would be more nodes than there is memory; whole it is small."""
    found = run(plan_of(lambda: same(_nested(30, lambda x: [x, x]))))

    assert found[0][1][0][1] == found[1][1][1][1]


def test_looking_for_electrons_runs_no_code_of_the_users() -> None:
    """The search itself ends for a list whose own iteration does not."""
    assert contents_of(Endless([1, [2]])) == ([], "")


class Chain:
    """A chain of objects, as of a linked list."""

    def __init__(self, rest: Any) -> None:
        self.rest = rest


def test_a_chain_of_objects_arrives() -> None:
    """Objects inside each other are pickled however many they are."""
    found = run(plan_of(lambda: same(_nested(3_000, Chain, "end"))))

    for _ in range(3_000):
        found = found.rest
    assert found == "end"
