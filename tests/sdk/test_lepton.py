"""What a `Lepton` checks, what its nodes are called, and how it stands in a graph."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

import covalab as ct
from covalab.core.errors import GraphError

L = ct.Lepton
HYPOT: dict[str, Any] = {"library_name": "math", "function_name": "hypot"}


def names(*calls: Any) -> list[str]:
    """Return the names of the nodes of a lattice that makes some calls."""
    workflow = ct.lattice(lambda: [call() for call in calls])
    workflow.build_graph()
    return [node.name for node in workflow.transport_graph.graph.nodes]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"language": "fortran", "command": "x"}, "language 'fortran' is not supported"),
        ({"language": "bash"}, "nothing to call.*or `command`"),
        ({"language": "python"}, "nothing to call"),
        ({"language": "python", "command": "x"}, "nothing to call"),
        ({"language": "bash", "command": "x", "library_name": "y"}, "not both"),
        ({"language": "bash", "library_name": "y"}, "Give `function_name`"),
        ({"language": "C", "library_name": "y"}, "Give `function_name`"),
        ({"language": "C", "command": "x"}, "`command` and `named_outputs` are for bash"),
        ({"language": "C", "library_name": "y", "function_name": "f", "named_outputs": ["a"]}, "are for bash"),
        ({"language": "bash", "command": "x", "named_outputs": ["a"]}, "`argtypes` has 0 outputs"),
        ({"language": "bash", "command": "x", "argtypes": [(int, 1)]}, "`named_outputs` has 0"),
        ({**HYPOT, "call_before": ct.DepsCall(print, retval_keyword="x")}, "no `retval_keyword`, here 'x'"),
        ({**HYPOT, "executor": ["dask"]}, "executor"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options: dict[str, Any], why: str) -> None:
    """As a `GraphError`, which is Covalent's `ValueError`."""
    with pytest.raises(GraphError, match=why):
        L(**options)


def test_nodes_are_called_after_name_function_or_command() -> None:
    """In this order."""
    assert names(L(**HYPOT, display_name="length"), L(**HYPOT), L("bash", command=["a", "b"])) == [
        "length",
        "hypot",
        "a && b",
        ":postprocess:reconstruct",
        ":electron_list:",
    ]


def test_a_lepton_is_an_electron() -> None:
    """With the constants, types by name, metadata; called outside of a lattice it runs."""
    lepton = L("C", library_name="m", function_name="f", argtypes=[(ctypes.POINTER(ctypes.c_int), L.INPUT_OUTPUT)])

    assert (L.INPUT, L.OUTPUT, L.INPUT_OUTPUT) == (0, 1, 2)
    assert lepton.argtypes == [("LP_c_int", 2)]
    assert lepton.get_metadata("executor") is None
    assert L(**HYPOT)(3, 4) == 5.0


def test_a_lattices_executor_and_hooks_apply() -> None:
    """Not as in Covalent, where a lepton's executor is filled in when covalent is imported."""
    lepton, own = L(**HYPOT), L(**HYPOT, deps_bash="own", executor="dask")

    @ct.lattice(executor="local", deps_bash="lattice")
    def workflow() -> Any:
        return [lepton(3, 4), own(3, 4)]

    workflow.build_graph()
    graph = workflow.transport_graph.graph
    settings = [graph.settings[node.settings] for node in graph.nodes if node.name == "hypot"]

    assert [one.executor for one in settings] == ["local", "dask"]
    assert settings[0].hooks
    assert settings[0].hooks != settings[1].hooks


def test_files_of_a_lepton_are_no_argument() -> None:
    """They are copied, and the call gets nothing."""
    lepton = L(**HYPOT, files=[ct.fs.FileTransfer("/a", "/b")])
    assert lepton.hooks is not None

    assert names(lambda: lepton(1, 2))[0] == "hypot"
    assert [getattr(hook, "told", None) for hook in lepton.hooks.silent.travelling("lepton").before] == [False]


def test_the_bash_decorator_makes_its_command_when_the_graph_is_built() -> None:
    """So electrons cannot be its arguments; bare, and with options."""
    bash = ct.leptons.bash

    @bash
    def hello(name: str) -> str:
        return f"echo {name}"

    @bash(display_name="greeting")
    def hi(name: str) -> str:
        return f"echo {name}"

    assert names(lambda: hello("you"), lambda: hi("you"))[:2] == ["echo you", "greeting"]
    with pytest.raises(TypeError, match=r"ct.Lepton\('bash'"):
        names(lambda: hello(L(**HYPOT)(3, 4)))
