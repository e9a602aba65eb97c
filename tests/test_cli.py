"""The command line, with a real dispatcher behind it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

import covalab as ct
from covalab.cli import main
from covalab.client import Client
from covalab.client.launcher import find
from covalab.core.model import DispatchId


def covalab(*args: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, args)


def dispatch(name: str, body: str) -> str:
    """Dispatch a lattice called `name` of one electron, whose body is `body`."""
    space: dict[str, Any] = {}
    exec(f"def {name}(x):\n    {body}", space)
    task: Any = ct.electron(space[name])

    def workflow(x: int) -> object:
        return task(x)

    workflow.__name__ = name
    run: Any = ct.dispatch(ct.lattice(workflow))
    return str(run(1))


def test_help_and_version_need_no_dispatcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Help and version are shown without touching the data folder."""
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "none"))

    assert f"covalab, version {ct.__version__}" in covalab("--version").output
    for command in main.commands:
        shown = covalab(command, "--help")
        assert shown.exit_code == 0
        assert shown.output.startswith("Usage:")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "command", ["show", "cancel", "pause", "resume", "redispatch", "logs", "tag", "trust", "explain", "export"]
)
def test_an_empty_id_is_no_dispatch(
    command: str, live: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of a shell that is not set asks for nothing else, and makes no data folder of where it is."""
    monkeypatch.chdir(tmp_path)
    more = {"explain": ["cell"], "export": ["-o", "x.html"]}.get(command, [])

    said = covalab(command, "", *more)

    assert (said.exit_code, "no dispatch ''" in said.output) == (1, True), said.output
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_data_folder_is_not_trusted(tmp_path: Path, live: Client) -> None:
    """It stays as it is: no database, no dispatcher in it."""
    said = covalab("trust", str(tmp_path))

    assert (said.exit_code, "is no data folder of covalab" in said.output) == (1, True)
    assert not list(tmp_path.iterdir())


def test_help_loads_nothing_heavy() -> None:
    """`covalab --help` imports neither Dask nor tornado nor Jupyter nor rich."""
    code = (
        "import sys; from covalab.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print({'distributed', 'tornado', 'jupyter_server', 'rich', 'IPython'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines()[-1] == "set()"


def test_start_and_stop_say_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`start` starts one dispatcher, `status` shows it, `stop` ends it; each may be repeated."""
    folder = tmp_path / "data"
    monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))

    before = covalab("status")
    started, again, up = covalab("start"), covalab("start"), covalab("status")
    stopped, gone, after = covalab("stop"), covalab("stop"), covalab("status")

    assert (before.exit_code, up.exit_code, after.exit_code) == (1, 0, 1)
    assert "covalab start" in before.output
    assert "is running" in started.output
    assert "already" in again.output
    assert str(folder) in started.output
    assert str(folder) in up.output
    assert "stopped" in stopped.output
    assert gone.exit_code == 0
    assert "no dispatcher is running" in gone.output
    assert find(folder) is None


def test_a_dispatch_can_be_listed_and_shown(live: Client) -> None:
    """`list` has the dispatch with its progress; `show` has its nodes, without the parameters; both also as JSON."""
    run = dispatch("counted", "return x + 1")
    ct.get_result(run, wait=True)

    listed, shown = covalab("list", "--name", "counted"), covalab("show", run)
    listed_json, shown_json = covalab("list", "--json", "--name", "counted"), covalab("show", run, "--json")

    assert re.search(rf"{run}\s+counted\s+COMPLETED\s+1/1", listed.output)
    assert re.search(r"\b0\s+counted\s+COMPLETED\s+1\b", shown.output)
    assert ":parameter:" not in shown.output
    assert [row["id"] for row in json.loads(listed_json.output)] == [run]
    assert json.loads(shown_json.output)["summary"]["status"] == "completed"
    assert len(json.loads(shown_json.output)["nodes"]) == 3


def test_of_an_id_its_beginning_is_enough(live: Client) -> None:
    """Where a person types one; of several that begin so, all are named, and nothing is done."""
    run = dispatch("begun", "return x + 1")
    ct.get_result(run, wait=True)
    first, second = (str(live.redispatch(run, DispatchId(f"feedc0de-0000-4000-8000-{n:012}")).id) for n in (1, 2))

    assert json.loads(covalab("show", run[:9], "--json").output)["summary"]["id"] == run
    assert covalab("tag", first[:-1], "+seen").exit_code == 1
    refused, missing = covalab("cancel", "feedc0de"), covalab("show", "fade0123")

    assert (refused.exit_code, missing.exit_code) == (1, 1)
    assert all(f"{one} (begun)" in refused.output for one in (first, second))
    assert "no dispatch 'fade0123'" in missing.output
    assert covalab("tag", first, "+seen").output == "seen\n"
    assert f"{run}:0" in covalab("answer", f"{run[:9]}:0", "1").output  # that it waits for nothing
    assert ct.get_result(second, wait=True).status == ct.status.COMPLETED


def test_a_failure_is_shown_with_its_traceback(live: Client) -> None:
    """`show` has the user's traceback; markup and control characters in it are shown, not obeyed."""
    run = dispatch("breaks", "raise ValueError('[red]a[/] \\x1b[2J b')")
    ct.get_result(run, wait=True)

    shown = covalab("show", run).output

    assert "FAILED" in shown
    assert "Traceback" in shown
    assert "ValueError: [red]a[/] \N{REPLACEMENT CHARACTER}[2J b" in shown
    assert "\x1b" not in shown


def test_list_can_be_narrowed(live: Client) -> None:
    """`--status` may be repeated, `-n` cuts, and nothing found is said in words."""
    done = dispatch("narrow", "return x")
    ct.get_result(done, wait=True)
    failed = dispatch("narrow", "return x.missing")
    ct.get_result(failed, wait=True)

    def ids(*options: str) -> list[str]:
        return [row["id"] for row in json.loads(covalab("list", "--json", "--name", "narrow", *options).output)]

    assert ids() == [failed, done]
    assert ids("--status", "failed") == [failed]
    assert ids("--status", "failed", "--status", "completed") == [failed, done]
    assert ids("-n", "1") == [failed]
    assert covalab("tag", failed, "+paper", "+night").output == "paper night\n"
    assert covalab("tag", failed, "-night").output == "paper\n"
    assert (ids("--tag", "paper"), ids("--tag", "night")) == ([failed], [])
    assert "paper" in covalab("show", failed).output
    assert [covalab("tag", failed, change).exit_code for change in ("paper", "+a,b")] == [2, 1]
    assert "no dispatches that match" in covalab("list", "--name", "never").output
    assert covalab("list", "--status", "finished").exit_code == 2


def test_cancel_ends_a_dispatch(live: Client) -> None:
    """`cancel` ends what runs and says how far it came; cancelling again changes nothing."""
    run = dispatch("endless", "import time; time.sleep(3600)")

    cancelled, again = covalab("cancel", run), covalab("cancel", run)

    assert cancelled.exit_code == again.exit_code == 0
    assert f"{run} (endless): CANCELLED, 0/1 done" in cancelled.output
    assert again.output == cancelled.output
    assert ct.get_result(run).status == "CANCELLED"


def test_redispatch_runs_the_stored_graph_again(live: Client) -> None:
    """It prints the new id."""
    run = dispatch("plain", "return x + 1")
    ct.get_result(run, wait=True)
    again = covalab("redispatch", run, "--reuse")

    assert again.exit_code == 0
    assert again.output.strip() != run
    assert live.record(again.output.strip(), wait=True).nodes[0].attempt == 0
    anew = covalab("redispatch", run, "--from", "plain")
    assert live.record(anew.output.strip(), wait=True).nodes[0].attempt == 1
    assert "no node 'other'" in covalab("redispatch", run, "--from", "other").output
    first, *_, last = covalab("logs", anew.output.strip()).output.splitlines()
    assert (first.endswith("plain  Dispatch started"), "plain  Dispatch completed" in last) == (True, True)
    assert covalab("logs", anew.output.strip(), "-n", "1", "--follow").output == f"{last}\n"
    assert covalab("logs", anew.output.strip(), "--kind", "failure").output == ""
    assert covalab("logs", "--text", "x").exit_code == 2


def test_an_interrupt_is_answered_on_the_command_line(live: Client) -> None:
    """`answer` lists one interrupt or all; an answer is JSON or text; one of several must be named."""

    @ct.lattice
    def asking() -> object:
        return [ct.pause_for("first", "[b]how many?[/b]"), ct.pause_for("second")]

    run = str(ct.dispatch(asking)())
    while len(ct.get_interrupts(run)) < 2:
        time.sleep(0.02)
    first, second = (one["id"] for one in ct.get_interrupts(run))

    assert first in covalab("answer").output
    shown = covalab("answer", run).output
    assert "[b]how many?[/b]" in shown
    assert second in shown
    several = covalab("answer", run, "3")
    assert several.exit_code == 1
    assert f"{first} (first), {second} (second)" in several.output
    assert covalab("pause", run).output.startswith(f"{run} is paused; `covalab resume")
    assert live.summary(run).paused
    assert covalab("resume", run).output == f"{run} goes on\n"
    assert covalab("answer", first, '{"n": 3}').output == f'first ({first}) was answered with {{"n": 3}}\n'
    assert covalab("answer", run, "no more").exit_code == 0
    assert ct.get_result(run, wait=True).result == [{"n": 3}, "no more"]
    assert covalab("answer", run).output == "nothing waits for an answer\n"
    assert covalab("answer", run, "3").exit_code == covalab("pause", run).exit_code == 1
    again = covalab("answer", first, "4")
    assert again.exit_code == 1
    assert "answered by command line" in again.output


@pytest.mark.parametrize("id_", ["nope", "../../etc/passwd", "a b", "é", "-", "x" * 300])
@pytest.mark.parametrize("command", ["show", "cancel", "redispatch", "answer", "pause", "resume"])
def test_an_unknown_id_is_one_line_and_exit_code_1(live: Client, command: str, id_: str) -> None:
    """An id that no dispatch has gives an error that names it and the way to the list, never a traceback."""
    ran = covalab(command, "--", id_)

    assert ran.exit_code == 1
    assert ran.output.startswith("Error: no dispatch")
    assert id_ in ran.output
    assert "covalab list" in ran.output


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder that is a file is an error that names it and the way out."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "file"))

    ran = covalab("list")

    assert ran.exit_code == 1
    assert ran.output.startswith("Error:")
    assert str(tmp_path / "file") in ran.output
    assert "COVALAB_DATA_DIR" in ran.output


def test_logs_shows_the_end_of_the_log(live: Client) -> None:
    """`logs -n` shows the last lines, and `-n 0` none."""
    log = covalab("logs", "-n", "10000").output.splitlines()

    assert any("serves" in line for line in log)
    assert covalab("logs", "-n", "1").output.splitlines() == log[-1:]
    assert covalab("logs", "-n", "0").output == ""


def test_logs_without_a_log_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no dispatcher ever ran, `logs` says where it looked."""
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path))

    ran = covalab("logs")

    assert ran.exit_code == 1
    assert str(tmp_path) in ran.output


def test_logs_follows_what_is_written(tmp_path: Path) -> None:
    """`logs -f` shows a line when it is written, also after the file was replaced."""
    log = tmp_path / "logs" / "dispatcher.log"
    log.parent.mkdir()
    log.write_text("first\n")
    environment = {**os.environ, "COVALAB_DATA_DIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", "from covalab.cli import main; main()", "logs", "-f"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        try:
            seen = [process.stdout.readline()]
            with log.open("a") as file:
                file.write("second\n")
            seen.append(process.stdout.readline())
            log.rename(log.with_suffix(".log.1"))
            log.write_text("third\n")
            seen.append(process.stdout.readline())
        finally:
            process.kill()

    assert seen == ["first\n", "second\n", "third\n"]


def test_lab_is_jupyterlab_with_the_arguments_given() -> None:
    """`covalab lab` becomes JupyterLab and hands on what it does not know."""
    command = [sys.executable, "-c", "from covalab.cli import main; main()", "lab", "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == importlib.metadata.version("jupyterlab")


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder that nobody has used, with a configuration of its own."""
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COVALAB_CONFIG", str(tmp_path / "covalab.toml"))
    monkeypatch.delenv("COVALAB_WORKERS")
    return tmp_path / "data"


def test_start_and_restart_take_covalents_options(apart: Path) -> None:
    """Those that mean something are kept as settings; the others say what takes their place, and it starts."""
    try:
        started = covalab("start", "-n", "1", "-m", "2 GB", "-p", "48008", "--no-cluster")
        pid = find(apart)
        again = covalab("restart", "--workers", "2", "--with-cluster")
        another = find(apart)
    finally:
        covalab("stop")

    assert started.exit_code == again.exit_code == 0
    assert "--port changes nothing: the dispatcher listens on a private socket" in started.output
    assert pid is not None
    assert another is not None
    assert pid.pid != another.pid
    assert ct.get_config(["dask.num_workers", "dask.mem_per_worker", "sdk.no_cluster"]) == {
        "dask.num_workers": 2,
        "dask.mem_per_worker": "2 GB",
        "sdk.no_cluster": "false",
    }


def test_config_is_shown_as_toml(apart: Path) -> None:
    """It can be read back, and says where the file is and whether it is there."""
    before = covalab("config").output
    ct.set_config("executors.slurm.username", "ada")
    after = covalab("config").output

    assert before.startswith(f"# {apart.parent / 'covalab.toml'} (not there")
    assert msgspec.toml.decode(after)["executors"]["slurm"] == {"username": "ada"}
    assert msgspec.toml.decode(after) == ct.get_config()


def test_cluster_tells_what_the_pools_are(own: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Size, state, everything as JSON, logs, address; `--scale` is kept, `--restart` starts all anew."""
    monkeypatch.setenv("COVALAB_CONFIG", str(tmp_path / "covalab.toml"))
    assert covalab("cluster", "--size").output == "0\n"
    ct.dispatch_sync(ct.lattice(ct.electron(abs)))(-1)
    (pool,) = json.loads(covalab("cluster", "--info").output)

    assert covalab("cluster", "--size").output == "2\n"
    assert (pool["python"], pool["state"], pool["workers"]) == (sys.executable, "up", 2)
    assert covalab("cluster", "--status").output == f"{sys.executable}: up\n"
    assert covalab("cluster", "--address").output.startswith("private: ")
    assert "pool-1.log" in covalab("cluster", "--logs").output
    monkeypatch.delenv("COVALAB_WORKERS")
    assert "--restart" in covalab("cluster", "--scale", "1").output
    assert covalab("cluster", "--restart").exit_code == 0
    ct.dispatch_sync(ct.lattice(ct.electron(abs)))(-1)
    assert covalab("cluster", "--size").output == "1\n"
    assert "Usage:" in covalab("cluster").output


def test_purge_deletes_what_it_names_and_nothing_else(apart: Path) -> None:
    """It asks; without --hard every dispatch stays; what is not ours stays in any case."""
    run = dispatch("purged", "return x")
    ct.get_result(run, wait=True)
    ct.set_config("dask.num_workers", 1)
    (apart / "mine.txt").write_text("mine")
    refused = CliRunner().invoke(main, ["purge"], input="n\n")
    assert refused.exit_code == 1
    would = covalab("purge", "--hard", "--yes", "--dry-run")
    assert (would.exit_code, str(apart / "covalab.db") in would.output) == (0, True)
    assert "deleted" not in would.output
    assert (apart / "logs").exists()
    assert (apart / "covalab.db").exists()
    assert covalab("purge", "--yes", "--older-than", "1 day", "--dry-run").output == "0 dispatches would be forgotten\n"
    older = covalab("purge", "--yes", "--older-than", "0.001 s", "--dry-run").output
    assert older == f"{run}  purged  COMPLETED\n1 dispatches would be forgotten\n"
    assert find(apart) is not None
    assert ct.get_result(run).result == 1

    soft = covalab("purge", "-y")
    assert not (apart / "logs").exists()
    assert not (apart.parent / "covalab.toml").exists()
    assert str(apart / "logs") in soft.output
    assert find(apart) is None
    assert ct.get_result(run).result == 1
    hard = covalab("purge", "--hard", "--yes")
    assert str(apart / "covalab.db") in hard.output
    assert (apart / "mine.txt").read_text() == "mine"
    try:
        with pytest.raises(ct.MissingLatticeRecordError):
            ct.get_result(run)
    finally:
        covalab("stop")
    assert "nothing to delete" not in covalab("purge", "-H", "-y").output
    assert "nothing to delete" in covalab("purge", "-H", "-y").output


@pytest.mark.parametrize("args", [("db", "migrate"), ("db", "alembic", "history"), ("deploy", "up", "ssh", "--key=x")])
def test_a_command_that_is_not_here_says_what_replaces_it(args: tuple[str, ...]) -> None:
    """With exit code 2, whatever follows it."""
    answer = covalab(*args)

    assert answer.exit_code == 2
    assert f"covalab {args[0]}" in answer.output
    assert "Traceback" not in answer.output


def test_no_command_is_called_covalent() -> None:
    """An installed Covalent is never shadowed."""
    scripts = importlib.metadata.entry_points(group="console_scripts")

    assert [script.value for script in scripts if script.name == "covalent" and "covalab" in script.value] == []
