"""What `DepsBash`, `DepsPip`, `DepsCall` and `DepsModule` say of themselves, and what a graph is told of them."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

import covalab as ct
from covalab.blobs import InMemory
from covalab.core.errors import DepsFailed, GraphError
from covalab.core.hooks import Bash, Call, Hooks, Pip
from covalab.core.model import Graph
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.hooks.hook_set import HookSet, hooks_of


def double(x: int) -> int:
    """Return twice as much."""
    return 2 * x


def hooks_in(lattice: Lattice, *args: Any) -> tuple[Graph, list[Hooks | None]]:
    """Build a graph; return it with the hooks of each node."""
    plan, _ = lattice.plan(args, {}, InMemory())
    graph = plan.graph
    found: list[Hooks | None] = []
    for node in graph.nodes:
        digest = graph.settings[node.settings].hooks if node.settings >= 0 else ""
        found.append(msgspec.msgpack.decode(plan.code[digest], type=Hooks) if digest else None)  # type: ignore[index]
    return graph, found


def test_deps_bash_takes_one_command_or_several() -> None:
    """Attribute `commands`; Covalent's constructor."""
    assert ct.DepsBash().commands == []
    assert ct.DepsBash("echo").commands == ["echo"]
    assert ct.DepsBash(["a", "b"]).commands == ["a", "b"]
    with pytest.raises(TypeError, match="DepsBash: `commands`"):
        ct.DepsBash([1])  # type: ignore[list-item]


def test_deps_pip_reads_its_requirements_file_at_once(tmp_path: Path) -> None:
    """Attributes `packages`, `reqs_path`, `requirements_content`; the file goes before the packages."""
    path = tmp_path / "requirements.txt"
    path.write_text("one==1\n")
    deps = ct.DepsPip(["two"], reqs_path=str(path))
    path.unlink()

    assert (deps.packages, deps.reqs_path, deps.requirements_content) == (["two"], str(path), "one==1\n")
    assert deps.hook("electron") == Pip([], "one==1\n")
    assert ct.DepsPip("two").hook("electron") == Pip(["two"])
    with pytest.raises(FileNotFoundError):
        ct.DepsPip(reqs_path=str(path))


def test_deps_call_keeps_function_and_arguments() -> None:
    """Attributes `apply_fn`, `apply_args`, `apply_kwargs`, `retval_keyword`, and `apply()`."""
    deps = ct.DepsCall(double, [1], {"y": 2}, retval_keyword="z")
    function, args, kwargs, keyword = deps.apply()

    assert function.get_deserialized()(4) == 8
    assert (args.get_deserialized(), kwargs.get_deserialized(), keyword) == ([1], {"y": 2}, "z")
    assert ct.DepsCall().retval_keyword == ""


def test_the_keyword_files_is_reserved() -> None:
    """A `RuntimeError`, unless it is overridden."""
    with pytest.raises(RuntimeError, match="reserved"):
        ct.DepsCall(double, retval_keyword="files")

    assert ct.DepsCall(double, retval_keyword="files", override_reserved_retval_keys=True).retval_keyword == "files"


def test_bash_can_be_applied_by_hand(capfd: pytest.CaptureFixture[str]) -> None:
    """What `apply` returns does it, and fails as a task would."""
    function, args, kwargs, _ = ct.DepsBash("echo by hand").apply()
    function.get_deserialized()(*args.get_deserialized(), **kwargs.get_deserialized())
    assert "by hand" in capfd.readouterr().out

    function, args, _, _ = ct.DepsBash("echo why >&2; exit 3").apply()
    with pytest.raises(DepsFailed, match=r"exit 3.*exit code 3: why"):
        function.get_deserialized()(*args.get_deserialized())


@pytest.mark.parametrize(
    "deps",
    [ct.DepsBash("echo"), ct.DepsPip("one"), ct.DepsCall(double, [1], {"y": 2}, retval_keyword="z")],
    ids=["bash", "pip", "call"],
)
def test_deps_become_dictionaries_and_come_back(deps: Any) -> None:
    """JSON can hold them; an empty dictionary changes nothing."""
    described = deps.to_dict()

    assert json.loads(json.dumps(described)) == described
    assert described["type"] == type(deps).__name__
    assert described["short_name"] == deps.short_name() == type(deps).__name__.lower()
    assert type(deps)().from_dict(described).to_dict() == described
    assert deps.from_dict({}).to_dict() == described


def test_deps_module_takes_a_module_or_its_name() -> None:
    """And carries it by value."""
    module = types.ModuleType("made_here")
    module.answer = 42  # type: ignore[attr-defined]
    described = ct.DepsModule(module).to_dict()

    assert ct.DepsModule("json").module is json
    assert ct.DepsModule("json").from_dict(described).module.answer == 42
    with pytest.raises(TypeError, match="DepsModule takes a module"):
        ct.DepsModule(1)  # type: ignore[arg-type]
    with pytest.raises(ModuleNotFoundError):
        ct.DepsModule("no_such_module_anywhere")


def test_the_decorator_takes_short_forms() -> None:
    """Texts and lists for bash and pip, one call or a list, a module by its name."""
    it = ct.electron(
        double, deps_bash="a", deps_pip=["b"], deps_module="json", call_before=ct.DepsCall(double), call_after=[]
    ).electron_object  # type: ignore[attr-defined]

    assert isinstance(it.hooks, HookSet)
    assert it.hooks.bash is not None
    assert it.hooks.pip is not None
    assert (it.hooks.bash.commands, it.hooks.pip.packages) == (["a"], ["b"])
    assert it.hooks.modules == (json,)
    assert [type(dep) for dep in it.hooks.before] == [ct.DepsCall]


def test_metadata_has_hooks_in_covalents_form() -> None:
    """`deps`, `call_before`, `call_after`; modules before the user's calls; and it can be set again."""
    module = types.ModuleType("made_here")
    it = ct.electron(
        double, deps_bash="a", deps_module=module, call_before=ct.DepsCall(double), call_after=ct.DepsBash("b")
    ).electron_object  # type: ignore[attr-defined]
    found = it.get_metadata("hooks")

    assert found["deps"]["bash"]["attributes"]["commands"] == ["a"]
    assert [one["type"] for one in found["call_before"]] == ["DepsModule", "DepsCall"]
    assert [one["type"] for one in found["call_after"]] == ["DepsBash"]
    assert json.dumps(found)
    other = ct.electron(double).electron_object  # type: ignore[attr-defined]
    other.set_metadata("hooks", found)
    assert other.hooks.bash.commands == ["a"]
    other.set_metadata("hooks", None)
    assert other.hooks is None


def test_hooks_run_in_covalents_order() -> None:
    """Bash, then pip, then the calls before in order; the calls after."""
    task = ct.electron(
        double,
        deps_pip="p",
        deps_bash="b",
        call_before=[ct.DepsBash("c"), ct.DepsCall(double, [1])],
        call_after=[ct.DepsCall(double, [2]), ct.DepsBash("d")],
    )
    _, (hooks, *_) = hooks_in(ct.lattice(task), 1)

    assert hooks is not None
    assert hooks.before[:3] == [Bash(["b"]), Pip(["p"]), Bash(["c"])]
    assert isinstance(hooks.before[3], Call)
    assert isinstance(hooks.after[0], Call)
    assert hooks.after[1] == Bash(["d"])


def test_lattice_hooks_are_all_or_nothing() -> None:
    """Electrons without hooks get the lattice's; one with any hook of its own ignores them, as in Covalent."""
    plain = ct.electron(double)
    own = ct.electron(double, deps_bash="own")

    @ct.lattice(deps_bash="lattice", call_after=ct.DepsBash("after"))
    def workflow(x: int) -> Any:
        return [plain(x), own(x)]

    graph, hooks = hooks_in(workflow, 1)
    found = {
        (node.name, hook) for node, hook in zip(graph.nodes, map(str, hooks), strict=True) if node.name == "double"
    }

    assert found == {
        ("double", str(Hooks([Bash(["lattice"])], [Bash(["after"])], 1))),
        ("double", str(Hooks([Bash(["own"])], [], 1))),
    }
    assert workflow.get_metadata("hooks")["deps"]["bash"]["attributes"]["commands"] == ["lattice"]


def test_a_part_of_a_value_does_nothing_again_but_sees_the_packages() -> None:
    """Items, attributes and operators run no hooks again, as they do in Covalent; but packages are visible."""
    task = ct.electron(double, deps_bash="b", deps_pip="p", call_before=ct.DepsCall(double, [1]))

    @ct.lattice
    def workflow(x: int) -> Any:
        whole: Any = task(x)
        a, b = whole
        return [a, b.real, a + 1]

    graph, hooks = hooks_in(workflow, 1)
    by_name = {node.name: hook for node, hook in zip(graph.nodes, hooks, strict=True)}

    assert by_name[":double()[0]"] == by_name[":double()[1]"] == Hooks([Pip(["p"])], [], 0)
    assert by_name["::double()[1].__getattr__"] == Hooks([Pip(["p"])], [], 0)
    assert by_name[":double()[0]_+_1"] is None


def test_what_a_hook_fills_is_dropped_when_the_graph_is_built() -> None:
    """A keyword that a `DepsCall` fills makes no node; by position it is refused, as is one that does not exist."""

    @ct.electron(call_before=ct.DepsCall(double, [1], retval_keyword="y"))
    def takes(x: int, y: int) -> int:
        return x + y

    task: Any = takes
    graph, _ = hooks_in(ct.lattice(lambda: task(1, y=5)))
    assert [node.name for node in graph.nodes] == ["takes", ":parameter:1", ":postprocess:reconstruct"]
    assert [node.name for node in hooks_in(ct.lattice(lambda: task(1)))[0].nodes][:2] == ["takes", ":parameter:1"]
    with pytest.raises(GraphError, match="'y' both by position and by name"):
        hooks_in(ct.lattice(lambda: task(1, 2)))

    wrong = ct.electron(double, call_before=ct.DepsCall(double, [1], retval_keyword="nothing"))
    with pytest.raises(GraphError, match="no parameter 'nothing'"):
        hooks_in(ct.lattice(lambda: wrong(1)))


def test_hooks_are_encoded_once_for_all_calls() -> None:
    """A thousand calls of an electron, and one electron twice, name one piece of code."""
    task = ct.electron(double, deps_bash="b")
    plan, _ = ct.lattice(lambda: [task(x) for x in range(100)]).plan((), {}, InMemory())

    assert len(plan.graph.settings) == 1
    assert len(plan.code) == 2


def test_a_call_that_cannot_be_pickled_is_named() -> None:
    """Hook and electron are in the error, and nothing is dispatched."""
    import threading

    task = ct.electron(double, call_before=ct.DepsCall(double, [threading.Lock()]))
    with pytest.raises(TypeError, match=r"the hook 'double' of electron 'double'.*lock"):
        hooks_in(ct.lattice(task), 1)
    with pytest.raises(GraphError, match="needs a function"):
        hooks_in(ct.lattice(ct.electron(double, call_before=ct.DepsCall())), 1)


def test_nothing_given_is_no_hooks() -> None:
    """None, and empty lists."""
    assert hooks_of("electron", deps_bash=[], deps_pip=None, call_before=()) is None
