"""The command line: what the dispatcher is doing, and a way in for people who have no notebook open.

Commands only ask and show; each loads what it needs, so that `covalab --help` is quick.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from covalab._version import __version__
from covalab.core.errors import CovalabError
from covalab.core.lifecycle import covalent_text
from covalab.core.model import Status, does_work

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from covalab.core.model import Counts, DispatchRecord, DispatchSummary, TriggerState

_COLOURS: Final[dict[Status, str]] = {
    "pending": "default",
    "running": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "skipped": "bright_black",
}
_MOST_NODES: Final = 200
_MOST_FAILURES: Final = 20
_PIPE_WIDTH: Final = 200  # nobody resizes a pipe, and a wrapped id cannot be copied


class _Commands(click.Group):
    """A group in whose commands every error that covalab raises on purpose is one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CovalabError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-v", "--version", prog_name="covalab")
def main() -> None:
    """Notebook cells as background tasks that outlive the notebook.

    Everything is kept in the data folder: COVALAB_DATA_DIR, else `covalab` in the Jupyter data directory.
    """


_WORKERS: Final = click.option("-n", "--workers", type=click.IntRange(1), help="How many workers; kept as a setting.")
_MEMORY: Final = click.option(
    "-m", "--mem-per-worker", metavar="SIZE", help="What a worker may take, e.g. '4 GB'; kept as a setting."
)
_CLUSTER: Final = click.option(
    "--no-cluster/--with-cluster", default=None, help="The executor of electrons that name none: local, or dask."
)


@main.command()
@_WORKERS
@_MEMORY
@_CLUSTER
@click.option("-p", "--port", type=int, hidden=True)
@click.option("-d", "--develop", is_flag=True, hidden=True)
@click.option("-t", "--threads-per-worker", type=int, hidden=True)
@click.option("--ignore-migrations", is_flag=True, hidden=True)
@click.option("--no-triggers", is_flag=True, hidden=True)
@click.option("--triggers-only", is_flag=True, hidden=True)
def start(*, workers: int | None, mem_per_worker: str | None, no_cluster: bool | None, **covalents: Any) -> None:
    """Start the dispatcher. Notebooks and scripts also start it when they need it."""
    from covalab.client import connect, data_dir
    from covalab.client.launcher import find

    _say_what_replaces(covalents)
    _keep(workers, mem_per_worker, no_cluster=no_cluster)
    there = find(data_dir()) is not None
    status = connect().status()
    click.echo(f"dispatcher {'was already' if there else 'is'} running: process {status.pid}, {status.data_dir}")


@main.command()
def stop() -> None:
    """Stop the dispatcher and its workers. What is unfinished resumes at the next start."""
    from covalab.client import Client, data_dir
    from covalab.client.launcher import find

    folder = data_dir()
    address = find(folder)
    if address is None:
        click.echo(f"no dispatcher is running for {folder}")
        return
    client = Client(folder, start=False)
    status = client.status()
    unfinished = status.active + status.scheduled
    client.stop()
    later = f"; {unfinished} unfinished dispatches go on at the next start" if unfinished else ""
    click.echo(f"dispatcher stopped: process {address.pid}, {folder}{later}")


@main.command()
@_WORKERS
@_MEMORY
@_CLUSTER
@click.option("-p", "--port", type=int, hidden=True)
@click.option("-d", "--develop", is_flag=True, hidden=True)
@click.pass_context
def restart(
    ctx: click.Context, /, *, workers: int | None, mem_per_worker: str | None, no_cluster: bool | None, **covalents: Any
) -> None:
    """Stop the dispatcher and start it again. Running tasks begin anew, all that is done stays done."""
    _say_what_replaces(covalents)
    _keep(workers, mem_per_worker, no_cluster=no_cluster)
    ctx.invoke(stop)
    ctx.invoke(start)


@main.command()
def status() -> None:
    """Show the dispatcher, its pools of workers and what is running. Exit code 1 if there is no dispatcher."""
    from covalab.client import connect

    client = connect(start=False)
    status = client.status()
    console = _console()
    about = _facts()
    about.add_row(
        "dispatcher", f"covalab {status.version}, process {status.pid}, up {_span(_since(status.started_at))}"
    )
    about.add_row("data folder", _text(status.data_dir))
    scheduled = f", {status.scheduled} scheduled" if status.scheduled else ""
    about.add_row("dispatches", f"{status.active} not finished{scheduled}")
    console.print(about)
    if status.pools:
        pools = _table("pool of", "state", "workers", "process", "")
        for pool in status.pools:
            colour = {"up": "green", "failed": "red"}.get(pool.state, "default")
            pools.add_row(
                _text(pool.python), _text(pool.state, colour), str(pool.workers), str(pool.pid), _text(pool.message)
            )
        console.print(pools)
    running = client.dispatches(status=("running", "pending"), count=20)
    if running:
        console.print(_list(running))


@main.command()
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written.")
@click.option("-n", "--lines", type=click.IntRange(0), default=50, show_default=True, help="How many lines to show.")
def logs(*, follow: bool, lines: int) -> None:
    """Show the log of the dispatcher and its workers."""
    from covalab.client import data_dir
    from covalab.client.paths import log_file

    path = log_file(data_dir())
    if not path.exists():
        message = f"there is no log at {path}: no dispatcher ever ran there; `covalab start` starts one"
        raise click.ClickException(message)
    with path.open("rb") as log:
        identity, data = os.fstat(log.fileno()).st_ino, log.read()
    click.echo(b"".join(data.splitlines(keepends=True)[-lines:] if lines else []), nl=False)
    if follow:
        for more in _follow(path, identity, len(data)):
            click.echo(more, nl=False)


@main.command()
def config() -> None:
    """Show the configuration: what is set, and the defaults of the rest."""
    import tomlkit

    from covalab.config import config_file
    from covalab.sdk.configuration import get_config

    path = config_file()
    click.echo(f"# {path}{'' if path.exists() else ' (not there: these are the defaults)'}")
    click.echo(tomlkit.dumps(get_config()), nl=False)


@main.command()
@click.option("--status", "what", flag_value="status", help="How each pool of workers is.")
@click.option("--info", "what", flag_value="info", help="Everything known about each pool, as JSON.")
@click.option("--size", "what", flag_value="size", help="How many workers there are.")
@click.option("--address", "what", flag_value="address", help="Where Dask's scheduler is.")
@click.option("--logs", "what", flag_value="logs", help="What the pools wrote.")
@click.option("--restart", "what", flag_value="restart", help="Start all pools anew.")
@click.option("--scale", type=click.IntRange(1), metavar="N", help="Let local clusters have N workers.")
@click.pass_context
def cluster(ctx: click.Context, *, what: str | None, scale: int | None) -> None:
    """Show and change the pools of workers: one Dask cluster per Python environment."""
    from covalab.client import connect, data_dir
    from covalab.client.paths import log_file
    from covalab.config import load

    if scale is not None:
        _keep(scale, None, no_cluster=None)
        click.echo(
            f"local clusters have {scale} workers from their next start on; `covalab cluster --restart` does it now"
        )
    elif what == "restart":
        ctx.invoke(restart)
    elif what == "address":
        click.echo(load().dask.scheduler_address or "private: each pool's scheduler listens on loopback, with TLS")
    elif what == "logs":
        for path in sorted(log_file(data_dir()).parent.glob("pool-*.log")):
            click.echo(f"== {path}\n{path.read_text(errors='replace')}", nl=False)
    elif what == "size":
        click.echo(sum(pool.workers for pool in connect(start=False).status().pools))
    elif what == "info":
        _echo_json(connect(start=False).status().pools)
    elif what == "status":
        for pool in connect(start=False).status().pools:
            click.echo(f"{pool.python}: {pool.state}{f' ({pool.message})' if pool.message else ''}")
    else:
        click.echo(ctx.get_help())


@main.command()
@click.option("-H", "--hard", is_flag=True, help="Also every dispatch and its values.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--older-than", metavar="SPAN", help="Only forget dispatches that ended so long ago, e.g. '30 days'; nothing else."
)
def purge(*, hard: bool, yes: bool, older_than: str | None) -> None:
    """Delete configuration, logs and caches; with --hard also all dispatches. Stops the dispatcher."""
    if older_than is not None:
        _forget_older_than(older_than, hard=hard, yes=yes)
        return
    from covalab.client import Client, data_dir
    from covalab.client.launcher import find
    from covalab.client.paths import CACHES, KEPT
    from covalab.config import config_file

    folder = data_dir()
    # By name, so that nothing goes that is not ours, whatever folder COVALAB_DATA_DIR names.
    wanted = [config_file(), *(folder / name for name in (*CACHES, *(KEPT if hard else ())))]
    there = [path for path in wanted if path.exists()]
    if not there:
        click.echo(f"there is nothing to delete in {folder}")
        return
    for path in there:
        click.echo(str(path))
    if not yes:
        click.confirm("Delete these?", abort=True)
    if find(folder) is not None:
        Client(folder, start=False).stop()
    for path in there:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    click.echo("deleted")


def _forget_older_than(span: str, *, hard: bool, yes: bool) -> None:
    from covalab.client import connect
    from covalab.core.duration_text import parse_duration

    if hard:
        message = "--hard deletes all dispatches, --older-than some; give one of them"
        raise click.UsageError(message)
    try:
        seconds = parse_duration(span)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from error
    if not yes:
        click.confirm(f"Forget dispatches that ended more than {_span(seconds)} ago?", abort=True)
    click.echo(f"{connect().purge(time.time() - seconds)} dispatches are forgotten")


_INSTEAD: Final = {
    "db": "the database is brought up to date when the dispatcher starts; there is nothing to migrate by hand",
    "deploy": (
        "covalab starts no machines; name a cluster that is there, or a class that starts one, in `dask.cluster_class` "
        "(`covalab config` shows the file)"
    ),
}
"""Commands of Covalent's that do nothing here, and what takes their place."""


def _instead(name: str) -> click.Command:
    @main.command(name, help=f"Not here: {_INSTEAD[name]}.", context_settings={"ignore_unknown_options": True})
    @click.argument("args", nargs=-1, type=click.UNPROCESSED)
    def command(args: Sequence[str]) -> None:  # noqa: ARG001
        message = f"`covalab {name}`: {_INSTEAD[name]}"
        raise click.UsageError(message)

    return command


for _name in _INSTEAD:
    _instead(_name)


@main.command(name="list")
@click.option(
    "--status", "wanted", type=click.Choice(get_args(Status)), multiple=True, help="Only these; may be repeated."
)
@click.option("--name", help="Only dispatches of this lattice.")
@click.option("--schedule", metavar="ID", help="Only the runs of this series.")
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many to show.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_(*, wanted: Sequence[Status], name: str | None, schedule: str | None, count: int, as_json: bool) -> None:
    """List dispatches, newest first."""
    from covalab.client import connect

    dispatches = connect().dispatches(status=wanted or None, name=name, count=count, schedule=schedule)
    if as_json:
        _echo_json(dispatches)
    elif dispatches:
        _console().print(_list(dispatches))
    else:
        which = " that match" if wanted or name or schedule else ""
        click.echo(f"no dispatches{which} in {connect().data_dir}")


@main.command()
@click.argument("dispatch", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(dispatch: str, *, as_json: bool) -> None:
    """Show one dispatch: how it stands, its nodes, what went wrong."""
    from covalab.client import connect

    client = connect()
    record, triggers = client.record(dispatch, outputs="none"), client.triggers(dispatch)
    if as_json:
        facts = {"summary": record.summary, "nodes": _node_rows(record), "failures": record.failures}
        _echo_json({**facts, "triggers": triggers})
        return
    _show(record, _console())
    _show_triggers(triggers, _console())


@main.command()
@click.argument("dispatch", metavar="ID")
@click.option("--node", "nodes", type=click.IntRange(0), multiple=True, help="Only this node; may be repeated.")
def cancel(dispatch: str, nodes: Sequence[int]) -> None:
    """Cancel a dispatch. Finished nodes keep their results; one that has ended stays as it is."""
    from covalab.client import connect

    summary = connect().cancel(dispatch, list(nodes) or None)
    click.echo(f"{summary.id} ({summary.name}): {covalent_text(summary.status)}, {_progress(summary.counts)} done")


@main.command()
@click.argument("dispatch", metavar="ID")
@click.option("--reuse", is_flag=True, help="Take over what it has computed; only the rest runs.")
def redispatch(dispatch: str, *, reuse: bool) -> None:
    """Run a recorded dispatch once more, under a new id, with the arguments it had."""
    from covalab.sdk.dispatching.redispatch import redispatch as again

    click.echo(again(dispatch, reuse_previous_results=reuse)())


@main.command()
@click.argument("id_", metavar="[ID]", default="")
@click.argument("value", metavar="[VALUE]", required=False)
def answer(id_: str, value: str | None) -> None:
    """Answer what a workflow waits for. Without VALUE, show what is asked; without ID, all that waits.

    ID is an id that is listed here, or that of a dispatch that waits for one thing. VALUE is JSON; what is no JSON is a
    text.
    """
    from covalab.sdk.executions.interrupts import continue_with, find_interrupts, get_interrupts, the_one

    found = find_interrupts(id_) if id_ else get_interrupts()
    if value is None:
        table = _table("id", "asks for", "about", "status", "since")
        for one in found:
            table.add_row(one["id"], _text(one["type"]), _text(one["text"]), one["status"], one["created_at"])
        _console().print(table if found else "nothing waits for an answer")
        return
    asked = the_one(id_, found, "`covalab answer`")
    record = continue_with(id_.partition(":")[0], asked["id"], _json_or_text(value), actor="command line")
    click.echo(f"{record['type']} ({record['id']}) was answered with {value}")


@main.command()
@click.argument("dispatch", metavar="ID")
def pause(dispatch: str) -> None:
    """Let a dispatch start nothing new, also over restarts. What runs goes on."""
    from covalab.sdk.executions.interrupts import pause

    pause(dispatch)
    click.echo(f"{dispatch} is paused; `covalab resume {dispatch}` lets it go on")


@main.command()
@click.argument("dispatch", metavar="ID")
def resume(dispatch: str) -> None:
    """Let a dispatch that was paused go on where it was."""
    from covalab.sdk.executions.interrupts import resume

    resume(dispatch)
    click.echo(f"{dispatch} goes on")


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def lab(args: Sequence[str]) -> None:
    """Start JupyterLab with covalab. What follows is given to `jupyter lab`."""
    _need("jupyterlab")
    sys.stdout.flush()
    # JupyterLab takes over this process, so that Ctrl-C and signals are its own.
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *args])  # noqa: S606 - no shell is wanted


@main.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("covalab-demo"),
    show_default=True,
    help="Where the notebook is put.",
)
def demo(folder: Path) -> None:
    """Run the first notebook in a real Jupyter server, close its kernel, and fetch the result from another."""
    for module in ("nbformat", "sklearn", "matplotlib", "jupyterlab"):
        _need(module)
    from covalab.demo import DemoFailed, run

    try:
        run(folder.absolute(), _console())
    except DemoFailed as error:
        raise click.ClickException(str(error)) from error


def _keep(workers: int | None, memory: str | None, *, no_cluster: bool | None) -> None:
    """Write what was given into the configuration."""
    from covalab.sdk.configuration import set_config

    given: dict[str, Any] = {"dask.num_workers": workers, "dask.mem_per_worker": memory}
    if no_cluster is not None:
        given["sdk.no_cluster"] = "true" if no_cluster else "false"
    given = {key: value for key, value in given.items() if value is not None}
    if given:
        set_config(given)


def _json_or_text(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _say_what_replaces(covalents: Mapping[str, Any]) -> None:
    from covalab.sdk.dispatching.service import WITHOUT_MEANING

    for name, value in covalents.items():
        if value is not None and value is not False:
            click.echo(f"--{name.replace('_', '-')} changes nothing: {WITHOUT_MEANING[name]}", err=True)


# -- how things look -------------------------------------------------------------------------------------------------


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    return console if console.is_terminal else Console(highlight=False, emoji=False, width=_PIPE_WIDTH)


def _text(text: str, style: str = "default") -> Text:
    """Return text that is shown as it is: no markup, and no control characters that a terminal would obey."""
    from rich.text import Text

    return Text(
        "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text), style
    )


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    return table


def _facts() -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    return table


def _list(dispatches: Sequence[DispatchSummary]) -> Table:
    table = _table("id", "lattice", "status", "done", "made", "took", "notebook")
    for one in dispatches:
        table.add_row(
            one.id,
            _text(one.name),
            _status(one.status),
            _progress(one.counts),
            _moment(one.created_at),
            _took(one.started_at, one.ended_at) or _waits(one),
            _text(one.notebook),
        )
    return table


def _show(record: DispatchRecord, console: Console) -> None:
    summary = record.summary
    about = _facts()
    about.add_row("dispatch", summary.id)
    about.add_row("lattice", _text(summary.name))
    about.add_row("status", _status(summary.status))
    about.add_row("nodes done", _progress(summary.counts))
    about.add_row("made", _moment(summary.created_at))
    if summary.held and summary.starts_at is not None:
        about.add_row("starts", _moment(summary.starts_at))
    if summary.schedule_id is not None and summary.interval is not None:
        about.add_row("series", f"{summary.schedule_id}, every {_span(summary.interval)}")
    about.add_row("took", _took(summary.started_at, summary.ended_at))
    if summary.notebook:
        about.add_row("notebook", _text(summary.notebook))
    about.add_row("python", _text(record.environment.python))
    if summary.error:
        about.add_row("error", _text(summary.error, "red"))
    console.print(about)
    nodes = _table("node", "name", "status", "runs", "started", "took")
    rows = [row for row in _node_rows(record) if does_work(record.graph.nodes[row["node"]])]
    for row in rows[:_MOST_NODES]:
        nodes.add_row(
            str(row["node"]),
            _text(row["name"]),
            _status(row["status"]),
            str(row["attempt"]),
            _moment(row["started_at"]),
            _took(row["started_at"], row["ended_at"]),
        )
    console.print(nodes)
    if len(rows) > _MOST_NODES:
        console.print(f"and {len(rows) - _MOST_NODES:,} more; `covalab show {summary.id} --json` has them all\n")
    for node, failure in sorted(record.failures.items())[:_MOST_FAILURES]:
        console.print(_text(f"node {node} ({record.graph.nodes[node].name}) failed ({failure.type}):", "red"))
        console.print(_text(failure.traceback.rstrip() or failure.message))


def _show_triggers(triggers: Sequence[TriggerState], console: Console) -> None:
    if not triggers:
        return
    table = _table("trigger", "state", "fired", "last started")
    for trigger in triggers:
        colour = {"watching": "green", "failed": "red"}.get(trigger.state, "default")
        last = trigger.fired[-1] if trigger.fired else ""
        table.add_row(_text(trigger.name), _text(trigger.state, colour), str(len(trigger.fired)), last)
    console.print(table)
    for trigger in triggers:
        if trigger.error:
            console.print(_text(f"trigger {trigger.name} ({trigger.state}):\n{trigger.error.rstrip()}", "red"))


def _node_rows(record: DispatchRecord) -> list[dict[str, Any]]:
    return [
        {
            "node": state.node,
            "name": record.graph.nodes[state.node].name,
            "status": state.status,
            "started_at": state.started_at,
            "ended_at": state.ended_at,
            "attempt": state.attempt,
        }
        for state in record.nodes
    ]


def _status(status: Status) -> Text:
    return _text(covalent_text(status), _COLOURS[status])


def _progress(counts: Counts) -> str:
    total = counts.pending + counts.running + counts.completed + counts.failed + counts.cancelled + counts.skipped
    return f"{counts.completed}/{total}"


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _since(seconds: float) -> float:
    return max(0.0, time.time() - seconds)


def _waits(summary: DispatchSummary) -> str:
    return f"starts {_moment(summary.starts_at)}" if summary.held and summary.starts_at is not None else ""


def _took(started: float | None, ended: float | None) -> str:
    if started is None:
        return ""
    return _span(ended - started if ended is not None else _since(started))


def _span(seconds: float) -> str:
    """Write a duration for people.

    Examples
    --------
    >>> _span(0.25), _span(3.14), _span(61.4), _span(3 * 3600 + 120)
    ('250 ms', '3.1 s', '1 min 1 s', '3 h 2 min')
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _echo_json(data: object) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(data), indent=2))


def _follow(path: Path, identity: int, position: int) -> Iterator[bytes]:
    """Yield what is appended to a file after `position`; one that was replaced or cut is read from its beginning."""
    while True:
        try:
            with path.open("rb") as log:
                now = os.fstat(log.fileno())
                if now.st_ino != identity or now.st_size < position:
                    position, identity = 0, now.st_ino
                log.seek(position)
                more = log.read()
        except FileNotFoundError:
            more = b""
        if more:
            position += len(more)
            yield more
        else:
            time.sleep(0.2)


def _need(module: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        message = f"{module} is not installed here; `{sys.executable} -m pip install 'covalab[demo]'` installs it"
        raise click.ClickException(message)
