"""`covalab run` and `covalab export`, with a real dispatcher behind them."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.jupyter.runs.notebooks import code, shown, statuses, tagged, wait_for_end, write

import covalab as ct
from covalab.cli import main
from covalab.client import Client

pytestmark = pytest.mark.sampled(12, of="file")

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def covalab(*args: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_a_run_writes_the_executed_notebook_beside_it(live: Client, tmp_path: Path) -> None:
    """The input does not change; standard output stays empty; a line for each cell is in the log."""
    path = write(tmp_path / "report.ipynb", tagged("n = 1", "parameters"), "print(n)\nn * 2")
    before = path.read_bytes()

    ran = covalab("run", path, "-p", "n", "21")

    assert ran.exit_code == 0, ran.output
    assert ran.stdout == ""
    assert path.read_bytes() == before
    found = json.loads((tmp_path / "report.executed.ipynb").read_text())
    assert shown(code(found)[2]) == ["21\n", "42"]
    assert re.search(r"\[3/3\] COMPLETED .*print\(n\)", ran.stderr)
    assert "report.ipynb: 3 cells in" in ran.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["report.executed.ipynb", "report.ipynb"]


def test_a_quiet_run_loads_nothing_that_it_does_not_need(live: Client, tmp_path: Path) -> None:
    """Start-up is most of a short run: nbformat alone takes two seconds to import, for formats that nobody reads."""
    path = write(tmp_path / "report.ipynb", "n = 1")
    code = (
        "import sys; from covalab.cli import main\n"
        f"try: main(['run', '-q', {str(path)!r}])\n"
        "except SystemExit as end: print(end.code)\n"
        "print({'nbformat', 'jsonschema', 'IPython', 'rich', 'packaging', 'psutil'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines()[-2:] == ["0", "set()"]


def test_parameters_in_every_form(live: Client, tmp_path: Path) -> None:
    """As papermill has them; the nearest to the cell's own wins."""
    names = "a = b = c = d = e = f = None"
    path = write(tmp_path / "forms.ipynb", tagged(names, "parameters"), "a, b, c, d, e, f")
    file = tmp_path / "more.yaml"
    file.write_text("e: [1, {x: 2}]\nf: file\n")
    encoded = base64.b64encode(b"{d: base64}").decode()

    ran = covalab(
        *("run", path, "-q", "-o", "-", "-p", "a", "1.5", "-r", "b", "7", "-y", "{c: [true, null], a: 9}"),
        *("-b", encoded, "-f", file, "-p", "f", "None"),
    )

    assert ran.exit_code == 0, ran.output
    assert shown(code(json.loads(ran.stdout))[2]) == ["(1.5, '7', [True, None], 'base64', [1, {'x': 2}], None)"]


def test_a_failing_cell_is_exit_code_1_and_can_be_gone_on_from(live: Client, tmp_path: Path) -> None:
    """The log has the traceback and the command that goes on; the executed notebook is written nevertheless."""
    path = write(tmp_path / "broken.ipynb", "x = 1", "y = x / zero", "y + 1")

    ran = covalab("run", path, "-o", tmp_path / "out.html")

    assert ran.exit_code == 1
    assert "cell 2 of broken.ipynb failed:" in ran.stderr
    assert "NameError: name 'zero' is not defined" in ran.stderr
    assert "cell 3 was not run: follows from cell 2, which failed: it uses `y`" in ran.stderr
    assert "1 after it was not run" in ran.stderr
    assert "NameError" in (tmp_path / "out.html").read_text()
    found = re.search(r"covalab run --resume (\S+)`", ran.stderr)
    assert found is not None

    write(path, "x = 1", "zero = 1\ny = x / zero", "y + 1")
    again = covalab("run", "--resume", found[1], "-q", "-o", "-")

    assert again.exit_code == 0, again.output
    assert shown(code(json.loads(again.stdout))[2]) == ["2.0"]


NOTEBOOK = [
    "import numpy as np\nfrom collections import Counter",
    "def scale(x):\n    return [factor * one for one in x]",
    "factor = 2",
    "rows = [1, 2, 3]\nalias = rows",
    "alias.append(4)\nrows",
    "out = scale(rows)\nprint(out)\nsum(out)",
    "np.random.seed(7)",
    "noise = np.random.rand(3).round(3)\nnoise",
    "words = Counter(['a', 'b', 'a'])\nwords",
    "total = sum(out) + len(words)\ntotal",
]


def _ran(path: Path, *options: str) -> tuple[list[bool], list[list[str]], dict[str, str], str]:
    """Run a notebook; return which cells ran, what they show, and the values of names; for people what was logged."""
    ran = covalab("run", path, "-o", "-", *options)
    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.stdout)
    assert statuses(document) == ["completed"] * len(code(document))
    result = ct.get_result(document["metadata"]["covalab"]["dispatch_id"])
    values = {name: repr(result[name]) for name in ("rows", "alias", "out", "noise", "words", "total", "factor")}
    values["shared"] = str(result["rows"] is result["alias"])
    cells = code(document)
    marks = [cell["metadata"]["covalab"].get("reused", False) for cell in cells]
    return (
        [not one for one in marks],
        [shown(cell) for cell in cells],
        values,
        document["metadata"]["covalab"]["dispatch_id"],
    )


def test_a_second_run_runs_what_was_edited_and_what_depends_on_it(live: Client, tmp_path: Path) -> None:
    """Outputs and values are those of a run of every cell; the views say which cells ran."""
    path = write(tmp_path / "again.ipynb", *NOTEBOOK)
    _ran(path)

    def both(**edits: str) -> list[int]:
        write(path, *(edits.get(f"c{number}", text) for number, text in enumerate(NOTEBOOK)))
        ran, outputs, values, dispatch = _ran(path)
        every, fresh_outputs, fresh_values, _ = _ran(path, "--fresh")
        assert all(every)
        assert (outputs, values) == (fresh_outputs, fresh_values)
        explained = [
            json.loads(covalab("explain", dispatch, name, "--json").output) for name in ("make_total", "make_out")
        ]
        assert [bool(one["reuse"] and one["reuse"][0]) for (one,) in explained] == [not ran[9], not ran[5]]
        print(edits, explained)  # the reasons, if the next line is not true
        return [number for number, did in enumerate(ran) if did]

    assert both() == [6]  # nobody knows what a seed replaces
    assert both(c2="factor = 3") == [2, 5, 6, 9]
    assert both(c2="factor = 4 - 2  # as before") == [2, 6]
    assert both(c4="alias.append(5)\nrows") == [4, 5, 6, 9]
    assert both(c8="words = Counter(['a', 'b', 'a'])\nOut[8]") == [
        *range(10)
    ]  # it needs all before it, and the last one follows other cells

    write(path, *NOTEBOOK)
    said = covalab("run", path, "-o", tmp_path / "out.ipynb")
    assert "REUSED" in said.stderr
    found = re.search(r"covalab explain (\S+) CELL", said.stderr)
    assert found is not None
    assert "reused" in covalab("explain", found[1], "make_total").output
    # A cell is called as the table and the notebook call it, too: the last one, and the one with a seed.
    assert covalab("explain", found[1], "10").output == covalab("explain", found[1], "c9").output
    assert "ran" in covalab("explain", found[1], "7").output
    assert "has no cell '11'" in covalab("explain", found[1], "11").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.ipynb"], "there is no notebook"),
        (["bad.ipynb"], "is no notebook"),
        (["input.ipynb"], r"calls input\(\)"),
        (["missing.ipynb"], r"no_such_package \(cell 1\)"),
        (["good.ipynb", "-o", "nowhere/out.ipynb"], "there is no folder nowhere"),
        (["good.ipynb", "-o", "out.xyz"], "which format is meant"),
        (["good.ipynb", "-o", "good.ipynb"], "--in-place"),
        (["good.ipynb", "--detach", "-o", "out.ipynb"], "leave out --output and --in-place"),
        (["good.ipynb", "--every", "0 6 * *"], "5: minute, hour"),
        (["good.ipynb", "--every", "0 25 * * *"], "not one that cron knows: Bad hour"),
        (["good.ipynb", "--every", "0 6 * * *", "--time-zone", "Mars/Base"], "no time zone 'Mars/Base'"),
        (["good.ipynb", "--at", "soon"], "write a date and a time"),
        (["good.ipynb", "-y", "[1]"], "must be names with values"),
        (["good.ipynb", "-b", "%%"], "no base64"),
        (["good.ipynb", "-p", "a b", "1"], "is no name in Python"),
        (["good.ipynb", "--kernel-env"], "names no kernel"),
        (["other.ipynb", "--kernel-env"], "none of that name"),
        ([], "name a notebook"),
    ],
)
def test_what_cannot_run_is_exit_code_2_and_nothing_is_dispatched(
    live: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    """One line says why."""
    monkeypatch.chdir(tmp_path)
    write(Path("good.ipynb"), "1")
    write(Path("input.ipynb"), "input()")
    write(Path("missing.ipynb"), "import no_such_package")
    write(Path("other.ipynb"), "1", metadata={"kernelspec": {"name": "no-such-kernel", "display_name": "x"}})
    Path("bad.ipynb").write_text("{")
    before = len(live.dispatches(count=1000))

    ran = covalab("run", *arguments)

    assert ran.exit_code == 2, ran.output
    assert re.search(said, ran.stderr), ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(live.dispatches(count=1000)) == before


def test_a_read_only_folder_is_refused_before_anything_runs(
    live: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With -o the notebook runs from there."""
    folder = tmp_path / "read only"
    folder.mkdir()
    path = write(folder / "n.ipynb", "x = 1\nx")
    may = os.access
    # Not by its mode: who runs the tests may be allowed to write everywhere.
    monkeypatch.setattr(os, "access", lambda one, mode: Path(one) != folder and may(one, mode))

    refused = covalab("run", path)
    ran = covalab("run", path, "-o", tmp_path / "out.ipynb")

    assert refused.exit_code == 2
    assert "is read-only; name another file" in refused.stderr
    assert ran.exit_code == 0, ran.output


def test_the_executed_notebook_is_there_while_it_runs(live: Client, tmp_path: Path) -> None:
    """Who opens it sees the cells that are done and what the running one has printed; then it is whole."""
    flag = tmp_path / "go"
    wait = (
        "import pathlib, time\nprint('began', flush=True)\n"
        f"while not pathlib.Path({str(flag)!r}).exists(): time.sleep(0.05)"
    )
    path = write(tmp_path / "long.ipynb", "print('first')", wait, "print('last')")
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-c", "from covalab.cli import main; main()", "run", str(path), "-q", "-o", str(out)]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 240
        while not out.exists():
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found = json.loads(out.read_text())
        assert found["metadata"]["covalab"]["status"] == "running"
        assert shown(code(found)[0]) == ["first\n"]
        assert code(found)[2]["outputs"] == []
    finally:
        flag.touch()
    assert running.wait(240) == 0
    found = json.loads(out.read_text())
    assert [shown(cell) for cell in code(found)] == [["first\n"], ["began\n"], ["last\n"]]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["go", "long.ipynb", "out.ipynb"]


def test_a_folder_that_goes_while_it_runs_loses_nothing(live: Client, tmp_path: Path) -> None:
    """The message has the command that writes the executed notebook elsewhere."""
    folder = tmp_path / "out"
    folder.mkdir()
    path = write(tmp_path / "n.ipynb", f"import shutil\nshutil.rmtree({str(folder)!r})\n'done'")

    ran = covalab("run", path, "-o", folder / "n.ipynb")

    assert ran.exit_code == 1
    found = re.search(r"`covalab export (\S+) -o OUT` writes it", ran.stderr)
    assert found is not None, ran.stderr
    assert covalab("export", found[1], "-o", tmp_path / "n.md").exit_code == 0
    assert "done" in (tmp_path / "n.md").read_text()


def test_in_place_and_export_never_overwrite_silently(live: Client, tmp_path: Path) -> None:
    """`--in-place` is asked for; export over the notebook needs `--force`."""
    path = write(tmp_path / "n.ipynb", "print('x')")

    ran = covalab("run", path, "--in-place", "-q")
    dispatch = json.loads(path.read_text())["metadata"]["covalab"]["dispatch_id"]
    refused = covalab("export", dispatch, "-o", path)
    forced = covalab("export", dispatch, "-o", path, "--force")
    printed = covalab("export", dispatch, "-o", "-")

    assert ran.exit_code == forced.exit_code == printed.exit_code == 0
    assert statuses(json.loads(printed.stdout)) == ["completed"]
    assert refused.exit_code == 2
    assert "--force" in refused.stderr


def test_a_detached_run_prints_its_id_alone(live: Client, tmp_path: Path) -> None:
    """It goes on by itself, and writes no file."""
    path = write(tmp_path / "n.ipynb", "x = 1")

    ran = covalab("run", path, "--detach")

    dispatch = ran.stdout.strip()
    assert ID.fullmatch(dispatch)
    assert wait_for_end(live, dispatch) == "completed"
    assert [one.name for one in tmp_path.iterdir()] == ["n.ipynb"]


def test_a_run_that_takes_too_long_is_cancelled(live: Client, tmp_path: Path) -> None:
    """What has ended is in the executed notebook."""
    path = write(tmp_path / "n.ipynb", "'quick'", "import time\ntime.sleep(600)")

    ran = covalab("run", path, "--timeout", "3")

    assert ran.exit_code == 1
    assert "took longer than 3.0 s and was cancelled" in ran.stderr
    found = json.loads((tmp_path / "n.executed.ipynb").read_text())
    assert statuses(found)[-1] in ("cancelled", "skipped")  # by what it was doing when the time was up


def test_ctrl_c_without_a_terminal_cancels(live: Client, tmp_path: Path) -> None:
    """The exit code is 130, the executed notebook is written, and no process is left behind."""
    mark = tmp_path / "began"
    path = write(tmp_path / "n.ipynb", f"open({str(mark)!r}, 'w').close()\nimport time\ntime.sleep(600)")
    # Tests that run in the background of a shell ignore the signal, and so would what they start.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", f"{program} from covalab.cli import main; main()", "run", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        deadline = time.monotonic() + 200
        while not mark.exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=200)

    assert process.returncode == 130, said
    found = re.search(r"covalab run --resume (\S+)`", said)
    assert found is not None
    assert live.summary(found[1]).status == "cancelled"
    assert (tmp_path / "n.executed.ipynb").exists()


def test_the_kernels_environment_is_entered(live: Client, tmp_path: Path) -> None:
    """With `--kernel-env` the interpreter and the variables are those of the kernel that the notebook names."""
    spec = tmp_path / "jupyter" / "kernels" / "mine"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": argv, "display_name": "Mine", "language": "python", "env": {"OF_THE_KERNEL": "yes"}}
    (spec / "kernel.json").write_text(json.dumps(kernel))
    metadata = {"kernelspec": {"name": "mine", "display_name": "Mine"}}
    path = write(tmp_path / "n.ipynb", "import os\nos.environ['OF_THE_KERNEL']", metadata=metadata)
    command = [sys.executable, "-c", "from covalab.cli import main; main()", "run", str(path), "--kernel-env", "-q"]

    ran = subprocess.run(
        [*command, "-o", "-"],
        env={**os.environ, "JUPYTER_PATH": str(tmp_path / "jupyter")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert shown(code(json.loads(ran.stdout))[0]) == ["'yes'"]


def test_a_timetable_waits_and_the_list_shows_its_next_run(live: Client, tmp_path: Path) -> None:
    """The command names the time zones; cancelling ends the series."""
    path = write(tmp_path / "nightly.ipynb", "x = 1")

    ran = covalab("run", path, "--every", "30 3 29 2 *", "--time-zone", "Europe/Berlin")
    dispatch = ran.stdout.strip()

    assert ran.exit_code == 0, ran.output
    assert "by '30 3 29 2 *' in Europe/Berlin" in ran.stderr
    listed = covalab("list", "--schedule", dispatch).output
    assert re.search(r"starts 20\d\d-02-29 0[1-9]:30:00", listed), listed
    assert "by '30 3 29 2 *' in Europe/Berlin" in covalab("show", dispatch).output
    assert covalab("cancel", dispatch).exit_code == 0
    assert live.summary(dispatch).status == "cancelled"


def test_a_series_runs_again(live: Client, tmp_path: Path) -> None:
    """Each run is a dispatch with the notebook of the first, and runs all its cells."""
    path = write(tmp_path / "again.ipynb", "x = 1")

    dispatch = covalab("run", path, "--every", "0.2s").stdout.strip()
    deadline = time.monotonic() + 200
    while len(done := [one for one in live.dispatches(schedule=dispatch) if one.status == "completed"]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    covalab("cancel", dispatch)
    assert not any(
        "reused" in cell["metadata"]["covalab"] for one in done for cell in code(ct.get_result(one.id).notebook())
    )

    assert statuses(json.loads(covalab("export", done[0].id, "-o", "-").stdout)) == ["completed"]
