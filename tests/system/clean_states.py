"""Kinds of state that a task may change: how it changes them, and how another task sees it.

Each is source text, run by a task: `change` changes the state, `look` puts what is seen of it into `seen`.
"""

from __future__ import annotations

from typing import NamedTuple


class State(NamedTuple):
    """One kind of state. `between_nodes`: also put back between two nodes of a dispatch, because that is cheap."""

    change: str
    look: str
    between_nodes: bool = True


DEEP = False
"""Of a state that only a new process puts back: libraries that were changed, and what was loaded."""

STATES: dict[str, State] = {
    # warnings
    "warnings as errors": State(
        "import warnings; warnings.simplefilter('error')",
        "import warnings\nwarnings.warn('deprecated', DeprecationWarning)\nwarnings.warn('careful')\nseen = 'went on'",
    ),
    "ignored warnings": State(
        "import warnings; warnings.filterwarnings('ignore', category=UserWarning)",
        "import warnings\nwith warnings.catch_warnings(record=True) as caught:\n    warnings.warn('careful')\n"
        "seen = len(caught)",
    ),
    "reset warning filters": State(
        "import warnings; warnings.resetwarnings()", "import warnings\nseen = len(warnings.filters) > 0"
    ),
    "warnings shown elsewhere": State(
        "import warnings; warnings.showwarning = lambda *args, **kwargs: None",
        "import warnings\nseen = warnings.showwarning.__module__",
        DEEP,
    ),
    "warnings captured by logging": State(
        "import logging; logging.captureWarnings(True)",
        "import warnings\nseen = warnings.showwarning.__module__",
        DEEP,
    ),
    # environment
    "variable set": State(
        "import os; os.environ['LEFT_BY_A_TASK'] = '1'", "import os\nseen = os.environ.get('LEFT_BY_A_TASK')"
    ),
    "variable changed": State("import os; os.environ['HOME'] = '/nowhere'", "import os\nseen = os.environ['HOME']"),
    "variable deleted": State("import os; os.environ.pop('PATH', None)", "import os\nseen = 'PATH' in os.environ"),
    "variable put past os.environ": State(
        "import os; os.putenv('PUT_BY_A_TASK', '1')",
        "import subprocess\nseen = subprocess.run(['printenv', 'PUT_BY_A_TASK'], capture_output=True).stdout",
        DEEP,
    ),
    "thread limits of libraries": State(
        "import os; os.environ.update(OMP_NUM_THREADS='7', MKL_NUM_THREADS='7')",
        "import os\nseen = os.environ.get('OMP_NUM_THREADS'), os.environ.get('MKL_NUM_THREADS')",
    ),
    "time zone": State(
        "import os, time; os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()",
        "import time\nseen = time.localtime(0).tm_hour",
    ),
    # modules and where they are found
    "sys.path extended": State(
        "import sys; sys.path.insert(0, '/left/by/a/task')", "import sys\nseen = '/left/by/a/task' in sys.path"
    ),
    "sys.path emptied": State("import sys; sys.path.clear()", "import sys\nseen = len(sys.path) > 1"),
    "import hook": State(
        "import sys\nclass Finder:\n    def find_spec(self, *args): return None\nsys.meta_path.insert(0, Finder())",
        "import sys\nseen = [getattr(f, '__name__', type(f).__name__) for f in sys.meta_path]",
        DEEP,
    ),
    "module replaced": State(
        "import sys, types; sys.modules['colorsys'] = types.ModuleType('colorsys')",
        "import colorsys\nseen = hasattr(colorsys, 'rgb_to_hsv')",
        DEEP,
    ),
    "module blocked": State(
        "import sys; sys.modules['chunk_that_is_missing'] = None; sys.modules['wave'] = None",
        "import importlib\nseen = importlib.import_module('wave').__name__",
        DEEP,
    ),
    "module invented": State(
        "import sys, types; sys.modules['left_by_a_task'] = types.ModuleType('left_by_a_task')",
        "import sys\nseen = 'left_by_a_task' in sys.modules",
        DEEP,
    ),
    "name in __main__": State(
        "import __main__; __main__.left_by_a_task = 1",
        "import __main__\nseen = hasattr(__main__, 'left_by_a_task')",
        DEEP,
    ),
    # libraries that were changed
    "standard function replaced": State(
        "import json; json.dumps = lambda *args, **kwargs: 'patched'", "import json\nseen = json.dumps([1])", DEEP
    ),
    "clock replaced": State("import time; time.time = lambda: 0.0", "import time\nseen = time.time() > 1", DEEP),
    "method replaced": State(
        "import fractions; fractions.Fraction.__str__ = lambda self: 'patched'",
        "import fractions\nseen = str(fractions.Fraction(1, 2))",
        DEEP,
    ),
    "constant of a module": State("import math; math.pi = 3", "import math\nseen = math.pi > 3.1", DEEP),
    "builtin added": State(
        "import builtins; builtins.left_by_a_task = 1",
        "import builtins\nseen = hasattr(builtins, 'left_by_a_task')",
        DEEP,
    ),
    "builtin replaced": State("import builtins; builtins.sum = lambda *args: -1", "seen = sum([1, 2])", DEEP),
    "builtin deleted": State("import builtins; vars(builtins).pop('divmod', None)", "seen = divmod(7, 2)", DEEP),
    "pickle reducer": State(
        "import copyreg, fractions; copyreg.pickle(fractions.Fraction, lambda f: (str, ('patched',)))",
        "import copy, copyreg, fractions\nseen = fractions.Fraction in copyreg.dispatch_table",
        DEEP,
    ),
    "codec error handler": State(
        "import codecs; codecs.register_error('left_by_a_task', lambda e: ('?', e.end))",
        "import codecs as c\n"
        "try:\n    c.lookup_error('left_by_a_task')\n    seen = 1\nexcept LookupError:\n    seen = 0",
        DEEP,
    ),
    "csv dialect": State(
        "import csv; csv.register_dialect('left_by_a_task', delimiter=';')",
        "import csv\nseen = csv.list_dialects()",
        DEEP,
    ),
    # the interpreter
    "recursion limit": State("import sys; sys.setrecursionlimit(250)", "import sys\nseen = sys.getrecursionlimit()"),
    "switch interval": State(
        "import sys; sys.setswitchinterval(0.7)", "import sys\nseen = sys.getswitchinterval()", DEEP
    ),
    "digits of integers": State(
        "import sys; sys.set_int_max_str_digits(0)", "import sys\nseen = sys.get_int_max_str_digits()", DEEP
    ),
    "trace function": State(
        "import sys, threading; threading.settrace(lambda *args: None)",
        "import threading\nseen = threading.gettrace()",
        DEEP,
    ),
    "profile function": State(
        "import sys; sys.setprofile(lambda *args: None)", "import sys\nseen = sys.getprofile() is None", DEEP
    ),
    "exception hook": State(
        "import sys; sys.excepthook = print", "import sys\nseen = sys.excepthook is sys.__excepthook__", DEEP
    ),
    "display hook": State("import sys; sys.displayhook = repr", "import sys\nseen = sys.displayhook is not repr", DEEP),
    "traceback limit": State(
        "import sys; sys.tracebacklimit = 0", "import sys\nseen = hasattr(sys, 'tracebacklimit')", DEEP
    ),
    "arguments": State(
        "import sys; sys.argv[:] = ['left', 'by', 'a', 'task']", "import sys\nseen = 'left' in sys.argv"
    ),
    "garbage collection off": State("import gc; gc.disable()", "import gc\nseen = gc.isenabled()", DEEP),
    "garbage collection thresholds": State(
        "import gc; gc.set_threshold(1, 1, 1)", "import gc\nseen = gc.get_threshold()", DEEP
    ),
    "standard streams": State(
        "import io, sys; sys.stdout = io.StringIO(); sys.stderr = None",
        "import sys\nprint('seen')\nseen = sys.stderr is None",
    ),
    # the process
    "folder": State("import os; os.chdir('/')", "import os\nseen = os.getcwd() == '/'"),
    "umask": State("import os; os.umask(0o007)", "import os\nseen = os.umask(0o022)\nos.umask(seen)"),
    "priority": State("import os; os.nice(5)", "import os\nseen = os.nice(0)", DEEP),
    "processors": State(
        "import os; os.sched_setaffinity(0, {0})", "import os\nseen = sorted(os.sched_getaffinity(0))", DEEP
    ),
    "limit of open files": State(
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (200, r.getrlimit(r.RLIMIT_NOFILE)[1]))",
        "import resource as r\nseen = r.getrlimit(r.RLIMIT_NOFILE)",
        DEEP,
    ),
    "limit of memory": State(
        "import resource as r; r.setrlimit(r.RLIMIT_DATA, (2**33, r.getrlimit(r.RLIMIT_DATA)[1]))",
        "import resource as r\nseen = r.getrlimit(r.RLIMIT_DATA)",
        DEEP,
    ),
    "signal handler": State(
        "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)",
        "import signal\nseen = str(signal.getsignal(signal.SIGUSR1))",
    ),
    "handler of interrupts": State(
        "import signal; signal.signal(signal.SIGINT, lambda *args: None)",
        "import signal\nseen = signal.getsignal(signal.SIGINT) is signal.default_int_handler",
    ),
    "pending alarm": State("import signal; signal.alarm(100)", "import signal\nseen = signal.alarm(0)"),
    "pending timer": State(
        "import signal; signal.setitimer(signal.ITIMER_REAL, 100)",
        "import signal\nseen = signal.getitimer(signal.ITIMER_REAL)",
    ),
    "blocked signals": State(
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})",
        "import signal\nseen = signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, [])",
        DEEP,
    ),
    "open descriptors": State(
        "import os; left = [os.open('/dev/null', os.O_RDONLY) for _ in range(100)]",
        "import os\nseen = len(os.listdir('/proc/self/fd')) > 100",
        DEEP,
    ),
    "threads": State(
        "from threading import Thread\nfrom time import sleep\n"
        "for _ in range(20):\n    Thread(target=sleep, args=(60,), daemon=True).start()",
        "import threading\nseen = threading.active_count() > 20",
        DEEP,
    ),
    "exit handlers": State(
        "import atexit; atexit.register(print)", "import atexit\nbefore = atexit._ncallbacks()\nseen = before", DEEP
    ),
    # numbers and texts
    "locale": State(
        "import locale; locale.setlocale(locale.LC_ALL, 'C')", "import locale\nseen = locale.setlocale(locale.LC_CTYPE)"
    ),
    "decimal precision": State(
        "import decimal; decimal.getcontext().prec = 3", "import decimal\nseen = decimal.Decimal(1) / 3"
    ),
    "decimal rounding": State(
        "import decimal; decimal.setcontext(decimal.Context(rounding=decimal.ROUND_UP, prec=5))",
        "import decimal\nseen = decimal.getcontext()",
    ),
    "default decimal context": State(
        "import decimal; decimal.DefaultContext.prec = 4", "import decimal\nseen = decimal.DefaultContext.prec", DEEP
    ),
    "random seed": State(
        "import random; random.seed(1)", "import random\nseen = random.random() == 0.13436424411240122"
    ),
    "random state": State(
        "import random; random.setstate(random.Random(2).getstate())",
        "import random\nseen = random.random() == random.Random(2).random()",
    ),
    "numpy seed": State(
        "import numpy as np; np.random.seed(1)", "import numpy as np\nseen = np.random.random() == 0.417022004702574"
    ),
    "numpy errors": State("import numpy as np; np.seterr(all='raise')", "import numpy as np\nseen = np.geterr()"),
    "numpy printing": State(
        "import numpy as np; np.set_printoptions(precision=1)",
        "import numpy as np\nseen = str(np.array([0.123]))",
        DEEP,
    ),
    "pandas options": State(
        "import pandas as pd; pd.set_option('display.max_rows', 2)",
        "import pandas as pd\nseen = pd.get_option('display.max_rows')",
        DEEP,
    ),
    "sklearn options": State(
        "import sklearn; sklearn.set_config(enable_metadata_routing=True)",
        "import sklearn\nseen = sklearn.get_config()['enable_metadata_routing']",
        DEEP,
    ),
    # network, files and processes
    "socket timeout": State(
        "import socket; socket.setdefaulttimeout(0.5)", "import socket\nseen = socket.getdefaulttimeout()"
    ),
    "temporary folder": State(
        "import tempfile; tempfile.tempdir = '/nowhere'", "import tempfile\nseen = tempfile.gettempdir()", DEEP
    ),
    "start method": State(
        "import multiprocessing as m; m.set_start_method('spawn', force=True)",
        "import multiprocessing as m\nseen = m.get_start_method(allow_none=True)",
        DEEP,
    ),
    "event loop policy": State(
        "import asyncio\nclass Policy(asyncio.DefaultEventLoopPolicy): pass\nasyncio.set_event_loop_policy(Policy())",
        "import asyncio\nseen = type(asyncio.get_event_loop_policy()).__name__",
    ),
    "MIME types": State(
        "import mimetypes; mimetypes.add_type('text/left', '.left')",
        "import mimetypes\nseen = mimetypes.guess_type('a.left')",
        DEEP,
    ),
    # logging and figures
    "logging disabled": State(
        "import logging; logging.disable(logging.CRITICAL)", "import logging\nseen = logging.root.manager.disable"
    ),
    "root level": State(
        "import logging; logging.getLogger().setLevel(5)", "import logging\nseen = logging.getLogger().level"
    ),
    "root handler": State(
        "import logging; logging.getLogger().addHandler(logging.NullHandler())",
        "import logging\nseen = len(logging.getLogger().handlers)",
    ),
    "root filter": State(
        "import logging; logging.getLogger().addFilter(lambda record: False)",
        "import logging\nseen = len(logging.getLogger().filters)",
    ),
    "logger class": State(
        "import logging\nclass Mine(logging.Logger): pass\nlogging.setLoggerClass(Mine)",
        "import logging\nseen = logging.getLoggerClass().__name__",
        DEEP,
    ),
    "level name": State(
        "import logging; logging.addLevelName(20, 'LEFT')", "import logging\nseen = logging.getLevelName(20)", DEEP
    ),
    "open figures": State(
        "import matplotlib.pyplot as plt; plt.figure(); plt.figure()",
        "import matplotlib.pyplot as plt\nseen = plt.get_fignums()",
    ),
    "lines of a figure": State(
        "import matplotlib.pyplot as plt; plt.plot([1, 2])",
        "import matplotlib.pyplot as plt\nplt.plot([1])\nseen = len(plt.gca().lines)",
    ),
    "style of figures": State(
        "import matplotlib as mpl; mpl.rcParams['lines.linewidth'] = 9",
        "import matplotlib as mpl\nseen = mpl.rcParams['lines.linewidth']",
        DEEP,
    ),
    "interactive figures": State(
        "import matplotlib.pyplot as plt; plt.ion()",
        "import matplotlib.pyplot as plt\nseen = plt.isinteractive()",
        DEEP,
    ),
}


CARRIED: dict[str, str] = {
    "dict": "def work():\n    COUNT['n'] += 1\n    return COUNT['n']",
    "number": "def work():\n    global NUMBER\n    NUMBER += 1\n    return NUMBER",
    "default": "def work(seen=[]):\n    seen.append(1)\n    return len(seen)",
    "keyword default": "def work(*, seen={}):\n    seen['n'] = seen.get('n', 0) + 1\n    return seen['n']",
    "default of a helper": "def low(seen=[]):\n    seen.append(1)\n    return len(seen)\ndef work():\n    return low()",
    "class attribute": "def work():\n    Counting.n += 1\n    return Counting.n",
    "class attribute of an object": "def work():\n    type(OBJECT).n += 1\n    return Counting.n",
    "new class attribute": "def work():\n    Counting.m = getattr(Counting, 'm', 0) + 1\n    return Counting.m",
    "function attribute": "def work():\n    helper.n = getattr(helper, 'n', 0) + 1\n    return helper.n",
    "own attribute": "def work():\n    work.n = getattr(work, 'n', 0) + 1\n    return work.n",
    "own globals": "def work():\n    globals()['ADDED'] = globals().get('ADDED', 0) + 1\n    return ADDED",
    "nested list": "def work():\n    NESTED[0]['a'][1].append(0)\n    return len(NESTED[0]['a'][1])",
    "list in a tuple": "def work():\n    TUPLE[1].append(0)\n    return len(TUPLE[1])",
    "set": "def work():\n    SET.add(len(SET))\n    return len(SET)",
    "bytes": "def work():\n    BYTES[0] += 1\n    return BYTES[0]",
    "array of the standard library": "def work():\n    NUMBERS[0] += 1\n    return NUMBERS[0]",
    "iterator": "def work():\n    return next(COUNTER)",
    "queue": "def work():\n    QUEUE.append(QUEUE.popleft())\n    return QUEUE[0]",
    "chain of dicts": "def work():\n    CHAIN['n'] += 1\n    return CHAIN['n']",
    "counter": "def work():\n    COUNTS['n'] += 1\n    return COUNTS['n']",
    "order of a dict": "def work():\n    ORDERED.move_to_end(next(iter(ORDERED)))\n    return ''.join(ORDERED)",
    "generator": "def work():\n    return DRAW.random()",
    "generator of NumPy": "def work():\n    return float(NUMPY_DRAW.random())",
    "method": "def work():\n    return OBJECT.step()",
    "called object": "def work():\n    return OBJECT()",
    "closure": "def work():\n    return CLOSURE()",
    "partial": "def work():\n    return PARTIAL()",
    "small array": "def work():\n    SMALL[0] += 1\n    return int(SMALL[0])",
    "large array": "def work():\n    LARGE[0] += 1\n    return int(LARGE[0])",
    "shape of an array": "def work():\n    SMALL.shape = (3, 1) if SMALL.ndim == 1 else (3,)\n    return SMALL.ndim",
    "frame": "def work():\n    FRAME['b'] = FRAME['b'] + 1\n    return int(FRAME['b'][0])",
    "columns of a frame": "def work():\n    FRAME[f'c{len(FRAME.columns)}'] = 1\n    return len(FRAME.columns)",
    "series": "def work():\n    SERIES.iloc[0] += 1\n    return int(SERIES.iloc[0])",
    "buffer": "def work():\n    TEXT.write('x')\n    return len(TEXT.getvalue())",
    "dataclass": "def work():\n    RECORD.parts.append(1)\n    return len(RECORD.parts)",
    "namespace": "def work():\n    SPACE.n += 1\n    return SPACE.n",
    "cache": "def work():\n    MEMO[len(MEMO)] = 1\n    return len(MEMO)",
}
"""Functions that change what they carry. Each returns something else when it starts from where another ended."""

CARRIED_PROGRAM = """
import array, collections, dataclasses, functools, io, itertools, json, random, types
import numpy as np
import pandas as pd
import covalab as ct

COUNT = {"n": 0}
NUMBER = 0
class Counting:
    n = 0
    def step(self):
        self.n += 1
        return self.n
    __call__ = step
def helper(): pass
NESTED = [{"a": (1, [])}]
TUPLE = (1, [])
BYTES = bytearray(1)
COUNTER = itertools.count(1)
QUEUE = collections.deque(range(10))
DRAW = random.Random(1)
NUMPY_DRAW = np.random.default_rng(1)
OBJECT = Counting()
def outer():
    cell = [0]
    def inner():
        cell[0] += 1
        return cell[0]
    return inner
CLOSURE = outer()
def add_to(seen):
    seen.append(1)
    return len(seen)
PARTIAL = functools.partial(add_to, [])
SMALL = np.zeros(3)
LARGE = np.zeros(200_000)
FRAME = pd.DataFrame({"b": [1, 2]})
TEXT = io.StringIO()
@dataclasses.dataclass
class Record:
    parts: list
RECORD = Record([])
SPACE = types.SimpleNamespace(n=0)
SET = set()
NUMBERS = array.array('i', [0])
CHAIN = collections.ChainMap({'n': 0})
COUNTS = collections.Counter()
ORDERED = collections.OrderedDict(a=1, b=2, c=3)
SERIES = pd.Series([1, 2])
MEMO = {}

@BODY@

task = ct.electron(work)
flow = ct.lattice(task)

@ct.lattice
def nodes():
    return [task() for _ in range(6)]

apart = [ct.dispatch_sync(flow)() for _ in range(6)]
together = ct.dispatch_sync(nodes)()
failed = [n["error"] for r in (*apart, together) for n in r.get_all_node_results() if n["error"]]
print(json.dumps([[r.result for r in apart], together.result, failed[:1]]))
"""
