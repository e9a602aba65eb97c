"""A data folder of another account, or that was changed since: nothing in it is opened or run without consent."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from tests.waiting import until

import covalab as ct
from covalab.blobs import BlobStore
from covalab.cli import main
from covalab.client import Client, connect, paths
from covalab.core.model import DispatchId
from covalab.core.pickling import dumps
from covalab.store import pages, seals


class Bomb:
    """A value that leaves a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@ct.electron
def bomb(path: str) -> Any:
    """Return a value that must not be opened."""
    import os

    class Explosive:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (path,)

    return Explosive()


@ct.electron
def waits(go: str) -> str:
    """Run until a file is there, and leave another."""
    import pathlib
    import time

    while not pathlib.Path(go).exists():
        time.sleep(0.05)
    pathlib.Path(f"{go}.ran").write_text("")
    return "done"


@ct.electron(retries=1)
def fails() -> None:
    """Fail twice, with an exception of its own."""

    class Own(Exception):
        pass

    ct.append_state("seen", [1, 2])
    ct.put_into_stream("item")
    message = "no"
    raise Own(message)


@ct.electron
def array() -> bytes:
    """Return a value that is a file of its own."""
    return os.urandom(200_000)


explosive = ct.lattice(bomb)
waiting = ct.lattice(waits)
failing = ct.lattice(fails)
large = ct.lattice(array)


class Given:
    """A data folder of somebody else, with what is in it."""

    def __init__(self, folder: Path, ids: dict[str, str], go: Path, mark: Path) -> None:
        self.folder, self.ids, self.go, self.mark = folder, ids, go, mark


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Make a data folder as another account: one dispatch of each kind, one of them running when all is killed."""
    base = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVALAB_DATA_DIR", str(base / "data"))
        patch.setenv("COVALAB_KEY_FILE", str(base / "key"))
        client = connect(data_dir=base / "data")
        go, mark = base / "go", base / "exploded"
        ids = {
            "explosive": ct.dispatch(explosive)(str(mark)),
            "failing": ct.dispatch(failing)(),
            "large": ct.dispatch(large)(),
        }
        for one in ids.values():
            client.record(one, wait=True, timeout=120)
        ids |= {
            "waiting": ct.dispatch(waiting)(str(go)),
            "held": ct.dispatch(large, disable_run=True)(),
            "timed": ct.dispatch(large, eta=1.0e10)(),
        }
        until(lambda: client.summary(ids["waiting"]).status == "running")
        for name in ("reuse", "packages", "previews"):
            (base / "data" / name).mkdir(exist_ok=True)
            (base / "data" / name / "evil").write_text("")
        client.stop()
    return Given(base / "data", {name: str(one) for name, one in ids.items()}, go, mark)


def copied(folder: Path, target: Path) -> None:
    """Copy a data folder as an archive would have it: without sockets."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("run"))


@pytest.fixture
def given(made: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Given]:
    """Get a copy of that folder, under the account of these tests."""
    folder = tmp_path / "data"
    copied(made.folder, folder)
    monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
    for left in (made.go, made.go.with_name("go.ran")):
        left.unlink(missing_ok=True)
    if made.mark.exists():
        made.mark.rmdir()
    yield Given(folder, made.ids, made.go, made.mark)
    Client(folder, start=False).stop()


def refuses(client: Client, dispatch: str) -> None:
    """Try everything that opens a value or runs code."""
    tries: list[Callable[[], object]] = [
        lambda: ct.get_result(dispatch),
        lambda: ct.get_result(dispatch, wait=True, timeout=1),
        lambda: ct.get_task(f"{dispatch}:0"),
        lambda: ct.get_task_result(f"{dispatch}:0"),
        ct.redispatch(dispatch),
        ct.redispatch(dispatch, reuse_previous_results=True),
        lambda: ct.get_result_manager(dispatch),
        lambda: ct.get_interrupts(dispatch),
        lambda: ct.compare(dispatch, dispatch),
        lambda: ct.export_notebook(dispatch, "x.ipynb"),
        lambda: ct.start(dispatch),
        lambda: client.record(dispatch, outputs="none"),
        lambda: client.node(dispatch, 0),
        lambda: client.outputs(dispatch, 0),
        lambda: client.all_outputs(dispatch),
        lambda: client.preview(dispatch, 0),
        lambda: client.submission(dispatch),
        lambda: client.stream(dispatch),
        lambda: client.execution(dispatch),
        lambda: client.redispatch(dispatch, DispatchId("again")),
    ]
    for attempt in tries:
        with pytest.raises(ct.NotTrusted, match=f"{dispatch} in {client.data_dir} .*covalab trust.*trusted=True"):
            attempt()


def test_what_another_account_wrote_is_not_opened(given: Given) -> None:
    """It is listed and can be deleted; every other way is refused, whatever kind of dispatch it is."""
    client = connect(data_dir=given.folder)
    assert {one.id for one in client.dispatches()} == {*given.ids.values()}
    waits = "waits until you trust it: your account did not write it, or it was changed since (`covalab trust {}`)"
    said = {one.id: one.notice for one in client.dispatches() if one.notice}
    assert said == {given.ids[name]: waits.format(given.ids[name]) for name in ("waiting", "held", "timed")}
    for command in ("list", "status"):
        printed = CliRunner().invoke(main, [command], catch_exceptions=False).output
        assert waits.format(given.ids["waiting"]) in " ".join(printed.split()), printed
    for one in given.ids.values():
        assert client.summary(one).id == one
        assert client.graph(one).nodes
        assert client.changes(one).nodes is not None
        refuses(client, one)
    assert not given.mark.exists()
    client.delete(given.ids["failing"])
    for name in ("reuse", "packages", "previews"):
        assert not (given.folder / name / "evil").exists()


def test_nothing_of_it_runs_before_there_is_consent(given: Given) -> None:
    """What was running waits; new work of this account runs beside it; with consent it goes on."""
    client = connect(data_dir=given.folder)
    given.go.write_text("")
    own = ct.dispatch(large)()
    assert len(ct.get_result(own, wait=True, timeout=120).result) == 200_000
    assert not given.go.with_name("go.ran").exists()
    assert client.summary(given.ids["waiting"]).status == "running"
    with pytest.raises(ct.NotTrusted):
        ct.get_result(given.ids["waiting"])

    found = ct.get_result(given.ids["waiting"], wait=True, timeout=120, trusted=True)

    assert found.result == "done"
    refuses(client, given.ids["explosive"])
    assert client.trust() == len(given.ids) - 1
    assert client.trust() == 0
    assert [one.notice for one in client.dispatches() if one.notice] == []
    assert ct.get_result(given.ids["large"]).result is not None
    assert ct.get_result(given.ids["explosive"]).result is None
    assert given.mark.exists()
    assert ct.get_result(ct.start(given.ids["held"]), wait=True, timeout=120).status == "COMPLETED"
    again = ct.redispatch(given.ids["large"], reuse_previous_results=True)()
    assert ct.get_result(again, wait=True, timeout=120).result == ct.get_result(given.ids["large"]).result
    client.stop()
    assert ct.get_result(given.ids["large"]).status == "COMPLETED", "consent lasts"


def test_a_copy_of_ones_own_folder_opens(
    made: Given, given: Given, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Moved, copied or restored: what this account wrote is its own, and what had not ended goes on."""
    monkeypatch.setenv("COVALAB_KEY_FILE", str(made.folder.with_name("key")))
    client = connect(data_dir=given.folder)
    given.go.write_text("")
    assert ct.get_result(given.ids["waiting"], wait=True, timeout=120).result == "done"
    assert ct.get_result(given.ids["failing"]).error is not None
    client.stop()
    given.folder.rename(tmp_path / "moved")
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "moved"))
    assert ct.get_result(given.ids["failing"]).error is not None
    Client(tmp_path / "moved", start=False).stop()


CHANGES = {
    "an outcome": ("large", "UPDATE outcomes SET value = {value} WHERE key = {key}"),
    "an outcome without a seal": ("large", "UPDATE outcomes SET value = {value}, seal = NULL WHERE key = {key}"),
    "a submission": ("large", "UPDATE submissions SET submission = submission || x'00' WHERE key = {key}"),
    "another's submission": ("large", ("UPDATE submissions SET submission = (SELECT submission FROM submissions AS s "
                             "WHERE s.key <> submissions.key LIMIT 1) WHERE key = {key}")),
    "another's id": ("large", "UPDATE dispatches SET id = 'x' || id WHERE key = {key}"),
    "an attempt": ("failing", "UPDATE attempts SET outcome = outcome || x'00' WHERE key = {key}"),
    "an entry": ("failing", "UPDATE journal SET entry = CAST(entry || x'00' AS BLOB) WHERE key = {key}"),
    "an entry more": ("failing", ("INSERT INTO journal SELECT key, version + 100, streamed, entry, seal FROM journal "
                      "WHERE key = {key} LIMIT 1")),
    "a failure": ("failing", ("UPDATE outcomes SET failure = CAST(substr(failure, 2) || x'01' AS BLOB) "
                  "WHERE key = {key}")),
    "a mark": ("large", ("UPDATE submissions SET seal = NULL; INSERT OR REPLACE INTO meta VALUES ('unsealed', 1000), "
               "('adopted', x'00112233445566778899aabbccddeeff')")),
}  # fmt: skip


def changed(given: Given, what: str) -> str:
    """Change a row of the folder, and leave a file that fits it. Return the id that its dispatch has then."""
    name, statement = CHANGES[what]
    blobs = BlobStore(paths.blob_folder(given.folder))
    value = blobs.serialize_pickle(dumps(Bomb(str(given.mark)), lambda _: True) + b"." * 100_000, text="")
    with closing(pages.connect(given.folder / "covalab.db")) as connection:
        ((key,),) = connection.execute("SELECT key FROM dispatches WHERE id = ?", (given.ids[name],)).fetchall()
        data = msgspec.msgpack.encode(value).hex()
        connection.execute(statement.format(key=key, value=f"x'{data}'"))
        assert connection.total_changes() > 0
        ((found,),) = connection.execute("SELECT id FROM dispatches WHERE key = ?", (key,)).fetchall()
    return str(found)


def test_what_was_changed_is_not_opened(made: Given, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under one's own key: a value that was exchanged, with a file that fits it. Others are."""
    monkeypatch.setenv("COVALAB_KEY_FILE", str(made.folder.with_name("key")))
    dispatch = changed(given, "an outcome")
    client = connect(data_dir=given.folder)
    refuses(client, dispatch)
    assert not given.mark.exists()
    for one in {*given.ids.values()} - {dispatch}:
        assert ct.get_result(one).dispatch_id == one


@pytest.mark.parametrize("what", CHANGES)
def test_every_change_is_seen(what: str, made: Given, given: Given) -> None:
    """Of a row of any table from which something is opened; exchanged, added, without its seal, of another type."""
    key_file = made.folder.with_name("key")
    seal = seals.sealer(bytes.fromhex(key_file.read_text()))

    def own() -> set[str]:
        with closing(pages.connect(given.folder / "covalab.db")) as connection:
            adopted = seals.adopted(connection, given.folder, seal)
            rows = connection.execute("SELECT key, id FROM dispatches").fetchall()
            return {str(one) for key, one in rows if seals.is_own(connection, int(str(key)), seal, adopted)}

    assert own() == {*given.ids.values()}
    dispatch = changed(given, what)
    others = {*given.ids.values()} - {given.ids[CHANGES[what][0]]}
    if what == "a mark":
        assert own() == set()
    else:
        assert own() == others, dispatch


def test_a_folder_of_before_belongs_to_the_owner_of_its_files(
    given: Given, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It opens, and so does a copy, also when the account has a key; one whose files are another's needs consent."""
    with closing(pages.connect(given.folder / "covalab.db")) as connection:
        for table in ("submissions", "outcomes", "attempts", "journal", "triggers"):
            connection.execute(f"UPDATE {table} SET seal = NULL")
        connection.execute("INSERT INTO meta SELECT 'unsealed', max(key) FROM dispatches")
    (given.folder / "account").unlink()
    copies = [tmp_path / "second", tmp_path / "third"]
    copied(given.folder, copies[0])
    monkeypatch.setenv("COVALAB_KEY_FILE", str(tmp_path / "keys" / "new"))

    client = connect(data_dir=given.folder)
    assert len(ct.get_result(given.ids["large"]).result) == 200_000
    assert ct.get_result(given.ids["failing"]).error is not None
    assert (tmp_path / "keys" / "new").stat().st_mode & 0o777 == 0o600
    assert (given.folder / "reuse" / "evil").exists()
    client.stop()
    assert len(ct.get_result(given.ids["large"]).result) == 200_000
    client.stop()

    copied(given.folder, copies[1])
    if os.getuid() == 0:
        os.chown(copies[1] / "covalab.db", 12345, -1)
    for copy in copies if os.getuid() == 0 else copies[:1]:
        monkeypatch.setenv("COVALAB_DATA_DIR", str(copy))
        other = connect(data_dir=copy)
        if copy is copies[0]:
            assert len(ct.get_result(given.ids["large"]).result) == 200_000
        else:
            refuses(other, given.ids["large"])
        other.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc cannot be written")
def test_without_a_place_for_a_key_all_is_as_before(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that cannot be written keeps nobody from work; the log names the place."""
    monkeypatch.setenv("COVALAB_KEY_FILE", "/proc/covalab.key")
    assert len(ct.get_result(given.ids["large"]).result) == 200_000
    assert "/proc/covalab.key" in paths.log_file(given.folder).read_text()
