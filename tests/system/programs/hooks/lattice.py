"""Give all electrons of a lattice the same dependencies; one that has any of its own ignores them."""

from __future__ import annotations

import covalab as ct


def prepare() -> None:
    """Print a line."""
    print("prepared")


@ct.electron
def plain(x: int) -> int:
    """Add one, without hooks."""
    return x + 1


@ct.electron(deps_bash="echo own")
def own(x: int) -> int:
    """Add two, with a hook."""
    return x + 2


@ct.lattice(deps_bash="echo lattice", call_before=ct.DepsCall(prepare), call_after=[ct.DepsBash("echo after")])
def workflow(x: int) -> object:
    """Run both, one after the other."""
    return own(plain(x))


def main() -> None:
    """Check that hooks are all the lattice's or all the electron's; the lattice's value is made with its hooks, too."""
    result = ct.dispatch_sync(workflow)(1)

    assert (result.status, result.result) == (ct.status.COMPLETED, 4)
    assert [result.get_node_result(node)["node_name"] for node in (0, 2)] == ["plain", "own"]
    assert result.get_node_result(2)["stdout"] == "own\n"
    assert result.get_node_result(0)["stdout"] == "lattice\nprepared\nafter\n"
    last = result.get_all_node_results()[-1]
    assert last["node_name"] == ":postprocess:reconstruct"
    assert last["stdout"] == "lattice\nprepared\nafter\n"
