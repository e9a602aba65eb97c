"""Run shell commands as tasks: `Lepton` and the decorator `leptons.bash`."""

from __future__ import annotations

import covalab as ct

Lepton = ct.Lepton
add = Lepton(
    "bash",
    command="echo adding $1; total=$((x + $1))",
    argtypes=[(int, Lepton.INPUT_OUTPUT)],
    named_outputs=["total"],
    display_name="add",
)
fails = Lepton("bash", command=["echo first", "ls /nowhere/at/all", "echo never"])
hypot = Lepton("python", library_name="math", function_name="hypot")


@ct.leptons.bash(display_name="hello")
def hello(name: str) -> str:
    """Return the command."""
    return f"echo hello {name}"


@ct.lattice
def workflow(name: str) -> object:
    """Use values of other electrons as arguments of a lepton."""
    three = add(1, x=2)
    return [three, add(three, x=4), hypot(three, 4), hello(name)]


def main() -> None:
    """Check values, types and output; a failure contains the command's error output."""
    result = ct.dispatch_sync(workflow)("there")
    assert result.status == ct.status.COMPLETED, result.error
    assert result.result == [3, 7, 5.0, None]
    outputs = {node["node_name"]: node["stdout"] for node in result.get_all_node_results()}
    assert outputs["hello"] == "hello there\n"
    assert result.get_node_result(0)["stdout"] == "adding 1\n"

    result = ct.dispatch_sync(ct.lattice(fails))()
    node = result.get_node_result(0)
    assert result.status == ct.status.FAILED
    assert node["node_name"] == "echo first && ls /nowhere/at/all && echo never"
    assert "/nowhere/at/all" in node["error"]
    assert node["stdout"] == "first\n"
