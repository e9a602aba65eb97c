"""Flipped bits and cut files: what is damaged is named, everything else is as it was, and nothing is another value."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import apsw
import msgspec
import pytest
from tests.conftest import SEED

from covalab.core.codec import serialize_small
from covalab.core.dispatch_list import SummaryQuery
from covalab.core.errors import DataFolderError
from covalab.core.model import (
    Counts,
    Digest,
    DispatchId,
    DispatchSummary,
    Environment,
    Function,
    Graph,
    Node,
    NodeKind,
    NodeState,
    Origin,
    Outcome,
    Submission,
)
from covalab.store import Store, dispatch_rows
from covalab.store.pages import PAGE_SIZE, damaged_pages
from covalab.store.repair import kept_copies
from covalab.store.schema import MIGRATIONS

N_DISPATCHES = 60
N_NODES = 5


class Record(NamedTuple):
    """All that is recorded of a dispatch."""

    summary: DispatchSummary
    submission: Submission
    states: list[NodeState]
    outcomes: dict[int, Any]


def submission_of(number: int) -> Submission:
    """Return a dispatch of a few nodes; some have long code, some long names."""
    chance = random.Random(number)
    code = {Digest(f"{number:064x}"): chance.randbytes(chance.choice([50, 3_000, 30_000]))}
    nodes = [Node(f"f{node}", NodeKind.ELECTRON, 0) for node in range(N_NODES)]
    graph = Graph(f"name{number}" * chance.choice([1, 30]), nodes, [], [Function("f", Digest("f" * 64))], [], 0)
    environment = Environment("/python", "/prefix", "/")
    return Submission(
        DispatchId(f"00000000-0000-0000-0000-{number:012}"),
        graph, [], code, environment, Origin(), serialize_small(number), Digest("c" * 64),
    )  # fmt: skip


def record(number: int) -> Callable[[apsw.Connection], None]:
    """Return the job that records a dispatch: of every third, some nodes are still to run."""
    has_ended = number % 3 != 0
    chance = random.Random(number)

    def job(connection: apsw.Connection) -> None:
        submission = submission_of(number)
        n_ended = N_NODES if has_ended else 2
        summary = DispatchSummary(
            submission.id, submission.graph.name, "running", 1, 1.0, 1.0, None, Counts(pending=N_NODES)
        )
        key, _ = dispatch_rows.insert_dispatch(connection, submission, summary)
        ended = msgspec.structs.replace(
            summary,
            status="completed" if has_ended else "running",
            ended_at=9.0 if has_ended else None,
            counts=Counts(completed=n_ended, pending=N_NODES - n_ended),
        )
        states = [NodeState(node, "completed", 2.0 + node, 3.0 + node, 1) for node in range(n_ended)]
        outcomes = [
            Outcome(node, "completed", 2.0, 3.0, serialize_small(chance.randbytes(chance.choice([9, 900, 9_000]))))
            for node in range(n_ended)
        ]
        dispatch_rows.update_dispatch(connection, key, ended, states, outcomes)

    return job


def written(folder: Path, *, in_wal: bool = False) -> Path:
    """Return a database with many dispatches; `in_wal`: as it is when everything is killed."""
    path = folder / "covalab.db"
    store = Store(path)

    async def write() -> None:
        for number in range(0, N_DISPATCHES, 6):
            jobs = [record(one) for one in range(number, number + 6)]
            await asyncio.gather(*(store.write(job, [submission_of(number + n).id]) for n, job in enumerate(jobs)))

    asyncio.run(write())
    if in_wal:
        for file in [*folder.glob("covalab.db*")]:
            (folder / "killed").mkdir(exist_ok=True)
            shutil.copy2(file, folder / "killed" / file.name)
    store.close()
    return folder / "killed" / path.name if in_wal else path


def read(path: Path) -> tuple[dict[str, Record], dict[str, str]]:
    """Open a database and read every dispatch. Returns what there is of each, and how the others are named."""
    store = Store(path)

    async def all_() -> tuple[dict[str, Record], dict[str, str]]:
        found: dict[str, Record] = {}
        named: dict[str, str] = {}
        for summary in await store.read(lambda db: dispatch_rows.select_dispatches(db, SummaryQuery(count=10_000))):

            def job(db: apsw.Connection, dispatch: str = summary.id) -> Record:
                pair = dispatch_rows.select_dispatch(db, dispatch)
                assert pair is not None
                key = pair[0]
                states = dispatch_rows.select_states(db, key)
                outcomes = {it.node: dispatch_rows.select_outcome(db, key, it.node) for it in states}
                return Record(pair[1], dispatch_rows.select_submission(db, key), states, outcomes)

            if summary.error:
                named[summary.id] = summary.error
            try:
                found[summary.id] = await store.read(job)
            except DataFolderError as error:
                named[summary.id] = str(error)
        return found, named

    try:
        return asyncio.run(all_())
    finally:
        store.close()


@cache
def original(*, in_wal: bool) -> tuple[Path, dict[str, Record]]:
    """Return the folder of a database that nobody changes, and what is in it."""
    path = written(Path(mkdtemp(prefix="covalab-damage")), in_wal=in_wal)
    copied = path.parent / "copy"
    shutil.copytree(path.parent, copied, ignore=shutil.ignore_patterns("killed", "copy"))
    found, named = read(copied / path.name)
    shutil.rmtree(copied)
    assert not named
    assert len(found) == N_DISPATCHES
    return path.parent, found


def damage(path: Path, chance: random.Random) -> str:
    """Flip a bit of a file, or cut it. Return what was done."""
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content))
    if chance.random() < 0.25:
        del content[at:]
        path.write_bytes(content)
        return f"{path.name} cut to {at} bytes"
    content[at] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return f"{path.name}: a bit of byte {at} (page {at // PAGE_SIZE + 1})"


def compare(path: Path, expected: dict[str, Record], what: str, log: pytest.LogCaptureFixture) -> int:
    """Open what was damaged, and compare. Return how many dispatches were named."""
    found, named = read(path)
    for dispatch, before in expected.items():
        now = found.get(dispatch)
        if now == before:
            continue
        # Of a dispatch of which nothing is left, not even the id is known.
        is_named = dispatch in named or dispatch in log.text or ("cut to" in what and "cannot be named" in log.text)
        assert is_named, f"{what}: {dispatch} is not as it was, and nothing says so"
        if now is None:
            continue
        # What there is of it is right.
        assert now.submission == before.submission, what
        for state in now.states:
            outcome = now.outcomes[state.node]
            assert state.status != "completed" or (outcome is not None and outcome.value is not None), what
        for node, outcome in now.outcomes.items():
            if outcome is not None and outcome.value is not None:
                assert outcome == before.outcomes[node], what
            elif outcome is not None:
                assert outcome.failure.type == "storage", what
                assert dispatch in outcome.failure.message, what
    assert not found.keys() - expected.keys(), what
    return len(named)


def n_cases() -> list[Any]:
    """Return the numbers of cases: a few, and at night many."""
    return [
        pytest.param(25, id="few"),
        pytest.param(200, id="many", marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
    ]


@pytest.mark.parametrize("n", n_cases())
def test_a_damaged_database_is_made_anew_from_what_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, n: int
) -> None:
    """Wherever a bit flips and wherever the file ends: at most a few dispatches miss something, and all say what."""
    source, expected = original(in_wal=False)
    n_named = []
    for case in range(n):
        chance = random.Random(f"{SEED} {case}")
        folder = tmp_path / str(case)
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("killed"))
        path = folder / "covalab.db"
        size = path.stat().st_size
        what = f"{damage(path, chance)} (seed {SEED}, case {case})"
        caplog.clear()
        named = compare(path, expected, what, caplog)
        (kept,) = kept_copies(path)
        assert kept.joinpath("covalab.db").exists(), what
        assert "covalab.db" in caplog.text
        if path.stat().st_size > size // 2:
            n_named.append(named)
        assert not damaged_pages(path), what
        shutil.rmtree(folder)

    assert max(n_named, default=0) <= N_DISPATCHES
    assert sum(n_named) / max(1, len(n_named)) < N_DISPATCHES / 2


@pytest.mark.parametrize("n", n_cases())
def test_commits_that_a_damaged_log_loses_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, n: int) -> None:
    """All is in the write-ahead log when all is killed; a bit flips there, or it is cut: nothing goes silently."""
    source, expected = original(in_wal=True)
    n_lost = 0
    for case in range(n):
        chance = random.Random(f"wal {SEED} {case}")
        folder = tmp_path / str(case)
        shutil.copytree(source, folder)
        what = f"{damage(folder / 'covalab.db-wal', chance)} (seed {SEED}, case {case})"
        content = (folder / "covalab.db-wal").read_bytes()
        caplog.clear()
        n_lost += compare(folder / "covalab.db", expected, what, caplog)
        for kept in kept_copies(folder / "covalab.db"):
            assert kept.joinpath("covalab.db-wal").read_bytes() == content, what
        shutil.rmtree(folder)

    assert n_lost


def test_after_an_orderly_stop_everything_is_in_the_database_file(tmp_path: Path) -> None:
    """Whoever copies that file alone has all of it, also when somebody has read."""
    path = tmp_path / "covalab.db"
    store = Store(path)
    asyncio.run(store.write(record(1)))
    assert asyncio.run(store.read(lambda db: len(dispatch_rows.select_dispatches(db, SummaryQuery(count=9))))) == 1
    store.close()

    assert sorted(file.name for file in tmp_path.iterdir()) == ["covalab.db", "covalab.db-commits"]
    (tmp_path / "covalab.db-commits").unlink()
    assert len(read(path)[0]) == 1


def test_an_idle_database_has_a_small_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed moves to the database file when nothing is written for a moment."""
    from tests.waiting import until

    monkeypatch.setattr("covalab.store.store._IDLE_SECONDS", 0.05)
    store = Store(tmp_path / "covalab.db")
    asyncio.run(store.write(record(1)))
    until(lambda: not (tmp_path / "covalab.db-wal").stat().st_size)
    asyncio.run(store.write(record(2)))
    store.close()

    assert len(read(tmp_path / "covalab.db")[0]) == 2


def test_a_database_that_is_gone_is_missed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its dispatches are listed as lost."""
    path = written(tmp_path)
    store = Store(path)
    asyncio.run(store.write(record(N_DISPATCHES), [submission_of(N_DISPATCHES).id]))
    log = (tmp_path / "covalab.db-commits").read_bytes()
    store.close()
    (tmp_path / "covalab.db-commits").write_bytes(log)
    path.unlink()
    _, named = read(path)

    assert "is lost" in named[submission_of(N_DISPATCHES).id]
    assert "commits are missing" in caplog.text


def test_pages_of_earlier_versions_get_checksums(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are not called damaged; from then on a flipped bit is found."""
    path = tmp_path / "covalab.db"
    connection = apsw.Connection(str(path), vfs="unix")
    for number, statements in enumerate(MIGRATIONS, 1):
        connection.execute(statements)
        connection.execute(f"PRAGMA user_version = {number}")
    for number in range(20):
        record(number)(connection)
    connection.close()
    found, named = read(path)

    assert (len(found), named, kept_copies(path), caplog.text) == (20, {}, [], "")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)
    assert len(damaged_pages(path)) == 1


def test_a_page_that_is_damaged_while_it_is_used_is_reported(tmp_path: Path) -> None:
    """No value comes from it, whoever runs the store is told, and the next start makes the database anew."""
    path = written(tmp_path)
    store = Store(path)
    told: list[int] = []
    store.on_damage = lambda: told.append(1)
    with path.open("r+b") as file:
        for at in range(PAGE_SIZE * 30 + 2_000, path.stat().st_size, PAGE_SIZE):
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(DataFolderError, match=r"covalab\.db.*damaged"):
        asyncio.run(store.read(lambda db: db.execute("SELECT sum(length(submission)) FROM submissions").fetchall()))
    assert told
    store.close()
    _, named = read(path)

    assert len(named) > N_DISPATCHES // 2
    assert not damaged_pages(path)
