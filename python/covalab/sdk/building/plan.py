"""Plan of a dispatch: a transport graph with the values and the code that its nodes point to.

The Protocols are the parts of electrons and lattices that building a graph reads. They stand here, below both, so that
`trace` needs to import neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import msgspec

from covalab.blobs import Blobs
from covalab.core.capacity import Needs
from covalab.core.model import Digest, Graph, RetryPolicy, Value
from covalab.sdk.building.executor_choice import ExecutorSpec
from covalab.sdk.building.options import Limits
from covalab.sdk.building.parameters import Parameters
from covalab.sdk.hooks.hook_set import HookSet
from covalab.sdk.values import FieldDict, UserFunction, UserValue


class Plan(msgspec.Struct, frozen=True):
    """Transport graph with what its nodes point to: serialized values, and encoded functions by digest.

    `replaced` are the nodes whose electron was replaced, with the name of the one that the body calls; `callables` what
    was encoded into `code`; `hook_sets` the hooks by the digest that the settings have of them.
    """

    graph: Graph
    values: list[Value]
    code: dict[Digest, bytes]
    replaced: dict[int, str] = {}
    callables: list[UserValue] = []
    hook_sets: dict[Digest, HookSet] = {}


class Composition(Protocol):
    """Lattice as the graph reads it: the one that is being built, or one that is called as an electron."""

    __name__: str
    executor: ExecutorSpec | None
    workflow_executor: ExecutorSpec | None
    hooks: HookSet | None
    limits: Limits

    @property
    def parameters(self) -> Parameters:
        """The function's parameters."""
        ...

    @property
    def workflow_function_string(self) -> str:
        """The function's source text."""
        ...

    @property
    def metadata(self) -> FieldDict:
        """The settings by Covalent's names."""
        ...

    def inheriting(self, parent: Composition | None) -> Composition:
        """Return a copy that takes from `parent` what it does not say itself."""
        ...


class Workflow(Protocol):
    """Lattice as a submission reads it (see `submit.prepare`)."""

    __name__: str

    @property
    def workflow_function_string(self) -> str:
        """The function's source text."""
        ...

    def plan(
        self, args: tuple[UserValue, ...], kwargs: dict[str, UserValue], blobs: Blobs, *, whole: bool = False
    ) -> tuple[Plan, Value]:
        """Build the graph for some arguments; return it with the serialized arguments."""
        ...

    def mode_of(self, graph: Graph) -> Literal["", "planned", "auto"]:
        """Return whether and where interventions are inserted in a graph of this lattice."""
        ...


class TracedTask(Protocol):
    """Electron as the graph reads it when it is called."""

    name: str
    executor: ExecutorSpec | None
    retries: int
    time_limit: float | None
    retry: RetryPolicy | None
    needs: Needs | None
    hooks: HookSet | None
    takes_hook_values: bool

    @property
    def lattice(self) -> Composition | None:
        """The lattice that it is, if it is one: a sublattice."""
        ...

    @property
    def builder(self) -> Callable[..., object]:
        """The function that a worker calls to build a sublattice."""
        ...

    @property
    def function(self) -> UserFunction:
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


Replacements = Mapping[str, TracedTask]
"""Electrons by the names of those that they replace."""
