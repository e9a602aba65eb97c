"""Node numbers, names and edges are Covalent's: the table is its documented behaviour, construct by construct."""

from __future__ import annotations

import enum
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import covalab as ct
from covalab.blobs import InMemory
from covalab.core.assemble import edges_into, value_at
from covalab.core.codec import decode
from covalab.core.errors import GraphError, SerializationError
from covalab.core.model import INLINE_LIMIT, Edge, EdgeKind, Graph, NodeKind
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.building.plan import Plan
from covalab.sdk.building.value_table import NAME_LIMIT


def _load(n: Any = 1) -> Any:
    return [n], "label"


def _add(x: Any, y: Any = 1, *rest: Any, scale: Any = 1, **options: Any) -> Any:
    return x, y, rest, scale, options


_load.__name__, _add.__name__ = "load", "add"
# Typed as anything, since half of the calls below are wrong on purpose.
load: Any = ct.electron(_load)
add: Any = ct.electron(_add)


def plan_of(body: Callable[..., Any], *args: Any, **kwargs: Any) -> Plan:
    """Return the plan of a lattice made from `body`."""
    return Lattice(body).plan(args, kwargs, InMemory())[0]


def arrow(edge: Edge) -> str:
    """Write an edge as `source -name-> target`; the sign before the name tells its kind."""
    sign = {EdgeKind.ARG: f"{edge.index}:", EdgeKind.KWARG: "=", EdgeKind.WAIT: ""}[edge.kind]
    return f"{edge.source} {sign}{edge.name} {edge.target}"


@dataclass
class Case:
    """A lattice's body, the nodes it makes in order, and its edges."""

    name: str
    body: Callable[..., Any]
    nodes: list[str]
    edges: list[str]
    args: tuple[Any, ...] = ()
    kinds: dict[int, NodeKind] = field(default_factory=dict)


def _wait_body() -> Any:
    first = load()
    second = load()
    return ct.wait(second, first)


def _unpack_body() -> Any:
    _, b = load()
    return b


def _nested_unpack_body() -> Any:
    (a, _), _ = load()
    return a


def _operators_body() -> Any:
    e = load()
    return [e + 1, 1 + e, e - e, 2 * e, e**2, 1 / e]


OUT = ":postprocess:reconstruct"
CASES = [
    Case(
        "a node comes before the nodes of its arguments, which follow in order",
        lambda x: add(load(2), x),
        ["load", ":parameter:2", "add", ":parameter:7", OUT],
        ["1 0:n 0", "0 0:x 2", "3 1:y 2", "2 0:retval 4", "2 =node:2 4", "0 !waiting_edge 4"],
        (7,),
    ),
    Case(
        "defaults make no node, and a parameter given by name is a keyword edge",
        lambda: add(y=2, x=1),
        ["add", ":parameter:1", ":parameter:2", OUT],
        ["1 =x 0", "2 =y 0", "0 0:retval 3", "0 =node:0 3"],
    ),
    Case(
        "variadic arguments are called arg[i], options keep their names and come last",
        lambda: add(1, 2, 3, 4, zeta=5, scale=6),
        ["add", *(f":parameter:{i}" for i in (1, 2, 3, 4, 6, 5)), OUT],
        [
            *("1 0:x 0", "2 1:y 0", "3 2:arg[2] 0", "4 3:arg[3] 0", "5 =scale 0", "6 =zeta 0"),
            *("0 0:retval 7", "0 =node:0 7"),
        ],
    ),
    Case(
        "a list, tuple or set is a node whose elements follow it",
        lambda: load([1, (load(), 2)]),
        ["load", "load", ":electron_list:", ":parameter:1", ":electron_list:", ":parameter:2", OUT],
        [
            *("3 0:arg[0] 2", "0 0:arg[0] 4", "5 1:arg[1] 4", "4 1:arg[1] 2", "2 0:n 1"),
            *("1 0:retval 6", "1 =node:1 6", "0 !waiting_edge 6", "2 !waiting_edge 6", "4 !waiting_edge 6"),
        ],
        kinds={2: NodeKind.LIST, 4: NodeKind.LIST},
    ),
    Case(
        "a dict is a node with a list of keys and a list of values",
        lambda: load({"a": 1, 2: "b"}),
        [
            *("load", ":electron_dict:", ":electron_list:", ":parameter:a", ":parameter:2"),
            *(":electron_list:", ":parameter:1", ":parameter:b", OUT),
        ],
        [
            *("3 0:arg[0] 2", "4 1:arg[1] 2", "2 0:keys 1", "6 0:arg[0] 5", "7 1:arg[1] 5", "5 1:values 1", "1 0:n 0"),
            *("0 0:retval 8", "0 =node:0 8", "1 !waiting_edge 8", "2 !waiting_edge 8", "5 !waiting_edge 8"),
        ],
        kinds={1: NodeKind.DICT},
    ),
    Case(
        "an item is a node with the key as its parameter",
        lambda: load()[0]["k"],
        ["load", ":load.__getitem__", ":parameter:0", "::load.__getitem__.__getitem__", ":parameter:k", OUT],
        [
            *("0 0:e 1", "2 1:key 1", "1 0:e 3", "4 1:key 3"),
            *("3 0:retval 5", "3 =node:3 5", "0 !waiting_edge 5", "1 !waiting_edge 5"),
        ],
        kinds={1: NodeKind.ITEM, 3: NodeKind.ITEM},
    ),
    Case(
        "a key may be an electron",
        lambda: load()[load()],
        ["load", "load", ":load.__getitem__", OUT],
        ["0 0:e 2", "1 1:key 2", "2 0:retval 3", "2 =node:2 3", "0 !waiting_edge 3", "1 !waiting_edge 3"],
    ),
    Case(
        "an attribute is a node with the name as its parameter",
        lambda: load().real,
        ["load", ":load.__getattr__", ":parameter:real", OUT],
        ["0 0:e 1", "2 1:attr 1", "1 0:retval 3", "1 =node:1 3", "0 !waiting_edge 3"],
        kinds={1: NodeKind.ATTRIBUTE},
    ),
    Case(
        "unpacking makes one numbered node per name",
        _unpack_body,
        ["load", ":load()[0]", ":parameter:0", ":load()[1]", ":parameter:1", OUT],
        [
            *("0 0:e 1", "2 1:key 1", "0 0:e 3", "4 1:key 3"),
            *("3 0:retval 5", "3 =node:3 5", "0 !waiting_edge 5", "1 !waiting_edge 5"),
        ],
        kinds={1: NodeKind.ITEM},
    ),
    Case(
        "operators are named after their operands, a product keeps the electron on the left",
        _operators_body,
        [
            *(
                "load",
                "load_+_1",
                ":parameter:1",
                "1_+_load",
                ":parameter:1",
                "load_-_load",
                "load_*_2",
                ":parameter:2",
            ),
            *("load_**_2", ":parameter:2", "1_/_load", ":parameter:1", OUT, ":electron_list:"),
        ],
        [
            *("0 =arg_1 1", "2 =arg_2 1", "4 =arg_1 3", "0 =arg_2 3", "0 =arg_1 5", "0 =arg_2 5", "0 =arg_1 6"),
            *("7 =arg_2 6", "0 =arg_1 8", "9 =arg_2 8", "11 =arg_1 10", "0 =arg_2 10"),
            *("1 0:arg[0] 13", "3 1:arg[1] 13", "5 2:arg[2] 13", "6 3:arg[3] 13", "8 4:arg[4] 13", "10 5:arg[5] 13"),
            *("13 0:retval 12", "1 =node:1 12", "3 =node:3 12", "5 =node:5 12", "6 =node:6 12", "8 =node:8 12"),
            *("10 =node:10 12", "0 !waiting_edge 12"),
        ],
        kinds={1: NodeKind.OPERATOR},
    ),
    Case(
        "waiting is an edge without a value",
        _wait_body,
        ["load", "load", OUT],
        ["0 !waiting_edge 1", "1 0:retval 2", "1 =node:1 2", "0 !waiting_edge 2"],
    ),
    Case(
        "several outputs are a collection after the last node",
        lambda: (load(1), {"k": load(2)}),
        [
            *("load", ":parameter:1", "load", ":parameter:2", OUT, ":electron_list:", ":electron_dict:"),
            *(":electron_list:", ":parameter:k", ":electron_list:"),
        ],
        [
            *("1 0:n 0", "3 0:n 2", "0 0:arg[0] 5", "8 0:arg[0] 7", "7 0:keys 6", "2 0:arg[0] 9", "9 1:values 6"),
            *("6 1:arg[1] 5", "5 0:retval 4", "0 =node:0 4", "2 =node:2 4"),
        ],
        kinds={4: NodeKind.OUTPUT},
    ),
    Case(
        "a constant is a parameter of the last node",
        lambda: "done",
        [OUT, ":parameter:done"],
        ["1 0:retval 0"],
    ),
    Case(
        "a lattice called in a body is its function",
        lambda: Lattice(load)(5),
        ["load", ":parameter:5", OUT],
        ["1 0:n 0", "0 0:retval 2", "0 =node:0 2"],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_graph_is_covalents(case: Case) -> None:
    """Each construct makes the nodes and edges that Covalent makes, in the same order."""
    graph = plan_of(case.body, *case.args).graph

    assert [node.name for node in graph.nodes] == case.nodes
    assert [arrow(edge) for edge in graph.edges] == case.edges
    assert {node: graph.nodes[node].kind for node in case.kinds} == case.kinds
    assert graph.nodes[graph.output].name == OUT


def test_nested_unpacking_names_the_part_it_unpacks() -> None:
    """`(a, b), c = e` makes the two outer parts first."""
    names = [node.name for node in plan_of(_nested_unpack_body).graph.nodes]

    assert names[:9:2] == ["load", ":parameter:0", ":parameter:1", ":parameter:0", ":parameter:1"]
    assert names[1:9:2] == [":load()[0]", ":load()[1]", "::load()[0]()[0]", "::load()[0]()[1]"]


def run(plan: Plan) -> Any:
    """Compute a plan right here, the way a worker and a reader do it together."""
    graph, into = plan.graph, edges_into(len(plan.graph.nodes), plan.graph.edges)

    def opened(node: int) -> Any:
        it = graph.nodes[node]
        if it.kind is NodeKind.PARAMETER:
            return InMemory().deserialize(plan.values[it.value])
        edges = sorted((e for e in into[node] if e.kind is EdgeKind.ARG), key=lambda e: e.index)
        args = [value_at(edge.source, graph.nodes, into, opened) for edge in edges]
        named = {e.name: value_at(e.source, graph.nodes, into, opened) for e in into[node] if e.kind is EdgeKind.KWARG}
        return decode(plan.code[graph.functions[it.function].digest])(*args, **named)

    return value_at(graph.output, graph.nodes, into, opened)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda: add(1, 2, 3, scale=4, other=5), (1, 2, (3,), 4, {"other": 5})),
        (lambda: add({"k": (1, {2})}), ({"k": [1, [2]]}, 1, (), 1, {})),
        (lambda: load(3)[0][0] * 2 + 1, 7),
        (lambda: 10 - load(3)[0][0], 7),
        (lambda: 2**3 + load(2)[0][0] ** 2 / 4, 9.0),
        (lambda: {(1, "a"): load(1)[1], "b": (2, [load(2)[0]])}, {(1, "a"): "label", "b": [2, [[2]]]}),
        (lambda: load(1 + 2j)[0][0].imag, 2.0),
        (lambda: load()[-1][1:3], "ab"),
        (_unpack_body, "label"),
        (lambda: None, None),
        (lambda: (0.0, -0.0, math.inf), [0.0, -0.0, math.inf]),
    ],
)
def test_a_graph_computes_what_the_function_would(body: Callable[..., Any], expected: Any) -> None:
    """Nodes, edges and encoded functions together give the lattice's value (with lists for tuples and sets)."""
    value = run(plan_of(body))

    assert repr(value) == repr(expected)


def test_a_tuple_as_key_stays_a_tuple() -> None:
    """`matrix[0, 1]` is one element of a matrix, not two of its rows."""

    @ct.electron
    def matrix() -> dict[Any, Any]:
        return {(0, 1): "element"}

    assert run(plan_of(lambda: matrix()[0, 1])) == "element"


def test_equal_values_of_different_kinds_stay_apart() -> None:
    """1, 1.0 and True are equal and are three values; the same value twice is kept once."""
    plan = plan_of(lambda: [1, 1.0, True, 0.0, -0.0, 1])

    assert repr(run(plan)) == "[1, 1.0, True, 0.0, -0.0, 1]"
    assert len(plan.values) == 5


def test_ten_thousand_calls_name_one_function() -> None:
    """An electron's function is encoded once per graph, however often it is called."""
    graph = plan_of(lambda n: [load(i) for i in range(n)], 10_000).graph

    assert [function.name for function in graph.functions] == ["load"]
    assert len(graph.settings) == 1
    assert graph.output == 20_000


def test_the_text_of_a_large_value_is_cut() -> None:
    """A parameter is called after its value, up to a limit."""
    graph = plan_of(lambda: load("x" * 100_000)).graph

    assert graph.nodes[1].name == ":parameter:" + "x" * NAME_LIMIT


@pytest.mark.parametrize(
    "value", [10**5_000, b"\x00" * 10, bytearray(3), "\ud800", OrderedDict(), frozenset({1})], ids=type
)
def test_odd_values_are_parameters(value: Any) -> None:
    """A number too long to print, bytes, broken text: each arrives as it was."""
    plan = plan_of(lambda: load(value))

    assert run(plan)[0] == [value]


class _Loud(enum.Enum):
    """A value whose text cannot be made."""

    ONE = 1

    def __str__(self) -> str:
        message = "no text"
        raise RuntimeError(message)


def test_a_value_whose_text_fails_still_travels() -> None:
    """Naming a node never fails because of the user's `__str__`."""
    assert run(plan_of(lambda: load(_Loud.ONE)))[0] == [_Loud.ONE]


def test_a_long_function_is_a_blob() -> None:
    """Functions above the inline limit are left out of the message."""
    cargo = bytes(INLINE_LIMIT + 1)

    @ct.electron
    def heavy() -> int:
        return len(cargo)

    plan = plan_of(heavy)

    assert plan.graph.functions[0].digest not in plan.code


def test_an_unpicklable_argument_is_named() -> None:
    """The error says which argument of which electron at which node, also inside a collection."""
    with pytest.raises(
        SerializationError, match=r"argument 'n' of electron 'load' \(node 1\).*lock.*cannot be pickled"
    ):
        plan_of(lambda: (load(), load([1, {"k": threading.Lock()}])))


def test_an_unpicklable_argument_of_the_lattice_is_named_where_it_is_used() -> None:
    """A lattice's own argument is reported at the electron that it was given to; unused, as the lattice's."""
    with pytest.raises(SerializationError, match=r"argument 'n' of electron 'load' \(node 0\)"):
        plan_of(load, threading.Lock())
    with pytest.raises(SerializationError, match="the arguments of lattice"):
        plan_of(lambda _: load(1), threading.Lock())


def test_an_electron_hidden_in_an_object_is_refused() -> None:
    """A stand-in cannot travel inside an object of the user's; the error says how to pass it."""
    with pytest.raises(SerializationError, match=r"'load' \(node 0\)> has no value yet and is hidden"):
        plan_of(lambda: add(slice(load(), None)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: load(1, 2), ValueError, "electron 'load' got 2 positional arguments; it takes"),
        (lambda: load(m=2), ValueError, "electron 'load' has no parameter 'm'"),
        (lambda: load(1, n=2), ValueError, "electron 'load' got 'n' both by position and by name"),
        (lambda: add(scale=2), TypeError, "electron 'add' is missing 'x'"),
    ],
)
def test_wrong_arguments_are_found_while_building(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    """Too many, unknown, double and missing arguments of an electron are errors before anything is sent."""
    with pytest.raises(error, match=message):
        plan_of(call)


def test_wrong_arguments_of_the_lattice_are_found() -> None:
    """The same holds for the lattice itself."""
    with pytest.raises(ValueError, match="lattice 'body' has no parameter 'z'"):
        plan_of(_named_body, 1, z=2)
    with pytest.raises(TypeError, match="lattice 'body' is missing 'x'"):
        plan_of(_named_body)


def body(x: int) -> Any:
    """Take one argument."""
    return load(x)


_named_body = body


def test_an_exception_in_the_body_comes_through_and_leaves_nothing_behind() -> None:
    """After a body that failed, electrons are plain functions again."""

    def failing() -> None:
        load()
        message = "mine"
        raise KeyError(message)

    with pytest.raises(KeyError, match="mine"):
        plan_of(failing)

    assert load(2) == ([2], "label")


def test_another_thread_builds_another_graph() -> None:
    """An electron called in another thread meanwhile is a plain function there."""
    seen: list[Any] = []

    def with_thread() -> Any:
        thread = threading.Thread(target=lambda: seen.append(load(3)))
        thread.start()
        thread.join()
        return load(1)

    graph = plan_of(with_thread).graph

    assert seen == [([3], "label")]
    assert [node.name for node in graph.nodes][:2] == ["load", ":parameter:1"]


def test_a_stand_in_belongs_to_one_graph() -> None:
    """One kept from an earlier build is refused by the next."""
    kept: list[Any] = []
    plan_of(lambda: kept.append(load()))

    with pytest.raises(GraphError, match="belongs to another lattice"):
        plan_of(lambda: load(kept[0]))
    with pytest.raises(GraphError, match="belongs to another lattice"):
        _ = kept[0][1]


def test_dispatching_inside_a_body_is_refused() -> None:
    """Building a graph while another is built would mix the two."""
    with pytest.raises(GraphError, match="cannot be dispatched while lattice"):
        plan_of(lambda: Lattice(body).build_graph(1))


def test_electrons_that_wait_for_each_other_are_refused() -> None:
    """A circle of waits is an error that names its nodes."""

    def circle() -> Any:
        first, second = load(1), load(2)
        ct.wait(first, [second])
        return ct.wait(second, first)

    with pytest.raises(GraphError, match=r"these wait for each other: load \(0\), load \(2\)"):
        plan_of(circle)


@pytest.mark.parametrize("parents", [3, [3], [None]])
def test_waiting_for_something_else_is_refused(parents: Any) -> None:
    """Only electrons of this lattice can be waited for."""
    with pytest.raises(TypeError):
        plan_of(lambda: ct.wait(load(), parents))
    with pytest.raises(TypeError, match="only an electron called in this lattice can wait, not 3"):
        plan_of(lambda: ct.wait(3, load()))


def test_an_unknown_executor_is_found_while_building() -> None:
    """The warning names the electron and the executors there are, and the line of the program."""
    elsewhere = ct.electron(lambda: 1, executor="elsewhere")

    with pytest.warns(
        UserWarning, match=r"electron '<lambda>' asks for executor 'elsewhere': .* there is dask, local"
    ) as warned:
        plan_of(elsewhere)
    assert warned[0].filename == __file__


def settings_by_name(graph: Graph) -> dict[str, tuple[str, int, float | None]]:
    """Return how each working node is to be run."""
    found = {}
    for node in graph.nodes:
        if node.settings >= 0:
            settings = graph.settings[node.settings]
            found[node.name] = (settings.executor, settings.retries, settings.time_limit)
    return found


def test_settings_reach_their_nodes() -> None:
    """An electron's own settings win, the lattice fills in, operators run on the workflow executor."""
    own = ct.electron(_load, executor="local", retries=2, time_limit=9)

    @ct.lattice(executor="dask", workflow_executor="local")
    def workflow() -> Any:
        return [own()[0], add(1) + 1]

    graph = workflow.plan((), {}, InMemory())[0].graph

    assert settings_by_name(graph) == {
        "load": ("local", 2, 9.0),
        ":load.__getitem__": ("local", 0, None),
        "add": ("dask", 0, None),
        "add_+_1": ("local", 0, None),
    }


def test_a_body_that_changes_its_arguments_leaves_a_true_record() -> None:
    """The recorded inputs are those that were given, whatever the body does to them."""

    def greedy(xs: list[int]) -> Any:
        xs.append(4)
        return load(xs)

    inputs = Lattice(greedy).plan(([1],), {}, InMemory())[1]

    assert InMemory().deserialize(inputs) == {"args": ([1],), "kwargs": {}}
