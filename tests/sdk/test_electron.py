"""An electron is an ordinary function with something attached."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import pickle
from typing import Any

import cloudpickle
import msgspec
import pytest

import covalab as ct
from covalab.blobs import InMemory
from covalab.core.errors import GraphError
from covalab.core.model import RetryPolicy
from covalab.core.transportable import TransportableObject
from covalab.executors.call_values import call_serialized
from covalab.sdk.building.electron import Electron
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.building.submit import prepare


def _double(x: int, times: int = 2) -> int:
    """Return a multiple."""
    return x * times


_double.__name__ = "double"
double = ct.electron(_double)


def test_outside_a_lattice_it_is_the_function() -> None:
    """Calling it computes; name, doc, signature and the original are those of the function."""
    assert double(3) == 6
    assert (double.__name__, double.__doc__) == ("double", "Return a multiple.")
    assert inspect.signature(double) == inspect.signature(_double)
    assert inspect.isfunction(double)


def test_it_can_be_made_in_three_ways() -> None:
    """Bare, with options, and as a plain call."""
    decorated = ct.electron(retries=1)(_double)
    called = ct.electron(_double, retries=1)

    assert decorated(2) == called(2) == 4
    assert called.electron_object.retries == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("function", "name"),
    [(lambda: 1, "<lambda>"), (len, "len"), (functools.partial(pow, 2), "pow"), (dict, "dict")],
)
def test_any_callable_can_be_one(function: Any, name: str) -> None:
    """Lambdas, built-ins, partials and classes have names in the graph."""
    it = ct.electron(function)

    assert it.electron_object.name == name  # type: ignore[attr-defined]


def test_what_is_not_a_function_is_refused() -> None:
    """The error shows what was given."""
    with pytest.raises(TypeError, match="electron takes a function, not 3"):
        ct.electron(3)  # type: ignore[call-overload]


def test_a_lattice_sees_the_current_executor() -> None:
    """Changing `electron_object.executor` changes the next graph, and only what was changed."""

    @ct.electron
    def task() -> int:
        return 1

    workflow = Lattice(task)

    def executors() -> list[str]:
        return [settings.executor for settings in workflow.plan((), {}, InMemory())[0].graph.settings]

    before = executors()
    task.electron_object.executor = "local"  # type: ignore[attr-defined]

    assert (before, executors()) == (["dask"], ["local"])


def test_metadata_has_covalents_names() -> None:
    """`get_metadata`, `set_metadata` and `as_transportable_dict` speak of the settings."""
    it = Electron(double, executor="local", retries=3)

    it.set_metadata("time_limit", 5)

    assert it.get_metadata("executor") == "local"
    assert it.metadata["time_limit"] == 5.0
    assert it.as_transportable_dict["metadata"] == {"executor": "local", "retries": 3, "time_limit": 5.0}
    with pytest.raises(KeyError):
        it.get_metadata("nothing")


@pytest.mark.parametrize("option", ["files", "deps_bash", "deps_pip", "deps_module", "call_before", "call_after"])
def test_an_empty_hook_is_no_hook(option: str) -> None:
    """So that the electron takes its lattice's."""
    nothings: list[Any] = [[], None]
    for nothing in nothings:
        it = ct.electron(double, **{option: nothing}).electron_object  # type: ignore[attr-defined]

        assert it.hooks is None
        assert it.get_metadata("hooks") is None


@pytest.mark.parametrize("option", ["files", "call_before", "call_after"])
def test_what_is_no_hook_is_refused_by_name(option: str) -> None:
    """A hook is never ignored in silence."""
    with pytest.raises(GraphError, match=f"electron 'double': `{option}` takes"):
        ct.electron(double, **{option: ["something"]})  # type: ignore[call-overload]


@pytest.mark.parametrize("retries", [-1, 1.5, True, "2", None])
def test_retries_must_be_a_count(retries: Any) -> None:
    """Whole numbers from 0 on."""
    with pytest.raises(GraphError, match="retries must be a whole number"):
        ct.electron(double, retries=retries)


@pytest.mark.parametrize("time_limit", [0, -1, float("nan"), float("inf"), "10", True, dt.timedelta(0)])
def test_a_time_limit_must_be_a_time(time_limit: Any) -> None:
    """Seconds above 0, or a timedelta above 0."""
    with pytest.raises(GraphError, match="time_limit must be seconds"):
        ct.electron(double, time_limit=time_limit)


def test_a_timedelta_is_a_time_limit() -> None:
    """It becomes seconds."""
    it = ct.electron(double, time_limit=dt.timedelta(minutes=2))

    assert it.electron_object.time_limit == 120.0  # type: ignore[attr-defined]


def test_what_is_no_executor_is_refused() -> None:
    """Neither a name nor an instance of an executor."""
    with pytest.raises(GraphError, match="is the name or an instance of an executor"):
        ct.electron(double, executor=object())  # type: ignore[call-overload]


def test_backend_is_an_old_word_for_executor() -> None:
    """It works and warns."""
    with pytest.warns(DeprecationWarning, match="write `executor`"):
        it = ct.electron(double, backend="local")

    assert it.electron_object.executor == "local"  # type: ignore[attr-defined]


def test_a_lattice_as_an_electron_is_the_function_it_was() -> None:
    """Outside a lattice it runs; it has the lattice's name, text and signature, and nothing else of its state."""

    @ct.lattice
    def workflow(x: int, y: int = 1) -> int:
        """Compose."""
        return x + y

    it: Any = ct.electron(workflow)

    assert it(2) == 3
    assert (it.__name__, it.__doc__) == ("workflow", "Compose.")
    assert list(inspect.signature(it).parameters) == ["x", "y"]
    assert it.electron_object.function is workflow
    assert "def workflow" in it.electron_object.source
    assert not hasattr(it, "transport_graph")


def test_an_electron_travels() -> None:
    """A function that uses an electron can be pickled, also after a graph was built with it."""
    local = ct.electron(lambda x: double(x) + 1)
    Lattice(lambda: local(1)).plan((), {}, InMemory())

    assert pickle.loads(cloudpickle.dumps(local))(4) == 9


def test_waiting_outside_a_lattice_returns_the_child() -> None:
    """There is nothing to wait for."""
    assert ct.wait(5, [6]) == 5


def policy_of(function: Any, lattice: Any = None) -> tuple[int, float | None, RetryPolicy]:
    """Return how the only electron of a lattice is to be run."""
    flow = (lattice or ct.lattice)(function)
    flow.build_graph(1)
    settings = flow.transport_graph.graph.settings[0]
    return settings.retries, settings.time_limit, settings.retry


def test_retries_can_say_after_what_and_after_how_long() -> None:
    """Exception classes by name, error types as they are, times as seconds or as a timedelta."""
    it = ct.electron(
        double,
        retries=2,
        retry_on=(ConnectionError, "timeout"),
        retry_delay=dt.timedelta(seconds=3),
        retry_backoff=1,
        retry_max_delay=9,
        retry_jitter=0,
    )

    assert policy_of(it) == (2, None, RetryPolicy(("ConnectionError", "timeout"), 3.0, 1.0, 9.0, 0.0))


def test_retries_have_omniqs_words_too() -> None:
    """`max_retries` and `timeout` mean what `retries` and `time_limit` mean."""
    assert policy_of(ct.electron(double, max_retries=3, timeout=7)) == (3, 7.0, RetryPolicy())
    with pytest.raises(GraphError, match="mean the same"):
        ct.electron(double, retries=1, max_retries=1)
    with pytest.raises(GraphError, match="mean the same"):
        ct.electron(double, time_limit=1, timeout=1)


def test_a_lattice_says_it_for_electrons_that_say_nothing() -> None:
    """One that says something is left alone."""
    lattice = functools.partial(ct.lattice, retries=4, time_limit=9, retry_delay=0)

    assert policy_of(ct.electron(double), lattice) == (4, 9.0, RetryPolicy(delay=0.0))
    assert policy_of(ct.electron(double, retries=1, time_limit=2, retry_delay=5), lattice) == (
        1,
        2.0,
        RetryPolicy(delay=5.0),
    )


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"retry_on": "sometimes"}, GraphError, "error types .*runtime.*not 'sometimes'"),
        ({"retry_on": int}, GraphError, "exception classes"),
        ({"retry_delay": -1}, GraphError, "retry_delay must be a number from 0 on"),
        ({"retry_backoff": 0.5}, GraphError, "retry_backoff must be a number from 1 on"),
        ({"retry_jitter": 2}, GraphError, "retry_jitter must be a number from 0 to 1"),
        ({"retry_max_delay": float("nan")}, GraphError, "retry_max_delay"),
        ({"max_retries": -1}, GraphError, "whole number from 0 on"),
        ({"retrys": 3}, TypeError, "no option 'retrys'"),
    ],
)
def test_a_policy_without_meaning_is_refused_where_it_is_written(
    options: dict[str, Any], error: type[Exception], match: str
) -> None:
    """The error names the electron and the option."""
    with pytest.raises(error, match=match):
        ct.electron(double, **options)


NAMES = (
    "self",
    "args",
    "kwargs",
    "function",
    "name",
    "task",
    "blobs",
    "sub",
    "hooks",
    "packages",
    "e",
    "value",
    "owner",
)


def _named(
    self: Any,
    args: Any = 0,
    kwargs: Any = 0,
    function: Any = 0,
    name: Any = 0,
    task: Any = 0,
    **others: Any,
) -> Any:
    return self, args, kwargs, function, name, task, others


@pytest.mark.parametrize("name", NAMES)
def test_an_argument_may_have_any_name(name: str) -> None:
    """Given by keyword it reaches the function, through an electron, a lattice, a sublattice and a serialized call."""
    given = {"self": 1, name: 2}
    expected = _named(**given)
    task, flow = ct.electron(_named), ct.lattice(_named)

    assert task(**given) == flow(**given) == ct.electron(flow)(**given) == expected
    assert ct.electron(_named).electron_object(**given) == expected  # type: ignore[attr-defined]
    flow.build_graph(**given)
    assert str(flow.draw(**given)).startswith("<svg")
    outer = ct.lattice(lambda **kwargs: (task(**kwargs), ct.electron(flow)(**kwargs)))
    outer.build_graph(**given)
    names = {edge.name for edge in outer.transport_graph.graph.edges}
    assert names >= set(given)
    wrapped = {key: TransportableObject(value) for key, value in given.items()}
    assert call_serialized(TransportableObject(_named), **wrapped).get_deserialized() == expected


@pytest.mark.parametrize("name", ["self", "args", "kwargs", "library", "name"])
def test_an_argument_of_a_lepton_may_have_any_name(name: str) -> None:
    """A variable of a shell command, or an argument of a Python function."""
    shell = ct.Lepton("bash", command=f"test {{{name}}} = 5")
    python = ct.Lepton("python", library_name="builtins", function_name="dict")

    assert shell(**{name: 5}) is None
    assert python(**{name: 5}) == {name: 5}


def test_a_keyword_that_is_no_utf8_is_refused_by_name() -> None:
    """It would be the name of an edge; the message shows it."""
    task = ct.electron(_named)

    with pytest.raises(GraphError, match=r"caf\\udce9"):
        ct.lattice(lambda: task(1, **{"caf\udce9": 1})).build_graph()


@pytest.mark.parametrize("text", ["caf\udce9", "\ud800", "a\udcffb", "\udc80-", "é\udce9"])
def test_texts_that_are_no_utf8_are_shown_as_escapes(text: str) -> None:
    """Names, documentation and values: what is shown can be sent, what is used is as it was."""

    def odd(x: Any) -> Any:
        return x

    odd.__name__, odd.__doc__ = text, text
    odd.__covalab_source__ = text  # type: ignore[attr-defined]
    plan, inputs = ct.lattice(ct.electron(odd)).plan((text,), {}, InMemory())
    shown = text.encode("utf-8", "backslashreplace").decode()

    assert msgspec.msgpack.encode((plan.graph, plan.values, plan.code, inputs))
    assert [node.name for node in plan.graph.nodes] == [shown, f":parameter:{shown}", ":postprocess:reconstruct"]
    assert plan.graph.functions[0].source == shown
    assert InMemory().deserialize(plan.values[0]) == text
    submission = prepare(ct.lattice(odd), ([text],), {}, InMemory())
    assert submission.doc == shown
    assert msgspec.msgpack.encode(submission)
    assert ct.Lepton("bash", command=f"echo {text}").name == f"echo {shown}"
