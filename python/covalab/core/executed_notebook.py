"""Executed notebook: a document with the outputs, counts and times of the nodes that ran its cells. Pure."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from covalab.core.model import DispatchSummary, NodeState
from covalab.core.notebook_run import NotebookRun
from covalab.core.outputs import Output

KEY: Final = "covalab"
"""Key of what covalab adds to the metadata of a document and of its cells."""

_RAN: Final = frozenset({"completed", "failed", "running"})
_OF_ONE_RUN: Final = frozenset({"reused", "not_run"})
_FIELDS: Final = {
    "stream": ("name", "text"),
    "display_data": ("data", "metadata"),
    "execute_result": ("data", "metadata", "execution_count"),
    "error": ("ename", "evalue", "traceback"),
}
"""Fields that nbformat knows, by the type of an output; it refuses others."""


def executed(
    document: Mapping[str, Any],
    run: NotebookRun,
    summary: DispatchSummary,
    states: Sequence[NodeState],
    outputs: Mapping[int, Sequence[Output]],
    not_run: Mapping[int, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return a document as its cells are now.

    Parameters
    ----------
    document
        The document without outputs.
    run
        Which cell is which node.
    summary, states
        The dispatch and its nodes.
    outputs
        The outputs of those nodes that have some.
    not_run
        Why nodes were not run, of those that say so.
    """
    made = copy.deepcopy(dict(document))
    nodes = {cell.id: cell.node for cell in run.cells if cell.node >= 0}
    number = 0
    for cell in made["cells"]:
        node = nodes.get(cell.get("id", ""))
        if node is None or cell["cell_type"] != "code":
            continue
        state = states[node]
        did_run = state.status in _RAN
        number += did_run
        cell["execution_count"] = number if did_run else None
        cell["outputs"] = [_in_format(one, number) for one in outputs.get(node, ())]
        _add_metadata(cell.setdefault("metadata", {}), summary, state)
        if node in not_run:
            cell["metadata"][KEY]["not_run"] = not_run[node]
            cell["outputs"] = [{"output_type": "stream", "name": "stderr", "text": f"not run: {not_run[node]}\n"}]
    made.setdefault("metadata", {})[KEY] = {
        **{name: value for name, value in _as_dict(made["metadata"].get(KEY)).items() if name != "resumed"},
        "dispatch_id": summary.id,
        "status": summary.status,
        "input_path": run.path,
        "parameters": run.parameters,
        **({"resumed": run.resumed} if run.resumed else {}),
        **_times(summary.started_at, summary.ended_at),
    }
    return made


def _in_format(output: Output, number: int) -> dict[str, Any]:
    kind = output["output_type"]
    found = {"output_type": kind, **{name: output[name] for name in _FIELDS[kind] if name in output}}
    if kind in ("display_data", "execute_result"):
        found.setdefault("metadata", {})
    if kind == "execute_result":
        found["execution_count"] = number
    return found


def _add_metadata(metadata: dict[str, Any], summary: DispatchSummary, state: NodeState) -> None:
    metadata[KEY] = {
        **{name: value for name, value in _as_dict(metadata.get(KEY)).items() if name not in _OF_ONE_RUN},
        "dispatch_id": summary.id,
        "node": state.node,
        "status": state.status,
        **({"reused": True} if state.is_reused else {}),
        **_times(state.started_at, state.ended_at),
    }
    if state.started_at is not None and state.ended_at is not None:
        # JupyterLab shows these beside a cell.
        metadata["execution"] = {
            "iopub.execute_input": _iso(state.started_at),
            "shell.execute_reply.started": _iso(state.started_at),
            "shell.execute_reply": _iso(state.ended_at),
            "iopub.status.idle": _iso(state.ended_at),
        }


def _times(started: float | None, ended: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if started is not None:
        found["start_time"] = _iso(started)
    if started is not None and ended is not None:
        found |= {"end_time": _iso(ended), "duration": round(ended - started, 6)}
    return found


def _iso(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat()


def _as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
