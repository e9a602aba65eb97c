"""Commands that look after the data folder: `doctor` and `backup`."""

from __future__ import annotations

import fcntl
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import click


class Finding(NamedTuple):
    """One thing that was looked at: whether it is as it should be, and what to do if not."""

    is_good: bool
    text: str


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended without losing anything.")
@click.option(
    "--values",
    is_flag=True,
    help="Also read every large value and compare it with its digest; damaged files are moved aside.",
)
def doctor(*, repair: bool, values: bool) -> None:
    """Look for trouble in the data folder, and explain it. Exits with 1 if there is any.

    Looks at modes of files, the database, stored values, the dispatcher, how many files it may open, its pools, room on
    the disk, and the object store of the configuration, if there is one. With --repair, modes are set; a damaged
    database is made anew from what is whole, and kept as it was, when no dispatcher uses it.
    """
    from covalab.client.connecting import own_data_dir

    folder = own_data_dir()
    click.echo(f"data folder {folder}")
    if not folder.exists():
        click.echo("  it is not there yet: nothing was dispatched")
        return
    n_bad = 0
    for finding in _look(folder, repair=repair, values=values):
        n_bad += not finding.is_good
        click.echo(f"  {'ok  ' if finding.is_good else 'BAD '} {finding.text}")
    if n_bad:
        raise SystemExit(1)


def _look(folder: Path, *, repair: bool, values: bool) -> Iterator[Finding]:
    yield _modes(folder, repair=repair)
    yield from _dispatcher(folder)
    yield _files(folder)
    yield from _database(folder, repair=repair)
    yield from _values(folder, every=values)
    yield _room(folder)
    yield from _store()


def _modes(folder: Path, *, repair: bool) -> Finding:
    shared: list[Path] = []
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o077:
            shared.append(path)
            if repair:
                path.chmod(stat.S_IMODE(status.st_mode) & 0o700)
    if not shared:
        return Finding(is_good=True, text="no other user can read or write anything in it")
    what = f"{len(shared)} files or folders can be used by others, e.g. {shared[0]}"
    if repair:
        return Finding(is_good=True, text=f"{what}; their modes are set now")
    return Finding(is_good=False, text=f"{what}; `covalab doctor --repair` sets their modes")


def _dispatcher(folder: Path) -> Iterator[Finding]:
    from covalab.client import Client
    from covalab.client.launcher import find
    from covalab.core.errors import CovalabError

    address = find(folder)
    if address is None:
        yield Finding(is_good=True, text="no dispatcher runs; the next dispatch starts one")
        return
    try:
        status = Client(folder, start=False).status()
    except CovalabError as error:
        yield Finding(is_good=False, text=f"the dispatcher (process {address.pid}) does not work: {error}")
        return
    yield Finding(is_good=True, text=f"the dispatcher (process {status.pid}) answers; {status.active} dispatches run")
    for pool in status.pools:
        text = f"the {pool.kind} of {pool.python} is {pool.state}" + (f": {pool.message}" if pool.message else "")
        yield Finding(pool.state != "failed", text)
        if pool.store_trouble:
            yield Finding(is_good=False, text=f"values do not go through the object store: {pool.store_trouble}")


def _files(folder: Path) -> Finding:
    import resource

    from covalab.client.launcher import find
    from covalab.open_files import ENOUGH

    address = find(folder)
    whose, pid = (
        ("the next dispatcher", 0) if address is None else (f"the dispatcher (process {address.pid})", address.pid)
    )
    limits = (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1])  # it takes the hard one
    if pid and hasattr(resource, "prlimit"):
        with suppress(ProcessLookupError):
            limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    limit = min((it for it in limits if it > 0), default=resource.RLIM_INFINITY)
    if limit == resource.RLIM_INFINITY or limit >= ENOUGH:
        return Finding(is_good=True, text=f"{whose} may open as many files as it needs")
    text = f"{whose} may open {limit:,} files: of many clients or pages, some have to wait for others"
    return Finding(is_good=False, text=f"{text}; raise the limit (`ulimit -Hn`), `covalab stop`, then start it anew")


def _store() -> Iterator[Finding]:
    from covalab import config
    from covalab.core.errors import CovalabError
    from covalab.pool.object_store import check

    try:
        place = config.load().data.store
        if place is None:
            return
        check(place)
    except CovalabError as error:
        yield Finding(is_good=False, text=str(error))
    else:
        yield Finding(is_good=True, text=f"an object can be written to {place.url}, read and deleted")


def _database(folder: Path, *, repair: bool) -> Iterator[Finding]:
    from covalab.client.launcher import find
    from covalab.store import Store
    from covalab.store.pages import damaged_pages
    from covalab.store.repair import kept_copies

    path = folder / "covalab.db"
    if not path.exists():
        yield Finding(is_good=True, text="there is no database yet")
        return
    bad = damaged_pages(path)
    if bad and repair:
        # As a dispatcher does, so that none starts meanwhile.
        with (folder / "lock").open("ab") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Store(path).close()
        bad = damaged_pages(path)
    if bad:
        what = f"{len(bad)} pages of {path} are damaged; the next start of the dispatcher makes it anew from the others"
        yield Finding(is_good=False, text=f"{what}: `covalab stop`, then `covalab doctor --repair` or `covalab start`")
    else:
        yield Finding(is_good=True, text=f"every page of the database is whole ({path.stat().st_size:,} bytes)")
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size and find(folder) is None:
        text = f"{log.stat().st_size:,} bytes of {log.name} wait to be moved to it: the dispatcher was killed"
        yield Finding(is_good=True, text=text)
    yield from (
        Finding(is_good=True, text=f"a damaged database is kept as it was in {kept}; delete it when nothing is missed")
        for kept in kept_copies(path)
    )


def _values(folder: Path, *, every: bool) -> Iterator[Finding]:
    import apsw

    from covalab.blobs import BlobStore
    from covalab.client.paths import blob_folder
    from covalab.core.errors import ValueLost
    from covalab.core.model import Digest
    from covalab.store.pages import connect

    path = folder / "covalab.db"
    if not path.exists():
        return
    blobs = BlobStore(blob_folder(folder))
    connection = connect(path, read_only=True)
    try:
        rows = connection.execute("SELECT digest, min(id) FROM blob_uses JOIN dispatches USING (key) GROUP BY digest")
        used = [(Digest(str(digest)), str(dispatch)) for digest, dispatch in rows]
    except apsw.Error as error:
        yield Finding(is_good=False, text=f"which values are used cannot be read: {error}")
        return
    finally:
        connection.close()
    n_lost = 0
    for digest, dispatch in used:
        try:
            if every:
                blobs.read(digest)
            elif digest not in blobs:
                n_lost += 1
                yield Finding(is_good=False, text=f"value {digest[:12]}… of dispatch {dispatch} is not there")
        except ValueLost as error:
            n_lost += 1
            yield Finding(is_good=False, text=f"of dispatch {dispatch}: {error}")
    if not n_lost:
        how = "is what was written" if every else "is there (--values also reads each)"
        yield Finding(is_good=True, text=f"each of {len(used):,} large values {how}")


_LITTLE: Final = 1024**3


def _room(folder: Path) -> Finding:
    import shutil

    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB are free on its disk"
    return Finding(free > _LITTLE, text if free > _LITTLE else f"{text}; `covalab purge --older-than` makes room")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def backup(folder: Path) -> None:
    """Copy all dispatches and their values to FOLDER, also while work is running.

    FOLDER is new or an earlier backup, of which values stay that are there already. It can be used as a data folder:
    COVALAB_DATA_DIR=FOLDER covalab list.
    """
    from covalab.client.connecting import own_data_dir
    from covalab.core.errors import DataFolderError
    from covalab.dispatcher.backup import back_up

    done = back_up(own_data_dir(), folder.absolute())
    click.echo(f"{done.n_dispatches:,} dispatches are in {folder}, {done.n_blobs:,} large values are new there")
    if done.missing:
        message = f"{len(done.missing)} values could not be copied: `covalab doctor --values` names their dispatches"
        raise DataFolderError(message)


COMMANDS: Final[tuple[click.Command, ...]] = (doctor, backup)
