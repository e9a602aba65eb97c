"""Provenance and comparison of recorded dispatches."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import covalab as ct
from covalab.cli import main
from covalab.client import Client


@ct.electron
def scaled(x: float, factor: float = 2.0) -> float:
    """Multiply."""
    return x * factor


@ct.electron
def listed(x: float) -> Any:
    """Return a dictionary with hostile names."""
    return {"<script>alert(1)</script>": x}


@ct.lattice
def study(x: float) -> Any:
    """Run both."""
    return listed(scaled(x))


def test_a_dispatch_knows_how_it_came_about_and_how_another_differs(
    live: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its source, arguments, versions and commit; as a crate; beside a run of other arguments and code."""
    one, same = ct.dispatch(study)(3.0), ct.dispatch(study)(3.0)

    @ct.electron
    def scaled(x: float, factor: float = 2.0) -> float:
        return factor * x + 1

    @ct.lattice
    def study_(x: float) -> Any:
        return listed(scaled(x))

    other = ct.dispatch(study_)(4.0)
    results = [ct.get_result(run, wait=True) for run in (one, same, other)]

    known = results[0].provenance()
    assert "listed(scaled(x))" in known["source"]
    assert "x * factor" in known["functions"]["scaled"]
    assert known["arguments"]["x of scaled"] == "3.0"
    assert known["packages"]["msgspec"]
    assert known["host"]
    assert "variables" not in json.dumps(known)

    assert ct.compare(one, same).is_empty
    compared = ct.compare(results[0], other)
    found = compared.difference
    assert found.arguments["x of scaled"] == ("3.0", "4.0")
    assert "-    return x * factor" in found.code["scaled"]
    assert [pair.same for pair in found.nodes] == [False, False]
    assert "<script>" not in compared._repr_html_()
    assert "&lt;script&gt;" in compared._repr_html_()
    assert "+    return factor * x + 1" in CliRunner().invoke(main, ["compare", one, other]).output

    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["export", one, "-o", "crate.zip"])
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile("crate.zip") as crate:
        assert {"ro-crate-metadata.json", "provenance.json", "workflow.py"} <= {*crate.namelist()}
        written = next(name for name in crate.namelist() if name.endswith("listed.json"))
        assert json.loads(crate.read(written)) == {"<script>alert(1)</script>": 6.0}
        graph = json.loads(crate.read("ro-crate-metadata.json"))["@graph"]
    action = next(it for it in graph if it["@type"] == "CreateAction")
    assert action["actionStatus"] == "CompletedActionStatus"
    again = CliRunner().invoke(main, ["export", one, "-o", "crate.zip"])
    assert (again.exit_code, "there already" in again.output) == (1, True)
