"""Short programs, each using one feature as a user of Covalent would, run against a real dispatcher.

Every file in a folder of `programs` is one; `programs/tasks.py` has the electrons that several of them use. A program
uses the public API only, and its `main()` asserts value, type, status and node numbers.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import cloudpickle
import pytest

FOLDER = Path(__file__).parent / "programs"
PROGRAMS = sorted(FOLDER.glob("*/**/[!_]*.py"))


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(FOLDER).with_suffix("").as_posix())
def test_a_program_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends without an error, in the folder it lies in."""
    monkeypatch.chdir(path.parent)
    name = f"program_{path.parent.name}_{path.stem}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    program = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, program)
    # Functions and classes of a program are pickled by value, as if it were a script or a notebook.
    cloudpickle.register_pickle_by_value(program)
    try:
        spec.loader.exec_module(program)
        program.main()
    finally:
        cloudpickle.unregister_pickle_by_value(program)
