"""`lattice`: a function that composes electrons; it can be called, built, drawn, serialized, and dispatched.

A lattice is its function as it is *now*: an electron that was defined again is seen by the next graph.
"""

from __future__ import annotations

import copy
import functools
import json
import platform
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, overload

from covalab._version import __version__
from covalab.blobs import Blobs, InMemory
from covalab.core.errors import GraphError, SerializationError
from covalab.core.model import Graph, NodeKind, Value
from covalab.core.transportable import TransportableObject
from covalab.sdk import doorway
from covalab.sdk.building.executor_choice import ExecutorSpec, executor_words
from covalab.sdk.building.meanings import Meaning, changes_of, frozen, line_of, meanings_of
from covalab.sdk.building.metadata import Metadata, executor_of
from covalab.sdk.building.options import (
    NO_LIMITS,
    InterventionMode,
    LatticeOptions,
    Limits,
    RetryOptions,
    TriggerSpec,
    WorkflowTrigger,
    checked_executor,
    limits_of,
    refuse_unsupported,
    trigger_list,
)
from covalab.sdk.building.parameters import Parameters
from covalab.sdk.building.plan import Composition, Plan, TracedTask
from covalab.sdk.building.postprocess import Rerun
from covalab.sdk.building.trace import Trace
from covalab.sdk.building.transport_graph import TransportGraph
from covalab.sdk.building.user_warnings import warn_user
from covalab.sdk.building.value_table import deserialize_inputs
from covalab.sdk.code.modules import beside_by_value
from covalab.sdk.code.source import name_of, source_of
from covalab.sdk.configuration import default_executor, exhaustive_postprocess
from covalab.sdk.hooks.hook_set import BashSpec, HookSet, HookSpec, PipSpec, hooks_of
from covalab.sdk.values import FieldDict, UserFunction, UserValue

if TYPE_CHECKING:
    import datetime as dt

    from typing_extensions import Unpack

    from covalab.sdk.executions.created import CreatedExecution
    from covalab.sdk.results.handle import DispatchHandle
    from covalab.sdk.results.result import Result


class Lattice:
    """Workflow. Call it to run its function plainly; `covalab.dispatch` runs it in the background.

    Attributes
    ----------
    transport_graph
        The graph that `build_graph` made last.
    inputs
        The arguments that `build_graph` was given, as a `TransportableObject` of ``{"args": ..., "kwargs": ...}``.
    executor, workflow_executor
        The default for its electrons, and the executor of its operators.
    hooks
        What is done around those of its electrons that have no hooks of their own, or None.
    limits
        The retries and the time limit of those of its electrons that say nothing about them.
    triggers
        What runs it: when it is dispatched they begin to watch, and it is not started before one fires. They belong to
        this object and do not travel with it.
    intervention_mode
        Where interventions are inserted (``"auto"``, ``"planned"``), or None.
    """

    intervention_mode: InterventionMode = None  # of one that was pickled before there were any
    meanings: Sequence[Meaning] = ()
    """What the names that it uses meant when it was decorated, where a change is to be warned of."""

    def __init__(
        self,
        workflow_function: UserFunction,
        *,
        executor: ExecutorSpec | None = None,
        workflow_executor: ExecutorSpec | None = None,
        hooks: HookSet | None = None,
        limits: Limits = NO_LIMITS,
        triggers: Iterable[WorkflowTrigger] = (),
        intervention_mode: InterventionMode = None,
    ) -> None:
        self.function = workflow_function
        self.intervention_mode = intervention_mode
        self.limits = limits
        self.executor = executor
        self.workflow_executor = workflow_executor
        self.hooks = hooks
        self.triggers = list(triggers)
        self.__name__ = name_of(workflow_function)
        self.__doc__ = workflow_function.__doc__
        self._replacements: dict[str, TracedTask] = {}
        self._forget()

    def _forget(self) -> None:
        self.transport_graph = TransportGraph(Graph(self.__name__, [], [], [], [], -1), [], {}, InMemory())
        self.inputs: TransportableObject | None = None
        self._versions: Mapping[str, str] = {}
        self._source: str | None = None

    def __getstate__(self) -> FieldDict:
        names = ("function", "executor", "workflow_executor", "hooks", "limits", "__name__", "__doc__", "_replacements")
        return {name: self.__dict__[name] for name in (*names, "intervention_mode")}

    def __setstate__(self, state: FieldDict) -> None:
        self.__dict__.update(state)
        self.triggers = []
        self._forget()

    def __call__(self, /, *args: UserValue, **kwargs: UserValue) -> UserValue:
        """Run the function; called inside another lattice's body, its electrons join that one's graph."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<lattice {self.__name__!r}>"

    @functools.cached_property
    def parameters(self) -> Parameters:
        """The function's parameters."""
        return Parameters(self.function)

    def inheriting(self, parent: Composition | None) -> Lattice:
        """Return a copy that takes from the lattice that calls it what it does not say itself (not its triggers).

        A lattice that names an executor and no workflow executor uses the one for both, as anywhere else.
        """
        filled = copy.copy(self)
        if parent is not None and filled.executor is None:
            filled.executor = parent.executor
            filled.workflow_executor = filled.workflow_executor or parent.workflow_executor
        if parent is not None and filled.hooks is None:
            filled.hooks = parent.hooks
        if parent is not None and filled.limits == NO_LIMITS:
            filled.limits = parent.limits
        return filled

    @property
    def workflow_function(self) -> TransportableObject:
        """The function, pickled as it is now."""
        return TransportableObject(self.function)

    @property
    def workflow_function_string(self) -> str:
        """The function's source; of a recorded lattice, the one recorded with it."""
        return source_of(self.function) if self._source is None else self._source

    @property
    def metadata(self) -> FieldDict:
        """The settings by Covalent's names; writing an entry changes the setting."""
        executor, executor_data = executor_words(self.executor or default_executor())
        workflow_executor, workflow_executor_data = executor_words(
            self.workflow_executor or self.executor or default_executor()
        )
        settings = {
            "executor": executor,
            "executor_data": executor_data,
            "workflow_executor": workflow_executor,
            "workflow_executor_data": workflow_executor_data,
            "hooks": {} if self.hooks is None else self.hooks.metadata,
            "triggers": [trigger.to_dict() for trigger in self.triggers] or None,
        }
        return Metadata(self, settings)

    def get_metadata(self, name: str) -> UserValue:
        """Return one setting, None if there is no such setting."""
        return self.metadata.get(name)

    def set_metadata(self, name: str, value: UserValue) -> None:
        """Change one setting: an entry of `metadata`."""
        where = f"lattice {self.__name__!r}"
        if name == "executor":
            self.executor = checked_executor(where, value)
        elif name == "workflow_executor":
            self.workflow_executor = checked_executor(where, value)
        elif name == "executor_data":
            self.executor = executor_of(self.executor, value)
        elif name == "workflow_executor_data":
            self.workflow_executor = executor_of(self.workflow_executor, value)
        elif name == "hooks":
            self.hooks = HookSet.from_metadata(value or {})
        elif name == "triggers":
            self.triggers = trigger_list(where, value)
        else:
            refuse_unsupported(where, **{name: value})

    @property
    def python_version(self) -> str:
        """The Python that builds the graph; of a recorded lattice, that built it."""
        return self._versions.get("python", platform.python_version())

    @property
    def covalent_version(self) -> str:
        """The version of covalab that builds the graph; of a recorded lattice, that built it."""
        return self._versions.get("covalab", __version__)

    def recorded_as(
        self, inputs: TransportableObject | None, graph: TransportGraph, source: str, versions: Mapping[str, str]
    ) -> None:
        """Let this lattice show the arguments, graph, source and versions of the dispatch it was recorded with."""
        self.inputs, self.transport_graph, self._source, self._versions = inputs, graph, source, versions

    @property
    def replace_electrons(self) -> FieldDict:
        """The electrons that stand for others in this lattice, by the names of those; see `covalab.redispatch`."""
        return dict(self._replacements)

    def replace(self, electrons: Mapping[str, UserValue]) -> set[str]:
        """Let electrons stand for others, from the next graph on.

        Parameters
        ----------
        electrons
            By the name of the electron that is called in the body, or of the one that replaced it before.

        Returns
        -------
        set of str
            The names, as the body calls them, of what is replaced by this.
        """
        before = {other.name: name for name, other in self._replacements.items()}
        fresh = {before.get(name, name): electron.electron_object for name, electron in electrons.items()}
        self._replacements = {**self._replacements, **fresh}
        return set(fresh)

    def plan(
        self, args: tuple[UserValue, ...], kwargs: dict[str, UserValue], blobs: Blobs, *, whole: bool = False
    ) -> tuple[Plan, Value]:
        """Build the graph for some arguments; nothing of the lattice changes.

        Parameters
        ----------
        args, kwargs
            The arguments of the workflow.
        blobs
            Where values and functions that are too long for a message go.
        whole
            Whether the lattice's value must be one serialized value, as that of a sublattice.

        Returns
        -------
        Plan, Value
            The graph with what it points to, and the serialized arguments.
        """
        name = self.__name__
        self.parameters.match(f"lattice {name!r}", args, kwargs)
        self._warn_of_changes()
        # Serialized before the body runs, which may change them. If that fails, the body gets a chance to fail first:
        # the electron that is given the value can be named.
        trouble: SerializationError | None = None
        inputs = Value(0, "dict")
        trace = Trace(
            name,
            blobs,
            executor=self.executor,
            workflow_executor=self.workflow_executor,
            hooks=self.hooks,
            replacements=self._replacements,
            lattice=self,
            limits=self.limits,
        )
        rerun = Rerun(self.function, args, kwargs) if exhaustive_postprocess() else None
        with beside_by_value():
            try:
                inputs = trace.serialize_inputs(args, kwargs)
            except SerializationError as error:
                trouble = error
            with trace.claim():
                plan = trace.finish(self.function(*args, **kwargs), whole=whole, rerun=rerun)
        if trouble is not None:
            raise trouble
        return plan, inputs

    def _warn_of_changes(self) -> None:
        """Warn of names that meant something else when the lattice was decorated; of each change once."""
        changes = changes_of(self.meanings, self.__name__, line_of(self.function))
        for change in changes:
            warn_user(change)
        if changes:
            self.meanings = meanings_of(self.function)

    def mode_of(self, graph: Graph) -> Literal["", "planned", "auto"]:
        """Return whether and where interventions are inserted in a graph of this lattice.

        Raises
        ------
        GraphError
            If it has intervention points and inserts interventions everywhere.
        """
        has_points = any(node.kind is NodeKind.POINT for node in graph.nodes)
        if has_points and self.intervention_mode == "auto":
            message = (
                f"lattice {self.__name__!r} has intervention points and intervention_mode='auto', which inserts before "
                "every node; choose one of the two"
            )
            raise GraphError(message)
        return self.intervention_mode or ("planned" if has_points else "")

    def build_graph(self, /, *args: UserValue, **kwargs: UserValue) -> None:
        """Run the function with bound electrons and keep the graph in `transport_graph`. Nothing is sent or written.

        Raises
        ------
        GraphError, TypeError
            If the body does what cannot be done before the values are there. Its own exceptions come through.

        Examples
        --------
        >>> from covalab.sdk.building.electron import electron
        >>> add = electron(lambda x, y: x + y)
        >>> @lattice
        ... def workflow(x):
        ...     return add(x, y=1)
        >>> workflow.build_graph(2)
        >>> [node.name for node in workflow.transport_graph.graph.nodes]
        ['<lambda>', ':parameter:2', ':parameter:1', ':postprocess:reconstruct']
        """
        self._forget()
        blobs = InMemory()
        plan, inputs = self.plan(args, kwargs, blobs)
        self.transport_graph = TransportGraph(
            plan.graph, plan.values, plan.code, blobs, metadata=self.metadata, hook_sets=plan.hook_sets
        )
        self.inputs = TransportableObject.recorded(inputs.text, lambda: deserialize_inputs(inputs, plan.values, blobs))

    def draw(self, /, *args: UserValue, **kwargs: UserValue) -> Drawing:
        """Build the graph for some arguments and return its picture, which a notebook shows.

        Parameters
        ----------
        *args, **kwargs
            The arguments of the workflow. ``engine="dot"``, where the workflow itself takes no `engine`: the picture is
            drawn by Graphviz's program ``dot`` where that is installed, else by our own layout as without.

        Examples
        --------
        >>> from covalab.sdk.building.electron import electron
        >>> lattice(electron(abs)).draw(-1).source.splitlines()[0]
        'digraph transport_graph {'
        """
        engine = None if self.parameters.takes("engine") else kwargs.pop("engine", None)
        if engine not in (None, "dot"):
            message = f"lattice {self.__name__!r}: engine is 'dot', or None for our own layout, not {engine!r}"
            raise GraphError(message)
        self.build_graph(*args, **kwargs)
        return Drawing(self.transport_graph.graph, engine)

    def serialize_to_json(self) -> str:
        """Return the lattice as JSON text: its function and settings, and the graph that was built last.

        Triggers do not travel with it.
        """
        attributes = {
            "name": self.__name__,
            "doc": self.__doc__,
            "lattice": TransportableObject(self).to_dict(),
            "workflow_function_string": self.workflow_function_string,
            "metadata": self.metadata,
            "inputs": None if self.inputs is None else self.inputs.to_dict(),
            "transport_graph": self.transport_graph.serialize_to_json(),
            "versions": {"python": self.python_version, "covalab": self.covalent_version},
        }
        return json.dumps({"type": "Lattice", "attributes": attributes})

    @staticmethod
    def deserialize_from_json(json_data: str) -> Lattice:
        """Return the lattice of `serialize_to_json`. Its function is unpickled: the text must be your own.

        Raises
        ------
        SerializationError
            If the text is not a lattice that covalab wrote.
        """
        try:
            attributes = json.loads(json_data)["attributes"]
            found = TransportableObject.from_dict(attributes["lattice"]).get_deserialized()
            inputs, source = attributes["inputs"], attributes["workflow_function_string"]
            graph = TransportGraph()
            graph.deserialize_from_json(attributes["transport_graph"])
            versions = attributes["versions"]
        except (ValueError, KeyError, TypeError) as error:
            message = f"this text is not a lattice that covalab wrote: {type(error).__name__}: {error}"
            raise SerializationError(message) from error
        assert isinstance(found, Lattice)
        found.recorded_as(None if inputs is None else TransportableObject.from_dict(inputs), graph, source, versions)
        return found

    def create_execution(self, *, auto_close: bool = True) -> CreatedExecution[Result]:
        """Return an execution that has not been started, as in TriggerFlow; its `start` takes the arguments.

        Parameters
        ----------
        auto_close : bool, default True
            Whether it ends with its last node; see `covalab.dispatch`.

        Examples
        --------
        >>> execution = lattice(max).create_execution(auto_close=False)
        >>> await execution.async_start([1, 2])  # doctest: +SKIP
        >>> snapshot = await execution.async_close()  # doctest: +SKIP
        """
        from covalab.sdk.dispatching import flow  # noqa: PLC0415 - flow needs this module

        return flow.create_execution(self, auto_close=auto_close)

    def start(self, /, *args: UserValue, **kwargs: UserValue) -> FieldDict:
        """Run it to its end and return the snapshot of its state, as TriggerFlow's flows do.

        Raises
        ------
        TaskFailed
            If it failed or was cancelled.
        """
        from covalab.sdk.dispatching import flow  # noqa: PLC0415 - flow needs this module

        return flow.start_and_wait(self, args, kwargs)

    async def async_start(self, /, *args: UserValue, **kwargs: UserValue) -> FieldDict:
        """Do the same as `start` without blocking the event loop."""
        from covalab.sdk.dispatching import flow  # noqa: PLC0415 - flow needs this module

        return await flow.async_start_and_wait(self, args, kwargs)

    def dispatch(self, /, *args: UserValue, **kwargs: UserValue) -> DispatchHandle:
        """Do the same as ``covalab.dispatch(lattice)(...)``. Deprecated by Covalent."""
        from covalab.sdk.dispatching import api  # noqa: PLC0415 - api needs this module

        warnings.warn("write ct.dispatch(lattice)(...)", DeprecationWarning, stacklevel=2)
        return api.dispatch(self)(*args, **kwargs)

    def dispatch_sync(self, /, *args: UserValue, **kwargs: UserValue) -> Result:
        """Do the same as ``covalab.dispatch_sync(lattice)(...)``. Deprecated by Covalent."""
        from covalab.sdk.dispatching import api  # noqa: PLC0415 - api needs this module

        warnings.warn("write ct.dispatch_sync(lattice)(...)", DeprecationWarning, stacklevel=2)
        return api.dispatch_sync(self)(*args, **kwargs)


class Drawing:
    """Picture of a graph that has not been dispatched. ``str()`` of it is SVG."""

    def __init__(self, graph: Graph, engine: str | None = None) -> None:
        self.graph = graph
        self.engine = engine

    @property
    def source(self) -> str:
        """The graph as DOT source."""
        from covalab.view.dot import dot_source  # noqa: PLC0415 - as below

        return dot_source(self.graph, [])

    def __str__(self) -> str:
        from covalab.view.dot import dot_svg  # noqa: PLC0415 - drawing is not needed to build
        from covalab.view.picture import graph_svg  # noqa: PLC0415 - as above

        return (graph_svg if self.engine is None else dot_svg)(self.graph, [])

    def __repr__(self) -> str:
        return f"<picture of lattice {self.graph.name!r}: {len(self.graph.nodes)} nodes>"

    def _repr_svg_(self) -> str:
        return str(self)


@overload
def lattice(_func: UserFunction, **options: Unpack[LatticeOptions]) -> Lattice: ...
@overload
def lattice(_func: None = None, **options: Unpack[LatticeOptions]) -> Callable[[UserFunction], Lattice]: ...
def lattice(
    _func: object = None,
    *,
    backend: ExecutorSpec | None = None,
    executor: ExecutorSpec | None = None,
    workflow_executor: ExecutorSpec | None = None,
    deps_bash: BashSpec | None = None,
    deps_pip: PipSpec | None = None,
    call_before: HookSpec | None = None,
    call_after: HookSpec | None = None,
    triggers: TriggerSpec | None = None,
    retries: int = 0,
    time_limit: float | dt.timedelta | None = None,
    intervention_mode: InterventionMode = None,
    **retry: Unpack[RetryOptions],
) -> UserValue:
    """Make a function a workflow. Use it bare or with options.

    Parameters
    ----------
    executor
        The executor, by name or as an instance, for electrons that name none.
    workflow_executor
        The executor for operators on electrons; `executor`, if not given.
    backend
        Deprecated: the same as `executor`.
    deps_bash, deps_pip, call_before, call_after
        Hooks for electrons that have none of their own; see `electron`.
    retries, time_limit, retry_on, retry_delay, ...
        For electrons that say nothing about it; see `electron`. Not in Covalent.
    intervention_mode
        Whether `covalab.intervene` may say something to its dispatches, and when that is inserted: ``"planned"`` at
        `covalab.intervention_point` only, ``"auto"`` immediately before the node it is meant for. Not in Covalent.
    triggers
        One trigger or several (`covalab.triggers`): dispatching the lattice lets them watch, and the first that fires
        starts it.

    Returns
    -------
    Lattice
        The workflow.

    Raises
    ------
    GraphError
        If an option is not one this version supports.

    Notes
    -----
    The body may change a value between two electrons that are given it, so a value is pickled and hashed once for each
    use, and once more as an argument of the workflow: about a tenth of a second for 100 MB each time. It is stored once
    if it is the same each time. Numbers, text and bytes are pickled once, and so are NumPy arrays that are read-only
    (``data.flags.writeable = False``), which the body then must not make writeable, change, and make read-only again.
    """
    if _func is None:
        return functools.partial(
            lattice,
            backend=backend,
            executor=executor,
            workflow_executor=workflow_executor,
            deps_bash=deps_bash,
            deps_pip=deps_pip,
            call_before=call_before,
            call_after=call_after,
            triggers=triggers,
            retries=retries,
            time_limit=time_limit,
            intervention_mode=intervention_mode,
            **retry,
        )
    if not callable(_func):
        message = f"lattice takes a function, not {_func!r}"
        raise TypeError(message)
    where = f"lattice {name_of(_func)!r}"
    if intervention_mode not in (None, "planned", "auto"):
        message = f"{where}: intervention_mode is None, 'planned' or 'auto', not {intervention_mode!r}"
        raise GraphError(message)
    freezes = doorway.is_open()
    made = Lattice(
        frozen(_func) if freezes else _func,
        executor=checked_executor(where, executor, backend),
        workflow_executor=checked_executor(where, workflow_executor),
        hooks=hooks_of(where, deps_bash=deps_bash, deps_pip=deps_pip, call_before=call_before, call_after=call_after),
        limits=limits_of(where, retries, time_limit, retry),
        triggers=trigger_list(where, triggers),
        intervention_mode=intervention_mode,
    )
    if not freezes:
        made.meanings = meanings_of(_func)
    return made
