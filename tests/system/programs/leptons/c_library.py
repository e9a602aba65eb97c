"""Call a function of a C library, compiled by the electron's own dependencies."""

from __future__ import annotations

import tempfile
from ctypes import POINTER, c_double, c_int
from pathlib import Path

import covalab as ct

FOLDER = Path(tempfile.mkdtemp())
SOURCE = "void scale(int factor, double *xs, int *n) { xs[0] *= factor; xs[1] *= factor; *n = 2; }"

scale = ct.Lepton(
    "C",
    library_name=f"{FOLDER}/libscale.so",
    function_name="scale",
    argtypes=[
        (c_int, ct.Lepton.INPUT),
        (POINTER(c_double), ct.Lepton.INPUT_OUTPUT),
        (POINTER(c_int), ct.Lepton.OUTPUT),
    ],
    deps_bash=[f"cc -shared -fPIC -o {FOLDER}/libscale.so {FOLDER}/scale.c"],
)
missing = ct.Lepton("C", library_name=f"{FOLDER}/nothing.so", function_name="scale", display_name="missing")


@ct.lattice
def workflow(factor: int) -> object:
    """Scale twice, then fail."""
    xs, n = scale(factor, [1.0, 2.0])
    return [scale(factor, xs), n]


def main() -> None:
    """Check values, names of nodes, and the error for a missing library."""
    (FOLDER / "scale.c").write_text(SOURCE)
    result = ct.dispatch_sync(workflow)(3)
    assert result.status == ct.status.COMPLETED, result.error
    assert result.result == [([9.0, 18.0], 2), 2]
    assert result.get_node_result(0)["node_name"] == "scale"

    result = ct.dispatch_sync(ct.lattice(missing))()
    assert result.status == ct.status.FAILED
    assert result.get_node_result(0)["node_name"] == "missing"
    assert "nothing.so' of the lepton 'scale' cannot be loaded" in result.get_node_result(0)["error"]
