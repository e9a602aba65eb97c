"""Commands about the dispatcher and its workers: start, stop, status, logs, cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from covalab.cli.configuration import save_settings
from covalab.cli.dispatches import print_notices, summary_table
from covalab.cli.ids import dispatch_id
from covalab.cli.output import console, duration_text, echo_json, elapsed, fact_table, plain_text, table
from covalab.core.errors import DispatcherSilent
from covalab.core.pool_notice import jobs_text, notice, unfit_text
from covalab.core.run_log import KINDS

if TYPE_CHECKING:
    from rich.console import Console

    from covalab.client import Client
    from covalab.core.dispatcher_status import DispatcherStatus, PoolStatus

_WORKERS: Final = click.option(
    "-n", "--workers", type=click.IntRange(1), help="Number of workers; written to the configuration file."
)
_MEMORY: Final = click.option(
    "-m",
    "--mem-per-worker",
    metavar="SIZE",
    help="Memory limit of a worker, e.g. '4 GB'; written to the configuration file.",
)
_CLUSTER: Final = click.option(
    "--no-cluster/--with-cluster",
    default=None,
    help="Default executor: `local` or `dask`; written to the configuration file.",
)


@click.command()
@_WORKERS
@_MEMORY
@_CLUSTER
@click.option("-p", "--port", type=int, hidden=True)
@click.option("-d", "--develop", is_flag=True, hidden=True)
@click.option("-t", "--threads-per-worker", type=int, hidden=True)
@click.option("--ignore-migrations", is_flag=True, hidden=True)
@click.option("--no-triggers", is_flag=True, hidden=True)
@click.option("--triggers-only", is_flag=True, hidden=True)
def start(*, workers: int | None, mem_per_worker: str | None, no_cluster: bool | None, **ignored: Any) -> None:
    """Start the dispatcher, unless it is running. Notebooks and scripts start it by themselves when they need it."""
    from covalab.client import connect
    from covalab.client.connecting import own_data_dir
    from covalab.client.launcher import find

    _warn_of_ignored(ignored)
    save_settings(workers=workers, memory=mem_per_worker, no_cluster=no_cluster)
    was_running = find(own_data_dir()) is not None
    found = _status(connect())
    click.echo(f"dispatcher {'was already' if was_running else 'is'} running: process {found.pid}, {found.data_dir}")


@click.command()
def stop() -> None:
    """Stop the dispatcher and its workers. Unfinished dispatches resume at the next start.

    A dispatcher that does not answer is ended all the same; what it has recorded is kept.
    """
    from covalab.client import Client
    from covalab.client.connecting import own_data_dir
    from covalab.client.launcher import find

    folder = own_data_dir()
    address = find(folder)
    if address is None:
        click.echo(f"no dispatcher is running for {folder}")
        return
    client = Client(folder, start=False)
    later, does_answer = "", True
    try:
        found = _status(client)
        if unfinished := found.active + found.scheduled:
            later = f"; {unfinished} unfinished dispatches go on at the next start"
    except DispatcherSilent as error:
        click.echo(f"{error}; ending it", err=True)
        later, does_answer = "; unfinished dispatches go on at the next start", False
    was_killed = client.stop(ask=does_answer)
    click.echo(f"dispatcher {'killed' if was_killed else 'stopped'}: process {address.pid}, {folder}{later}")


@click.command()
@_WORKERS
@_MEMORY
@_CLUSTER
@click.option("-p", "--port", type=int, hidden=True)
@click.option("-d", "--develop", is_flag=True, hidden=True)
@click.pass_context
def restart(
    ctx: click.Context, /, *, workers: int | None, mem_per_worker: str | None, no_cluster: bool | None, **ignored: Any
) -> None:
    """Stop the dispatcher and its workers and start them again. Interrupted tasks run again from their beginning."""
    _warn_of_ignored(ignored)
    save_settings(workers=workers, memory=mem_per_worker, no_cluster=no_cluster)
    ctx.invoke(stop)
    ctx.invoke(start)


@click.command()
def status() -> None:
    """Show the dispatcher, its pools of workers and unfinished dispatches. The exit code is 1 without a dispatcher."""
    from covalab.client import connect

    client = connect(start=False)  # a question about the state must not change it
    found = _status(client)
    out = console()
    facts = fact_table()
    up = duration_text(elapsed(found.started_at))
    facts.add_row("dispatcher", f"covalab {found.version}, process {found.pid}, up {up}")
    facts.add_row("data folder", plain_text(found.data_dir))
    scheduled = f", {found.scheduled} scheduled" if found.scheduled else ""
    facts.add_row("dispatches", f"{found.active} not finished{scheduled}")
    out.print(facts)
    if found.pools:
        pools = table("pool of", "state", "workers", "process", "")
        for pool in found.pools:
            state = plain_text(pool.state, {"up": "green", "failed": "red"}.get(pool.state, "default"))
            pools.add_row(plain_text(pool.python), state, str(pool.workers), str(pool.pid), plain_text(pool.message))
        out.print(pools)
        for pool in found.pools:
            _print_lacks(out, pool)
    unfinished = client.dispatches(status=("running", "pending"), count=20)
    if unfinished:
        out.print(summary_table(unfinished))
    said = {notice(pool, time.time()) for pool in found.pools}
    print_notices(out, (summary for summary in unfinished if summary.notice not in said))


def _print_lacks(out: Console, pool: PoolStatus) -> None:
    """Print that a pool has no worker, and which workers of its cluster get no work, and why."""
    text = notice(pool, time.time())
    if text and (pool.waiting_cores or not pool.news.grows):
        out.print(plain_text(f"{pool.where or pool.python}: work {text}", "yellow"))
    elif pool.unfit:
        out.print(plain_text(f"{pool.where or pool.python}: some workers get no work. {unfit_text(pool)}", "yellow"))
    if pool.carried:
        text = f"{pool.carried} of {pool.workers} workers do not see the data folder: values travel to and from them"
        out.print(plain_text(f"{pool.where or pool.python}: {text}"))
    if pool.store_trouble:
        text = f"values travel over Dask's connection, not through the object store. {pool.store_trouble}"
        out.print(plain_text(f"{pool.where or pool.python}: {text}", "yellow"))
    if pool.workers and (jobs := jobs_text(pool)):
        out.print(plain_text(f"{pool.where}: {jobs}", "yellow"))
    if pool.news.idle:
        why = "as many steps run at once as its workers have threads (dask worker --nthreads)"
        out.print(plain_text(f"{pool.where}: cores lie idle ({pool.news.idle} in use): {why}", "yellow"))


@click.command()
@click.argument("dispatch", metavar="[ID]", type=dispatch_id, required=False)
@click.option("-f", "--follow", is_flag=True, help="Keep printing lines as they are written.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), help="Number of lines to print.  [default: 50; of a dispatch all]"
)
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Of a dispatch, only these; may be repeated."
)
@click.option(
    "--text", default="", help="Of a dispatch, only lines with these words, in them or in the name of the node."
)
def logs(dispatch: str | None, *, follow: bool, lines: int | None, kinds: tuple[str, ...], text: str) -> None:
    """Print the log of a dispatch: what its nodes printed and how their states changed, in the order of time.

    Without ID, print the end of the log of the dispatcher and its workers.
    """
    if dispatch is not None:
        _print_run_log(dispatch, ",".join(kinds), text, lines, follow=follow)
        return
    if kinds or text:
        message = "--kind and --text choose lines of the log of a dispatch; name one: `covalab logs ID`"
        raise click.UsageError(message)
    _print_own_log(50 if lines is None else lines, follow=follow)


def _print_run_log(dispatch: str, kinds: str, text: str, lines: int | None, *, follow: bool) -> None:
    from covalab.client import connect
    from covalab.sdk.results.run_log import followed_lines, last_lines, line_text, log_lines

    client = connect()
    shown = [] if lines is None else last_lines(client, dispatch, lines, kinds, text)
    for line in shown:
        click.echo(line_text(line))
    if follow:
        found = followed_lines(client, dispatch, kinds, text, shown)
    else:
        found = log_lines(client, dispatch, kinds, text) if lines is None else iter(())
    for line in found:
        click.echo(line_text(line))


def _print_own_log(lines: int, *, follow: bool) -> None:
    from covalab.client.connecting import own_data_dir
    from covalab.client.paths import log_file

    path = log_file(own_data_dir())
    if not path.exists():
        message = f"there is no log at {path}: no dispatcher ever ran there; `covalab start` starts one"
        raise click.ClickException(message)
    with path.open("rb") as log:
        inode, data = os.fstat(log.fileno()).st_ino, log.read()
    # `lines[-0:]` would be all of them.
    click.echo(b"".join(data.splitlines(keepends=True)[-lines:] if lines else []), nl=False)
    if follow:
        for more in _follow(path, inode, len(data)):
            click.echo(more, nl=False)


@click.command()
@click.option("--status", "action", flag_value="status", help="Print the state of each pool.")
@click.option("--info", "action", flag_value="info", help="Print all facts about each pool as JSON.")
@click.option("--size", "action", flag_value="size", help="Print the number of workers.")
@click.option("--address", "action", flag_value="address", help="Print the address of Dask's scheduler.")
@click.option("--logs", "action", flag_value="logs", help="Print the logs of the pools.")
@click.option("--restart", "action", flag_value="restart", help="Restart the dispatcher and all pools.")
@click.option(
    "--scale",
    type=click.IntRange(1),
    metavar="N",
    help="Write the number of workers of a local cluster to the configuration file.",
)
@click.pass_context
def cluster(ctx: click.Context, *, action: str | None, scale: int | None) -> None:
    """Show or change the pools of workers. A pool is the Dask cluster of one Python environment."""
    if scale is not None:
        save_settings(workers=scale)
        click.echo(
            f"local clusters have {scale} workers from their next start on; `covalab cluster --restart` does it now"
        )
    elif action == "restart":
        ctx.invoke(restart)
    elif action is not None:
        _CLUSTER_REPORTS[action]()
    else:
        click.echo(ctx.get_help())


def _print_pool_states() -> None:
    from covalab.client import connect

    for pool in _status(connect(start=False)).pools:
        click.echo(f"{pool.python}: {pool.state}{f' ({pool.message})' if pool.message else ''}")


def _print_pools() -> None:
    from covalab.client import connect

    echo_json(_status(connect(start=False)).pools)


def _print_worker_count() -> None:
    from covalab.client import connect

    click.echo(sum(pool.workers for pool in _status(connect(start=False)).pools))


def _print_scheduler_address() -> None:
    from covalab.config import load

    click.echo(load().dask.scheduler_address or "private: each pool's scheduler listens on loopback, with TLS")


def _print_pool_logs() -> None:
    from covalab.client.connecting import own_data_dir
    from covalab.client.paths import log_file

    for path in sorted(log_file(own_data_dir()).parent.glob("pool-*.log")):
        click.echo(f"== {path}\n{path.read_text(errors='replace')}", nl=False)


_CLUSTER_REPORTS: Final[Mapping[str, Callable[[], None]]] = {
    "status": _print_pool_states,
    "info": _print_pools,
    "size": _print_worker_count,
    "address": _print_scheduler_address,
    "logs": _print_pool_logs,
}


def _status(client: Client) -> DispatcherStatus:
    """Fetch the status; a dispatcher that does not answer is an error here, as nothing else was asked for."""
    from covalab.client.stopping import ANSWER_SECONDS

    with client.until(time.monotonic() + ANSWER_SECONDS):
        return client.status()


def _warn_of_ignored(options: Mapping[str, Any]) -> None:
    """Print what replaces each option of Covalent's that is accepted and has no effect here."""
    from covalab.sdk.dispatching.covalent_service import WITHOUT_MEANING

    for name, value in options.items():
        if value is not None and value is not False:
            click.echo(f"--{name.replace('_', '-')} changes nothing: {WITHOUT_MEANING[name]}", err=True)


def _follow(path: Path, inode: int, position: int) -> Iterator[bytes]:
    """Yield what is appended to a file after `position`; one that was replaced or cut is read from its beginning."""
    while True:
        try:
            with path.open("rb") as log:
                now = os.fstat(log.fileno())
                # The dispatcher rotates its log: the name stays, the file is another one.
                if now.st_ino != inode or now.st_size < position:
                    position, inode = 0, now.st_ino
                log.seek(position)
                more = log.read()
        except FileNotFoundError:
            more = b""  # between the two renames of a rotation
        if more:
            position += len(more)
            yield more
        else:
            time.sleep(0.2)


COMMANDS: Final[tuple[click.Command, ...]] = (start, stop, restart, status, logs, cluster)
