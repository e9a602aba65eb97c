"""Nothing is seen of what another task did to its process: across dispatches, nodes of one dispatch, and programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.clean_states import CARRIED, CARRIED_PROGRAM, STATES
from tests.system.processes import dispatcher
from tests.system.tasks import adding
from tests.waiting import until

import covalab as ct
from covalab.client import Client

pytestmark = pytest.mark.sampled(1)

WORKERS = 2


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Share one dispatcher and pool: what one test leaves behind, the next must not see either."""
    with dispatcher(tmp_path_factory.mktemp("clean") / "data") as client:
        assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
        yield client


def value_of(lattice: Any, *args: Any) -> Any:
    """Run a lattice and return its value."""
    result = ct.dispatch_sync(lattice)(*args)
    assert str(result.status) == "COMPLETED", [node["error"] for node in result.get_all_node_results() if node["error"]]
    return result.result


@ct.electron
def run_text(text: str, seconds: float = 0.0, after: object = None) -> Any:
    """Run source text in a module of its own, and return what it names `seen`."""
    time.sleep(seconds)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(text, names)
    seen = names.get("seen")
    return seen if isinstance(seen, (int, float, str, bool, type(None))) else repr(seen)


@ct.lattice
def everywhere(text: str) -> Any:
    """Run a text often enough that each worker has run it."""
    return [run_text(text, 0.08) for _ in range(2 * WORKERS)]


@ct.lattice
def series(text: str) -> Any:
    """Run a text four times in one process, one after the other."""
    found = [run_text(text)]
    for _ in range(3):
        found.append(run_text(text, after=found[-1]))
    return found


def program(folder: Path, text: str) -> Any:
    """Run a program of its own, and return what it prints last, as JSON."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(text))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# -- T6: state of the process --------------------------------------------------------------------------------------


def test_the_first_task_of_a_process_sees_what_later_ones_see(client: Client) -> None:
    """Arguments of the program, search path, hooks, limits and all else that is put back after each task."""
    look = """
        import re, sys
        from covalab.worker import process_settings
        kept = [one for one in process_settings._read() if "COVALAB" not in repr(one)]
        seen = repr([sys.argv, *(re.sub("0x[0-9a-f]+", "", repr(one)) for one in kept)])
    """
    ct.dispatch_sync(everywhere)("seen = 1")  # what each stem imports once is there

    first, *others = value_of(series, textwrap.dedent(look))

    assert first.startswith("[['']")
    assert others == [first] * 3


@pytest.mark.parametrize("name", STATES)
def test_another_dispatch_does_not_see(name: str, client: Client) -> None:
    """Every worker is as before: a task of the next dispatch sees what a task saw before the change."""
    state = STATES[name]
    before = value_of(everywhere, state.look)
    value_of(everywhere, state.change)
    after = [value_of(everywhere, state.look) for _ in range(2)]

    assert len(set(map(repr, before))) == 1
    assert after == [before, before]


@pytest.mark.parametrize("name", [name for name, state in STATES.items() if state.between_nodes])
def test_the_next_node_does_not_see(name: str, client: Client) -> None:
    """Nor does a later node of the same dispatch, whichever worker it runs on."""
    state = STATES[name]

    @ct.lattice
    def chain(look: str, change: str) -> Any:
        before = run_text(look)
        changed = [run_text(change, 0.05, before) for _ in range(2 * WORKERS)]
        return before, [run_text(look, 0.05, changed) for _ in range(2 * WORKERS)]

    before, after = value_of(chain, state.look, state.change)

    assert after == [before] * 2 * WORKERS


SHARED_SCRIPT = """
    import json
    import covalab as ct

    @ct.electron
    def change():
        import os, sys, time, warnings
        time.sleep(0.08)
        seen = [os.environ.get("LEFT"), "/left" in sys.path, sys.getrecursionlimit(), warnings.filters[0][0]]
        os.environ["LEFT"] = "1"
        sys.path.append("/left")
        sys.setrecursionlimit(777)
        warnings.simplefilter("error")
        return seen

    @ct.lattice
    def four():
        return [change() for _ in range(4)]

    print(json.dumps(ct.dispatch_sync(four)().result))
"""


def test_another_program_does_not_see_it(client: Client, tmp_path: Path) -> None:
    """Two programs of one Python, one after the other and at once: all of their tasks see the same."""
    first = program(tmp_path, SHARED_SCRIPT)
    second = program(tmp_path, SHARED_SCRIPT)
    path = tmp_path / "program.py"
    both = [subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    at_once = [json.loads(one.communicate()[0].splitlines()[-1]) for one in both]

    assert all(seen == first[0] for run in (first, second, *at_once) for seen in run)
    assert first[0][:2] == [None, False]


# -- T2: globals, defaults and whatever a function carries -------------------------------------------------------------


@pytest.mark.parametrize("name", CARRIED)
def test_each_task_starts_from_the_values_that_were_sent(name: str, client: Client, tmp_path: Path) -> None:
    """Six dispatches, six nodes of one dispatch, and another program of the same code: the same value."""
    text = CARRIED_PROGRAM.replace("@BODY@", CARRIED[name])
    apart, together, failed = program(tmp_path, text)
    again = program(tmp_path, text)

    assert failed == []
    assert apart == [apart[0]] * 6
    assert together == [apart[0]] * 6
    assert again == [apart, together, failed]


def test_a_bound_method_does_not_change_its_object_for_others(client: Client) -> None:
    """A model that is fitted in three dispatches begins each time as it was."""

    class Model:
        def __init__(self) -> None:
            self.steps = 0

        def fit(self, n: int) -> int:
            self.steps += n
            return self.steps

    model = Model()
    flow = ct.lattice(ct.electron(model.fit))

    assert [value_of(flow, 3) for _ in range(4)] == [3, 3, 3, 3]
    model.fit(10)
    assert value_of(flow, 3) == 13


@pytest.mark.parametrize("kind", ["argument", "default", "global", "closure", "object"])
def test_a_retry_starts_from_the_values_that_were_sent(kind: str, client: Client, tmp_path: Path) -> None:
    """A list that a failed attempt appended to is as it was sent."""
    collected: list[int] = []

    class Holder:
        items: list[int] = []  # noqa: RUF012

    def work(given: list[int], witness: str, default: list[int] = []) -> list[int]:  # noqa: B006
        chosen = {"argument": given, "default": default, "closure": collected, "object": Holder.items}
        items = chosen.get(kind, GLOBAL_ITEMS)
        items += [0, 1, 2]
        with open(witness, "a") as file:  # noqa: PTH123
            file.write("x")
        if len(Path(witness).read_text()) < 3:
            raise OSError
        return items

    flow = ct.lattice(ct.electron(work, retries=2))
    assert value_of(flow, [], str(tmp_path / "witness")) == [0, 1, 2]


GLOBAL_ITEMS: list[int] = []


# -- T4: seeds -------------------------------------------------------------------------------------------------------

SEEDS = {
    "random.seed": "import random; random.seed(42)",
    "numpy.random.seed": "import numpy; numpy.random.seed(42)",
    "random.setstate": "import random; random.setstate(random.Random(5).getstate())",
    "numpy set_state": "import numpy; numpy.random.set_state(numpy.random.RandomState(5).get_state())",
    "numpy's generator of scikit-learn": "import numpy; numpy.random.mtrand._rand.seed(7)",
    "seeded and drawn": "import random, numpy; random.seed(1); numpy.random.seed(1); numpy.random.random(100)",
    "nothing": "pass",
}
DRAWS = {
    "random": "import random\nseen = random.random()",
    "shuffle": "import random\nx = list(range(50))\nrandom.shuffle(x)\nseen = repr(x)",
    "numpy": "import numpy\nseen = float(numpy.random.random())",
    "numpy normal": "import numpy\nseen = float(numpy.random.normal())",
    "numpy default_rng": "import numpy\nseen = float(numpy.random.default_rng().random())",
    "scikit-learn": "from sklearn.utils import check_random_state\nseen = float(check_random_state(None).random())",
    "uuid": "import uuid\nseen = str(uuid.uuid4())",
    "temporary names": "import tempfile\nseen = next(tempfile._get_candidate_names())",
}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("seed", SEEDS)
def test_tasks_without_a_seed_are_independent(seed: str, draw: str, client: Client) -> None:
    """Across dispatches, workers and nodes no two draw the same, whatever was seeded before them."""
    value_of(everywhere, SEEDS[seed])
    drawn = [x for _ in range(3) for x in value_of(everywhere, DRAWS[draw])]

    @ct.lattice
    def chain(change: str, look: str) -> Any:
        changed = [run_text(change, 0.02) for _ in range(2 * WORKERS)]
        return [run_text(look, 0.02, changed) for _ in range(6)]

    drawn += value_of(chain, SEEDS[seed], DRAWS[draw])

    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("module", ["random", "numpy.random"])
def test_a_seed_holds_for_its_own_task(module: str, client: Client) -> None:
    """The same seed, the same draws."""
    text = f"import {module}\n{module}.seed(3)\nseen = repr([{module}.random() for _ in range(3)])"

    assert len(set(value_of(everywhere, text) + value_of(everywhere, text))) == 1


def test_children_of_a_task_are_independent_of_those_of_another(client: Client) -> None:
    """Two tasks that fork do not draw the same in their children."""
    text = """
import os, random
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, repr(random.random()).encode())
    os._exit(0)
seen = os.read(reading, 100).decode()
os.wait()
"""
    drawn = value_of(everywhere, text) + value_of(everywhere, text)

    assert len(set(drawn)) == len(drawn)


# -- T10: figures ----------------------------------------------------------------------------------------------------

FIGURES = {
    "plot": "plt.plot([1, 2])\nseen = len(plt.gca().lines)",
    "scatter": "plt.scatter([1], [2])\nseen = len(plt.gca().collections)",
    "numbers": "plt.figure()\nseen = repr(plt.get_fignums())",
    "subplots": "plt.subplots(2, 2)\nseen = repr([plt.get_fignums(), len(plt.gcf().axes)])",
    "title": "seen = repr(plt.gca().get_title())\nplt.title('mine')",
    "colour": "line, = plt.plot([1])\nseen = line.get_color()",
    "limits": "seen = repr(plt.xlim())\nplt.xlim(5, 6)",
    "saved": "plt.plot([1, 2])\nplt.savefig('/dev/null', format='png')\nseen = len(plt.gca().lines)",
    "legend": "plt.plot([1], label='mine')\nseen = len(plt.legend().get_texts())",
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_task_begins_without_figures(name: str, client: Client) -> None:
    """Across dispatches and nodes: the picture has what its own task drew."""
    text = "import matplotlib.pyplot as plt\n" + FIGURES[name]
    seen = [x for _ in range(3) for x in value_of(everywhere, text)]

    assert len(set(seen)) == 1, seen


# -- T12: log lines --------------------------------------------------------------------------------------------------

LOG_FIRST = {
    "a warning": "logging.warning('first')",
    "basicConfig": "logging.basicConfig(level=logging.ERROR, format='other %(message)s')",
    "basicConfig with a file": "logging.basicConfig(filename='/dev/null', level=logging.ERROR)",
    "a handler of the root": "logging.getLogger().addHandler(logging.StreamHandler())",
    "a handler of a logger": "logging.getLogger('mine').addHandler(logging.StreamHandler())",
    "a level of a logger": "logging.getLogger('mine').setLevel(logging.ERROR)",
    "no propagation": "logging.getLogger('mine').propagate = False",
    "a filter of a logger": "logging.getLogger('mine').addFilter(lambda record: False)",
    "a disabled logger": "logging.getLogger('mine').disabled = True",
    "a filter of the root": "logging.getLogger().addFilter(lambda record: False)",
    "dictConfig": "import logging.config; logging.config.dictConfig({'version': 1, 'root': {'level': 'ERROR'}})",
    "disable": "logging.disable(logging.CRITICAL)",
    "another factory": "logging.setLogRecordFactory(lambda *a, **k: logging.makeLogRecord({'msg': 'changed'}))",
    "shutdown": "logging.basicConfig(); logging.shutdown()",
    "nothing": "pass",
}
LOG_THEN = {
    "basicConfig": "logging.basicConfig(level=logging.INFO, format='%(name)s %(message)s')\n"
    "logging.getLogger('mine').info('line')",
    "a handler": "h = logging.StreamHandler(); h.setFormatter(logging.Formatter('%(name)s %(message)s')); "
    "log = logging.getLogger('mine'); log.setLevel(logging.INFO); log.addHandler(h); log.info('line')",
    "the root": "logging.basicConfig(level=logging.INFO, format='%(name)s %(message)s')\nlogging.info('line')",
}
EXPECTED_LINES = {"basicConfig": "mine line\n", "a handler": "mine line\n", "the root": "root line\n"}


@ct.electron
def logs(text: str, after: object = None, seconds: float = 0.05) -> None:
    """Run a text that logs."""
    import logging

    time.sleep(seconds)
    exec(text, {"logging": logging})


@pytest.mark.parametrize("then", LOG_THEN)
@pytest.mark.parametrize("first", LOG_FIRST)
def test_logging_starts_anew(first: str, then: str, client: Client) -> None:
    """The lines of a task are there, once, as it formats them, whatever other tasks did to logging."""

    @ct.lattice
    def some(text: str) -> Any:
        return [logs(text) for _ in range(2 * WORKERS)]

    @ct.lattice
    def one_after_the_other(first: str, then: str) -> Any:
        done = [logs(first, None, 0.02) for _ in range(2 * WORKERS)]
        return [logs(then, done, 0.02) for _ in range(2 * WORKERS)]

    value_of(some, LOG_FIRST[first])
    apart = ct.dispatch_sync(some)(LOG_THEN[then])
    together = ct.dispatch_sync(one_after_the_other)(LOG_FIRST[first], LOG_THEN[then])

    shown = [_stderr(client, apart), _stderr(client, together)[2 * WORKERS :]]
    assert shown == [[EXPECTED_LINES[then]] * 2 * WORKERS] * 2


def _stderr(client: Client, result: Any) -> list[str]:
    nodes = client.graph(result.dispatch_id).nodes
    return [client.node(result.dispatch_id, n).stderr for n, node in enumerate(nodes) if node.name == "logs"]


def test_a_warning_is_in_the_output_of_every_task_that_made_it(client: Client) -> None:
    """Also of the second that makes it at the same line."""

    @ct.lattice
    def some() -> Any:
        return [logs("import warnings; warnings.warn('careful')") for _ in range(4)]

    for _ in range(2):
        assert all(text.count("careful") == 1 for text in _stderr(client, ct.dispatch_sync(some)()))


# -- T13: signals ----------------------------------------------------------------------------------------------------

SIGNALS = {
    "main thread": "import threading\nseen = threading.current_thread() is threading.main_thread()",
    "handler": """
import os, signal
got = []
signal.signal(signal.SIGUSR1, lambda *args: got.append(1))
os.kill(os.getpid(), signal.SIGUSR1)
seen = got == [1]""",
    "alarm": """
import signal, time
def late(*args): raise TimeoutError
signal.signal(signal.SIGALRM, late)
signal.alarm(1)
try:
    time.sleep(20)
    seen = False
except TimeoutError:
    seen = True""",
    "timer": """
import signal, time
got = []
signal.signal(signal.SIGALRM, lambda *args: got.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
time.sleep(0.3)
signal.setitimer(signal.ITIMER_REAL, 0)
seen = len(got) >= 2""",
    "decorator with a limit": """
import contextlib, signal, time
@contextlib.contextmanager
def limit(seconds):
    def late(*args): raise TimeoutError
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
try:
    with limit(0.1):
        while True: pass
except TimeoutError:
    seen = True""",
    "interrupt": """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(20)
    seen = False
except KeyboardInterrupt:
    seen = True""",
    "wake-up descriptor": """
import os, signal, socket
a, b = socket.socketpair()
for one in (a, b): one.setblocking(False)
signal.set_wakeup_fd(b.fileno())
signal.signal(signal.SIGUSR2, lambda *args: None)
os.kill(os.getpid(), signal.SIGUSR2)
seen = a.recv(10) == bytes([signal.SIGUSR2])
signal.set_wakeup_fd(-1)""",
    "waiting": """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
os.kill(os.getpid(), signal.SIGUSR1)
seen = signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1""",
    "children": """
import os, signal, subprocess
got = []
signal.signal(signal.SIGCHLD, lambda *args: got.append(1))
subprocess.run(["true"], check=True)
seen = len(got) >= 1""",
    "of a loop": """
import asyncio, os, signal
async def main():
    got = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(got.wait(), 5)
    return True
seen = asyncio.run(main())""",
}


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_work_in_a_task(name: str, client: Client) -> None:
    """As in a program, in every task: the first, the next dispatch's, the next node's."""
    assert value_of(everywhere, SIGNALS[name]) == [True] * 2 * WORKERS
    assert value_of(everywhere, SIGNALS[name]) == [True] * 2 * WORKERS


def test_an_alarm_that_a_task_left_does_not_hit_the_next(client: Client) -> None:
    """It was for the task that set it."""

    @ct.lattice
    def chain() -> Any:
        set_ = [run_text("import signal; signal.alarm(1)") for _ in range(2 * WORKERS)]
        return [run_text("import time; time.sleep(1.5); seen = 1", 0, set_) for _ in range(WORKERS)]

    value_of(everywhere, "import signal; signal.alarm(1)")
    assert value_of(everywhere, "import time; time.sleep(0.6); seen = 1") == [1] * 2 * WORKERS
    assert value_of(chain) == [1] * WORKERS


# -- T14: event loops ------------------------------------------------------------------------------------------------

LOOPS = {
    "get_event_loop": "seen = asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, 7))",
    "run": "async def main(): return 7\nseen = asyncio.run(main())",
    "run twice": "async def main(): return 7\nasyncio.run(main())\nseen = asyncio.run(main())",
    "a future": "loop = asyncio.get_event_loop()\nf = loop.create_future()\nloop.call_later(0.01, f.set_result, 7)\n"
    "seen = loop.run_until_complete(f)",
    "policy": "seen = asyncio.get_event_loop_policy().get_event_loop().run_until_complete(asyncio.sleep(0, 7))",
    "new loop": "loop = asyncio.new_event_loop()\nasyncio.set_event_loop(loop)\n"
    "seen = asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, 7))",
    "gather": "loop = asyncio.get_event_loop()\n"
    "seen = sum(loop.run_until_complete(asyncio.gather(asyncio.sleep(0, 3), asyncio.sleep(0, 4))))",
    "tornado": "from tornado.ioloop import IOLoop\nasync def main(): return 7\nseen = IOLoop.current().run_sync(main)",
    "subprocess": """
async def main():
    p = await asyncio.create_subprocess_exec("sh", "-c", "exit 7")
    return await p.wait()
seen = asyncio.run(main())""",
    "closed": "loop = asyncio.get_event_loop()\nseen = loop.run_until_complete(asyncio.sleep(0, 7))\nloop.close()",
    "none left": "seen = asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, 7))\n"
    "asyncio.set_event_loop(None)",
    "tasks left": "loop = asyncio.get_event_loop()\nloop.create_task(asyncio.sleep(60))\n"
    "seen = loop.run_until_complete(asyncio.sleep(0, 7))",
    "stopped": "loop = asyncio.get_event_loop()\nloop.call_later(0.01, loop.stop)\nloop.run_forever()\nseen = 7",
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_task_finds_a_usable_loop(name: str, client: Client) -> None:
    """Whatever the task before it did with its own."""
    text = "import asyncio\n" + LOOPS[name]
    assert value_of(everywhere, text) == [7] * 2 * WORKERS
    assert value_of(everywhere, "import asyncio\n" + LOOPS["get_event_loop"]) == [7] * 2 * WORKERS


def test_a_loop_after_coroutines(client: Client) -> None:
    """Electrons that are coroutines, and plain ones that look for a loop, in one dispatch."""

    @ct.electron
    async def coroutine(x: int) -> int:
        import asyncio

        await asyncio.sleep(0.01)
        return x

    @ct.lattice
    def mixed() -> Any:
        first = [coroutine(x) for x in range(4)]
        return [run_text("import asyncio\n" + LOOPS["get_event_loop"], 0.02, first) for _ in range(4)]

    assert value_of(mixed) == [7, 7, 7, 7]


# -- T15: late output ------------------------------------------------------------------------------------------------

LATE = {
    "thread": "import threading\n"
    "def late():\n    time.sleep(0.4)\n    print('LATE', flush=True)\n"
    "threading.Thread(target=late, daemon=True).start()",
    "timer": "import threading\nthreading.Timer(0.4, lambda: print('LATE', flush=True)).start()",
    "thread that writes to the descriptor": "import os, threading\n"
    "def late():\n    time.sleep(0.4)\n    os.write(1, b'LATE\\n')\nthreading.Thread(target=late, daemon=True).start()",
    "thread without an object": "import _thread, os\nbegun = _thread.allocate_lock()\nbegun.acquire()\n"
    "def late():\n    begun.release()\n    time.sleep(0.4)\n    os.write(2, b'LATE\\n')\n"
    "_thread.start_new_thread(late, ())\nbegun.acquire()",
    "pool of threads": "import os, concurrent.futures as cf\n"
    "def late():\n    time.sleep(0.4)\n    os.write(1, b'LATE\\n')\ncf.ThreadPoolExecutor().submit(late)",
    "pool that idles, and is asked by a timer": "import os, threading, concurrent.futures as cf\n"
    "pool = cf.ThreadPoolExecutor(1)\npool.submit(int).result()\n"
    "threading.Timer(0.4, pool.submit, (os.write, 1, b'LATE\\n')).start()",
    "event loop of a thread": "import asyncio, os, threading\nloop = asyncio.new_event_loop()\n"
    "threading.Thread(target=loop.run_forever, daemon=True).start()\n"
    "loop.call_soon_threadsafe(loop.call_later, 0.4, os.write, 1, b'LATE\\n')",
    "file over the descriptor": "import threading\nout = open(1, 'w', closefd=False)\n"
    "threading.Timer(0.4, lambda: print('LATE', file=out, flush=True)).start()",
    "copy of the descriptor": "import os, threading\nthreading.Timer(0.4, os.write, (os.dup(1), b'LATE\\n')).start()",
    "thread of a thread": "import os, threading\n"
    "def late():\n    time.sleep(0.2)\n    threading.Timer(0.2, os.write, (2, b'LATE\\n')).start()\n"
    "threading.Thread(target=late).start()",
    "thread that logs": "import logging, threading\nlogging.basicConfig(level=10)\n"
    "threading.Timer(0.4, logging.error, ('LATE',)).start()",
    "thread with the stream of before": "import sys, threading\nout = sys.stdout\n"
    "threading.Timer(0.4, lambda: print('LATE', file=out, flush=True)).start()",
    "child": "import subprocess\nsubprocess.Popen(['sh', '-c', 'sleep 0.4; echo LATE; echo LATE >&2'])",
    "daemon": "import subprocess\nsubprocess.Popen(['setsid', '-f', 'sh', '-c', 'sleep 0.4; echo LATE'])",
    "fork": "import os\nif os.fork() == 0:\n    time.sleep(0.4)\n    os.write(2, b'LATE\\n')\n    os._exit(0)",
    "C": "import ctypes, threading\nlibc = ctypes.CDLL(None)\n"
    "threading.Timer(0.4, lambda: (libc.puts(b'LATE'), libc.fflush(None))).start()",
}


@ct.electron
def quiet(seconds: float, after: object = None) -> int:
    """Print one line, later."""
    time.sleep(seconds)
    print("mine")
    return os.getpid()


@pytest.mark.parametrize("name", LATE)
def test_late_output_is_never_in_the_output_of_another_task(name: str, client: Client) -> None:
    """Neither in a later dispatch's, nor in a later node's of the same dispatch."""
    text = "import time\nprint('early', flush=True)\n" + LATE[name]

    @ct.lattice
    def later() -> Any:
        return [quiet(0.8) for _ in range(WORKERS)]

    @ct.lattice
    def together(text: str) -> Any:
        first = [run_text(text, 0.02) for _ in range(WORKERS)]
        return [quiet(0.8, first) for _ in range(WORKERS)]

    value_of(everywhere, text)
    results = [ct.dispatch_sync(later)(), ct.dispatch_sync(together)(text)]

    for result in results:
        assert str(result.status) == "COMPLETED"
        nodes = client.graph(result.dispatch_id).nodes
        details = [client.node(result.dispatch_id, n) for n, node in enumerate(nodes) if node.name == "quiet"]
        assert [(it.stdout, it.stderr) for it in details] == [("mine\n", "")] * WORKERS


@ct.electron
def knows_pandas() -> bool:
    """Return whether the process had imported pandas before the task did."""
    is_there = "pandas" in sys.modules
    import pandas  # noqa: F401, ICN001 - by the task itself

    return is_there


def test_a_package_that_reads_what_dask_sets_for_workers_is_imported_beforehand(live: Client) -> None:
    """Pandas reads PYTHONHASHSEED, which Dask sets and no notebook has."""
    until(lambda: ct.dispatch_sync(ct.lattice(knows_pandas))().result)
