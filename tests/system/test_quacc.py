"""quacc 1.0.0, a public package written against Covalent, runs through the doorway and finds the same energies.

It lives in an environment of its own, made on the first run and kept in the folder for temporary files: quacc is pinned
to the last release that supports Covalent, and brings a hundred megabytes that nothing else here needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import pytest

from covalab.client import Client

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "tests" / "compat" / "programs" / "relax_and_slabs.py"
PACKAGE = "quacc==1.0.0"


def environment_with_quacc() -> Path:
    """Return the Python of an environment with quacc and this checkout's covalab; make it if it is not there."""
    project = msgspec.toml.decode((ROOT / "pyproject.toml").read_bytes())["project"]
    needed = [PACKAGE, *project["dependencies"]]
    name = hashlib.sha256(repr((sys.version, sys.base_prefix, str(ROOT), needed)).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"covalab-quacc-{os.getuid()}-{name}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    if shutil.which("uv"):
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        install = ["uv", "pip", "install", "--quiet", "--python", str(python)]
    else:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, *needed], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "covalab-checkout.pth").write_text(f"{ROOT / 'python'}\n")
    (folder / "complete").touch()
    return python


@pytest.mark.timeout(900)  # making the environment takes a minute, and importing quacc ten seconds in each process
@pytest.mark.nightly
def test_quacc_runs_and_finds_the_same_energies(tmp_path: Path) -> None:
    """Jobs, flows and subflows, of quacc's own and of a program's, on workers that import it through the doorway."""
    python = environment_with_quacc()
    data = tmp_path / "data"
    plain = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("QUACC_", "PYTHON"))},
        "COVALAB_DATA_DIR": str(data),
        "QUACC_CONFIG_FILE": str(tmp_path / "quacc.yaml"),
        "QUACC_RESULTS_DIR": str(tmp_path),
    }
    without = subprocess.run(
        [python, str(PROGRAM)], env=plain, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    through = subprocess.run(
        [python, "-m", "covalab.compat", str(PROGRAM), "covalent"],
        env={**plain, "QUACC_WORKFLOW_ENGINE": "covalent"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    Client(data, start=False).stop()

    assert through.returncode == 0, through.stderr[-4_000:]
    energies = json.loads(without.stdout)
    assert len(energies) > 5
    assert json.loads(through.stdout) == pytest.approx(energies, rel=1e-12)
    for nodes in (
        "['relax_job', ':relax_job.__getitem__', 'static_job', ':postprocess:reconstruct'] []",
        "['relax_job', ':relax_job.__getitem__', ':sublattice:scanned', ':postprocess:reconstruct'] ['scanned']",
        "[':sublattice:bulk_to_slabs_subflow', ':postprocess:reconstruct'] ['bulk_to_slabs_subflow']",
    ):
        assert nodes in through.stderr
