"""Live table of a notebook run: one line for each cell, until the run has ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from covalab.cli.output import console, duration_text, plain_text, run_time_text, status_text, table
from covalab.core.lifecycle import TERMINAL, covalent_text

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from covalab.client import Client
    from covalab.core.model import DispatchSummary, NodeState

EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130
_WAIT_SECONDS: Final = 1.0
_MOST_ROWS: Final = 30
_TEXT: Final = 60


class _Cells:
    """Cells of a run, with their states as they are now."""

    def __init__(self, client: Client, dispatch: str) -> None:
        from covalab.sdk.results.notebooks import document_of, run_of

        submission = client.submission(dispatch)
        document = document_of(submission, client.blobs)
        texts = {cell["id"]: cell["source"] for cell in document["cells"]}
        self._client, self.dispatch = client, dispatch
        self.nodes = [cell.node for cell in run_of(submission).cells if cell.node >= 0]
        self.texts = {cell.node: _first_line(texts[cell.id]) for cell in run_of(submission).cells if cell.node >= 0}
        self.states: dict[int, NodeState] = {}
        self.summary: DispatchSummary = client.summary(dispatch)
        self._version = 0

    def update(self, wait: float) -> bool:
        """Fetch what has changed; return whether the run has ended."""
        changes = self._client.changes(self.dispatch, self._version, wait)
        self.summary, self._version = changes.summary, changes.summary.version
        self.states.update({state.node: state for state in changes.nodes})
        return self.summary.status in TERMINAL

    def table(self, *, whole: bool = False) -> Table:
        """Return the table, around the cell that runs where there are many cells."""
        numbers = range(1, len(self.nodes) + 1)
        return cell_table(self.nodes, self.texts, self.states, numbers if whole else _window(self._at(), numbers))

    def order(self, *, with_waits: bool) -> list[str]:
        """Return which cells ran side by side, and with `with_waits` also which waited, as lines for people."""
        from covalab.core.explanations import order_lines

        asked = {number: node for number, node in enumerate(self.nodes, 1) if with_waits or self._began_early(number)}
        details = {number: self._client.node(self.dispatch, node) for number, node in asked.items()}
        return order_lines({number: one.reuse.reasons for number, one in details.items() if one.reuse is not None})

    def _began_early(self, number: int) -> bool:
        """Return whether a cell began before the one before it had ended."""
        before, state = (self.states.get(node) for node in (self.nodes[number - 2], self.nodes[number - 1]))
        if number == 1 or before is None or state is None or before.ended_at is None or state.started_at is None:
            return False
        return state.started_at < before.ended_at

    def _at(self) -> int:
        """Return the number of the cell that runs, or would be next."""
        done = (state for state in self.states.values() if state.status == "completed")
        return min(sum(1 for _ in done) + 1, len(self.nodes))


def cell_table(
    nodes: Sequence[int],
    texts: Mapping[int, str],
    states: Mapping[int, NodeState],
    numbers: Sequence[int],
    now: float | None = None,
) -> Table:
    """Return the table of some cells.

    Parameters
    ----------
    nodes
        The nodes of all cells, in order.
    texts, states
        The first line and the state of each, by node.
    numbers
        The numbers of the cells that are shown, from 1 on.
    now
        What time it is for cells that run; by the clock, if not given.
    """
    found = table("cell", "", "status", "took")
    if numbers and numbers[0] > 1:
        found.add_row("…", f"{numbers[0] - 1} before", "", "")
    for number in numbers:
        node = nodes[number - 1]
        state = states.get(node)
        if state is None:
            found.add_row(str(number), plain_text(texts[node]), "", "")
            continue
        took = run_time_text(state.started_at, state.ended_at if state.ended_at is not None else now)
        found.add_row(str(number), plain_text(texts[node]), _status(state), "" if state.is_reused else took)
    if numbers and numbers[-1] < len(nodes):
        found.add_row("…", f"{len(nodes) - numbers[-1]} more", "", "")
    return found


def _status(state: NodeState) -> Text:
    if state.status == "skipped":
        return plain_text("not run", "bright_black")
    return plain_text("REUSED", "green") if state.is_reused else status_text(state.status)


def follow(
    dispatch: str,
    name: str,
    *,
    timeout: float | None,
    quiet: bool,
    with_waits: bool = False,
    on_change: Callable[[Mapping[int, NodeState]], None] | None = None,
) -> int:
    """Show a run until it has ended, and return the exit code of the command.

    Parameters
    ----------
    dispatch
        The id of the run.
    name
        The notebook, for messages.
    timeout
        Seconds after which it is cancelled.
    quiet
        Whether nothing is shown while it runs.
    with_waits
        Whether the end says for which others cells waited that did not run side by side.
    on_change
        What is called with the states of the cells, by node, at least once a second while it runs.
    """
    from covalab.client import connect

    cells = _Cells(connect(), dispatch)
    if not quiet:
        click.echo(f"{name} runs in the background as {dispatch}", err=True)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        is_over = _watch(cells, deadline, on_change, quiet=quiet)
    except KeyboardInterrupt:
        return _interrupted(cells)
    if not is_over:
        connect().cancel(dispatch)
        _wait_for_end(cells)
        click.echo(f"{name} took longer than {duration_text(timeout or 0)} and was cancelled", err=True)
        return EXIT_FAILED
    return _report(cells, name, quiet=quiet, with_waits=with_waits)


def _watch(
    cells: _Cells,
    deadline: float | None,
    on_change: Callable[[Mapping[int, NodeState]], None] | None,
    *,
    quiet: bool,
) -> bool:
    """Update the table until the run has ended; return whether it has ended in time."""
    with _shown(cells, quiet=quiet) as show:
        while True:
            left = _WAIT_SECONDS if deadline is None else min(_WAIT_SECONDS, deadline - time.monotonic())
            if left <= 0:
                return False
            is_over = cells.update(left)
            show()
            if is_over:
                return True
            if on_change is not None:
                on_change({node: cells.states[node] for node in cells.nodes if node in cells.states})


@contextmanager
def _shown(cells: _Cells, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """Show the table live on a terminal; elsewhere one line for each cell that has ended."""
    if quiet:
        yield lambda: None
        return
    out = console()
    if out.is_terminal:
        from rich.live import Live

        with Live(cells.table(), console=out, refresh_per_second=4, transient=True) as live:
            yield lambda: live.update(cells.table())
        out.print(cells.table(whole=True))
    else:
        yield _Lines(cells).print_new


class _Lines:
    """Lines about cells that have ended, for logs."""

    def __init__(self, cells: _Cells) -> None:
        self._cells = cells
        self._printed: set[int] = set()

    def print_new(self) -> None:
        """Print a line for each cell that has ended since."""
        cells = self._cells
        for number, node in enumerate(cells.nodes, 1):
            state = cells.states.get(node)
            if node in self._printed or state is None or state.ended_at is None or state.status == "skipped":
                continue
            self._printed.add(node)
            took = "" if state.is_reused else run_time_text(state.started_at, state.ended_at)
            count = f"{number}/{len(cells.nodes)}"
            status = "REUSED" if state.is_reused else covalent_text(state.status)
            click.echo(f"[{count}] {status} {took:>8}  {plain_text(cells.texts[node])}", err=True)


def _report(cells: _Cells, name: str, *, quiet: bool, with_waits: bool) -> int:
    summary = cells.summary
    if summary.status == "completed":
        if not quiet:
            took = run_time_text(summary.started_at, summary.ended_at)
            n_reused = sum(1 for node in cells.nodes if node in cells.states and cells.states[node].is_reused)
            why = f"; {n_reused} reused (`covalab explain {summary.id} CELL` says why)" if n_reused else ""
            click.echo(f"{name}: {len(cells.nodes)} cells in {took}{why}", err=True)
            for line in cells.order(with_waits=with_waits):
                click.echo(line, err=True)
        return 0
    if summary.status == "cancelled":
        click.echo(f"{name} was cancelled; `covalab run --resume {summary.id}` goes on", err=True)
        return EXIT_FAILED
    from covalab.client import connect

    record = connect().record(cells.dispatch, outputs="none")
    failures = {node: one for node, one in record.failures.items() if record.nodes[node].status == "failed"}
    for node, failure in sorted(failures.items()):
        number = cells.nodes.index(node) + 1 if node in cells.nodes else 0
        click.echo(f"cell {number} of {name} failed:", err=True)
        click.echo(str(plain_text(failure.traceback.rstrip() or failure.reason)), err=True)
    for number, node in enumerate(cells.nodes, 1):
        if node in record.failures and node not in failures:
            reason = record.failures[node].message
            click.echo(str(plain_text(f"cell {number} was not run: {reason}")), err=True)
    left = sum(1 for node in cells.nodes if node in cells.states and cells.states[node].status == "skipped")
    after = f"; {left} after it {'was' if left == 1 else 'were'} not run" if left else ""
    click.echo(f"mend the cell, then `covalab run --resume {summary.id}` runs what is left{after}", err=True)
    return EXIT_FAILED


def _interrupted(cells: _Cells) -> int:
    """Ask on a terminal whether to cancel; elsewhere cancel."""
    from covalab.client import connect

    goes_on = False
    if sys.stdin.isatty() and sys.stderr.isatty():
        try:
            question = "\nCancel the run? Otherwise it goes on in the background"
            goes_on = not click.confirm(question, default=True, err=True)
        except (click.Abort, KeyboardInterrupt):  # a second Ctrl-C
            goes_on = False
    if goes_on:
        click.echo(f"it goes on; `covalab export {cells.dispatch} -o OUT` writes the executed notebook", err=True)
    else:
        connect().cancel(cells.dispatch)
        _wait_for_end(cells)
        click.echo(f"cancelled; `covalab run --resume {cells.dispatch}` goes on from there", err=True)
    return EXIT_INTERRUPTED


def _wait_for_end(cells: _Cells) -> None:
    while not cells.update(_WAIT_SECONDS):
        pass


def _first_line(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line), "")
    return first if len(first) <= _TEXT else f"{first[: _TEXT - 1]}…"


def _window(at: int, numbers: Sequence[int]) -> Sequence[int]:
    start = max(0, min(at - _MOST_ROWS // 2, len(numbers) - _MOST_ROWS))
    return numbers[start : start + _MOST_ROWS]
