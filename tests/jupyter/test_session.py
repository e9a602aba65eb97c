"""Cells become functions: signatures, outputs, what travels, what a traceback shows, what is said about mistakes."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import linecache
import re
import textwrap
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest

from covalab.blobs import InMemory
from covalab.core.errors import GraphError
from covalab.core.missing_values import Missing
from covalab.core.model import RetryPolicy
from covalab.jupyter.cells.cell import read_session_cell
from covalab.jupyter.cells.header import read_header
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.jupyter.notebook.electron_cell import Options
from covalab.jupyter.notebook.refusals import InPlaceWarning, LostSettingWarning, refuse_alone, warn_of_settings
from covalab.jupyter.notebook.session import _OF_A_CONTEXT, CellElectron, Session, from_notebook
from covalab.namespace import hidden_state


@pytest.fixture
def session() -> Session:
    """Return a session of an empty notebook."""
    return Session({"__name__": "__main__"})


def define(session: Session, line: str, code: str, *, executor: str | None = None, **options: Any) -> CellElectron:
    """Run an electron cell; one with an executor of its own is a function of its inputs, also without a signature."""
    text = f"%%electron {line}\n{textwrap.dedent(code).strip()}"
    return session.define(read_header(line), text, 2, Options(executor=executor), **options)


def function_of(session: Session, name: str) -> Callable[..., Any]:
    """Return the function of an electron as a worker gets it."""
    function: Callable[..., Any] = cloudpickle.loads(
        cloudpickle.dumps(session.namespace[name].electron_object.function)
    )
    return function


def test_a_signature_is_the_functions(session: Session) -> None:
    """Defaults, annotations, variadic and keyword-only parameters are Python's; defaults see the notebook."""
    session.namespace["base"] = 10
    define(
        session,
        "f(a, b: int = base, *rest, c=3, **more) -> total",
        "total = a + b + sum(rest) + c + sum(more.values())",
    )

    function = session.namespace["f"]

    assert str(inspect.signature(function)) == "(a, b: int = 10, *rest, c=3, **more)"
    assert function(1) == 14
    assert function(1, 2, 3, c=4, d=5) == 15


def test_the_last_line_is_the_value_without_outputs(session: Session) -> None:
    """A cell with a signature and no `->` gives what its last line is."""
    define(session, "add(a, b=1)", "c = a + b\nc * 2")

    assert session.namespace["add"](1) == 4


def test_a_signature_without_last_value_gives_what_the_cell_sets(session: Session) -> None:
    """Where the last line is no value, the names that are set are the outputs."""
    made = define(session, "prepare(a)", "b = a + 1\nc = b * 2")

    assert made.outputs == ("b", "c")
    assert session.namespace["prepare"](1) == (2, 4)


def test_several_outputs_are_a_tuple_and_one_is_itself(session: Session) -> None:
    """The function carries the names, for the graph and for `--run`."""
    define(session, "two() -> a, b", "a, b = 1, 2")
    define(session, "one() -> a", "a = 1")

    assert session.namespace["two"]() == (1, 2)
    assert session.namespace["one"]() == 1
    assert session.namespace["two"].__covalab_outputs__ == ("a", "b")
    assert session.namespace["two"].electron_object.outputs == ("a", "b")


def test_code_travels_as_it_is_at_the_moment(session: Session) -> None:
    """Functions, classes and modules of the notebook go along; a later definition counts."""
    exec("import math\ndef helper(x): return x + 1\nclass Box:\n  def __init__(self, v): self.v = v", session.namespace)
    define(session, "use(x)", "math.floor(Box(helper(x)).v)")
    exec("def helper(x): return x + 100", session.namespace)

    assert function_of(session, "use")(1.5) == 101


def test_a_function_of_a_later_cell_is_found_when_it_is_there(session: Session) -> None:
    """A name that exists nowhere is no error at the definition, but before the code travels."""
    define(session, "use(x)", "helper(x)")

    with pytest.raises(CellRefused, match=r"'use' uses 'helper', which neither the cell nor the notebook defines"):
        cloudpickle.dumps(session.namespace["use"].electron_object.function)
    exec("def helper(x): return -x", session.namespace)
    assert function_of(session, "use")(3) == -3


def test_a_name_that_became_data_does_not_travel(session: Session) -> None:
    """Data is never frozen into the code in silence, also not later."""
    define(session, "use(x)", "helper(x)")
    session.namespace["helper"] = [1, 2]

    with pytest.raises(CellRefused, match="without naming it in its signature"):
        cloudpickle.dumps(session.namespace["use"].electron_object.function)


def test_data_outside_the_signature_is_refused(session: Session) -> None:
    """The message shows the signature to write."""
    session.namespace["limit"] = 3

    with pytest.raises(CellRefused, match=re.escape("%%electron f(..., limit)")):
        define(session, "f(a)", "a + limit")


def test_a_name_read_before_it_is_set_is_refused(session: Session) -> None:
    """`total += 1` without `total` in the signature can never work."""
    with pytest.raises(CellRefused, match="reads 'total' before it sets it"):
        define(session, "f(a) -> total", "total += a")


def test_an_output_that_the_cell_never_sets_is_refused(session: Session) -> None:
    """The message lists what the cell sets."""
    with pytest.raises(CellRefused, match=r"promises 'modle'.*it sets 'model'"):
        define(session, "fit(X) -> modle", "model = X")


def test_a_promised_output_that_stays_unset_is_an_error_naming_the_electron(session: Session) -> None:
    """It is raised at run time, as a NameError, on the line with the promise."""
    define(session, "f(a) -> b", "if a:\n    b = 1")

    assert session.namespace["f"](1) == 1
    with pytest.raises(NameError, match="electron 'f' ended without setting 'b'") as caught:
        session.namespace["f"](0)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "%%electron f(a) -> b"


def test_a_found_output_that_stays_unset_is_no_error(session: Session) -> None:
    """Without a promise the cell did nothing wrong; who needs the name is told."""
    session.namespace["flag"] = False
    define(session, "--name=maybe", "done = True\nif flag:\n    extra = 1", name="maybe")
    define(session, "", "more = extra + 1", name="needs")

    _, extra = function_of(session, "maybe")(flag=False)

    assert isinstance(extra, Missing)
    with pytest.raises(NameError, match="electron 'needs' needs 'extra', but electron 'maybe' did not set it"):
        function_of(session, "needs")(extra)


def test_an_open_file_left_behind_is_no_failure(session: Session) -> None:
    """Only what was asked for must be storable."""
    define(session, "", "import io\nhandle = io.StringIO('a')\ntext = handle.read()", name="read")

    handle, text = session.namespace["read"]()

    assert text == "a"
    assert "cannot be stored" in repr(handle)


def test_a_traceback_shows_the_lines_of_the_cell(session: Session) -> None:
    """Line numbers count from the top of the cell, also after the function was sent somewhere else."""
    define(session, "f(a)", "\n# a comment\n\nb = a / 0\nb")

    function = function_of(session, "f")

    with pytest.raises(ZeroDivisionError) as caught:
        function(1)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.name, last.line) == ("f", "b = a / 0")
    assert linecache.getline(last.filename, 1) == "%%electron f(a)\n"
    assert last.lineno == function.__covalab_source__.split("\n").index("b = a / 0") + 1  # type: ignore[attr-defined]


def test_a_cell_that_awaits_is_a_coroutine_function(session: Session) -> None:
    """The worker awaits what it returns."""
    define(session, "f(a) -> b", "import asyncio\nawait asyncio.sleep(0)\nb = a + 1")

    assert inspect.iscoroutinefunction(session.namespace["f"].electron_object.function)
    assert asyncio.run(function_of(session, "f")(1)) == 2


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("model = 1", "make_model"),
        ("a = 1\nb = 2\nc = 3", "make_a_b"),
        ("rows[0] = 1", "update_rows"),
        ("print(rows)", "cell"),
    ],
)
def test_a_cell_without_a_name_is_called_after_what_it_makes(session: Session, code: str, name: str) -> None:
    """Nothing of the notebook is overwritten by it."""
    session.namespace["rows"] = [0]

    assert define(session, "", code).part.name == name
    assert define(session, "", code, key="another cell").part.name == f"{name}_2"


def test_running_a_cell_again_replaces_it_in_its_place(session: Session) -> None:
    """Cells stay in the order in which they were first run, also when their name changes."""
    define(session, "", "a = 1", key="1")
    define(session, "", "b = a", key="2")
    define(session, "", "c = 1\na = 2", key="1")

    assert [one.part.name for one in session.electrons] == ["make_c_a", "make_b"]


def test_options_become_the_electrons(session: Session) -> None:
    """Executor, retries and time limit are those of `covalab.electron`, and checked by it."""
    text = "%%electron f()\n1"

    session.define(read_header("f()"), text, 2, Options("local", 2, 600.0))

    settings = session.namespace["f"].electron_object.metadata
    assert (settings["executor"], settings["retries"], settings["time_limit"]) == ("local", 2, 600.0)
    with pytest.raises(GraphError, match="retries"):
        session.define(read_header("f()"), text, 2, Options(retries=-1))
    session.define(read_header("f()"), text, 2, Options(retries=1, retry_on=("timeout",), retry_delay=9.0))
    assert session.namespace["f"].electron_object.retry == RetryPolicy(("timeout",), 9.0)


def test_calls_that_may_change_an_input_warn_once_with_the_way_out(session: Session) -> None:
    """One warning per cell names the calls, and the line to write instead."""
    session.namespace |= {"rows": [], "seen": {1}}

    with pytest.warns(InPlaceWarning) as caught:
        define(session, "", "rows.append(1)\nseen.update({2})\nn = len(rows)", name="collect", executor="dask")

    assert len(caught) == 1
    assert "`rows.append(1)`, `seen.update({2})`" in str(caught[0].message)
    assert "%%electron collect -> n, rows, seen" in str(caught[0].message)
    assert caught[0].lineno == 2


def test_named_outputs_need_no_warning(session: Session) -> None:
    """The way out that the warning shows works."""
    session.namespace["rows"] = [1]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        define(session, "collect -> rows", "rows.append(2)")

    assert function_of(session, "collect")([1]) == [1, 2]


def test_imports_of_another_electron_cell_are_there(session: Session) -> None:
    """The cell with the imports was not run in the notebook; the cell that uses them imports by itself."""
    define(session, "", "import math\nn = 4.2", key="1")
    made = define(session, "", "m = math.floor(n)", key="2")

    assert made.signature == "make_m(n) -> m"
    assert session.namespace["make_m"](4.2) == 4


def test_builtins_under_their_own_name_work(session: Session) -> None:
    """`max = max(values)` is bad style and common."""
    session.namespace["values"] = [1, 3]
    define(session, "", "max = max(values)", name="biggest")

    assert function_of(session, "biggest")([1, 3]) == 3


def test_a_value_left_over_from_a_loop_is_no_input(session: Session) -> None:
    """A name that only an empty loop would leave unset comes from another electron cell, never from the notebook."""
    session.namespace |= {"xs": [1], "last": "of an earlier run"}

    assert (
        define(session, "", "for x in xs: last = x\ncopied = last", key="1").signature
        == "make_last_copied(xs) -> last, copied"
    )
    define(session, "", "last = 0", key="0")
    define(session, "again", "for x in xs: last = x\ncopied = last", key="1")
    assert list(inspect.signature(session.namespace["again"]).parameters) == ["xs", "last"]


def test_a_wired_lattice_runs_plainly_and_as_a_graph(session: Session) -> None:
    """Called, it is its electrons one after another; built, data of the notebook is one parameter each."""
    session.namespace |= {"words": ["a", "b"], "table": {"a": 1}}
    define(session, "", "sizes = {w: table.get(w, 0) for w in words}", executor="dask")
    define(session, "", "total = sum(sizes.values())", executor="dask")

    made, _ = session.wire("flow")

    assert made() == {"total": 1}
    plan, _ = made.plan((), {}, InMemory())
    names = [node.name for node in plan.graph.nodes]
    assert ":parameter:['a', 'b']" in names
    assert ":parameter:{'a': 1}" in names
    assert not any("electron_list" in name for name in names[:3])


def test_a_wired_lattice_follows_its_cells(session: Session) -> None:
    """Running a cell again is enough; a cell that is new does not join by itself."""
    define(session, "", "a = 1", key="1", executor="dask")
    define(session, "", "b = a + 1", key="2", executor="dask")
    session.wire("flow")

    define(session, "", "a = 10", key="1", executor="dask")
    define(session, "", "c = 3", key="3", executor="dask")

    assert session.namespace["flow"]() == {"b": 11}


def test_a_wired_lattice_that_cannot_follow_stays_and_says_so(session: Session) -> None:
    """The definition of the cell is not undone by that."""
    define(session, "", "a = 1", key="1", executor="dask")
    define(session, "", "b = a + 1", key="2", executor="dask")
    session.wire("flow")

    with pytest.warns(UserWarning, match="the lattice 'flow' stays as it was"):
        define(session, "", "renamed = 1", key="1", executor="dask")

    assert session.namespace["flow"]() == {"b": 2}


def test_a_lattice_cell_composes_electrons(session: Session) -> None:
    """Its last line is its value, its electrons are those of the moment."""
    define(session, "add(a, b=1)", "a + b")
    session.define_lattice(read_header("flow(x=1)"), "%%lattice flow(x=1)\ny = add(x)\nadd(y, b=5)", 2)

    define(session, "add(a, b=1)", "a * b")

    assert session.namespace["flow"](3) == 15


def test_a_lattice_cell_can_name_its_outputs(session: Session) -> None:
    """As an electron can."""
    define(session, "add(a, b=1)", "a + b")
    session.define_lattice(read_header("flow(x) -> y, z"), "%%lattice flow(x) -> y, z\ny = add(x)\nz = add(y)", 2)

    assert session.namespace["flow"](3) == (4, 5)


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [("", "1", "needs a name"), ("f()", "await g()", "await inside an electron"), ("f() -> q", "1", "promises 'q'")],
)
def test_a_cell_that_is_no_lattice_is_refused(session: Session, line: str, code: str, says: str) -> None:
    """With what to do instead."""
    with pytest.raises(CellRefused, match=says):
        session.define_lattice(read_header(line), f"%%lattice {line}\n{code}", 2)


def test_outputs_are_delivered_under_their_names(session: Session) -> None:
    """One, several or none; what was not set leaves the notebook as it is."""
    session.namespace["kept"] = "old"
    two = define(session, "", "a = 1\nif a > 1:\n    kept = 2", name="two")
    none = define(session, "", "print(1)", name="none")

    assert session.deliver_outputs(two, (5, Missing("kept", "two"))) == ["a"]
    assert session.deliver_outputs(none, None) == []
    assert (session.namespace["a"], session.namespace["kept"]) == (5, "old")


def test_values_of_the_notebook_are_themselves_outside_a_graph() -> None:
    """Only a graph that is being built needs them in one piece."""
    value = [1, 2]

    assert from_notebook(value) is value


@pytest.mark.parametrize(
    "code",
    [
        "@register_line_magic\ndef double(line): return 2 * int(line)",
        "from sympy import *\ninit_printing()",
        "import sympy\nsympy.init_printing(use_latex=False)",
        "@IPython.core.magic.register_cell_magic\ndef shouted(line, cell): ...",
        "get_ipython().register_magics(Mine)",
        "formatters['text/html'].for_type(Rgb, str)",
        "get_ipython().events.register('pre_run_cell', print)",
        "InteractiveShell.ast_node_interactivity = 'all'",
    ],
)
def test_a_cell_alone_that_changes_ipython_is_refused(code: str) -> None:
    """It runs in a process of its own, and the next cell would not find it."""
    with pytest.raises(CellRefused, match=r"changes IPython in the cell's own process.*leave it a plain cell"):
        refuse_alone(read_session_cell(f"%%electron --run\n{code}"), {})


def test_a_cell_alone_that_registers_with_a_package_is_refused() -> None:
    """The next cell had a table without the accessor."""
    code = "@pd.api.extensions.register_dataframe_accessor('law')\nclass Law: ..."
    with pytest.raises(CellRefused, match=r"register_dataframe_accessor registers.*leave it a plain cell"):
        refuse_alone(read_session_cell(f"%%electron --run\n{code}"), {})


@pytest.mark.parametrize(
    "code",
    [
        "import dask\ndask.config.set(scheduler='synchronous')",
        "import jax as j\nj.config.update('jax_enable_x64', True)",
        "import altair as alt\nalt.data_transformers.disable_max_rows()",
        "from tqdm.auto import tqdm\ntqdm.pandas()",
        "import pandas as pd\npd.DataFrame.extra = len",
        "import mimetypes\nmimetypes.types_map['.x'] = 'text/x'",
        "import helper_of_mine as h\nh.configure(3)",
    ],
)
def test_a_cell_alone_that_sets_something_in_a_library_says_so(code: str) -> None:
    """The cells after it run elsewhere."""
    with pytest.warns(LostSettingWarning, match=r"electron 'mine'.* sets something in '\w+' .*leave it a plain cell"):
        warn_of_settings("mine", read_session_cell(f"%%electron --run\n{code}"), {})


@pytest.mark.parametrize(
    "code",
    [
        "import pandas as pd\npd.set_option('display.width', 60)\npd.options.display.width = 3",
        "import seaborn as sns\nsns.set_theme(style='dark')",
        "import plotly.io as pio\npio.templates.default = 'none'",
        "import networkx as nx\nnx.set_node_attributes(graph, 3, 'n')",
        "import dask\nwith dask.config.set(scheduler='threads'):\n    x = 1",
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.set_title('t')",
        "import polars as pl\npl.Config.set_tbl_rows(3)",
        "rows = {}\nrows['x'] = 1\nrows.update(y=2)",
    ],
)
def test_a_cell_alone_that_sets_what_travels_or_nothing_is_quiet(code: str) -> None:
    """A warning that is wrong is not read the next time."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_settings("mine", read_session_cell(f"%%electron --run\n{code}"), {})


def test_a_cell_alone_that_reads_the_annotations_of_the_notebook_is_refused() -> None:
    """Those that other cells have made are in the notebook. Those of functions and classes are everywhere."""
    with pytest.raises(CellRefused, match="leave it a plain cell"):
        refuse_alone(read_session_cell("%%electron --run\nx: int = 1\nsorted(__annotations__)"), {})
    refuse_alone(read_session_cell("%%electron --run\nx: int = 1\nf.__annotations__"), {})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn", "display"),
        ("numpy", "divide"),
        ("decimal", "prec"),
        ("pandas", "display.max_rows"),
        ("matplotlib", "figure.dpi"),
        ("xarray", "display_width"),
    ],
)
def test_settings_of_a_thread_are_set_in_the_one_that_runs_the_cells(module: str, name: str) -> None:
    """A thread delivers what a cell has set: with `--run`, `sklearn.set_config` was lost."""
    importlib.import_module(module)
    before = hidden_state.read(module)
    assert before is not None
    others = {"display": "text", "divide": "ignore", "prec": 7, "display.max_rows": 7, "figure.dpi": 77.0}
    changed = hidden_state.HiddenState({module: {name: others.get(name, 99)}})

    thread = threading.Thread(target=hidden_state.apply, args=(changed,))
    thread.start()
    thread.join()
    try:
        is_seen_here = (hidden_state.read(module) or {})[name] != before[name]
    finally:
        hidden_state.apply(hidden_state.HiddenState({module: {name: before[name]}}))

    assert is_seen_here or module in _OF_A_CONTEXT


@pytest.mark.parametrize(
    ("code", "suggested"),
    [
        ("y = x + 1", "make_y(x) -> y"),
        ("import math\narea = math.pi * r ** 2\nround(area, 2)", "make_area(r)"),
        ("a, b = 1, 2", "make_a_b() -> a, b"),
        ("known + unknown", "cell(known, unknown)"),
    ],
)
def test_a_signature_is_suggested_from_the_code(session: Session, code: str, suggested: str) -> None:
    """Names that the cell reads are inputs, names that it sets are outputs; with it, the cell is an electron."""
    session.namespace["known"] = 1

    found = session.suggested(code)

    assert found == suggested
    define(session, found, code)


def test_no_signature_is_suggested_for_what_cannot_be_an_electron(session: Session) -> None:
    """The reason is that of the magic."""
    with pytest.raises(SyntaxError, match="line 1"):
        session.suggested("x = = 1")
