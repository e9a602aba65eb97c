"""Print a result: the text that Covalent's documentation shows."""

from __future__ import annotations

import covalab as ct


@ct.electron
def greet(name: str, mark: str = "!") -> str:
    """Greet."""
    return f"hello {name}{mark}"


@ct.lattice
def workflow(name: str, mark: str = "!") -> str:
    """Greet somebody."""
    return greet(name, mark=mark)


def main() -> None:
    """Check headings, status, value, arguments, times, folder, id, and a line for each node."""
    result = ct.dispatch_sync(workflow)("Ada", mark="?")
    lines = str(result).splitlines()

    assert lines[1:3] == ["Lattice Result", "=============="]
    assert lines[3:8] == [
        "status: COMPLETED",
        "result: hello Ada?",
        "input args: ['Ada']",
        "input kwargs: {'mark': '?'}",
        "error: None",
    ]
    assert f"start_time: {result.start_time}" in lines
    assert f"end_time: {result.end_time}" in lines
    assert f"results_dir: {result.results_dir}" in lines
    assert f"dispatch_id: {result.dispatch_id}" in lines
    nodes = lines[lines.index("Node Outputs") + 1 :]
    assert nodes[:4] == ["------------", "greet(0): hello Ada?", ":parameter:Ada(1): Ada", ":parameter:?(2): ?"]
    assert "COMPLETED" in repr(result)
    assert result.dispatch_id in repr(result)
