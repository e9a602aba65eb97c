"""Stub of SLURM: `sbatch`, `squeue` and `scancel` of one machine, with jobs that wait, fail or reach their wall time.

A job script says what becomes of it by a directive: ``#SBATCH --stub=queue`` waits for a file ``go`` in the folder of
the stub, ``--stub=fail`` ends at once with a line in its log. Jobs are ended with all their processes, as by a cgroup.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

COMMANDS = ("sbatch", "squeue", "scancel")


def install(folder: Path) -> Path:
    """Make the commands; return the folder that goes into PATH."""
    commands = folder / "bin"
    commands.mkdir(parents=True)
    for name in COMMANDS:
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {__file__} {folder} {name} "$@"\n')
        script.chmod(0o755)
    return commands


def submitted(folder: Path) -> list[int]:
    """Return the numbers of all jobs that were submitted."""
    return sorted(int(path.name) for path in folder.glob("jobs/*"))


def alive(folder: Path) -> list[int]:
    """Return the numbers of jobs that are queued or run."""
    return [job for job in submitted(folder) if (folder / "jobs" / str(job) / "state").exists()]


def _sbatch(folder: Path, script: str) -> None:
    (folder / "jobs").mkdir(exist_ok=True)
    number = max([16, *submitted(folder)])
    while True:
        number += 1
        with suppress(FileExistsError):
            (folder / "jobs" / str(number)).mkdir()
            break
    job = folder / "jobs" / str(number)
    (job / "script").write_text(Path(script).read_text())
    (job / "state").write_text("PENDING")
    command = [sys.executable, __file__, str(folder), "run", str(number)]
    quiet = subprocess.DEVNULL
    subprocess.Popen(command, start_new_session=True, stdin=quiet, stdout=quiet, stderr=quiet)
    print(f"Submitted batch job {number}")


def _run(folder: Path, number: str) -> None:
    job = folder / "jobs" / number
    (job / "pid").write_text(str(os.getpid()))
    text = (job / "script").read_text()
    directives = dict(re.findall(r"^#SBATCH (-\w|--stub)[ =](\S+)", text, re.MULTILINE))
    mode = directives.get("--stub")
    try:
        while mode == "queue" and not (folder / "go").exists():
            time.sleep(0.05)
        (job / "state").write_text("RUNNING")
        (job / "began").touch()
        with (
            Path(directives["-o"].replace("%J", number)).open("wb") as out,
            Path(directives["-e"].replace("%J", number)).open("wb") as err,
        ):
            if mode == "fail":
                err.write(b"loading modules\nslurmstepd: error: module: command not found\n")
                return
            environment = os.environ | {"SLURM_JOB_ID": number, "HOME": str(folder)}
            script = subprocess.Popen(["sh", str(job / "script")], stdout=out, stderr=err, env=environment)
            hours, minutes, seconds = map(int, directives["-t"].split(":"))
            with suppress(subprocess.TimeoutExpired):
                script.wait((hours * 60 + minutes) * 60 + seconds)
            _end(psutil.Process().children(recursive=True))
    finally:
        (job / "state").unlink(missing_ok=True)


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _squeue(folder: Path, numbers: str) -> int:
    known = {number: folder / "jobs" / number / "state" for number in numbers.split(",")}
    found = {number: state.read_text() for number, state in known.items() if state.exists()}
    for number, state in found.items():
        print(number, state)
    if not found:
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
    return 0 if found else 1


def _scancel(folder: Path, number: str) -> None:
    job = folder / "jobs" / number
    with suppress(FileNotFoundError, psutil.NoSuchProcess, ValueError):
        runner = psutil.Process(int((job / "pid").read_text()))
        _end([*runner.children(recursive=True), runner])
    (job / "state").unlink(missing_ok=True)


def main() -> int:
    """Do what a command asks for."""
    folder, name, *arguments = sys.argv[1:]
    if name == "squeue":
        return _squeue(Path(folder), arguments[-1])
    {"sbatch": _sbatch, "scancel": _scancel, "run": _run}[name](Path(folder), arguments[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
