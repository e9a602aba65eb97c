"""Nothing of the user's ever runs in the process that decides: an audit hook in it hears of no pickled name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

import covalab as ct
from covalab.client import Client, connect
from covalab.triggers import BaseTrigger

HOOK = """
import sys

def _log(line):
    with open({log!r}, "a") as file:
        file.write(line + "\\n")

if "covalab.dispatcher" in sys.orig_argv:
    def _hear(event, args):
        if event == "pickle.find_class":
            _log(f"pickle {{args}}")
        elif event == "import" and args[0] in ("cloudpickle", "planted"):
            _log(f"import {{args[0]}}")
    sys.addaudithook(_hear)
    _log("listening")
"""

PLANTED = """
from covalab.executor import BaseExecutor

EXECUTOR_PLUGIN_NAME = "Planted"
_EXECUTOR_PLUGIN_DEFAULTS = {"factor": 3}


class Planted(BaseExecutor):
    def __init__(self, factor=1, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def run(self, function, args, kwargs, task_metadata):
        print("factor", self.factor)
        return function(*args, **kwargs)
"""


class Own(ct.executor.BaseExecutor):
    """An executor that is defined where it is used."""

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        """Call it."""
        return function(*args, **kwargs)

    def cancel(self, task_metadata: Any, job_handle: Any) -> bool:
        """Do what there is to do."""
        return True


class Once(BaseTrigger):
    """A trigger that is defined where it is used, and fires twice."""

    def observe(self) -> None:
        """Fire: first what was held, then once more."""
        self.trigger()
        self.trigger()

    def stop(self) -> None:
        """Do what there is to do."""


class Special:
    """A value of a class of the user's."""

    def __init__(self, x: int) -> None:
        self.x = x


def prepare() -> int:
    """Run before a task."""
    return 5


@pytest.fixture
def audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client of a dispatcher with an audit hook, and the file that it writes to."""
    log = tmp_path / "audit.log"
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK.format(log=str(log)))
    (tmp_path / "plug-ins").mkdir()
    (tmp_path / "plug-ins" / "planted.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hook"))
    monkeypatch.setenv("COVALAB_EXECUTOR_DIR", str(tmp_path / "plug-ins"))
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    client: Client = connect(data_dir=tmp_path / "data")
    yield client, log
    client.stop()


def test_the_dispatcher_resolves_no_pickled_name(audited: Any) -> None:
    """Executors of every kind, hooks, classes of the user's, failures, cancel and redispatch: it hears of none."""
    client, log = audited
    manager = ct.executor._executor_manager
    manager.list_executors(regenerate=True, print_names=False)

    @ct.electron(executor=Own())
    def own(special: Special) -> Special:
        return Special(special.x + 1)

    @ct.electron(executor="planted")
    def planted(special: Special) -> int:
        return special.x

    @ct.electron(call_before=ct.DepsCall(prepare, retval_keyword="given"))
    def hooked(x: int, given: int = 0) -> int:
        return x + given

    @ct.electron
    def failing(x: int) -> int:
        raise ValueError(x)

    @ct.lattice
    def flow(special: Special) -> Any:
        return hooked(planted(own(special)))

    dispatch = ct.dispatch(flow)(Special(1))
    result = ct.get_result(dispatch, wait=True)
    assert result.result == 7, result.get_all_node_results()
    assert (
        "factor 3"
        in result.get_node_result(next(n for n, it in enumerate(client.graph(dispatch).nodes) if it.name == "planted"))[
            "stdout"
        ]
    )
    assert ct.get_result(ct.redispatch(dispatch, reuse_previous_results=True)(), wait=True).result == 7
    assert ct.get_result(ct.redispatch(dispatch)(Special(2)), wait=True).result == 8
    assert ct.dispatch_sync(ct.lattice(failing))(1).status == ct.status.FAILED
    ct.cancel(ct.dispatch(flow)(Special(1)))

    assert log.read_text() == "listening\n"


def test_triggers_sublattices_and_transfers_are_not_opened_there_either(audited: Any, tmp_path: Path) -> None:
    """A trigger of the user's fires in a process of its own; a sublattice is built, and a file copied, on a worker."""
    client, log = audited
    (tmp_path / "from.txt").write_text("7")
    transfer = ct.fs.FileTransfer(str(tmp_path / "from.txt"), str(tmp_path / "to.txt"))

    @ct.electron(files=[transfer])
    def read(files: Any = ()) -> Special:
        return Special(int(Path(files[0][0]).read_text()))  # the other dispatch may be writing the copy

    @ct.electron
    def open_it(special: Special) -> int:
        return special.x

    @ct.electron
    @ct.lattice
    def below(special: Special) -> Any:
        return [open_it(special) for _ in range(special.x)]

    trigger = Once()

    @ct.lattice(triggers=trigger)
    def flow() -> Any:
        return below(read())

    dispatch = ct.dispatch(flow)()
    until(lambda: trigger.new_dispatch_ids)
    for fired in (dispatch, trigger.new_dispatch_ids[0]):
        assert ct.get_result(fired, wait=True).result == [7] * 7

    assert len(client.dispatches()) == 2
    assert log.read_text() == "listening\n"
