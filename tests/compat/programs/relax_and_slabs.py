"""A program of quacc's users: relax a crystal, cut slabs from it, relax these; with ASE's EMT calculator.

Prints the energies as JSON, the same with and without an engine.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ase.build import bulk
from quacc import flow, job, subflow
from quacc.recipes.emt.core import relax_job, static_job
from quacc.recipes.emt.slabs import bulk_to_slabs_flow

SMALL = {"min_slab_size": 5.0, "min_length_width": 2.0, "min_vacuum_size": 6.0}


@job
def strained(atoms: Any, percent: float) -> Any:
    """Stretch a copy of the cell: without an engine the caller's own would be stretched."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell * (1 + percent / 100), scale_atoms=True)
    return atoms


@subflow
def scanned(atoms: Any, n: int) -> Any:
    """Calculate for several strains; how many is known only when it runs."""
    return [static_job(strained(atoms, percent)) for percent in range(n)]


@flow
def relax_then_static(atoms: Any) -> Any:
    """One after the other."""
    relaxed = relax_job(atoms, relax_cell=True)
    return static_job(relaxed["atoms"])


@flow
def relax_then_scan(atoms: Any) -> Any:
    """A subflow of the program's own, after a job of quacc's."""
    return scanned(relax_job(atoms)["atoms"], 3)


def run(workflow: Any, *args: Any, **kwargs: Any) -> Any:
    """Call the workflow, or dispatch it and wait."""
    if sys.argv[1:] != ["covalent"]:
        return workflow(*args, **kwargs)
    import covalent as ct

    result = ct.get_result(ct.dispatch(workflow)(*args, **kwargs), wait=True)
    assert result.status == ct.status.COMPLETED, result.error
    nodes = [node for node in result.get_all_node_results() if not node["node_name"].startswith((":parameter:", ":el"))]
    inner = [node["sublattice_result"] for node in nodes if node["sublattice_result"] is not None]
    print([node["node_name"] for node in nodes], [sub.lattice.__name__ for sub in inner], file=sys.stderr)
    return result.result


if __name__ == "__main__":
    copper = bulk("Cu")
    copper.rattle(0.05, seed=1)
    found = [run(relax_then_static, copper)]
    found += run(relax_then_scan, copper)
    found += run(bulk_to_slabs_flow, bulk("Cu"), make_slabs_kwargs=SMALL)
    print(json.dumps([one["results"]["energy"] for one in found]))
