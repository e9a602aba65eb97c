"""A node finds the process as the first one did, whatever the nodes before it did to it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from tests.worker.test_batch_runner import Batches, value
from tests.worker.test_kept_functions import of_notebook

from covalab.core.codec import digest_of, encode
from covalab.core.model import Digest, Outcome
from covalab.core.protocol import TaskSpec

pytestmark = pytest.mark.sampled(6)


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    """Return a worker without batches."""
    return Batches(tmp_path)


def run(batches: Batches, *sources: str, per_batch: int = 2) -> list[Outcome]:
    """Run pieces of code one after the other, each the body of a function, in one process; two in each batch.

    A batch ends after a node that leaves a thread.
    """
    tasks: list[TaskSpec] = []
    code: dict[Digest, bytes] = {}
    for node, source in enumerate(sources):
        data = encode(of_notebook("def task():\n" + textwrap.indent(source, " "))).join()
        tasks.append(TaskSpec(node, "task", digest_of([data]), [], {}))
        code[digest_of([data])] = data
    for start in range(0, len(tasks), per_batch):
        batches.add(*tasks[start : start + per_batch], code=code)
    outcomes = batches.outcomes()
    return [outcomes[node] for node in range(len(sources))]


def values(outcomes: list[Outcome]) -> list[Any]:
    """Return the values of nodes."""
    return [value(outcome) for outcome in outcomes]


READ_BACK = {
    "variable set": ("import os; os.environ['X_NEW'] = '1'", "import os; return os.environ.get('X_NEW')"),
    "variable changed": ("import os; os.environ['PATH'] = 'x'", "import os; return os.environ['PATH']"),
    "variable deleted": ("import os; del os.environ['PATH']", "import os; return os.environ.get('PATH')"),
    "variables cleared": ("import os; os.environ.clear()", "import os; return sorted(os.environ)"),
    "variables replaced": ("import os; os.environ = {}", "import os; return sorted(os.environ)"),
    "variable of a child": (
        "import os; os.environ['X_NEW'] = '1'",
        "import subprocess; return subprocess.run(['sh', '-c', 'echo $X_NEW'], capture_output=True).stdout",
    ),
    "search path": ("import sys; sys.path.insert(0, '/x')", "import sys; return sys.path"),
    "search path replaced": ("import sys; sys.path = []", "import sys; return sys.path"),
    "arguments": ("import sys; sys.argv[:] = ['x', 'y']", "import sys; return sys.argv"),
    "finders": ("import sys; sys.meta_path.append(1)", "import sys; return len(sys.meta_path)"),
    "recursion limit": ("import sys; sys.setrecursionlimit(5000)", "import sys; return sys.getrecursionlimit()"),
    "folder": ("import os; os.chdir('/')", "import os; return os.getcwd()"),
    "folder removed": (
        "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')",
        "import os; return os.getcwd()",
    ),
    "umask": ("import os; os.umask(0o077)", "import os; before = os.umask(0); os.umask(before); return before"),
    "socket": ("import socket; socket.setdefaulttimeout(1)", "import socket; return socket.getdefaulttimeout()"),
    "exception hook": ("import sys; sys.excepthook = print", "import sys; return sys.excepthook.__name__"),
    "thread hook": (
        "import threading; threading.excepthook = print",
        "import threading as t; return str(t.excepthook)",
    ),
    "display hook": ("import sys; sys.displayhook = print", "import sys; return sys.displayhook.__name__"),
    "trace": ("import sys; sys.settrace(lambda *_: None)", "import sys; return sys.gettrace()"),
    "profile": ("import sys; sys.setprofile(lambda *_: None)", "import sys; return sys.getprofile()"),
    "trace of threads": (
        "import threading; threading.settrace(print)",
        "import threading; return threading.gettrace()",
    ),
    "switch interval": ("import sys; sys.setswitchinterval(1)", "import sys; return sys.getswitchinterval()"),
    "stacks of threads": (
        "import threading; threading.stack_size(512 * 1024)",
        "import threading; return threading.stack_size()",
    ),
    "traceback limit": ("import sys; sys.tracebacklimit = 0", "import sys; return hasattr(sys, 'tracebacklimit')"),
    "collector": ("import gc; gc.disable()", "import gc; return gc.isenabled()"),
    "collector limits": ("import gc; gc.set_threshold(1, 2, 3)", "import gc; return gc.get_threshold()"),
    "locale": ("import locale; locale.setlocale(locale.LC_ALL, 'C')", "import locale; return locale.setlocale(0)"),
    "print": ("import builtins; builtins.print = None", "return print.__name__"),
    "a built-in": ("import builtins; builtins.len = lambda _: 3", "return len('')"),
    "a new built-in": ("import builtins; builtins.new = 1", "import builtins; return hasattr(builtins, 'new')"),
    "start method": (
        "import multiprocessing as m; m.set_start_method('spawn')",
        "import multiprocessing as m; before = m.get_start_method(True); m.set_start_method('fork'); return before",
    ),
    "limit": (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (20, r.getrlimit(r.RLIMIT_NOFILE)[1]))",
        "import resource as r; return r.getrlimit(r.RLIMIT_NOFILE)",
    ),
    "memory": ("import tracemalloc; tracemalloc.start()", "import tracemalloc; return tracemalloc.is_tracing()"),
    "crash messages": ("import faulthandler as f; f.enable()", "import faulthandler as f; return f.is_enabled()"),
    "decimals": ("import decimal; decimal.getcontext().prec = 3", "import decimal; return decimal.getcontext().prec"),
    "all decimals": (
        "import decimal; decimal.DefaultContext.prec = 3; decimal.setcontext(decimal.DefaultContext)",
        "import decimal; return decimal.getcontext().prec, str(decimal.Decimal(1) / 3)",
    ),
    "context variables": (
        "import decimal; decimal.setcontext(decimal.BasicContext)",
        "import decimal; return decimal.getcontext().prec",
    ),
    "NumPy errors": ("import numpy as np; np.seterr(all='raise')", "import numpy as np; return np.geterr()"),
    "NumPy printing": (
        "import numpy as np; np.set_printoptions(precision=2)",
        "import numpy as np; return str(np.ones(2) / 3)",
    ),
    "pandas": (
        "import pandas as pd; pd.set_option('display.max_rows', 7); pd.options.display.precision = 2",
        "import pandas as pd; return pd.get_option('display.max_rows'), pd.options.display.precision",
    ),
    "matplotlib": (
        "import matplotlib as m; m.rcParams['lines.linewidth'] = 9; m.rcParams['font.family'].append('x')",
        "import matplotlib as m; return m.rcParams['lines.linewidth'], m.rcParams['font.family']",
    ),
    "style": (
        "import matplotlib.pyplot as plt; plt.style.use('ggplot')",
        "import matplotlib.pyplot as plt; return plt.rcParams['axes.grid'], plt.rcParams['axes.facecolor']",
    ),
    "backend": (
        "import matplotlib.pyplot as plt; plt.switch_backend('svg'); plt.figure()",
        "import matplotlib.pyplot as plt; plt.figure(); return plt.get_backend().lower()",
    ),
    "figures": (
        "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.figure()",
        "import matplotlib.pyplot as plt; plt.plot([1, 2]); return len(plt.gca().lines), plt.get_fignums()",
    ),
    "interactive": (
        "import matplotlib.pyplot as plt; plt.ion()",
        "import matplotlib.pyplot as plt; return plt.isinteractive()",
    ),
    "scikit-learn": (
        "import sklearn; sklearn.set_config(transform_output='pandas')",
        "import sklearn; return sklearn.get_config()['transform_output']",
    ),
    "signal": ("import signal as s; s.signal(s.SIGUSR1, print)", "import signal as s; return s.getsignal(s.SIGUSR1)"),
    "interrupt": (
        "import signal as s; s.signal(s.SIGINT, s.SIG_IGN)",
        "import signal as s; return s.getsignal(s.SIGINT) == s.SIG_IGN",
    ),
    "blocked signals": (
        "import signal as s; s.pthread_sigmask(s.SIG_BLOCK, [s.SIGUSR1])",
        "import signal as s; return s.pthread_sigmask(s.SIG_BLOCK, [])",
    ),
    "event loop policy": (
        "import asyncio; asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())",
        "import asyncio; return type(asyncio.get_event_loop_policy()).__name__",
    ),
    "root level": ("import logging; logging.getLogger().setLevel(10)", "import logging; return logging.root.level"),
    "logging disabled": ("import logging; logging.disable(50)", "import logging; return logging.root.manager.disable"),
    "logger level": (
        "import logging; logging.getLogger('asyncio').setLevel(50)",
        "import logging; return logging.getLogger('asyncio').isEnabledFor(30)",
    ),
    "propagation": (
        "import logging; logging.getLogger('asyncio').propagate = False",
        "import logging; return logging.getLogger('asyncio').propagate",
    ),
    "logger disabled": (
        "import logging; logging.getLogger('asyncio').disabled = True",
        "import logging; return logging.getLogger('asyncio').disabled",
    ),
    "own logger": (
        "import logging; l = logging.getLogger('own'); l.setLevel(10); l.addHandler(logging.StreamHandler())",
        "import logging; l = logging.getLogger('own'); return l.level, len(l.handlers)",
    ),
    "filter": (
        "import logging; logging.getLogger('asyncio').addFilter(lambda _: False)",
        "import logging; return len(logging.getLogger('asyncio').filters)",
    ),
    "raising": ("import logging; logging.raiseExceptions = False", "import logging; return logging.raiseExceptions"),
    "captured warnings": (
        "import logging; logging.captureWarnings(True)",
        "import warnings; return warnings.showwarning.__module__",
    ),
    "log records": (
        "import logging; logging.setLogRecordFactory(print)",
        "import logging; return logging.getLogRecordFactory().__name__",
    ),
    "warning filters": ("import warnings; warnings.simplefilter('error')", "import warnings; return warnings.filters"),
    "warnings ignored": (
        "import warnings; warnings.filterwarnings('ignore')",
        "import warnings; return [str(f) for f in warnings.filters]",
    ),
    "filters replaced": ("import warnings; warnings.filters = []", "import warnings; return len(warnings.filters)"),
    "warnings shown": (
        "import warnings; warnings.showwarning = print",
        "import warnings; return str(warnings.showwarning)",
    ),
}
"""What a node does, and what others read."""


@pytest.mark.parametrize("kind", READ_BACK)
def test_the_next_node_finds_it_as_it_was(batches: Batches, kind: str) -> None:
    """In the same batch, and in a later one."""
    change, read = READ_BACK[kind]
    read = (
        f"v = None\n{read}".replace("return ", "v = ") + "\nreturn v if isinstance(v, (int, tuple, list)) else str(v)"
    )

    before, changed, after, again, _, later = run(batches, read, change, read, change, change, read)

    assert changed.failure is None, changed.failure
    assert value(after) == value(before)
    assert value(later) == value(before)
    assert again.failure is None


def test_an_alarm_does_not_ring_in_a_later_node(batches: Batches) -> None:
    """Neither a handler nor the end of the process."""
    outcomes = run(
        batches,
        "import signal; signal.alarm(1)",
        "import signal; signal.signal(signal.SIGALRM, lambda *_: 1 / 0); signal.setitimer(signal.ITIMER_REAL, 0.5)",
        "import signal; signal.signal(signal.SIGPROF, lambda *_: 1 / 0); signal.setitimer(signal.ITIMER_PROF, 0.3)",
        "import time; end = time.time() + 2\nwhile time.time() < end: pass\nreturn 1",
    )

    assert [outcome.failure for outcome in outcomes] == [None] * 4


def test_a_time_limit_by_a_signal_works(batches: Batches) -> None:
    """As decorators for time limits do it."""
    source = (
        "import signal, time\ndef stop(*_): raise TimeoutError\nsignal.signal(signal.SIGALRM, stop)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.2)\ntry: time.sleep(10)\nexcept TimeoutError: return 'stopped'"
    )

    assert values(run(batches, source, source, source)) == ["stopped"] * 3


LOOPS = {
    "get_event_loop": "import asyncio; return asyncio.get_event_loop().run_until_complete(asyncio.sleep(0, 1))",
    "run": "import asyncio; return asyncio.run(asyncio.sleep(0, 1))",
    "closed": (
        "import asyncio\nl = asyncio.get_event_loop()\nl.run_until_complete(asyncio.sleep(0))\nl.close()\nreturn 1"
    ),
    "own": "import asyncio; l = asyncio.new_event_loop(); asyncio.set_event_loop(l); return 1",
    "none": "import asyncio; asyncio.set_event_loop(None); return 1",
    "pending": (
        "import asyncio\nasync def f(): await asyncio.sleep(9)\nl = asyncio.get_event_loop()\nt = l.create_task(f())\n"
        "l.run_until_complete(asyncio.sleep(0))\nreturn 1"
    ),
    "runner": "import asyncio\nr = asyncio.Runner()\nreturn r.run(asyncio.sleep(0, 1))",
}


@pytest.mark.parametrize("first", LOOPS)
def test_every_node_has_an_event_loop(batches: Batches, first: str) -> None:
    """Whatever the one before did with its own, and without a word about it."""
    others = [f"import warnings; warnings.simplefilter('error')\n{source}" for source in LOOPS.values()]
    check = "import asyncio; return asyncio.get_event_loop().is_closed()"

    outcomes = run(batches, LOOPS[first], *others, check)

    assert values(outcomes) == [1] * (len(LOOPS) + 1) + [False]
    assert [outcome.stderr for outcome in outcomes] == [""] * len(outcomes)


def test_loops_that_a_node_left_are_closed(batches: Batches) -> None:
    """Each has three descriptors."""
    count = "import os; return len(os.listdir('/proc/self/fd'))"
    leave = "import asyncio\nfor _ in range(5): asyncio.new_event_loop()\nasyncio.get_event_loop()"
    before, *_, after = run(batches, count, leave, leave, leave, count)

    assert value(after) == value(before)


def test_a_warning_is_in_the_output_of_every_node_that_makes_it(batches: Batches) -> None:
    """By default a place warns once per process."""
    sources = [
        "import warnings; warnings.warn('careful')",
        "import warnings; warnings.warn('careful')\nfor _ in range(3): warnings.warn('again')",
        "import warnings; warnings.simplefilter('once'); warnings.warn('careful')",
        "import warnings; warnings.warn('old', FutureWarning)",
        "import collections.abc, json, warnings; warnings.warn_explicit('here', UserWarning, 'x.py', 1, registry={})",
        "import numpy as np; np.float64(1) / np.float64(0)",
        "import numpy as np; np.log(np.zeros(1))",
    ]
    outcomes = run(batches, *sources, *sources, *sources)
    shown = [outcome.stderr.count("Warning: ") for outcome in outcomes]

    assert shown == [1, 2, 1, 1, 1, 1, 1] * 3


LOG_LINES = {
    "basic": ("logging.basicConfig(level=logging.INFO); logging.info('line')", 1),
    "basic after a warning": ("logging.warning('x'); logging.getLogger('x').warning('line')", 1),
    "handler": (
        "l = logging.getLogger('app'); l.setLevel(10); l.addHandler(logging.StreamHandler()); l.debug('line')",
        1,
    ),
    "handler of a library": (
        "l = logging.getLogger('asyncio'); l.addHandler(logging.StreamHandler()); l.error('line')",
        1,
    ),
    "handler on standard output": (
        "import sys; logging.basicConfig(stream=sys.stdout, level=10, format='%(message)s'); logging.debug('line')",
        1,
    ),
    "two": ("logging.getLogger('a.b').error('line'); logging.getLogger('a').error('line')", 2),
    "dictConfig": (
        """from logging.config import dictConfig
handlers = {"h": {"class": "logging.StreamHandler"}}
dictConfig({"version": 1, "root": {"level": 10, "handlers": ["h"]}, "handlers": handlers})
logging.debug("line")""",
        1,
    ),
    "memory": (
        """from logging.handlers import MemoryHandler
logging.root.addHandler(MemoryHandler(100, target=logging.StreamHandler()))
logging.error("line")""",
        1,
    ),
}


def test_log_lines_are_neither_lost_nor_doubled(batches: Batches) -> None:
    """Whatever the nodes before did with logging."""
    sources = [f"import logging\n{source}" for source, _ in LOG_LINES.values()]
    outcomes = run(batches, *sources, *reversed(sources), *sources)
    expected = [n for _, n in LOG_LINES.values()]

    shown = [(outcome.stdout + outcome.stderr).count("line") for outcome in outcomes]
    assert shown == [*expected, *reversed(expected), *expected]


def test_a_library_that_was_imported_keeps_its_handlers(batches: Batches, tmp_path: Path) -> None:
    """It is imported once, and gives its logger a handler only then."""
    (tmp_path / "talkative.py").write_text(
        "import logging\nlog = logging.getLogger(__name__)\nlog.propagate = False\nlog.setLevel(logging.INFO)\n"
        "log.addHandler(logging.StreamHandler())\n"
    )
    source = "import sys; sys.path.insert(0, '.'); import talkative; talkative.log.info('line')"

    assert [outcome.stderr for outcome in run(batches, source, source, source)] == ["line\n"] * 3


DRAWS = {
    "random": "import random; return random.random()",
    "choice": "import random; return [random.choice(range(1000)) for _ in range(5)]",
    "gauss": "import random; return random.gauss(0, 1)",
    "numpy": "import numpy as np; return float(np.random.rand())",
    "numpy normal": "import numpy as np; return float(np.random.normal())",
    "numpy generator": "import numpy as np; return float(np.random.default_rng().random())",
    "shuffle": "import random; a = list(range(50)); random.shuffle(a); return a",
}
SEEDS = {
    "random": "import random; random.seed(1); random.random()",
    "random state": "import random; s = random.getstate(); random.random(); random.setstate(s)",
    "numpy": "import numpy as np; np.random.seed(42); np.random.rand(3)",
    "numpy state": "import numpy as np; np.random.set_state(np.random.RandomState(1).get_state())",
    "numpy generator": "import numpy as np; np.random.set_bit_generator(np.random.MT19937(5)); np.random.rand(3)",
    "both, and nothing drawn": "import random, numpy as np; random.seed(1); np.random.seed(1)",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_numbers_are_independent_of_the_seeds_of_other_nodes(batches: Batches, seed: str) -> None:
    """In one process, and in several."""
    first = values(run(batches, *[part for draw in DRAWS.values() for part in (SEEDS[seed], draw, SEEDS[seed], draw)]))
    batches.batches.clear()
    second = values(run(batches, *[part for draw in DRAWS.values() for part in (SEEDS[seed], draw)]))
    drawn = [str(number) for number in [*first[1::2], *second[1::2]]]

    assert len(set(drawn)) == len(drawn) == 3 * len(DRAWS)


def test_a_seed_holds_within_its_node(batches: Batches) -> None:
    """As in the notebook."""
    source = "import random; random.seed(7); return [random.random(), random.gauss(0, 1), random.gauss(0, 1)]"
    numpy = "import numpy as np; np.random.seed(7); return np.random.normal(size=3).tolist()"
    outcomes = values(run(batches, source, numpy, source, "import random; random.gauss(0, 1)", source, numpy))

    assert outcomes[0] == outcomes[2] == outcomes[4]
    assert outcomes[1] == outcomes[5]


FORKED = """
import os, random, sys
import numpy as np
from covalab.worker.random_state import RandomState
np.random.rand()
for _ in range(3):
    if not os.fork():
        RandomState()
        print(random.random(), np.random.rand(), flush=True)
        os._exit(0)
    os.wait()
"""


def test_processes_that_were_forked_from_one_draw_different_numbers(tmp_path: Path) -> None:
    """NumPy's state is equal in all of them after the fork."""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True, timeout=240)

    assert len(set(done.stdout.split())) == 6


LIBRARIES = """
import sys, types
torch = types.ModuleType("torch")
torch.state = 0
def seed():
    import os
    torch.state = int.from_bytes(os.urandom(7), "little")
    return torch.state
torch.seed, torch.initial_seed = seed, lambda: torch.state
torch.manual_seed = lambda number: setattr(torch, "state", number)
sys.modules["torch"] = torch
tensorflow = types.ModuleType("tensorflow")
tensorflow.random = types.SimpleNamespace(set_seed=lambda number: setattr(tensorflow, "number", number))
sys.modules["tensorflow"] = tensorflow
from covalab.worker.random_state import RandomState
state = RandomState()
state.put_back()
first = torch.state
state.put_back()
assert torch.state == first
torch.manual_seed(3)
tensorflow.random.set_seed(3)
state.put_back()
assert torch.state not in (0, 3, first)
assert tensorflow.number is None
"""


def test_torch_and_tensorflow_are_seeded_anew(tmp_path: Path) -> None:
    """With stand-ins: they are large. Only after a node that gave torch a seed, since it costs."""
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", LIBRARIES], check=True, timeout=240)


def test_figures_can_be_taken_before_they_are_closed() -> None:
    """Whoever shows the figures of a node is asked first."""
    import subprocess
    import sys

    program = (
        "import matplotlib.pyplot as plt\nfrom covalab.worker.node_state import NodeState\nstate = NodeState()\n"
        "state.libraries.before_closing = lambda: print(plt.get_fignums())\n"
        "state.put_back(); plt.figure(); plt.figure(); state.put_back(); state.put_back(); print(plt.get_fignums())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=240)

    assert done.stdout == "[1, 2]\n[]\n"


LATE = {
    "print": "print('late')",
    "part of a line": "print('late', end='')",
    "to stderr": "import sys; print('late', file=sys.stderr)",
    "the stream of then": "out.write('late\\n')",
    "its buffer": "out.buffer.write(b'late\\n')",
    "logging": "import logging; logging.getLogger('late').error('late')",
    "an error": "1 / 0",
    "a warning": "import warnings; warnings.warn('late')",
}


@pytest.mark.parametrize("kind", LATE)
def test_what_a_thread_prints_too_late_is_in_no_other_output(batches: Batches, kind: str) -> None:
    """It is dropped; what the nodes themselves print meanwhile is all there."""
    leave = (
        "import threading, time, sys\nout = sys.stdout\ndef late():\n for _ in range(6):\n  time.sleep(0.15)\n"
        f"  {LATE[kind]}\n"
        "threading.Thread(target=late, daemon=True).start()\nprint('first')"
    )
    later = "import time\nfor _ in range(4): print('mine'); time.sleep(0.1)"
    raw = "import _thread, time as t\n_thread.start_new_thread(lambda: (t.sleep(0.2), print('late')), ()); t.sleep(0.1)"
    last = "import threading, time\nt = threading.Thread(target=print, args=('of my thread',))\nt.start(); t.join()"

    outcomes = run(batches, leave, later, raw, later, "import time; time.sleep(0.5)", last, per_batch=1)

    printed = [outcome.stdout + outcome.stderr for outcome in outcomes]
    assert printed == ["first\n", "mine\n" * 4, "", "mine\n" * 4, "", "of my thread\n"]


def test_what_a_node_schedules_in_a_thread_of_an_earlier_one_is_its_output(batches: Batches) -> None:
    """IPython has one event loop for all `%%script` cells, in a thread that the first of them starts."""
    first = (
        "import asyncio, sys, threading, time\nloop = sys.late_loop = asyncio.new_event_loop()\n"
        "threading.Thread(target=loop.run_forever, daemon=True).start()\n"
        "async def late():\n for n in range(4):\n  await asyncio.sleep(0.1)\n  print('late')\n"
        "asyncio.run_coroutine_threadsafe(late(), loop)\nprint('first')"
    )
    later = (
        "import asyncio, sys, threading\nasync def say(text):\n await asyncio.sleep(0.2)\n print(text)\n"
        " print(text, file=sys.stderr)\n display(text)\n"
        "asyncio.run_coroutine_threadsafe(say('second'), sys.late_loop).result()"
    )

    outcomes = run(batches, first, later, later, per_batch=1)

    printed = [outcome.stdout + outcome.stderr for outcome in outcomes]
    assert printed == ["first\n", "second\nsecond\n", "second\nsecond\n"]
    assert [outcome.outputs is None for outcome in outcomes] == [True, False, False]
