"""A damaged database under a whole dispatcher: what is lost is named to who asks for it, all else goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.dispatcher.test_service import kill
from tests.system.tasks import adding, sleeping
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.client.paths import log_file
from covalab.core.errors import DataFolderError


@ct.electron
def word(text: str) -> str:
    """Return a word that is nowhere else."""
    return f"<{text}>"


@ct.lattice
def words(text: str) -> object:
    """Two nodes."""
    return word(word(text))


def flip(path: Path, at: int) -> None:
    """Flip a bit."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_damaged_value_in_the_database_is_named_and_made_again(own: Client, tmp_path: Path) -> None:
    """Its node fails as storage in the record, others are as they were, and a redispatch runs that node alone."""
    runs = [ct.dispatch(words)(text) for text in ("alpha", "beta", "gamma")]
    for run in runs:
        ct.get_result(run, wait=True, timeout=120)
    going = ct.dispatch(ct.lattice(sleeping))(600, str(tmp_path / "pid"))
    until((tmp_path / "pid").exists)
    kill(own)
    own.status()
    own.stop()
    database = own.data_dir / "covalab.db"
    until(lambda: not database.with_name("covalab.db-wal").exists())
    content = database.read_bytes()
    # Rows of other dispatches may be on the same page.
    flip(database, content.rindex(b"<<beta>>") + 3)

    results = {run: ct.get_result(run) for run in runs}
    assert own.summary(going).status in ("pending", "running")
    own.cancel(going)
    damaged = [run for run, result in results.items() if str(result.status) == "FAILED"]
    assert runs[1] in damaged
    for run, text in zip(runs, ("alpha", "beta", "gamma"), strict=True):
        if run not in damaged:
            assert results[run].result == f"<<{text}>>"
            continue
        assert run in str(results[run].error)
        assert "damaged" in str(results[run].error)
        again = ct.get_result(ct.redispatch(run, reuse_previous_results=True)(), wait=True, timeout=120)
        assert again.result == f"<<{text}>>"
    failures = [own.node(runs[1], node).failure for node in range(2)]
    assert any(failure is not None and failure.type == "storage" for failure in failures)
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2


def test_what_a_damaged_log_has_lost_is_named(own: Client) -> None:
    """A bit flips in the write-ahead log of a dispatcher that was killed: who asks for a lost dispatch is told."""
    runs = [ct.dispatch(words)(f"number{n}") for n in range(12)]
    for run in runs:
        ct.get_result(run, wait=True, timeout=120)
    kill(own)
    log = own.data_dir / "covalab.db-wal"
    if not log.exists() or log.stat().st_size < 40_000:
        pytest.fail("nothing is in the log")
    before = log.read_bytes()
    flip(log, 3 * len(before) // 4)
    listed = {it.dispatch_id: it for it in ct.list_dispatches(count=100)}

    assert {*runs} <= {*listed}
    messages: dict[str, str] = {}
    for number, run in enumerate(runs):
        try:
            result = ct.get_result(run, wait=True, timeout=120)
        except DataFolderError as error:
            messages[run] = str(error)
        else:
            assert result.result == f"<<number{number}>>"
    assert all(run in message and "is lost" in message for run, message in messages.items())
    assert {listed[run].status for run in messages} <= {"FAILED"}
    text = log_file(own.data_dir).read_text()
    assert "commits are missing" in text
    (kept,) = own.data_dir.glob("damaged/database-*/covalab.db-wal")
    assert kept.read_bytes()[: len(before) // 2] == before[: len(before) // 2]
    print(f"{len(messages)} of {len(runs)} lost")
    new = ct.dispatch(words)("new")
    assert ct.get_result(new, wait=True, timeout=120).result == "<<new>>"
