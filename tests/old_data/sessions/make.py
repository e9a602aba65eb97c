"""The script that made a data folder with sessions, notebook runs, reuse, tasks and provenance.

Run once, with the covalab of the commit in the archive's name under CPython 3.11.7, from a folder that is on no
machine: in it are copies of this file and of the package, and an environment with what covalab needs and NumPy:

    cd /old
    env -i PATH=/usr/bin:/bin HOME=/old/home PYTHONPATH=/old/python /old/venv/bin/python /old/make.py NAME

It leaves `NAME.tar.xz` and `expected.json` there. They are never made again: a new schema gets another archive.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path("/old")
DATA, WORK = HERE / "data", HERE / "work"
SETTINGS = {
    "COVALAB_DATA_DIR": str(DATA),
    "COVALAB_CONFIG": str(HERE / "covalab.toml"),
    "COVALAB_WORKERS": "2",
    "IPYTHONDIR": str(HERE / "ipython"),
}

STUDY = (
    "import random\nimport numpy as np",
    "%%electron\nrandom.seed(7)\nnumbers = [random.random() for _ in range(3)]",
    "%%electron\nwhole = np.arange(6)\npart = whole[2:4]\npart[0] = 100\nprint('shown', part)",
    "%%electron\nsquares = iter([n * n for n in range(5)])\nfirst = next(squares)",
    (
        "%%electron\nfrom IPython.display import HTML, display\nsecond = next(squares)\n"
        "display(HTML('<b>kept</b>'))\nsecond"
    ),
    "%%electron\ndraw = random.random()\ndef scaled(x):\n    return x * second\nanswer = scaled(whole.sum())",
    "%lattice study",
    "study_run = %dispatch study()",
)
FAILING = (
    "%%electron\nrows = [1, 2]",
    "%%electron\nbad = rows[5]",
    "%%electron\nafter = bad + 1",
    "%lattice failing",
    "failing_run = %dispatch failing()",
)
WAITING = (
    "%%electron\nimport random, os, time\nrandom.seed(3)\nbefore = random.random()",
    "%%electron\nmarks = [before]\nalias = marks",
    "%%electron\nwhile not os.path.exists('go'):\n    time.sleep(0.05)\nalias.append(random.random())",
    "%%electron\ntotal = sum(marks)",
    "%lattice waiting",
    "waiting_run = %dispatch waiting()",
)
NOTEBOOK = (
    "n = 3",
    "import numpy as np\nrows = np.arange(n) ** 2",
    "print('rows', rows)\nrows.sum()",
    "total = int(rows.sum()) + n",
)


def study(cells: tuple[str, ...], name: str) -> str:
    """Run cells in a shell of their own; returns the value of a name, the id of the dispatch that they made."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    main_module = sys.modules["__main__"]
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "covalab")
    for cell in cells:
        shell.run_cell(cell, store_history=True).raise_error()
    found = str(shell.user_ns[name])
    InteractiveShell.clear_instance()
    sys.modules["__main__"] = main_module
    return found


def notebook(path: Path) -> Path:
    """Write a notebook whose first cell has its parameters."""
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {"tags": ["parameters"]} if number == 0 else {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(NOTEBOOK)
    ]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.write_text(json.dumps({"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def names_of(result: Any) -> dict[str, str]:
    """Return what the cells of a dispatch left in names."""
    found = {}
    for name in NAMES:
        with suppress(KeyError, TypeError):
            found[name] = repr(result[name])
    return found


def described(result: Any) -> dict[str, Any]:
    """Return what is to be found of a dispatch, now and later."""
    nodes = [
        {
            "name": node["node_name"],
            "status": str(node["status"]),
            "stdout": node["stdout"],
            "outputs": [sorted(one.get("data", {})) or one["output_type"] for one in node["outputs"] or []],
        }
        for node in result.get_all_node_results()
    ]
    found = {"id": result.dispatch_id, "status": str(result.status), "error": result.error, "nodes": nodes}
    if str(result.status) == "COMPLETED":
        found["result"] = repr(result.result)
        found["names"] = names_of(result)
    return found


NAMES = ("numbers", "whole", "part", "first", "second", "draw", "answer", "n", "rows", "total", "before", "marks")
"""The names of a session that are compared."""


def main(name: str) -> None:
    """Make the folder."""
    os.environ |= SETTINGS  # here: a test imports other parts of this file
    WORK.mkdir(exist_ok=True)
    os.chdir(WORK)
    import covalab as ct
    from covalab.client import connect

    ids = {
        "study": study(STUDY, "study_run"),
        "failing": study(FAILING, "failing_run"),
        "notebook": str(ct.run_notebook(notebook(WORK / "report.ipynb"), {"n": 4}, reuse=True)),
    }
    for one in ids.values():
        ct.get_result(one, wait=True)
    ids["again"] = str(ct.run_notebook(WORK / "report.ipynb", {"n": 4}, reuse=True))
    ids["flow"], task = study((FLOW,), "made").split()
    for one in ids.values():
        ct.get_result(one, wait=True)
    ct.get_task_result(task, wait=True)
    expected = {key: described(ct.get_result(one)) for key, one in ids.items()}
    provenance = ct.get_result(ids["flow"]).provenance()
    expected["flow"]["provenance"] = {key: provenance[key] for key in ("name", "arguments", "python", "interpreter")}
    expected["task"] = {"id": task, "result": repr(getattr(ct.get_task_result(task), "result", None))}
    waiting = study(WAITING, "waiting_run")
    client = connect()
    while client.summary(waiting).counts.completed < 2:
        time.sleep(0.05)
    expected["waiting"] = {"id": waiting}
    print(json.dumps(expected, indent=1))
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    import psutil

    dispatcher = psutil.Process(client.status().pid)
    for process in [dispatcher, *dispatcher.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(HERE / f"{name}.tar.xz", "w:xz", preset=9) as archive:
        for file in ("covalab.db", "covalab.db-wal", "covalab.db-commits", "blobs", "reuse"):
            if (DATA / file).exists():
                archive.add(DATA / file, file, filter=plain)


FLOW = """
import covalab as ct

@ct.electron
def halves(x):
    ct.set_progress(1, 2)
    return x / 2

@ct.lattice
def flow(x):
    return [halves(x), halves(x + 1)]

flow_run = ct.dispatch(flow)(3)
task = ct.enqueue(halves.electron_object.function, 5)
made = f"{flow_run} {task}"
"""

if __name__ == "__main__":
    main(sys.argv[1])
