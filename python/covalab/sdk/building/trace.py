"""From a lattice's function to a transport graph.

Running the function once, with electrons that only note that they were called, gives the graph. Node numbers, names and
edges are Covalent's, because programs rely on them: a node comes before the nodes of its arguments, which follow
parameter by parameter, depth first; `:postprocess:reconstruct` comes after the body, followed by its own arguments.

Each function and each small value is encoded once per graph. Nothing here sends anything.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from covalab.core.argument_parts import join_arguments, split_arguments
from covalab.core.atoms import ATOMS
from covalab.core.codec import Encoded, decode, digest_of, encode, preview, serialize_small
from covalab.core.errors import GraphError
from covalab.core.hooks import Hooks
from covalab.core.model import (
    INLINE_LIMIT,
    Digest,
    Edge,
    EdgeKind,
    Function,
    Graph,
    Node,
    NodeKind,
    RetryPolicy,
    Settings,
    Value,
)
from covalab.core.placement import POOLED
from covalab.sdk.building import ops
from covalab.sdk.building.bound import BoundElectron, bind
from covalab.sdk.building.executor_choice import ExecutorChoice, executor_choice
from covalab.sdk.building.modules import by_value
from covalab.sdk.building.options import NO_LIMITS, Limits
from covalab.sdk.building.parameters import Parameters
from covalab.sdk.configuration import default_executor
from covalab.sdk.hooks.hook_set import HookSet
from covalab.sdk.results.transportable import TransportableObject

NAME_LIMIT: Final = 4_096
"""A parameter's node is called after the text of its value, as in Covalent, but cut here."""

NO_HOOKS: Final = Digest("")
WAIT_EDGE: Final = "!waiting_edge"
OUTPUT_NAME: Final = ":postprocess:reconstruct"
EXHAUSTIVE_NAME: Final = ":postprocess:"
SUBLATTICE_PREFIX: Final = ":sublattice:"

_COLLECTIONS: Final = (list, tuple, set)
_CALLED: Final = (NodeKind.ELECTRON, NodeKind.SUBLATTICE, NodeKind.PAUSE, NodeKind.POINT)
_COMPOSED: Final = (NodeKind.LIST, NodeKind.DICT)
_NO_CONTEXT: Final = nullcontext()


class Blobs(Protocol):
    """Where encoded values and functions go while a graph is built (`covalab.blobs.BlobStore`, or `InMemory`)."""

    def serialize(self, obj: object, *, what: str = "value", text: str | None = None) -> Value:
        """Close a value of any size."""
        ...

    def put(self, encoded: Encoded) -> Digest:
        """Keep encoded bytes that are too long to travel inside a message."""
        ...

    def deserialize(self, value: Value, *, what: str = "value") -> Any:
        """Open a closed value."""
        ...


class InMemory:
    """Keeps every value inside itself. For graphs that are looked at and never sent."""

    def serialize(self, obj: object, *, what: str = "value", text: str | None = None) -> Value:
        """Close a value, however large, into its own bytes."""
        return serialize_small(obj, what=what, text=text)

    def put(self, encoded: Encoded) -> Digest:
        """Name the bytes and keep nothing."""
        return digest_of(encoded.pieces)

    def deserialize(self, value: Value, *, what: str = "value") -> Any:
        """Open a value that `close` made."""
        return decode(value.data or b"", what=what)


class TracedTask(Protocol):
    """What the graph must know about an electron that is called."""

    name: str
    executor: Any
    retries: int
    time_limit: float | None
    retry: RetryPolicy | None
    hooks: HookSet | None
    told: bool

    @property
    def lattice(self) -> Composition | None:
        """The lattice that it is, if it is one: a sublattice."""
        ...

    @property
    def function(self) -> Callable[..., Any]:
        """The function to run."""
        ...

    @property
    def source(self) -> str:
        """The function's source text."""
        ...

    @property
    def parameters(self) -> Parameters:
        """The function's parameters."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the parts of its value, where they are known."""
        ...


class Composition(Protocol):
    """What the graph must know about a lattice: one that is being built, or one that is called as an electron."""

    __name__: str

    @property
    def parameters(self) -> Parameters:
        """The function's parameters."""
        ...

    @property
    def workflow_function_string(self) -> str:
        """The function's source text."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """The settings by Covalent's names."""
        ...

    def inheriting(self, parent: Any) -> Composition:
        """Return a copy that takes from `parent` what it does not say itself."""
        ...


class Plan(msgspec.Struct, frozen=True):
    """A transport graph with what its nodes point to: closed values, and encoded functions by digest.

    `replaced` are the nodes whose electron was replaced, with the name of the one that the body calls.
    """

    graph: Graph
    values: list[Value]
    code: dict[Digest, bytes]
    replaced: dict[int, str] = {}


def open_inputs(inputs: Value, values: Sequence[Value], blobs: Blobs) -> Any:
    """Open what `Trace.close_inputs` closed: ``{"args": tuple, "kwargs": dict}``; `values` are those of the graph."""
    what = "the arguments of the lattice"
    return join_arguments(
        blobs.deserialize(inputs, what=what), lambda index: blobs.deserialize(values[index], what=what)
    )


class _Sublattice(NamedTuple):
    """A lattice that is called as an electron, as its calls share it."""

    lattice: Composition  # kept alive, so that no other has its id while the graph is built
    function: int
    inputs: list[tuple[str, int]]  # text and position of the values that precede the user's arguments
    hooks: Digest


class _Active(threading.local):
    trace: Trace | None = None


_active: Final = _Active()


def active() -> Trace | None:
    """Return the graph that this thread is building, if it is building one."""
    return _active.trace


class Trace:
    """A graph that is being built."""

    def __init__(
        self,
        name: str,
        blobs: Blobs,
        *,
        executor: Any = None,
        workflow_executor: Any = None,
        hooks: HookSet | None = None,
        replacements: Mapping[str, TracedTask] | None = None,
        lattice: Composition | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._name = name
        self._lattice = lattice
        self._limits = limits
        self._blobs = blobs
        self._hooks = hooks
        self._code: dict[Digest, bytes] = {}
        self._executions: dict[object, tuple[ExecutorChoice, Digest, Any]] = {}
        self._executor = executor or default_executor()
        self._workflow_executor = workflow_executor or self._executor
        for one in (self._executor, self._workflow_executor):
            self._execution(one, name)
        self._open = True
        self._output = -1
        self._nodes: list[Node] = []
        self._edges: list[Edge] = []
        self._callables: list[tuple[Callable[..., Any], str, str, HookSet | None]] = []
        self._function_index: dict[object, int] = {}
        self._settings: list[Settings] = []
        self._settings_index: dict[tuple[object, Limits, Digest], int] = {}
        self._chosen: list[Any] = []  # the executor of each of them
        self._hook_digests: dict[int, tuple[HookSet, Digest]] = {}
        self._packages: dict[Digest, Digest] = {}
        """For hooks that install packages: those that only make the same packages visible."""
        self._values: list[Value] = []
        self._value_index: dict[object, int] = {}
        self._waits = False
        self._replacements = replacements or {}
        self._called: set[str] = set()
        self._replaced: dict[int, str] = {}
        self._sublattices: dict[int, _Sublattice] = {}

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Let electrons that this thread calls join this graph; after it, its stand-ins are used up."""
        if _active.trace is not None:
            message = (
                f"lattice {self._name!r} cannot be dispatched while lattice {_active.trace._name!r} is being built; "  # noqa: SLF001
                "call it as a function to make its electrons part of this one, or dispatch it outside"
            )
            raise GraphError(message)
        _active.trace = self
        try:
            yield
        finally:
            _active.trace = None
            self._open = False

    def close_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Value:
        """Close the arguments of the workflow as they are now; their parts become values of the graph."""
        what = f"the arguments of lattice {self._name!r}"
        given = {"args": args, "kwargs": kwargs}
        apart = split_arguments(given, lambda part: self._value(part, what, _text(part)[:2_000]))
        return self._blobs.serialize(apart, what=what, text=preview(given))

    # What electrons ask for.

    def call(self, task: TracedTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> BoundElectron:
        """Add the call of an electron."""
        if self._replacements:
            task = self._replacement(task)
        if task.lattice is not None:
            return self._call_sublattice(task, args, kwargs)
        name = task.name
        hooks = task.hooks or self._hooks
        digest = NO_HOOKS
        if hooks is not None:
            hooks = hooks if task.told else hooks.silent
            digest = self._hooks_digest(hooks, name)
            kwargs = {**kwargs, **hooks.keywords}
        names, keywords = task.parameters.match(f"electron {name!r}", args, kwargs)
        executor = task.executor or self._executor
        says = self._execution(executor, name)[0]
        node = self._add(
            name,
            NodeKind.ELECTRON,
            self._function(task.function, task, hooks),
            settings=self._settings_of(
                executor,
                name,
                Limits(
                    task.retries or says.retries or self._limits.retries,
                    task.time_limit or says.time_limit or self._limits.time_limit,
                    task.retry or self._limits.retry,
                ),
                digest,
            ),
        )
        # What the function finds in a module that travels, its arguments must be of, too.
        with by_value(hooks.modules) if hooks is not None and hooks.modules else _NO_CONTEXT:
            for index, value in enumerate(args):
                self._connect(value, node, names[index], EdgeKind.ARG, index)
            for keyword in keywords:
                if hooks is None or keyword not in hooks.keywords:  # what a hook fills, the call need not send
                    self._connect(kwargs[keyword], node, keyword, EdgeKind.KWARG, -1)
        return bind(self, node, task.outputs)

    def _replacement(self, task: TracedTask) -> TracedTask:
        """Return what stands for an electron in this graph, and note the node that it is about to become."""
        self._called.add(task.name)
        other = self._replacements.get(task.name)
        if other is None:
            return task
        self._replaced[len(self._nodes)] = task.name
        return other

    def _call_sublattice(self, task: TracedTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> BoundElectron:
        """Add the call of a lattice as an electron: one node, which becomes a dispatch of its own.

        As in Covalent, the lattice and the settings of the one that is being built are the first inputs of the node,
        which runs on the workflow executor (see `_own_executor`).
        """
        lattice = task.lattice
        assert lattice is not None
        name = f"{SUBLATTICE_PREFIX}{lattice.__name__}"
        known = self._sublattices.get(id(lattice))
        if known is None:
            known = self._sublattices[id(lattice)] = self._new_sublattice(lattice, task.hooks)
        given = kwargs if task.hooks is None else {**kwargs, **task.hooks.keywords}
        lattice.parameters.match(f"sublattice {lattice.__name__!r}", args, given)
        # The lattice's hooks are for electrons; building may need the packages that they install.
        digest = known.hooks if task.hooks is not None else self._packages.get(known.hooks, NO_HOOKS)
        settings = self._settings_of(self._own_executor(), name, Limits(task.retries, retry=task.retry), hooks=digest)
        node = self._add(name, NodeKind.SUBLATTICE, known.function, settings=settings)
        for index, label in enumerate(("sub", "json_parent_metadata")):
            text, value = known.inputs[index]
            source = self._add(f":parameter:{text}", NodeKind.PARAMETER, value=value)
            self._edges.append(Edge(source, node, label, EdgeKind.ARG, index))
        for index, argument in enumerate(args, 2):
            self._connect(argument, node, f"arg[{index}]", EdgeKind.ARG, index)
        for keyword, argument in kwargs.items():
            if task.hooks is None or keyword not in task.hooks.keywords:
                self._connect(argument, node, keyword, EdgeKind.KWARG, -1)
        return bind(self, node, task.outputs)

    def _new_sublattice(self, lattice: Composition, hooks: HookSet | None) -> _Sublattice:
        """Encode a lattice, once for all its calls."""
        from covalab.sdk.building.sublattice import build  # noqa: PLC0415 - it needs this module

        name = lattice.__name__
        hooks = hooks or self._hooks
        digest = NO_HOOKS if hooks is None else self._hooks_digest(hooks, name)
        filled = lattice.inheriting(self._lattice)
        metadata = json.dumps({} if self._lattice is None else self._lattice.metadata, default=str)
        inputs: list[tuple[str, int]] = []
        with by_value(hooks.modules) if hooks is not None and hooks.modules else nullcontext():
            for it in (filled, metadata):
                text = _text(it)
                inputs.append((text, self._value(it, f"lattice {name!r}", text[:2_000])))
        self._callables.append((build, name, lattice.workflow_function_string, None))
        return _Sublattice(lattice, len(self._callables) - 1, inputs, digest)

    def name_of(self, node: int) -> str:
        """Return the name of the function that a node calls: what is derived from it is called after that."""
        return self._nodes[node].name.removeprefix(SUBLATTICE_PREFIX)

    def item(self, e: BoundElectron, key: object, name: str) -> BoundElectron:
        """Add ``e[key]``, or one part of an unpacking."""
        # A tuple travels as a list, like every collection; an array would take that for a list of rows.
        function = ops.item_by_tuple if isinstance(key, tuple) else ops.item
        return self._derived(NodeKind.ITEM, name, function, e, key=key)

    def attribute(self, e: BoundElectron, name: str) -> BoundElectron:
        """Add ``e.name``."""
        node_name = f":{self.name_of(e.node_id)}.__getattr__"
        return self._derived(NodeKind.ATTRIBUTE, node_name, ops.attribute, e, attr=name)

    def operator(self, symbol: str, left: object, right: object) -> BoundElectron:
        """Add ``left symbol right``; it runs on the lattice's workflow executor."""
        name = f"{self._operand(left)}_{symbol}_{self._operand(right)}"
        node = self._add(
            name,
            NodeKind.OPERATOR,
            self._function(ops.OPERATORS[symbol]),
            settings=self._settings_of(self._workflow_executor, name),
        )
        self._connect(left, node, "arg_1", EdgeKind.KWARG, -1)
        self._connect(right, node, "arg_2", EdgeKind.KWARG, -1)
        return bind(self, node)

    def called_here(self, kind: NodeKind, name: str, **given: object) -> BoundElectron:
        """Add a node that no worker runs, with what it is given."""
        settings = self._settings_of(self._workflow_executor, name)
        node = self._add(name, kind, self._function(ops.answered), settings=settings)
        for keyword, value in given.items():
            self._connect(value, node, keyword, EdgeKind.KWARG, -1)
        return bind(self, node)

    def wait(self, child: BoundElectron, parents: Iterable[object]) -> None:
        """Let `child` start only after `parents`."""
        target = self._node_of(child)
        for parent in parents:
            if not isinstance(parent, BoundElectron):
                message = f"{child} can wait for electrons called in this lattice, not for {preview(parent)}"
                raise TypeError(message)
            self._edges.append(Edge(self._node_of(parent), target, WAIT_EDGE, EdgeKind.WAIT))
            self._waits = True

    # The end.

    def finish(self, value: object, *, whole: bool = False, rerun: Callable[..., Any] | None = None) -> Plan:
        """Add the node of the lattice's value, encode the functions, and return the whole.

        Parameters
        ----------
        value
            What the lattice's function returned.
        whole
            Whether the value must be closed in one piece, as that of a sublattice: if it is made of several, a worker
            puts them together, where otherwise the reader does.
        rerun
            Makes the value from the values of all electrons and sublattices in order (Covalent's exhaustive
            post-processing); `value` is then not looked at.
        """
        body = [node for node, it in enumerate(self._nodes) if it.kind is not NodeKind.PARAMETER]
        output = self._output = self._add(OUTPUT_NAME if rerun is None else EXHAUSTIVE_NAME, NodeKind.OUTPUT)
        if rerun is not None:
            called = [node for node in body if self._nodes[node].kind in _CALLED]
            self._edges += [
                Edge(node, output, f"arg[{index}]", EdgeKind.ARG, index) for index, node in enumerate(called)
            ]
            others = set(called)
            self._let_work(output, rerun)
        else:
            self._connect(value, output, "retval", EdgeKind.ARG, 0)
            source = self._edges[-1].source
            referenced = sorted(_referenced(value))
            self._edges += [Edge(node, output, f"node:{node}", EdgeKind.KWARG) for node in referenced]
            others = set(referenced)
            if self._hooks is not None or (whole and self._nodes[source].kind in _COMPOSED):
                self._let_work(output, ops.reconstruct)
        self._edges += [Edge(node, output, WAIT_EDGE, EdgeKind.WAIT) for node in body if node not in others]
        if self._waits:
            self._refuse_cycles()
        strangers = self._replacements.keys() - self._called
        if strangers:
            there = f"it calls {', '.join(sorted(self._called))}" if self._called else "it calls none"
            message = f"lattice {self._name!r} calls no electron named {', '.join(sorted(strangers))}; {there}"
            raise GraphError(message)
        functions = self._encode_functions()
        graph = Graph(self._name, self._nodes, self._edges, functions, self._settings, output)
        return Plan(graph, self._values, self._code, self._replaced)

    def _let_work(self, output: int, function: Callable[..., Any]) -> None:
        """Have the lattice's value made by a worker, with the lattice's hooks around it, as in Covalent."""
        name = self._nodes[output].name
        hooks = NO_HOOKS if self._hooks is None else self._hooks_digest(self._hooks.silent, name)
        settings = self._settings_of(self._own_executor(), name, hooks=hooks)
        self._nodes[output] = Node(name, NodeKind.OUTPUT, self._function(function), settings=settings)

    def _own_executor(self) -> Any:
        """Return the executor of what only covalab can do: the workflow executor, where that is a pool of ours.

        A job that somebody else's executor submits finds neither covalab nor the blob folder where it runs.
        """
        it, instance, _ = self._execution(self._workflow_executor, self._name)
        return self._workflow_executor if it.name in POOLED and not instance else "dask"

    def _encode_functions(self) -> list[Function]:
        functions: list[Function] = []
        for function, name, source, hooks in self._callables:
            what = f"the function of electron {name!r}"
            with by_value(hooks.modules) if hooks is not None and hooks.modules else _NO_CONTEXT:
                digest = keep(function, what, self._blobs, self._code)
            functions.append(Function(name, digest, source))
        return functions

    def _hooks_digest(self, hooks: HookSet, electron: str) -> Digest:
        """Encode hooks once, when a call first needs them."""
        found = self._hook_digests.get(id(hooks))
        if found is None:
            with by_value(hooks.modules):
                travelling = hooks.travelling(f"electron {electron!r}")
            found = self._hook_digests[id(hooks)] = hooks, keep_hooks(travelling, self._blobs, self._code)
            packages = hooks.packages_only()
            if packages is not None:
                travelling = packages.travelling(f"electron {electron!r}")
                self._packages[found[1]] = keep_hooks(travelling, self._blobs, self._code)
        return found[1]

    def _refuse_cycles(self) -> None:
        """Only `wait` can make one: every other edge points to a node that was made by the call it serves."""
        missing = [0] * len(self._nodes)
        onward: list[list[int]] = [[] for _ in self._nodes]
        for edge in self._edges:
            missing[edge.target] += 1
            onward[edge.source].append(edge.target)
        ready = [node for node, n_missing in enumerate(missing) if not n_missing]
        for node in ready:
            for target in onward[node]:
                missing[target] -= 1
                if not missing[target]:
                    ready.append(target)
        if len(ready) < len(self._nodes):
            stuck = [f"{self._nodes[node].name} ({node})" for node, n in enumerate(missing) if n][:5]
            message = f"in lattice {self._name!r} these wait for each other: {', '.join(stuck)}; take one `wait` away"
            raise GraphError(message)

    # How nodes come about.

    def _add(self, name: str, kind: NodeKind, function: int = -1, value: int = -1, settings: int = -1) -> int:
        self._nodes.append(Node(name, kind, function, value, settings))
        return len(self._nodes) - 1

    def _derived(
        self, kind: NodeKind, name: str, function: Callable[..., Any], e: BoundElectron, **named: object
    ) -> BoundElectron:
        source = self._node_of(e)
        position = self._nodes[source].settings
        # A part is not made again, so hooks are not done again; but it may need the packages to be opened.
        hooks = self._packages.get(self._settings[position].hooks, NO_HOOKS)
        # Nobody wants to wait in the queue of a cluster for `e[0]`: what is not one of our pools is for electrons.
        executor = self._chosen[position] if self._settings[position].executor in POOLED else "dask"
        known = self._settings_of(executor, name, hooks=hooks)
        node = self._add(name, kind, self._function(function), settings=known)
        if hooks:
            self._packages[hooks] = hooks
        self._edges.append(Edge(source, node, "e", EdgeKind.ARG, 0))
        for label, key in named.items():
            self._connect(key, node, label, EdgeKind.ARG, 1)
        return bind(self, node)

    def _connect(
        self, value: Any, target: int, name: str, kind: EdgeKind, index: int, owner: tuple[str, int] | None = None
    ) -> None:
        """Let a value enter a node, making the nodes that it needs. `owner` is the argument that a part belongs to."""
        cls = type(value)
        if cls is BoundElectron:
            source = self._node_of(value)
        elif cls in ATOMS:
            source = self._atom(value, cls)
        elif isinstance(value, _COLLECTIONS):
            source = self._list(value, owner or (name, target))
        elif isinstance(value, dict):
            source = self._dict(value, owner or (name, target))
        else:
            source = self._parameter(value, owner or (name, target))
        self._edges.append(Edge(source, target, name, kind, index))

    def _list(self, value: Iterable[Any], owner: tuple[str, int]) -> int:
        node = self._add(":electron_list:", NodeKind.LIST)
        for index, element in enumerate(value):
            self._connect(element, node, f"arg[{index}]", EdgeKind.ARG, index, owner)
        return node

    def _dict(self, value: Mapping[Any, Any], owner: tuple[str, int]) -> int:
        node = self._add(":electron_dict:", NodeKind.DICT)
        self._connect(list(value), node, "keys", EdgeKind.ARG, 0, owner)
        self._connect(list(value.values()), node, "values", EdgeKind.ARG, 1, owner)
        return node

    def _atom(self, value: Any, cls: type) -> int:
        text = _text(value)
        # By text where equal values are not the same value (0.0 and -0.0), by value where the text may be cut.
        key = (cls, text if cls is float or cls is complex else value)
        index = self._value_index.get(key)
        if index is None:
            index = self._value_index[key] = len(self._values)
            self._values.append(self._blobs.serialize(value, what="a parameter", text=text[:2_000]))
        return self._add(f":parameter:{text}", NodeKind.PARAMETER, value=index)

    def _parameter(self, value: Any, owner: tuple[str, int]) -> int:
        name, target = owner
        what = f"argument {name!r} of electron {self._nodes[target].name!r} (node {target})"
        if target == self._output:
            what = f"the value of lattice {self._name!r}"
        text = _text(value)
        if isinstance(value, TransportableObject):
            value = value.get_deserialized()
        return self._add(f":parameter:{text}", NodeKind.PARAMETER, value=self._value(value, what, text[:2_000]))

    def _value(self, value: Any, what: str, text: str) -> int:
        """Close a value, once however often it comes; returns its position."""
        it = self._blobs.serialize(value, what=what, text=text)
        index = self._value_index.setdefault(it.data or it.digest, len(self._values))
        if index == len(self._values):
            self._values.append(it)
        return index

    def _node_of(self, e: BoundElectron) -> int:
        if e._covalab_trace is not self or not self._open:  # noqa: SLF001
            message = (
                f"{e} belongs to another lattice, or to an earlier run of this one; "
                f"call the electron inside lattice {self._name!r}"
            )
            raise GraphError(message)
        return e.node_id

    def _operand(self, value: object) -> str:
        return self.name_of(value.node_id) if isinstance(value, BoundElectron) else _text(value)

    def _function(
        self, function: Callable[..., Any], task: TracedTask | None = None, hooks: HookSet | None = None
    ) -> int:
        # With a module inside, it is encoded differently.
        key: object = (id(function), id(hooks)) if hooks is not None and hooks.modules else id(function)
        index = self._function_index.get(key)
        if index is None:
            # The list keeps the function alive, so that no other can have its id while the graph is built.
            index = self._function_index[key] = len(self._callables)
            name, source = (task.name, task.source) if task else (function.__name__, "")
            self._callables.append((function, name, source, hooks))
        return index

    def _settings_of(self, executor: Any, electron: str, limits: Limits = NO_LIMITS, hooks: Digest = NO_HOOKS) -> int:
        key = (executor if type(executor) is str else id(executor), limits, hooks)
        index = self._settings_index.get(key)
        if index is None:
            index = self._settings_index[key] = len(self._settings)
            it, instance, _ = self._execution(executor, electron)
            retries, time_limit, policy = limits
            self._settings.append(
                Settings(it.name, it.data, retries, time_limit, hooks, instance, policy or RetryPolicy())
            )
            self._chosen.append(executor)
        return index

    def _execution(self, executor: Any, electron: str) -> tuple[ExecutorChoice, Digest, Any]:
        """Return how an executor is spoken of, its encoded instance, and itself: it must live as long as its id."""
        key = executor if type(executor) is str else id(executor)
        found = self._executions.get(key)
        if found is None:
            it = executor_choice(executor, electron)
            what = f"the executor of electron {electron!r}"
            instance = keep(executor, what, self._blobs, self._code) if it.travels else Digest("")
            found = self._executions[key] = (it, instance, executor)
        return found


def keep(function: Callable[..., Any], what: str, blobs: Blobs, code: dict[Digest, bytes]) -> Digest:
    """Encode a function, into `code` or as a blob, and return its name."""
    encoded = encode(function, what=what)
    if encoded.size > INLINE_LIMIT:
        return blobs.put(encoded)
    digest = digest_of(encoded.pieces)
    code[digest] = encoded.join()
    return digest


def keep_hooks(hooks: Hooks, blobs: Blobs, code: dict[Digest, bytes]) -> Digest:
    """Encode hooks, into `code` or as a blob, and return their name."""
    data = msgspec.msgpack.encode(hooks)
    if len(data) > INLINE_LIMIT:
        return blobs.put(Encoded([data], len(data)))
    digest = digest_of([data])
    code[digest] = data
    return digest


def _referenced(value: object) -> set[int]:
    """Return the electrons that a lattice's value is made of."""
    if isinstance(value, BoundElectron):
        return {value.node_id}
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, _COLLECTIONS):
        return set().union(*map(_referenced, value))
    return set()


def _text(value: Any) -> str:
    """Return what a parameter's node is called after; never raises, never walks a large value twice."""
    if isinstance(value, str | bytes | bytearray):
        value = value[:NAME_LIMIT]
    try:
        return (repr(value) if isinstance(value, bytes | bytearray) else str(value))[:NAME_LIMIT]
    except Exception:  # noqa: BLE001 - __str__ is the user's code
        return preview(value)[:NAME_LIMIT]
