"""Use packages that are not installed, as the how-to "add pip dependencies to an electron" does.

The packages are wheels made on the spot, found through options of pip.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from tests.wheels import make_wheel

import covalab as ct

WHEELS = Path(tempfile.mkdtemp())
FIND = ["--no-index", f"--find-links={WHEELS}"]
REQUIREMENTS = WHEELS / "requirements.txt"


def version() -> tuple[str, Any]:
    """Return the version of the package that this task sees, and an object of it."""
    import covalab_two_versions as package  # type: ignore[import-not-found]

    return package.VERSION, package.Thing()


def has_it(after: Any) -> bool:
    """Return whether a task without the dependency can import it."""
    return importlib.util.find_spec("covalab_two_versions") is not None


old = ct.electron(version, deps_pip=ct.DepsPip([*FIND, "covalab-two-versions<2"]))
plain = ct.electron(has_it)
missing = ct.electron(version, deps_pip=ct.DepsPip([*FIND, "covalab-two-versions==3"]))


@ct.lattice
def workflow(path: str) -> Any:
    """Use two versions in one workflow, the second by a requirements file."""
    new = ct.electron(version, deps_pip=ct.DepsPip(reqs_path=path))
    one, thing = old()
    two, _ = new()
    return [one, thing.kind, two, plain([one, two])]


def main() -> None:
    """Check that each electron imports its own version and others none; a failed installation shows the command."""
    for number in ("1.0", "2.0"):
        make_wheel(WHEELS, "covalab_two_versions", number, f"VERSION = '{number}'\nclass Thing:\n    kind = 'thing'\n")
    REQUIREMENTS.write_text("\n".join([*FIND, "covalab-two-versions>=2"]))
    result = ct.dispatch_sync(workflow)(str(REQUIREMENTS))
    assert result.status == ct.status.COMPLETED, result.error
    assert result.result == ["1.0", "thing", "2.0", False]
    assert importlib.util.find_spec("covalab_two_versions") is None

    result = ct.dispatch_sync(ct.lattice(missing))()
    error = result.get_node_result(0)["error"]
    assert result.status == ct.status.FAILED
    assert "pip install" in error
    assert "covalab-two-versions==3" in error
