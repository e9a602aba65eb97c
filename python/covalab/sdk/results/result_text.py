"""Text of a result: the lines that printing one shows, in Covalent's order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final, Protocol

from covalab.core.covalent_status import Status
from covalab.core.transportable import TransportableObject

TEXT_LIMIT: Final = 4_000
"""Longest text of one value, in characters."""


class PrintedResult(Protocol):
    """The part of `Result` that is printed."""

    @property
    def status(self) -> Status:
        """The status of the dispatch."""
        ...

    @property
    def inputs(self) -> TransportableObject:
        """The arguments of the workflow."""
        ...

    @property
    def error(self) -> str | None:
        """The tasks that failed, as text."""
        ...

    @property
    def start_time(self) -> dt.datetime | None:
        """When the dispatch began."""
        ...

    @property
    def end_time(self) -> dt.datetime | None:
        """When the dispatch ended."""
        ...

    @property
    def results_dir(self) -> str:
        """The folder for files."""
        ...

    @property
    def dispatch_id(self) -> str:
        """The id of the dispatch."""
        ...

    def get_all_node_outputs(self) -> Mapping[str, TransportableObject | None]:
        """Return the output of every node by name and number."""
        ...


def result_text(result: PrintedResult, value: str | None, *, leaves_out_virtual: bool) -> str:
    """Return a result as text.

    Parameters
    ----------
    result : Result
        The result.
    value : str or None
        The text of its value.
    leaves_out_virtual : bool
        Whether nodes that never run are left out.
    """
    inputs = result.inputs.get_deserialized()
    args = [str(one)[:TEXT_LIMIT] for one in inputs["args"]]
    kwargs = {name: str(one)[:TEXT_LIMIT] for name, one in inputs["kwargs"].items()}
    lines = [
        "",
        "Lattice Result",
        "==============",
        f"status: {result.status}",
        f"result: {value}",
        f"input args: {args}",
        f"input kwargs: {kwargs}",
        f"error: {result.error}",
        "",
        f"start_time: {result.start_time}",
        f"end_time: {result.end_time}",
        "",
        f"results_dir: {result.results_dir}",
        f"dispatch_id: {result.dispatch_id}",
        "",
        "Node Outputs",
        "------------",
    ]
    for name, output in result.get_all_node_outputs().items():
        if not (leaves_out_virtual and name.startswith(":")):
            lines.append(f"{name}: {None if output is None else output.object_string}")
    return "\n".join(lines) + "\n"
