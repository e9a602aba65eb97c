"""Provenance of a recorded dispatch as a dictionary, and as an RO-Crate."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from pathlib import Path
from typing import Final

from covalab.core.errors import CovalabError
from covalab.core.model import DispatchRecord, EdgeKind, NodeKind, Submission
from covalab.core.provenance import unpack_packages
from covalab.sdk.values import FieldDict

NO_LIBRARY: Final = (
    "an RO-Crate is written by the library rocrate: pip install 'covalab[crate]', or pip install rocrate"
)

_ACTION_STATUS: Final = {"completed": "CompletedActionStatus", "failed": "FailedActionStatus"}


def provenance_of(record: DispatchRecord, submission: Submission) -> FieldDict:
    """Return what is known of how a dispatch came about; what an earlier version did not record is empty."""
    summary, environment, taken = record.summary, record.environment, submission.provenance
    git = None if taken is None else taken.git
    return {
        "dispatch_id": summary.id,
        "name": summary.name,
        "status": summary.status,
        "created_at": summary.created_at,
        "started_at": summary.started_at,
        "ended_at": summary.ended_at,
        "source": record.source,
        "functions": {function.name: function.source for function in record.graph.functions if function.source},
        "arguments": arguments_of(record),
        "notebook": summary.notebook,
        "cell": summary.cell,
        "folder": environment.cwd,
        "host": "" if taken is None else taken.host,
        "system": "" if taken is None else taken.system,
        "python": (taken.python if taken is not None else "") or environment.versions.get("python", ""),
        "interpreter": environment.python,
        "covalab": environment.versions.get("covalab", ""),
        "packages": unpack_packages(taken.packages) if taken is not None else {},
        "git": None
        if git is None
        else {"commit": git.commit, "branch": git.branch, "dirty": git.dirty, "remote": git.remote},
    }


def arguments_of(record: DispatchRecord) -> dict[str, str]:
    """Return the arguments of the calls that were given when the graph was built, as short texts, by call and name."""
    found: dict[str, str] = {}
    nodes = record.graph.nodes
    for edge in record.graph.edges:
        source, target = nodes[edge.source], nodes[edge.target]
        if source.kind is NodeKind.PARAMETER and target.kind is NodeKind.ELECTRON and edge.kind is not EdgeKind.WAIT:
            found.setdefault(f"{target.name}[{edge.target}].{edge.name}", record.values[source.value].text)
    return found


def write_crate(target: Path, provenance: FieldDict, outputs: dict[str, bytes]) -> Path:
    """Write an RO-Crate: a folder, or a ZIP file if the name ends so.

    Parameters
    ----------
    target
        The path.
    provenance
        Of `provenance_of`.
    outputs
        Content of each output, by the name of its file.

    Raises
    ------
    CovalabError
        If the library for it is not installed, or there is something at the path.
    """
    try:
        from rocrate.model.contextentity import ContextEntity  # noqa: PLC0415 - most never write a crate
        from rocrate.rocrate import ROCrate  # noqa: PLC0415
    except ImportError as error:
        raise CovalabError(NO_LIBRARY) from error
    if target.exists():
        message = f"{target} is there already; choose another name, or remove it"
        raise CovalabError(message)
    crate = ROCrate()
    name, version = provenance["name"], provenance["covalab"]
    crate.name = f"{name} ({provenance['dispatch_id']})"
    crate.description = f"Run of the workflow {name} with covalab {version}: {provenance['status']}"
    crate.datePublished = _iso(provenance["ended_at"] or provenance["created_at"])
    with tempfile.TemporaryDirectory() as folder:
        added = {}
        for file, content in {**_files(provenance), **outputs}.items():
            path = Path(folder, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            added[file] = crate.add_file(path, file)
        run = crate.add(ContextEntity(crate, f"#{provenance['dispatch_id']}", _action(provenance)))
        software = {"@type": "SoftwareApplication", "name": "covalab", "version": version}
        run["agent"] = crate.add(ContextEntity(crate, "#covalab", software))
        run["result"] = [added[file] for file in outputs]
        run["instrument"] = added["workflow.py"]
        crate.root_dataset["mentions"] = [run]
        crate.write_zip(target) if target.suffix == ".zip" else crate.write(target)
    return target


def _files(provenance: FieldDict) -> dict[str, bytes]:
    texts = {
        "provenance.json": json.dumps(provenance, indent=2, ensure_ascii=False),
        "workflow.py": "\n\n".join([*provenance["functions"].values(), provenance["source"]]),
        "requirements.txt": "".join(f"{name}=={version}\n" for name, version in provenance["packages"].items()),
    }
    return {name: text.encode("utf-8", "backslashreplace") for name, text in texts.items()}


def _action(provenance: FieldDict) -> FieldDict:
    action = {
        "@type": "CreateAction",
        "name": provenance["name"],
        "startTime": _iso(provenance["started_at"] or provenance["created_at"]),
        "endTime": _iso(provenance["ended_at"]),
        "actionStatus": _ACTION_STATUS.get(provenance["status"], "PotentialActionStatus"),
    }
    return {name: value for name, value in action.items() if value}


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat()
