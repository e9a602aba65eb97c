"""Trace: runs a lattice's function once, with electrons that only record their calls, and makes a graph of it.

Node numbers, names and edges are Covalent's, because programs rely on them: a node comes before the nodes of its
arguments, which follow parameter by parameter, depth first; `:postprocess:reconstruct` comes after the body, followed
by its own arguments. Nothing here sends anything.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Final, NamedTuple

from covalab.blobs import Blobs
from covalab.core.codec import preview, type_name
from covalab.core.errors import GraphError
from covalab.core.model import Digest, Edge, EdgeKind, Graph, Node, NodeKind, Value
from covalab.core.plain_types import ATOMS
from covalab.core.transportable import TransportableObject
from covalab.sdk.building import ops
from covalab.sdk.building.bound import BoundElectron, bind
from covalab.sdk.building.containers import CONTAINERS, PLAIN, Rebuilding, base_of, contents_of, rebuilding_of
from covalab.sdk.building.executor_choice import ExecutorSpec
from covalab.sdk.building.function_table import NO_HOOKS, FunctionTable, with_modules
from covalab.sdk.building.options import NO_LIMITS, Limits
from covalab.sdk.building.plan import Composition, Plan, Replacements, TracedTask
from covalab.sdk.building.user_warnings import Line, user_line, warn_user
from covalab.sdk.building.value_table import NAME_LIMIT, ValueTable, text_of
from covalab.sdk.configuration import default_executor, strict_lattices
from covalab.sdk.hooks.hook_set import HookSet
from covalab.sdk.values import UserFunction, UserValue

WAIT_EDGE: Final = "!waiting_edge"
SESSION_EDGE: Final = ":session:"
"""Name of the edge from one cell of a session to the next."""
OUTPUT_NAME: Final = ":postprocess:reconstruct"
EXHAUSTIVE_NAME: Final = ":postprocess:"
SUBLATTICE_PREFIX: Final = ":sublattice:"

_CALLED: Final = (NodeKind.ELECTRON, NodeKind.SUBLATTICE, NodeKind.PAUSE, NodeKind.POINT)
_COMPOSED: Final = (NodeKind.LIST, NodeKind.DICT)
_NO_CONTEXT: Final = nullcontext()


class _Sublattice(NamedTuple):
    """Lattice that is called as an electron, encoded once for all its calls."""

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
    """Graph that is being built; the bound electrons of a lattice's body add to it."""

    def __init__(
        self,
        name: str,
        blobs: Blobs,
        *,
        executor: ExecutorSpec | None = None,
        workflow_executor: ExecutorSpec | None = None,
        hooks: HookSet | None = None,
        replacements: Replacements | None = None,
        lattice: Composition | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self.name = name
        self._lattice = lattice
        self._limits = limits
        self._hooks = hooks
        executor = executor or default_executor()
        self._functions = FunctionTable(name, blobs, executor, workflow_executor or executor)
        self._values = ValueTable(blobs)
        self._nodes: list[Node] = []
        self._edges: list[Edge] = []
        self._output = -1
        self._is_open = True
        self._has_waits = False
        self._replacements = replacements or {}
        self._replaced: dict[int, str] = {}
        self._called: set[str] = set()
        self._sublattices: dict[int, _Sublattice] = {}
        self.is_strict = strict_lattices()
        self._warned: set[Line | None] = set()
        self._rebuilders: dict[object, int] = {}  # functions that make containers of other than the plain kinds

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Let electrons that this thread calls join this graph; after it, its bound electrons are used up."""
        if _active.trace is not None:
            message = (
                f"lattice {self.name!r} cannot be dispatched while lattice {_active.trace.name!r} is being built; "
                "call it as a function to make its electrons part of this one, or dispatch it outside"
            )
            raise GraphError(message)
        _active.trace = self
        try:
            yield
        finally:
            _active.trace = None
            # Kept by the body in a global, a bound electron would be an edge from a graph that is gone.
            self._is_open = False

    def serialize_inputs(self, args: tuple[UserValue, ...], kwargs: dict[str, UserValue]) -> Value:
        """Serialize the arguments of the workflow as they are now; their parts become values of the graph."""
        return self._values.add_inputs(args, kwargs, f"the arguments of lattice {self.name!r}")

    # Nodes that bound electrons add.

    def call(self, task: TracedTask, args: Sequence[UserValue], kwargs: Mapping[str, UserValue]) -> BoundElectron:
        """Add the call of an electron."""
        if self._replacements:
            task = self._replacement(task)
        if task.lattice is not None:
            return self._call_sublattice(task, args, kwargs)
        name = task.name
        hooks = task.hooks or self._hooks
        digest = NO_HOOKS
        if hooks is not None:
            # A lepton's function has no parameter for what a hook returns.
            hooks = hooks if task.takes_hook_values else hooks.silent
            digest = self._functions.hooks(hooks, name)
            kwargs = {**kwargs, **hooks.keywords}
        names, keywords = task.parameters.match(f"electron {name!r}", args, kwargs)
        executor = task.executor or self._functions.executor
        choice, _, _ = self._functions.look_up(executor, name)
        # The electron's own word goes before its executor's, that before the lattice's. An executor that is named is
        # nearer to the electron than what was said once for all of them.
        limits = Limits(
            task.retries or choice.retries or self._limits.retries,
            task.time_limit or choice.time_limit or self._limits.time_limit,
            task.retry or self._limits.retry,
            task.needs,
        )
        if task.needs is not None and not choice.in_pool:
            message = (
                f"electron {name!r}: resources, memory and cores are for workers of pools (executors dask, local and "
                f"clusters of the configuration); executor {choice.name!r} has options of its own"
            )
            raise GraphError(message)
        session = getattr(task.function, "__covalab_session__", False)
        settings = self._functions.settings_for(executor, name, limits, digest, session=session)
        if session and names:
            names = (SESSION_EDGE, *names[1:])
        node = self._add(name, NodeKind.ELECTRON, self._functions.add(task.function, task, hooks), settings=settings)
        # What the function finds in a module that travels, its arguments must be of, too.
        with with_modules(hooks) if hooks is not None else _NO_CONTEXT:
            for index, value in enumerate(args):
                self._connect(value, node, names[index], EdgeKind.ARG, index)
            for keyword in keywords:
                if hooks is None or keyword not in hooks.keywords:  # what a hook fills, the call need not send
                    self._connect(kwargs[keyword], node, keyword, EdgeKind.KWARG, -1)
        return bind(self, node, task.outputs)

    def _replacement(self, task: TracedTask) -> TracedTask:
        """Return the electron that replaces one in this graph; mark the node that it is about to become."""
        self._called.add(task.name)
        other = self._replacements.get(task.name)
        if other is None:
            return task
        # A redispatch runs these nodes again even where everything before them is the same.
        self._replaced[len(self._nodes)] = task.name
        return other

    def _call_sublattice(
        self, task: TracedTask, args: Sequence[UserValue], kwargs: Mapping[str, UserValue]
    ) -> BoundElectron:
        """Add the call of a lattice as an electron: one node, which becomes a dispatch of its own.

        As in Covalent, the lattice and the settings of the one that is being built are the first inputs of the node,
        which runs on the workflow executor (see `FunctionTable.own_executor`).
        """
        lattice = task.lattice
        assert lattice is not None
        name = f"{SUBLATTICE_PREFIX}{lattice.__name__}"
        known = self._sublattices.get(id(lattice))
        if known is None:
            known = self._sublattices[id(lattice)] = self._new_sublattice(lattice, task)
        given = kwargs if task.hooks is None else {**kwargs, **task.hooks.keywords}
        lattice.parameters.match(f"sublattice {lattice.__name__!r}", args, given)
        # The lattice's hooks are for electrons; building may need the packages that they install.
        digest = known.hooks if task.hooks is not None else self._functions.packages_of(known.hooks)
        limits = Limits(task.retries, retry=task.retry)
        settings = self._functions.settings_for(self._functions.own_executor(), name, limits, digest)
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

    def _new_sublattice(self, lattice: Composition, task: TracedTask) -> _Sublattice:
        """Encode a lattice, once for all its calls."""
        name = lattice.__name__
        hooks = task.hooks or self._hooks
        digest = NO_HOOKS if hooks is None else self._functions.hooks(hooks, name)
        filled = lattice.inheriting(self._lattice)
        metadata = json.dumps({} if self._lattice is None else self._lattice.metadata, default=str)
        inputs: list[tuple[str, int]] = []
        with with_modules(hooks):
            for it in (filled, metadata):
                text = text_of(it)
                inputs.append((text, self._values.add(it, f"lattice {name!r}", text)))
        # One function for all sublattices, but each shows its own name and source: hence not `add`.
        function = self._functions.append(task.builder, name, lattice.workflow_function_string)
        return _Sublattice(lattice, function, inputs, digest)

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

    def failing(self, e: BoundElectron, name: str, reason: str) -> BoundElectron:
        """Add a node that takes `e` and fails when it runs: what the body did would need its value now."""
        return self._derived(NodeKind.ITEM, name, ops.refused, e, reason=reason)

    def warn(self, message: str) -> None:
        """Warn of the line of the body that is running; of one line once, however often it runs."""
        line = user_line()
        if line not in self._warned:
            self._warned.add(line)
            warn_user(message)

    def operator(self, symbol: str, left: object, right: object) -> BoundElectron:
        """Add ``left symbol right``; it runs on the lattice's workflow executor."""
        name = f"{self._operand(left)}_{symbol}_{self._operand(right)}"
        settings = self._functions.settings_for(self._functions.workflow_executor, name)
        node = self._add(name, NodeKind.OPERATOR, self._functions.add(ops.OPERATORS[symbol]), settings=settings)
        self._connect(left, node, "arg_1", EdgeKind.KWARG, -1)
        self._connect(right, node, "arg_2", EdgeKind.KWARG, -1)
        return bind(self, node)

    def called_here(self, kind: NodeKind, name: str, **given: object) -> BoundElectron:
        """Add a node that no worker runs, with what it is given."""
        # Nothing runs there. It has an executor and a function all the same, because a graph's reader expects both.
        settings = self._functions.settings_for(self._functions.workflow_executor, name)
        node = self._add(name, kind, self._functions.add(ops.answered), settings=settings)
        for keyword, value in given.items():
            self._connect(value, node, keyword, EdgeKind.KWARG, -1)
        return bind(self, node)

    def wait(self, child: BoundElectron, parents: Iterable[object]) -> None:
        """Let `child` start only after `parents`."""
        target = self._node_of(child)
        for parent in parents:
            if not isinstance(parent, BoundElectron):
                message = f"{child!r} can wait for electrons called in this lattice, not for {preview(parent)}"
                raise TypeError(message)
            self._edges.append(Edge(self._node_of(parent), target, WAIT_EDGE, EdgeKind.WAIT))
            self._has_waits = True

    def show_flow(self, source: BoundElectron, target: BoundElectron, names: str) -> None:
        """Add an edge for names that a cell of a session finds there; the session carries the values."""
        self._edges.append(Edge(self._node_of(source), self._node_of(target), names, EdgeKind.WAIT))

    # The end.

    def finish(self, value: object, *, whole: bool = False, rerun: UserFunction | None = None) -> Plan:
        """Add the node of the lattice's value, encode the functions, and return the whole.

        Parameters
        ----------
        value
            What the lattice's function returned.
        whole
            Whether the value must be serialized in one piece, as that of a sublattice: if it is made of several, a
            worker puts them together, where otherwise the reader does.
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
            # Covalent's: beside the value itself, one edge from every electron that it is made of.
            referenced = sorted(_referenced(value))
            self._edges += [Edge(node, output, f"node:{node}", EdgeKind.KWARG) for node in referenced]
            others = set(referenced)
            if self._hooks is not None or (whole and self._nodes[source].kind in _COMPOSED):
                self._let_work(output, ops.reconstruct)
        # The dispatch ends with this node, so it waits for everything, also for what its value does not need.
        self._edges += [Edge(node, output, WAIT_EDGE, EdgeKind.WAIT) for node in body if node not in others]
        if self._has_waits:
            self._refuse_cycles()
        self._refuse_unused_replacements()
        functions = self._functions.encoded()
        graph = Graph(self.name, self._nodes, self._edges, functions, self._functions.settings, output)
        table = self._functions
        return Plan(graph, self._values.values, table.code, self._replaced, table.callables(), table.hook_sets())

    def _let_work(self, output: int, function: UserFunction) -> None:
        """Have the lattice's value made by a worker, with the lattice's hooks around it, as in Covalent."""
        name = self._nodes[output].name
        functions = self._functions
        hooks = NO_HOOKS if self._hooks is None else functions.hooks(self._hooks.silent, name)
        settings = functions.settings_for(functions.own_executor(), name, hooks=hooks)
        # A node is frozen, and its number was needed before: it takes the place of the one that only the reader joins.
        self._nodes[output] = Node(name, NodeKind.OUTPUT, functions.add(function), settings=settings)

    def _refuse_unused_replacements(self) -> None:
        """Raise if an electron is to replace one that the body does not call: most likely a name is misspelt."""
        strangers = self._replacements.keys() - self._called
        if strangers:
            there = f"it calls {', '.join(sorted(self._called))}" if self._called else "it calls none"
            message = f"lattice {self.name!r} calls no electron named {', '.join(sorted(strangers))}; {there}"
            raise GraphError(message)

    def _refuse_cycles(self) -> None:
        """Raise if nodes wait for each other. Only `wait` can do that: every other edge points to a newer node."""
        # Take away what waits for nothing, and what then waits for nothing; what is left at the end is in a cycle.
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
            message = f"in lattice {self.name!r} these wait for each other: {', '.join(stuck)}; take one `wait` away"
            raise GraphError(message)

    # Nodes and edges.

    def _add(self, name: str, kind: NodeKind, function: int = -1, value: int = -1, settings: int = -1) -> int:
        self._nodes.append(Node(name, kind, function, value, settings))
        return len(self._nodes) - 1

    def _derived(
        self, kind: NodeKind, name: str, function: UserFunction, e: BoundElectron, **named: object
    ) -> BoundElectron:
        """Add a node that takes a part of another one's value."""
        source = self._node_of(e)
        settings = self._functions.settings_of_part(self._nodes[source].settings, name)
        node = self._add(name, kind, self._functions.add(function), settings=settings)
        self._edges.append(Edge(source, node, "e", EdgeKind.ARG, 0))
        for label, key in named.items():
            self._connect(key, node, label, EdgeKind.ARG, 1)
        return bind(self, node)

    def _connect(
        self, value: UserValue, target: int, name: str, kind: EdgeKind, index: int, owner: tuple[str, int] | None = None
    ) -> None:
        """Let a value enter a node, making the nodes that it needs. `owner` is the argument that a part belongs to."""
        cls = type(value)
        # A type of its own comes first: a subclass of `int` may carry more than the number, and is pickled whole.
        if cls is BoundElectron:
            source = self._node_of(value)
        elif cls in ATOMS:
            text = text_of(value)
            position = self._values.add_atom(value, cls, text)
            source = self._add(f":parameter:{text}", NodeKind.PARAMETER, value=position)
        elif isinstance(value, CONTAINERS):
            source = self._container(value, owner or (name, target), is_part=owner is not None)
        else:
            source = self._parameter(value, owner or (name, target))
        self._edges.append(Edge(source, target, name, kind, index))

    def _container(self, value: UserValue, owner: tuple[str, int], *, is_part: bool) -> int:
        """Add the nodes of a list, tuple, set or dict; `is_part`: of one that can be taken apart.

        Plain ones become nodes of their own, as in Covalent, because there may be electrons inside.
        """
        kind = type(value)
        apart = self._dict if isinstance(value, dict) else self._list
        if kind in PLAIN and is_part:
            return apart(value, owner)
        found = contents_of(value)
        if not found.electrons and (found.obstacle or kind not in PLAIN):
            # Its whole text could be endless, as the graph would be.
            return self._parameter(value, owner, preview(value)[:NAME_LIMIT] if found.obstacle else None)
        if found.obstacle:
            message = (
                f"{self._owned_by(owner)} {found.obstacle} and has {found.electrons[0]!r} inside, so it cannot be "
                "taken apart; pass the electron as an argument of its own, and put it in its place inside the electron"
            )
            raise GraphError(message)
        if kind in PLAIN:
            return apart(value, owner)
        rebuilding = rebuilding_of(value)
        if rebuilding is None:
            base = base_of(value).__name__
            message = (
                f"{self._owned_by(owner)} is a {type_name(value)} with {found.electrons[0]!r} inside, and how to make "
                f"another {kind.__name__} when that has a value is not known; pass a plain {base} "
                f"(`{base}(...)`), or the electron as an argument of its own, and make the {kind.__name__} inside the "
                "electron"
            )
            raise GraphError(message)
        return self._rebuilt(value, rebuilding, owner)

    def _rebuilt(self, value: UserValue, rebuilding: Rebuilding, owner: tuple[str, int]) -> int:
        """Add the node that makes a container of its own kind from the node of its elements."""
        name = type(value).__name__
        function = self._rebuilders.get(rebuilding.key)
        if function is None:
            # Kept by the table, the class or factory that the key speaks of lives as long as the graph is built.
            function = self._functions.append(rebuilding.function, name, "")
            self._rebuilders[rebuilding.key] = function
        settings = self._functions.settings_for(self._functions.own_executor(), name)
        node = self._add(f":{name}:", NodeKind.OPERATOR, function, settings=settings)
        source = self._dict(value, owner) if isinstance(value, dict) else self._list(value, owner)
        self._edges.append(Edge(source, node, "elements", EdgeKind.ARG, 0))
        return node

    def _list(self, value: Iterable[UserValue], owner: tuple[str, int]) -> int:
        node = self._add(":electron_list:", NodeKind.LIST)
        for index, element in enumerate(value):
            self._connect(element, node, f"arg[{index}]", EdgeKind.ARG, index, owner)
        return node

    def _dict(self, value: Mapping[UserValue, UserValue], owner: tuple[str, int]) -> int:
        node = self._add(":electron_dict:", NodeKind.DICT)
        self._connect(list(value), node, "keys", EdgeKind.ARG, 0, owner)
        self._connect(list(value.values()), node, "values", EdgeKind.ARG, 1, owner)
        return node

    def _parameter(self, value: UserValue, owner: tuple[str, int], text: str | None = None) -> int:
        """Add the node of a value that is no atom; `owner` is the argument and the node that an error names."""
        what = self._owned_by(owner)
        text = text_of(value) if text is None else text
        # The electron gets the value itself: Covalent's programs wrap arguments so, and expect it unwrapped.
        if isinstance(value, TransportableObject):
            value = value.get_deserialized()
        position = self._values.add(value, what, text)
        return self._add(f":parameter:{text}", NodeKind.PARAMETER, value=position)

    def _owned_by(self, owner: tuple[str, int]) -> str:
        """Return how an error calls an argument of a node, or the lattice's value."""
        name, target = owner
        if target == self._output:
            return f"the value of lattice {self.name!r}"
        return f"argument {name!r} of electron {self._nodes[target].name!r} (node {target})"

    def _node_of(self, e: BoundElectron) -> int:
        if e._covalab_trace is not self or not self._is_open:  # noqa: SLF001 - hidden from users, not from the trace
            message = (
                f"{e!r} belongs to another lattice, or to an earlier run of this one; "
                f"call the electron inside lattice {self.name!r}"
            )
            raise GraphError(message)
        return e.node_id

    def _operand(self, value: object) -> str:
        return self.name_of(value.node_id) if isinstance(value, BoundElectron) else text_of(value)


def _referenced(value: object) -> set[int]:
    """Return the electrons that a lattice's value is made of."""
    if isinstance(value, BoundElectron):
        return {value.node_id}
    return {e.node_id for e in contents_of(value).electrons} if isinstance(value, CONTAINERS) else set()
