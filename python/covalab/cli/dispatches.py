"""Commands about dispatches: list, show, cancel and repeat them; answer, pause and resume."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from covalab.cli.ids import dispatch_id
from covalab.cli.output import (
    console,
    duration_text,
    echo_json,
    fact_table,
    plain_text,
    progress_text,
    run_time_text,
    status_text,
    table,
    time_text,
)
from covalab.core.explanations import explanation
from covalab.core.lifecycle import covalent_text
from covalab.core.model import DispatchRecord, DispatchSummary, Schedule, Status, does_work
from covalab.core.trigger_states import TriggerState
from covalab.view.words import short_error, short_name

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_MOST_NODES: Final = 200
_MOST_FAILURES: Final = 20


@click.command(name="list")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(get_args(Status)),
    multiple=True,
    help="Only dispatches with this status; may be repeated.",
)
@click.option("--name", help="Only dispatches of the lattice with this name.")
@click.option("--schedule", metavar="ID", type=dispatch_id, help="Only the runs of the series with this id.")
@click.option("--tag", help="Only dispatches with this tag.")
@click.option(
    "-n", "--count", type=click.IntRange(1, 1000), default=20, show_default=True, help="Number of dispatches to list."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(
    *,
    statuses: Sequence[Status],
    name: str | None,
    schedule: str | None,
    tag: str | None,
    count: int,
    as_json: bool,
) -> None:
    """List dispatches, newest first."""
    from covalab.client import connect

    found = connect().dispatches(status=statuses or None, name=name, count=count, schedule=schedule, tag=tag)
    if as_json:
        echo_json(found)
    elif found:
        out = console()
        out.print(summary_table(found))
        print_notices(out, found)
    else:
        which = " that match" if statuses or name or schedule or tag else ""
        click.echo(f"no dispatches{which} in {connect().where}")


@click.command()
@click.argument("dispatch", metavar="ID", type=dispatch_id)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(dispatch: str, *, as_json: bool) -> None:
    """Show one dispatch: its status, nodes, errors and triggers."""
    from covalab.client import connect

    client = connect()
    record, triggers = client.record(dispatch, outputs="none"), client.triggers(dispatch)
    if as_json:
        facts = {"summary": record.summary, "nodes": _node_rows(record), "failures": record.failures}
        echo_json({**facts, "triggers": triggers})
        return
    out = console()
    schedule = None if record.summary.schedule_id is None else client.submission(dispatch).schedule
    out.print(_facts(record, schedule))
    _print_nodes(record, out)
    _print_failures(record, out)
    _print_triggers(triggers, out)


@click.command()
@click.argument("dispatch", metavar="ID", type=dispatch_id)
@click.option("--node", "nodes", type=click.IntRange(0), multiple=True, help="Cancel only this node; may be repeated.")
def cancel(dispatch: str, nodes: Sequence[int]) -> None:
    """Cancel a dispatch. Finished nodes keep their results; a dispatch that has ended does not change."""
    from covalab.client import connect

    summary = connect().cancel(dispatch, list(nodes) or None)
    status, progress = covalent_text(summary.status), progress_text(summary.counts)
    click.echo(f"{summary.id} ({summary.name}): {status}, {progress} done")


@click.command()
@click.argument("dispatch", metavar="ID", type=dispatch_id)
@click.option("--reuse", is_flag=True, help="Take over the results that exist; only the other nodes run.")
@click.option(
    "--from",
    "nodes",
    multiple=True,
    metavar="NODE",
    help="Run this node, and all that follow from it, again and reuse the others; its number or name. May be repeated.",
)
def redispatch(dispatch: str, *, reuse: bool, nodes: Sequence[str]) -> None:
    """Run a dispatch again with the same arguments and print the id of the new dispatch."""
    from covalab.sdk.dispatching import redispatch

    click.echo(redispatch.redispatch(dispatch, reuse_previous_results=reuse, from_nodes=nodes)())


class _Words(click.Command):
    """Command of which words with a minus are no options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        asks_for_help = not args or args[0] in ("-h", "--help")
        return super().parse_args(ctx, args if asks_for_help else ["--", *args])


@click.command(cls=_Words)
@click.argument("dispatch", metavar="ID", type=dispatch_id)
@click.argument("changes", metavar="+TAG|-TAG...", nargs=-1)
def tag(dispatch: str, changes: Sequence[str]) -> None:
    """Add tags to a dispatch and remove some: `covalab tag ID +paper -draft`. Print those that it has."""
    from covalab.sdk.dispatching.tags import tag

    wrong = [change for change in changes if change[:1] not in ("+", "-")]
    if wrong:
        message = f"write +{wrong[0]} to add the tag, -{wrong[0]} to remove it"
        raise click.UsageError(message)
    add = [change[1:] for change in changes if change.startswith("+")]
    remove = [change[1:] for change in changes if change.startswith("-")]
    click.echo(" ".join(tag(dispatch, *add, remove=remove)))


@click.command()
@click.argument("dispatch", metavar="ID", type=dispatch_id)
@click.argument("cell", metavar="CELL")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(dispatch: str, cell: str, *, as_json: bool) -> None:
    """Explain why a cell ran, or why an earlier run stood for it.

    CELL is the name of a cell or electron; of a notebook run the number that `covalab run` shows, or the id of a cell
    in the notebook; of other dispatches the number of a node.
    """
    from covalab.client import connect

    client = connect()
    record = client.record(dispatch, outputs="none")
    notebook = client.submission(dispatch).notebook
    nodes = record.graph.nodes
    if notebook is None:
        numbers = {str(number): number for number in range(len(nodes))}
    else:
        its = [one for one in notebook.cells if one.node >= 0]
        numbers = {str(number): one.node for number, one in enumerate(its, 1)} | {one.id: one.node for one in its}
    found = [n for n, node in enumerate(nodes) if (cell == node.name or numbers.get(cell) == n) and does_work(node)]
    if not found:
        shown = {node: text for text, node in reversed(numbers.items())}
        names = ", ".join(f"{node.name} ({shown.get(n, n)})" for n, node in enumerate(nodes) if does_work(node))
        message = f"{dispatch} has no cell {cell!r}; it has {names}"
        raise click.ClickException(message)
    details = [client.node(dispatch, number) for number in found]
    if as_json:
        echo_json([{"node": one.node, "name": one.name, "status": one.status, "reuse": one.reuse} for one in details])
        return
    for one in details:
        facts = fact_table()
        facts.add_row("cell", plain_text(f"{one.name} (node {one.node})"))
        state = record.nodes[one.node]
        for fact, text in explanation(state, one.reuse, one.failure) or [("status", covalent_text(one.status))]:
            facts.add_row(fact, plain_text(text))
        console().print(facts)


@click.command()
@click.argument("id_", metavar="[ID]", type=dispatch_id, default="")
@click.argument("value", metavar="[VALUE]", required=False)
def answer(id_: str, value: str | None) -> None:
    """Answer an interrupt: a question that a workflow asks with `pause_for`.

    Without VALUE, show the interrupts of ID. Without ID, show all interrupts that are not answered.

    ID is the id of an interrupt, or of a dispatch that has only one open interrupt. VALUE is JSON; a value that is not
    JSON is taken as text.
    """
    from covalab.sdk.executions.interrupts import continue_with, find_interrupts, get_interrupts, the_one

    found = find_interrupts(id_) if id_ else get_interrupts()
    if value is None:
        console().print(_interrupt_table(found) if found else "nothing waits for an answer")
        return
    interrupt = the_one(id_, found, "`covalab answer`")
    # An interrupt's id is `<dispatch id>:<node>`; a dispatch's id has no colon.
    record = continue_with(id_.partition(":")[0], interrupt["id"], _json_or_text(value), actor="command line")
    click.echo(f"{record['type']} ({record['id']}) was answered with {value}")


@click.command()
@click.argument("dispatch", metavar="ID", type=dispatch_id)
def pause(dispatch: str) -> None:
    """Pause a dispatch: no new task starts, also after a restart. Running tasks continue."""
    from covalab.sdk.executions.interrupts import pause

    pause(dispatch)
    click.echo(f"{dispatch} is paused; `covalab resume {dispatch}` lets it go on")


@click.command()
@click.argument("dispatch", metavar="ID", type=dispatch_id)
def resume(dispatch: str) -> None:
    """Resume a paused dispatch."""
    from covalab.sdk.executions.interrupts import resume

    resume(dispatch)
    click.echo(f"{dispatch} goes on")


def summary_table(dispatches: Iterable[DispatchSummary]) -> Table:
    """Return a table with one row per dispatch."""
    found = table("id", "lattice", "status", "done", "made", "took", "notebook")
    for one in dispatches:
        found.add_row(
            one.id,
            plain_text(" ".join([short_name(one.name), *(f"#{tag}" for tag in one.tags)])),
            status_text(one.status),
            progress_text(one.counts),
            time_text(one.created_at),
            run_time_text(one.started_at, one.ended_at) or _start_text(one),
            plain_text(one.notebook),
        )
    return found


def print_notices(out: Console, dispatches: Iterable[DispatchSummary]) -> None:
    """Print what dispatches wait for that may not come by itself."""
    for one in dispatches:
        if one.notice:
            out.print(plain_text(f"{short_name(one.name)} ({one.id}): {one.notice}", "yellow"))


def _start_text(summary: DispatchSummary) -> str:
    return f"starts {time_text(summary.starts_at)}" if summary.held and summary.starts_at is not None else ""


def _facts(record: DispatchRecord, schedule: Schedule | None) -> Table:
    summary = record.summary
    facts = fact_table()
    facts.add_row("dispatch", summary.id)
    facts.add_row("lattice", plain_text(short_name(summary.name)))
    facts.add_row("status", status_text(summary.status))
    facts.add_row("nodes done", progress_text(summary.counts))
    facts.add_row("made", time_text(summary.created_at))
    if summary.held and summary.starts_at is not None:
        facts.add_row("starts", time_text(summary.starts_at))
    if summary.schedule_id is not None and summary.interval is not None:
        every = f"every {duration_text(summary.interval)}"
        if schedule is not None and schedule.cron:
            every = f"by {schedule.cron!r} in {schedule.zone}"
        facts.add_row("series", f"{summary.schedule_id}, {every}")
    facts.add_row("took", run_time_text(summary.started_at, summary.ended_at))
    if summary.tags:
        facts.add_row("tags", plain_text(" ".join(summary.tags)))
    if summary.notebook:
        facts.add_row("notebook", plain_text(summary.notebook))
    facts.add_row("python", plain_text(record.environment.python))
    if summary.error:
        facts.add_row("error", plain_text(short_error(summary.error), "red"))
    return facts


def _print_nodes(record: DispatchRecord, out: Console) -> None:
    nodes = table("node", "name", "status", "runs", "started", "took")
    # Parameters and collections are nodes too, but run nothing; the table is about tasks. JSON has all nodes.
    rows = [row for row in _node_rows(record) if does_work(record.graph.nodes[row["node"]])]
    for row in rows[:_MOST_NODES]:
        nodes.add_row(
            str(row["node"]),
            plain_text(short_name(row["name"])),
            status_text(row["status"]),
            str(row["attempt"]),
            time_text(row["started_at"]),
            run_time_text(row["started_at"], row["ended_at"]),
        )
    out.print(nodes)
    if len(rows) > _MOST_NODES:
        more = len(rows) - _MOST_NODES
        out.print(f"and {more:,} more; `covalab show {record.summary.id} --json` has them all\n")


def _print_failures(record: DispatchRecord, out: Console) -> None:
    for node, failure in sorted(record.failures.items())[:_MOST_FAILURES]:
        out.print(plain_text(f"node {node} ({record.graph.nodes[node].name}) failed ({failure.type}):", "red"))
        out.print(plain_text(failure.traceback.rstrip() or failure.message))


def _print_triggers(triggers: Sequence[TriggerState], out: Console) -> None:
    if not triggers:
        return
    found = table("trigger", "state", "fired", "last started")
    for trigger in triggers:
        colour = {"watching": "green", "starting": "yellow", "failed": "red"}.get(trigger.state, "default")
        last = trigger.fired[-1] if trigger.fired else ""
        found.add_row(plain_text(trigger.name), plain_text(trigger.state, colour), str(len(trigger.fired)), last)
    out.print(found)
    for trigger in triggers:
        if trigger.error:
            out.print(plain_text(f"trigger {trigger.name} ({trigger.state}):\n{trigger.error.rstrip()}", "red"))


def _interrupt_table(interrupts: Iterable[dict[str, Any]]) -> Table:
    found = table("id", "asks for", "about", "status", "since")
    for one in interrupts:
        found.add_row(one["id"], plain_text(one["type"]), plain_text(one["text"]), one["status"], one["created_at"])
    return found


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


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


COMMANDS: Final[tuple[click.Command, ...]] = (list_, show, explain, cancel, redispatch, tag, answer, pause, resume)
