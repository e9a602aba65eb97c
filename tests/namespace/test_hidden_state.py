"""What cells share without a name reaches another process."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterator

import pytest
from tests.namespace.peer import Peer

from covalab.namespace.hidden_state import HiddenState, apply, capture, kept_generators

pytestmark = pytest.mark.sampled(24, of="file")

# What is loaded in both processes; what the notebook sets; what must be equal then.
CASES: dict[str, tuple[str, str, list[str]]] = {
    "seed": ("import random", "random.seed(1); random.random()", ["random.random()", "random.gauss(0, 1)"]),
    "half a pair of normal numbers": ("import random", "random.seed(1); random.gauss(0, 1)", ["random.gauss(0, 1)"]),
    "seed of numpy": (
        "import numpy as np",
        "np.random.seed(1); np.random.rand(3); np.random.randn()",
        ["np.random.rand(2)", "np.random.randn()", "np.random.permutation(5)"],
    ),
    "printing of arrays": (
        "import numpy as np",
        "np.set_printoptions(precision=2, suppress=True)",
        ["np.array([1 / 3, 1e-9])"],
    ),
    "formatter of arrays": (
        "import numpy as np",
        "np.set_printoptions(formatter={'float': lambda x: f'<{x:.1f}>'})",
        ["np.array([1 / 3])"],
    ),
    "errors of numpy": ("import numpy as np", "np.seterr(divide='ignore', over='raise')", ["np.geterr()"]),
    "options of pandas": (
        "import pandas as pd",
        "pd.options.display.max_rows = 5; pd.set_option('display.precision', 2)",
        ["pd.DataFrame({'a': [1 / 3] * 9})", "pd.options.display.max_rows"],
    ),
    "format of numbers in tables": (
        "import pandas as pd",
        "pd.options.display.float_format = '{:.1f}'.format",
        ["pd.DataFrame({'a': [1 / 3]})"],
    ),
    "parameters of plots": (
        "import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt",
        "plt.rcParams['figure.figsize'] = (3, 2); plt.style.use('ggplot')",
        ["plt.rcParams['figure.figsize']", "plt.rcParams['axes.prop_cycle']", "plt.rcParams['axes.facecolor']"],
    ),
    "backend of plots": (
        "import os; os.environ['MPLBACKEND'] = 'agg'; import matplotlib.figure",
        "import matplotlib.pyplot as plt; plt.subplots()",
        ["__import__('matplotlib.pyplot').pyplot._backend_mod.__name__"],
    ),
    "backend of plots, chosen here": (
        "import matplotlib; matplotlib.use('svg'); import matplotlib.pyplot as plt",
        "plt.plot([1, 2])",
        ["plt._backend_mod.__name__"],
    ),
    "options of xarray, of which some are deprecated": (
        "import xarray as xr, warnings; warnings.simplefilter('error')",
        "xr.set_options(display_width=50)",
        ["xr.get_options()['display_width']"],
    ),
    "filters of warnings": (
        "import warnings",
        "warnings.filterwarnings('error', 'no .*', UserWarning); warnings.simplefilter('ignore', FutureWarning)",
        ["warnings.filters[:2]"],
    ),
    "variables of the process": (
        "import os",
        "os.environ['COVALAB_TEST_X'] = '1'; os.environ.pop('COVALAB_TEST_Y', None)",
        ["os.environ['COVALAB_TEST_X']"],
    ),
    "folder": ("import os", "os.chdir('/')", ["os.getcwd()"]),
    "recursion": ("import sys", "sys.setrecursionlimit(2345)", ["sys.getrecursionlimit()"]),
    "the interpreter": (
        "import gc, os, socket, sys, threading, multiprocessing",
        """
gc.disable(); gc.set_threshold(500, 5, 5); os.umask(0o027); socket.setdefaulttimeout(3.5); sys.setswitchinterval(0.002)
threading.stack_size(512 * 1024); multiprocessing.set_start_method('spawn')
""",
        [
            "[gc.isenabled(), gc.get_threshold(), socket.getdefaulttimeout(), sys.getswitchinterval()]",
            "[os.umask(0o027), threading.stack_size(512 * 1024), multiprocessing.get_start_method(allow_none=True)]",
        ],
    ),
    "dialects of csv": (
        "import csv",
        "csv.register_dialect('pipes', delimiter='|', quoting=csv.QUOTE_ALL); csv.field_size_limit(500_000)",
        ["next(csv.reader(['a|b'], 'pipes'))", "csv.field_size_limit()"],
    ),
    "search path": ("import sys", "sys.path.insert(0, '/nowhere')", ["sys.path[0]"]),
    "arguments of the program": ("import sys", "sys.argv = ['prog', '-v']", ["sys.argv"]),
    "handlers of signals": (
        "import signal",
        """
def on_signal(number, frame): return number + 1
signal.signal(signal.SIGUSR1, on_signal); signal.signal(signal.SIGUSR2, signal.SIG_IGN)
signal.signal(signal.SIGALRM, lambda *_: None); signal.signal(signal.SIGALRM, signal.SIG_DFL)
""",
        [
            "signal.getsignal(signal.SIGUSR1)(2, None)",
            "[signal.getsignal(n) for n in (signal.SIGUSR2, signal.SIGALRM)]",
        ],
    ),
    "decimal": (
        "import decimal",
        "decimal.getcontext().prec = 5; decimal.getcontext().rounding = decimal.ROUND_UP",
        ["decimal.Decimal(1) / 3", "decimal.getcontext()"],
    ),
    "trap of decimal": (
        "import decimal",
        "decimal.getcontext().traps[decimal.DivisionByZero] = False",
        ["decimal.Decimal(1) / 0"],
    ),
    "configuration of sklearn": (
        "import sklearn",
        "sklearn.set_config(transform_output='pandas', display='text')",
        ["sklearn.get_config()"],
    ),
    "locale": ("import locale", "locale.setlocale(locale.LC_ALL, 'C.UTF-8')", ["locale.setlocale(locale.LC_ALL)"]),
    "how IPython shows values": (
        "from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance()",
        "shell.run_line_magic('precision', '2'); shell.run_line_magic('pprint', '')",
        [
            "[getattr(shell.display_formatter.formatters['text/plain'], name) for name in ('float_format', 'pprint')]",
            "shell.run_line_magic('precision', '')",
        ],
    ),
    "which values IPython shows": (
        "from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell.instance()",
        "InteractiveShell.ast_node_interactivity = 'all'",
        ["shell.ast_node_interactivity"],
    ),
    "levels of loggers": (
        "import logging",
        "logging.getLogger('mine').setLevel('DEBUG'); logging.getLogger().setLevel('ERROR')",
        ["logging.getLogger('mine').level", "logging.getLogger().level"],
    ),
    "loggers that are quiet": (
        "import logging",
        "logging.getLogger('a').disabled = True; logging.getLogger('b.c').propagate = False; logging.getLogger('d')",
        ["[(logging.getLogger(name).disabled, logging.getLogger(name).propagate) for name in ('a', 'b.c', 'd')]"],
    ),
}


@pytest.fixture(scope="module", params=[True, False], ids=["loaded before", "loaded after"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Peer, Peer]]:
    """A process in which all cells ran, and one that has its hidden state."""
    kernel, task = Peer(), Peer()
    loads = [load for load, _, _ in CASES.values()]
    kernel.run(*(loads if request.param else []))
    base = kernel("capture", None)
    kernel.run(*loads, *(cell for _, cell, _ in CASES.values()))
    state = kernel("capture", base)
    assert len(pickle.dumps(state)) < 15_000
    task.run(*loads)  # first: libraries set filters of warnings when they are loaded
    assert task("apply", state) == ()
    yield kernel, task
    kernel.stop()
    task.stop()


@pytest.mark.parametrize("case", CASES)
def test_hidden_state_reaches_another_process(both: tuple[Peer, Peer], case: str) -> None:
    """Whether the library was loaded when the process began, or later."""
    kernel, task = both
    expressions = CASES[case][2]

    assert task.values(*expressions) == kernel.values(*expressions)


def test_what_did_not_change_is_not_captured() -> None:
    """A capture that is compared with the one before is empty."""
    assert capture(capture()).parts == {}


def test_pyplot_that_shows_figures_only_when_it_is_told_to_stays_so() -> None:
    """And one that shows them again does so: in a notebook that is how it begins."""
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    plt.ion()
    on = capture()
    plt.ioff()
    off = capture(on)
    plt.ion()
    apply(off)
    assert not plt.isinteractive()
    base = capture()
    plt.ion()
    again = capture(base)
    plt.ioff()
    apply(again)
    assert plt.isinteractive()
    plt.ioff()


def test_a_state_can_be_pickled_whatever_is_in_it() -> None:
    """What cannot be pickled is left out."""
    generator = (number for number in range(3))
    state = HiddenState({"numpy": {"print formatter": generator, "divide": "ignore"}})

    assert pickle.loads(pickle.dumps(state)).parts == {"numpy": {"divide": "ignore"}}


def test_a_variable_that_was_removed_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And those that others set stay."""
    monkeypatch.setenv("COVALAB_TEST_A", "1")
    base = capture()
    monkeypatch.delenv("COVALAB_TEST_A")
    state = capture(base)
    monkeypatch.setenv("COVALAB_TEST_A", "2")
    monkeypatch.setenv("COVALAB_TEST_B", "3")
    apply(state)
    assert state.parts == {"environment": {"COVALAB_TEST_A": None}}
    assert "COVALAB_TEST_A" not in os.environ
    assert os.environ["COVALAB_TEST_B"] == "3"


def test_what_is_imported_meanwhile_draws_no_number() -> None:
    """A generator that was not loaded before is left alone."""
    state = random.getstate()

    with kept_generators():
        random.random()

    assert random.getstate() == state
