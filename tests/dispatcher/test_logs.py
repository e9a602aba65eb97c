"""The dispatcher's log: it names dispatches and nodes, and stays small."""

from __future__ import annotations

import re
from pathlib import Path

import covalab as ct
from covalab.client import Client, paths
from covalab.dispatcher.__main__ import rotate


@ct.electron(retries=1)
def fails(x: int) -> int:
    """Fail with a text that is nobody's business."""
    message = "a secret"
    raise ValueError(message)


def test_a_log_that_is_large_goes_on_in_an_empty_file(tmp_path: Path) -> None:
    """Whoever has it open goes on writing to it; one older file is kept, and is private."""
    log = tmp_path / "dispatcher.log"
    with log.open("a") as file:
        for number in range(2):
            file.write(f"{number}" * 1_000)
            file.flush()
            rotate(log, 2_000)
            assert log.stat().st_size == 1_000 * (number + 1)
        file.write("last" * 1_000)
        file.flush()
        rotate(log, 2_000)
        assert log.read_text() == ""
        file.write("more")
    older = tmp_path / "dispatcher.log.1"
    assert log.read_text() == "more"
    assert older.read_text().endswith("last")
    assert older.stat().st_mode & 0o777 == 0o600
    rotate(tmp_path / "none.log", 10)


def test_it_names_dispatch_and_node(live: Client) -> None:
    """Of each failure and each end; what the user's code said is not in it."""
    run = ct.dispatch(ct.lattice(fails))(1)
    assert ct.get_result(run, wait=True, timeout=120).status == "FAILED"
    text = paths.log_file(live.data_dir).read_text()
    (node,) = ct.get_result(run).full_record().failures
    assert re.search(rf"node {node} of dispatch {run} on .+ failed, and runs again: runtime\n", text)
    assert re.search(rf"node {node} of dispatch {run} on .+ failed: runtime\n", text)
    assert f"dispatch {run} ended: failed\n" in text
    assert "a secret" not in text
