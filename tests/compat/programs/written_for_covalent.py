"""A program written for Covalent, not a character changed: `python -m covalab.compat` runs it."""

from __future__ import annotations

import json
import sys

import covalent as ct
from covalent._results_manager.result import Result
from covalent._shared_files.util_classes import RESULT_STATUS
from covalent._workflow.lattice import Lattice


@ct.electron
def inside(x: int) -> tuple[int, str, str]:
    """Use Covalent where the task runs: by the program's name for it, and imported anew."""
    import covalent._workflow.electron as electrons
    from covalent import TransportableObject

    closed = TransportableObject(x + 1)
    return closed.get_deserialized(), ct.__version__, electrons.Electron.__module__


@ct.lattice
def workflow(x: int) -> object:
    """Compose."""
    return inside(x)


if __name__ == "__main__":
    assert isinstance(workflow, Lattice)
    result = ct.get_result(ct.dispatch(workflow)(int(sys.argv[1])), wait=True)
    assert isinstance(result, Result)
    assert result.status == RESULT_STATUS.COMPLETED, result.error
    print(json.dumps([result.dispatch_id, result.result, sys.argv[1:]]))
