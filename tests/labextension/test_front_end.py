"""Tests of the front end: its own tests, types, style, and the parts that must agree with Python."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.labextension.front_end import ROOT, run
from tests.view.graphs import graphs, mapped

from covalab._version import __version__
from covalab.core.labels import labels
from covalab.core.model import Graph
from covalab.jupyter.server.extension import EVENTS
from covalab.view.bundle import MIME_TYPE
from covalab.view.cell_view import CELL_MIME_TYPE
from covalab.view.layout import place, rank
from covalab.view.shape import SESSION, shape_of


def generator(name: str) -> ModuleType:
    """Load one of the scripts that write a file of labextension/src."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "labextension" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["generate_wire", "generate_words"])
def test_generated_files_are_up_to_date(name: str) -> None:
    """wire.ts has the structs of core/model.py, and words.ts the tables of view/words.py, as they are now."""
    script = generator(name)

    assert script.TARGET.read_text(encoding="utf-8") == script.render(), f"run: python labextension/{name}.py"


def test_the_package_has_one_version() -> None:
    """Page, wheel and labextension have the same version."""
    assert json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["version"] == __version__


def test_mime_type_and_event_schema_agree() -> None:
    """The MIME type and the event schema are constants in both languages."""
    tokens = (ROOT / "labextension" / "src" / "tokens.ts").read_text(encoding="utf-8")

    assert re.findall(r"MIME_TYPE = '(.*)'", tokens) == [MIME_TYPE, CELL_MIME_TYPE]
    assert re.findall(r"EVENT_SCHEMA = '(.*)'", tokens) == [EVENTS]


def test_types_hold() -> None:
    """The TypeScript compiler reports nothing."""
    run("node_modules/typescript/bin/tsc", "-p", "labextension/tsconfig.json")


def test_style_holds() -> None:
    """The linter reports nothing; among other things it forbids every way to parse HTML."""
    run("node_modules/eslint/bin/eslint.js", "-c", "labextension/eslint.config.mjs", "labextension")


def test_the_front_ends_own_tests_pass() -> None:
    """Node's test runner passes labextension/tests."""
    printed = run("labextension/run-tests.mjs")

    passed = re.search(r"^\S+ pass (\d+)$", printed, re.MULTILINE)
    assert passed, printed
    assert int(passed[1]) > 0, printed


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(graphs(names=("x", SESSION)), st.booleans(), st.sampled_from([0, 2, 12])),
        min_size=20,
        max_size=40,
    )
)
def test_browser_and_python_draw_alike(tmp_path: Path, tasks: list[tuple[Graph, bool, int]]) -> None:
    """Browser and Python draw the same picture: same units, layers and coordinates."""
    tasks = [*tasks, (mapped(30), False, 12)]
    bundle = str(tmp_path / "same.mjs")
    run(
        "node_modules/esbuild/bin/esbuild",
        "labextension/tests/same.ts",
        "--bundle",
        "--platform=node",
        "--format=esm",
        f"--outfile={bundle}",
        "--log-level=warning",
    )
    requests = [
        {"nodes": graph.nodes, "edges": graph.edges, "everything": everything, "threshold": threshold}
        for graph, everything, threshold in tasks
    ]

    answers = json.loads(run(bundle, text=msgspec.json.encode(requests).decode()))

    for (graph, everything, threshold), answer in zip(tasks, answers, strict=True):
        shape = shape_of(graph.nodes, graph.edges, everything=everything, threshold=threshold)
        ranks = rank(len(shape.units), shape.edges)
        places = place(ranks, [20.0 + index % 3 * 13 for index in range(len(shape.units))], 7)
        assert answer == {
            "units": [[unit.kind, unit.members] for unit in shape.units],
            "edges": [list(edge) for edge in shape.edges],
            "hidden": shape.hidden,
            "labels": [[node, label] for node, label in sorted(labels(graph.nodes, graph.edges).items())],
            "layers": ranks.layers,
            "routes": ranks.routes,
            "across": places.across,
            "breadth": places.breadth,
        }
