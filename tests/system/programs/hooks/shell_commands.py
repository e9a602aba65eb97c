"""Run shell commands before an electron, as the how-to "add bash dependencies to an electron" does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import covalab as ct

LEFT = Path(tempfile.mkdtemp()) / "left by bash"


@ct.electron(deps_bash=ct.DepsBash([f"echo content > '{LEFT}'", "echo told; echo complained >&2"]))
def read(path: str) -> str:
    """Read the file that the command wrote."""
    return Path(path).read_text()


@ct.electron(deps_bash="echo before; echo why it failed >&2; exit 7")
def never(x: int) -> int:
    """Never run."""
    return x


@ct.lattice
def workflow() -> object:
    """Run one electron whose commands succeed, and one whose command fails."""
    return [read(str(LEFT)), never(1)]


def main() -> None:
    """Check that the commands' output is the node's, and that a failing command fails its electron with its reason."""
    result = ct.dispatch_sync(workflow)()
    good, bad = result.get_node_result(0), result.get_node_result(2)

    assert result.status == ct.status.FAILED
    assert (good["status"], good["output"].get_deserialized()) == (ct.status.COMPLETED, "content\n")
    assert (good["stdout"], good["stderr"]) == ("told\n", "complained\n")
    assert bad["status"] == ct.status.FAILED
    assert bad["stdout"] == "before\n"
    for part in ("DepsBash", "exit 7", "exit code 7", "why it failed"):
        assert part in bad["error"]
