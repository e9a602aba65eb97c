"""Provenance of a recorded dispatch as an RO-Crate."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from pathlib import Path
from typing import Final

from covalab.core.errors import CovalabError
from covalab.sdk.values import FieldDict

NO_LIBRARY: Final = (
    "an RO-Crate is written by the library rocrate: pip install 'covalab[crate]', or pip install rocrate"
)

_ACTION_STATUS: Final = {"completed": "CompletedActionStatus", "failed": "FailedActionStatus"}


def write_crate(target: Path, provenance: FieldDict, outputs: dict[str, bytes]) -> Path:
    """Write an RO-Crate: a folder, or a ZIP file if the name ends so.

    Parameters
    ----------
    target
        The path.
    provenance
        Of `Result.provenance`.
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
