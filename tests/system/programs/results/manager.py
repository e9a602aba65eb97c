"""Write parts of a result to files and read them back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import covalab as ct


@ct.electron
def count(text: str) -> dict[str, int]:
    """Count letters."""
    print("counting")
    return {letter: text.count(letter) for letter in sorted(set(text))}


@ct.lattice
def workflow(text: str) -> dict[str, int]:
    """Count."""
    return count(text)


def main() -> None:
    """Check that only the requested parts are written, each in a file of its own."""
    run = ct.dispatch(workflow)("abba")
    with tempfile.TemporaryDirectory() as folder:
        manager = ct.get_result_manager(run, results_dir=folder, wait=True)
        assert manager.result_object.status == "COMPLETED"
        assert list(Path(folder).iterdir()) == []

        manager.download_result_asset("result")
        manager.download_node_asset(0, "stdout")
        assert sorted(path.name for path in Path(folder).rglob("*.*")) == ["results.tobj", "stdout.log"]
        assert manager.load_result_asset("result").get_deserialized() == {"a": 2, "b": 2}
        assert manager.load_node_asset(0, "stdout") == "counting\n"
        assert manager.load_lattice_asset("inputs").get_deserialized() == {"args": ("abba",), "kwargs": {}}
