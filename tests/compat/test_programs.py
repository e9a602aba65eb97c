"""Programs as Covalent's how-to pages and its issue tracker show that people write them, with Covalent's answers.

`answers.json` has what each program printed with Covalent 0.240.0 itself: made by ``python run_programs.py covalent
answers.json programs/page programs/howto programs/issues`` in an environment that has it, with its service running and
`COVALENT_EXECUTOR_DIR` naming `programs/plugins`. Each program runs here behind the doorway, and once more with only
its import lines changed. `programs/page` has a program for each row of what such programs once tripped over.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from covalab.client import Client

HERE: Final = Path(__file__).parent
FOLDERS: Final = ("page", "howto", "issues")
PROGRAMS: Final = sorted(f"{name}/{path.stem}" for name in FOLDERS for path in (HERE / "programs" / name).glob("*.py"))
ANSWERS: Final[dict[str, dict[str, Any]]] = json.loads((HERE / "answers.json").read_text())

ROWS: Final = ("d1", "d3", "d4", "d5", "d6", "d7", "b1", "b2", "b3", "b4", "h1", "small")
"""Rows of the page; that a trigger which says that it watches does watch (d2) is tested in `tests/triggers`."""

REFUSED: Final = "TypeError"

DIFFERENCES: Final[dict[str, dict[str, Any]]] = {
    # Covalent installs the empty list of packages that the decorator has by default, which pip refuses.
    "covalent howto/bash_decorator": {"printed": ["COMPLETED [None, None]", "True True"]},
    "covalab howto/bash_decorator": {"printed": ["COMPLETED [None, None]", "True True"]},
    # `sdk.strict_lattices` is on for `import covalab`.
    "covalab page/b1_a_condition": {"error": REFUSED},
    "covalab page/b1_a_loop": {"error": REFUSED},
    "covalab page/b1_a_method": {"error": REFUSED},
    "covalab page/b1_an_empty_list": {"error": REFUSED},
    "covalab page/b1_conversions": {"error": REFUSED},
    "covalab page/b1_or": {"error": REFUSED},
    # A lattice is its function as it is now, with a warning.
    "covalab page/b2_a_second_definition": {"printed": ["[2, (2, 2)]"]},
    "covalab page/b2_two_notebook_sections": {"printed": ["[200, 200]", "200 200"]},
    # Covalent's executors do not look at `conda_env`; behind the doorway one that is missing is none.
    "covalab page/b4_conda_that_is_missing": {"printed": ["FAILED None"]},
}
"""What a program prints here, or the error it ends with, where that is not Covalent's answer; all in COVALENT.md."""

_BOTH: Final = ("covalent", "covalab")
WARNED: Final[dict[str, dict[int, str]]] = {
    "covalent page/b1_a_condition": {
        12: "cannot compare .*answer is False",
        20: "cannot ask for the truth of .*answer is True",
        21: "cannot ask for the truth of .*inside an electron",
    },
    "covalent page/b1_a_loop": {18: "cannot iterate over .*loop runs once", 26: "cannot iterate over .*`a, b = "},
    "covalent page/b1_a_method": {11: "cannot call .*call the method inside an electron"},
    "covalent page/b1_an_empty_list": {12: "cannot iterate over .*no items here"},
    "covalent page/b1_conversions": {12: "cannot convert .*answer is 0"},
    "covalent page/b1_or": {12: "cannot ask for the truth of"},
    **{f"{package} page/b1_text": {11: "the text of <electron 'a'.*is that of a stand-in"} for package in _BOTH},
    "covalab page/b2_a_second_definition": {
        33: "uses 'step' as it is now, defined in .*py, line 28; when the lattice was decorated in .*py, line 20 it "
        "was defined in .*py, line 6|'K' \\(in '(reads|helper)'\\) as it is now, 2; .* it was 1;"
    },
    "covalab page/b2_two_notebook_sections": {27: "uses 'task' as it is now, defined in .*line 17; .*line 9 .*line 4"},
    **{
        f"{package} page/b3_unknown_executor": {16: "electron 'a' asks for executor 'nonexistent': .*dask, local"}
        for package in _BOTH
    },
    "covalent page/b4_conda_that_is_missing": {16: "no conda environment 'missing'.*run in the current environment"},
}
"""Lines of which a program is warned here, and of what. Nothing else may warn."""


@pytest.fixture(scope="module")
def outcomes(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Run all programs, in one process behind the doorway and in one without, at the session's dispatcher."""
    found, running = {}, []
    folders = [str(HERE / "programs" / name) for name in FOLDERS]
    for package in _BOTH:  # side by side: they mostly wait
        out = tmp_path_factory.mktemp(package) / "answers.json"
        command = [sys.executable, *(["-m", "covalab.compat"] if package == "covalent" else [])]
        command += [str(HERE / "run_programs.py"), package, str(out), *folders]
        running.append((package, out, subprocess.Popen(command, stderr=subprocess.PIPE, text=True)))
    for package, out, process in running:
        _, said = process.communicate()
        assert process.returncode == 0, said
        found.update({f"{package} {name}": answer for name, answer in json.loads(out.read_text()).items()})
    return found


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("package", _BOTH)
def test_a_program_answers_as_with_covalent(package: str, program: str, outcomes: dict[str, dict[str, Any]]) -> None:
    """The same lines, or the difference that is written down; and a warning exactly where one is expected."""
    key = f"{package} {program}"
    found = outcomes[key]
    wanted = DIFFERENCES.get(key, ANSWERS[program])

    if wanted.get("error"):
        assert found["error"].partition(":")[0] == wanted["error"], found
    else:
        assert (found["error"], found["printed"]) == ("", wanted["printed"])
    expected = WARNED.get(key, {})
    warned = [(int(line), text) for line, _, text in (one.partition(": ") for one in found["warned"])]
    assert {line for line, _ in warned} == expected.keys()
    for line, text in warned:
        assert re.search(expected[line], text, re.DOTALL), text


def test_there_are_enough_programs_and_each_row_has_one(live: Client) -> None:
    """Every answer is of a program that is there; no difference or warning is about one that is not."""
    assert set(ANSWERS) == set(PROGRAMS)
    assert {key.partition(" ")[2] for key in (*DIFFERENCES, *WARNED)} <= set(PROGRAMS)
    assert len([name for name in PROGRAMS if not name.startswith("page/")]) >= 40
    assert {name.partition("/")[2].partition("_")[0] for name in PROGRAMS if name.startswith("page/")} == set(ROWS)
    assert not [name for name, answer in ANSWERS.items() if answer["error"]]
