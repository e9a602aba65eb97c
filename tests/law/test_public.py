"""The law of the background for notebooks that others have written: the examples in source archives of packages.

They are fetched when the test runs, and none is kept.
"""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

PACKAGES = ("control==0.10.2", "corner==2.3.0", "lmfit==1.3.4")
TOP = Path(__file__).parents[2]


@pytest.mark.nightly(1)
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("package", PACKAGES)
def test_notebooks_of_others_are_the_same_in_the_background(package: str, tmp_path: Path) -> None:
    """Those that run here, and twice the same, are the same in each way."""
    notebooks = _notebooks_of(package, tmp_path)
    python = _environment_with(package, tmp_path)

    done = subprocess.run(
        [python, "-m", "tests.law", "--folder", notebooks, "--details"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )

    print(done.stdout)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert "0 of 0 the same" not in done.stdout


def _notebooks_of(package: str, folder: Path) -> Path:
    """Return a folder with the notebooks of a package's source archive, and with what is beside them."""
    pip = shutil.which("pip") or "pip3"
    archive = folder / "archive"
    subprocess.run(
        [pip, "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", archive, package], check=True
    )
    with tarfile.open(next(archive.glob("*.tar.gz"))) as opened:
        opened.extractall(archive, filter="data")
    found = folder / "notebooks"
    found.mkdir()
    for path in archive.rglob("*.ipynb"):
        shutil.copy(path, found)
    return found


def _environment_with(package: str, folder: Path) -> Path:
    """Return the Python of an environment that has the package beside everything that this one has."""
    made = folder / "environment"
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, made], check=True)
    python = made / "bin" / "python"
    constraints = ["--constraint", str(TOP / "constraints.txt")]
    subprocess.run(["uv", "pip", "install", "--quiet", "--python", str(python), *constraints, package], check=True)
    packages = next((made / "lib").glob("python*")) / "site-packages"
    lines = "\n".join(f"import site; site.addsitedir({path!r})" for path in site.getsitepackages())
    (packages / "beside.pth").write_text(lines)
    return python
