"""The magics in a real IPython shell with a real dispatcher: a day with covalab, line by line."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import covalab as ct
from covalab.client import Client
from covalab.core.errors import AnsweredDifferently, DataFolderError, MissingLatticeRecordError
from covalab.jupyter.notebook.magics import CovalabMagics
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.results.handle import DispatchHandle


class Notebook:
    """A shell in which cells are run one after another."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.names: dict[str, Any] = shell.user_ns

    def run(self, cell: str) -> Any:
        """Run a cell; return its value, or raise what it raised."""
        result = self.shell.run_cell(cell)
        result.raise_error()
        return result.result

    def output_of(self, cell: str) -> str:
        """Run a cell and return everything that it shows, as text."""
        with capture_output() as captured:
            self.run(cell)
        return captured.stdout + "\n".join(output.data["text/plain"] for output in captured.outputs)


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: Client) -> Iterator[Notebook]:
    """Return a notebook with the extension loaded."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    main = sys.modules["__main__"]
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    try:
        shell.run_line_magic("load_ext", "covalab")
        yield Notebook(shell)
    finally:
        for thread in threading.enumerate():
            if thread.name.startswith(("covalab-warm", "covalab-delivery")):
                thread.join(60)
        InteractiveShell.clear_instance()
        sys.modules["__main__"] = main


def test_a_day_with_covalab(notebook: Notebook, live: Client) -> None:
    """The lines of the introduction work exactly as they are written, comments included."""
    notebook.run("import covalab as ct")
    notebook.run(
        "%%electron load(n=1000) -> X, y         # a cell becomes an electron: signature, then the outputs\n"
        "from sklearn.datasets import load_digits\n"
        "X, y = load_digits(return_X_y=True)\n"
        "X, y = X[:n], y[:n]\n"
    )
    notebook.run(
        "%%electron train_svm(X, y, C=1.0, gamma=1e-3) --retries 2 --time-limit 600\n"
        "from sklearn.svm import SVC\n"
        'SVC(C=C, gamma=gamma).fit(X, y)         # no "-> names": the last expression is the output\n'
    )
    notebook.run("%%electron score_svm(data, model)\nX, y = data\nmodel.score(X, y)")
    notebook.run(
        "%%lattice experiment(C=1.0, gamma=1e-3) # a cell becomes a lattice\n"
        "X, y = load()\n"
        "score_svm((X, y), train_svm(X, y, C, gamma))\n"
    )
    first = notebook.run(
        "%dispatch experiment(C=0.5)             # live graph appears here; the kernel is free at once"
    )
    second = notebook.run("run = ct.dispatch(experiment)(C=2.0)\nrun")

    assert isinstance(first, DispatchHandle)
    assert isinstance(second, str)
    assert notebook.run("ct.get_result(run, wait=True).result") > 0.99
    assert notebook.run("%result --wait").dispatch_id == str(first)
    listed = notebook.run("%dispatches                             # the list")
    assert {str(first), str(second)} <= {one.id for one in listed}
    graph = live.graph(first)
    (trained,) = [node for node in graph.nodes if node.name == "train_svm"]
    assert (graph.settings[trained.settings].retries, graph.settings[trained.settings].time_limit) == (2, 600.0)


def test_cells_without_signatures_are_wired_and_run(notebook: Notebook) -> None:
    """The found signature and the lattice are displayed, and the result has what the cells left in every name."""
    notebook.run("xs = [1, 2, 3]\ndef double(x): return 2 * x")
    assert "electron make_ys(xs) -> ys" in notebook.output_of("%%electron\nys = [double(x) for x in xs]")
    notebook.run("%%electron\ntotal = sum(ys)")

    written = notebook.run("%lattice flow")
    handle = notebook.run("%dispatch flow()")

    assert str(written) == (
        "def flow():\n"
        "    session = make_ys(None, notebook_names('xs', 'double'))\n"
        "    session = make_total(session)\n"
        "    return results_of(session)\n"
    )
    assert handle.result(60) is None  # the last line of the last cell has no value
    result = ct.get_result(handle)
    assert (result["total"], result["ys"], result["xs"]) == (12, [2, 4, 6], [1, 2, 3])
    with pytest.raises(KeyError, match=r"has no 'zs'|no cell made 'zs'"):
        result["zs"]


def test_a_wired_lattice_takes_parameters_and_outputs(notebook: Notebook) -> None:
    """`%lattice NAME(parameters) --output names`."""
    notebook.run("limit = 1")
    notebook.run("%%electron\nys = list(range(limit))")
    notebook.run("%%electron\nn, last = len(ys), ys[-1]")
    notebook.run("%lattice flow(limit=4) --output last,n")

    assert notebook.run("%dispatch flow()").result(60) == [3, 4]
    assert notebook.run("%dispatch flow(limit=2)").result(60) == [1, 2]


def test_arguments_are_evaluated_in_the_notebook(notebook: Notebook) -> None:
    """Any expression, keywords and unpacking; without parentheses there are none."""
    notebook.run("%%electron add(a, b=10)\na + b")
    notebook.run("%%lattice flow(a=1, b=10)\nadd(a, b)")
    notebook.run("base = 5\noptions = {'b': 1}")

    assert notebook.run("%dispatch flow([base for _ in range(2)][0] + 1, **options)").result(60) == 7
    assert notebook.run("%dispatch flow").result(60) == 11
    notebook.run("run = %dispatch flow(b=2)")
    assert notebook.names["run"].result(60) == 3


def test_an_electron_can_be_dispatched_alone(notebook: Notebook) -> None:
    """It becomes a lattice of its own."""
    notebook.run("%%electron add(a, b=10)\na + b")

    assert notebook.run("%dispatch --tag paper --tag=night add(1)").result(60) == 11
    assert ct.list_dispatches(tag="night", count=1)[0]["tags"] == ["paper", "night"]
    with pytest.raises(UsageError, match="a tag is a word"):
        notebook.run("%dispatch --tag a,b add(1)")


def test_run_dispatches_at_once_and_delivers(notebook: Notebook) -> None:
    """Inputs come from the notebook, outputs appear in it, and the display says so."""
    notebook.run("rows = [(1, 2), (3, 4)]\ntags = {'a', 'b'}")

    output = notebook.output_of(
        "%%electron --run\nflat = [x for row in rows for x in row]\nkind = type(tags), type(rows[0])"
    )
    notebook.run("%result --wait")

    assert "make_flat_kind: waiting" in output
    assert notebook.names["flat"] == [1, 2, 3, 4]
    assert notebook.names["kind"] == (set, tuple)


def test_run_that_fails_leaves_what_the_plain_cell_would(notebook: Notebook) -> None:
    """What it set, changed and deleted before the failing line is so; the result has the traceback with its lines."""
    notebook.run("a = 'before'\nzero = 0\nrows = alias = [1]\ngone = later = 1\nimport numpy as np\nnp.random.seed(3)")
    notebook.run(
        "%%electron crash --run\nb = 1 / zero if zero else 2\na = 'after'\nimport math as m\n"
        "def f(x): return m.floor(x) + b\nrows.append(f(1.5))\ndrawn = np.random.rand()\ndel gone\n"
        "print('shown')\nlater = 1 / zero\nnever = 1"
    )

    result = notebook.run("%result --wait")

    names = notebook.names
    assert (names["a"], names["b"], names["f"](2.5), names["m"].__name__) == ("after", 2, 4, "math")
    assert names["rows"] is names["alias"]
    assert names["rows"] == [1, 3]
    assert "gone" not in names
    assert "never" not in names
    assert names["later"] == 1
    np = names["np"]
    after = np.random.rand()
    np.random.seed(3)
    assert [np.random.rand(), np.random.rand()] == [names["drawn"], after], "random state is the cell's"
    assert [one.get("text") for one in result.outputs[0]][:1] == ["shown\n"]
    assert "line 10, in <module>\n    later = 1 / zero" in result.get_node_result(0)["error"]


def test_run_that_fails_at_once_changes_nothing(notebook: Notebook) -> None:
    """Names that it would have set mean what they meant; what cannot be stored stays there, as after a plain end."""
    notebook.run("a = 'before'\nzero = 0")
    notebook.run("%%electron crash --run\nb = 1 / zero\na = 'after'")
    notebook.run("%%electron read --run\nlines = (x for x in 'ab')\nkept = 1\nc = 1 / zero")

    result = notebook.run("%result --wait")

    assert notebook.names["a"] == "before"
    assert "b" not in notebook.names
    assert notebook.names["kept"] == 1
    assert "lines" not in notebook.names
    assert "line 4, in <module>\n    c = 1 / zero" in result.get_node_result(0)["error"]


def test_run_with_a_signature_takes_inputs_by_name(notebook: Notebook) -> None:
    """Defaults stay defaults."""
    notebook.run("a = 3\nb = 100")
    notebook.run("%%electron add(a, b=1) -> c --run\nc = a + b")
    notebook.run("%result --wait")

    assert notebook.names["c"] == 4


def test_a_cell_of_a_worker_awaits(notebook: Notebook) -> None:
    """`await` at the top of a cell works in the background too."""
    notebook.run("%%electron --run\nimport asyncio\nawait asyncio.sleep(0)\nslept = True")
    notebook.run("%result --wait")

    assert notebook.names["slept"] is True


def test_executors_are_variables_first(notebook: Notebook) -> None:
    """An option that names a variable of the notebook means its value."""
    notebook.run("where = 'local'")
    notebook.run("%%electron f() --executor where\n1")

    assert notebook.names["f"].electron_object.executor == "local"


def test_a_cell_says_what_it_needs(notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that run before it and packages; one that is installed is used as it is."""
    monkeypatch.chdir(tmp_path)
    notebook.run(
        "%%electron f(a) --bash 'echo one > made.txt; echo two' --bash \"echo three\" --pip numpy --pip 'pandas>1'\n"
        "import numpy, pathlib\n"
        "pathlib.Path('made.txt').read_text() + str(numpy.add(a, 1))"
    )
    handle = notebook.run("%dispatch f(1)")

    assert handle.result(60) == "one\n2"
    assert notebook.run("%result --wait").get_node_result(0)["stdout"] == "two\nthree\n"


def test_lines_are_taken_as_they_are_written(notebook: Notebook) -> None:
    """IPython expands neither `$` nor braces in the line of a magic."""
    notebook.run("name = 'x'")
    notebook.run("%%electron f(text='$name {name}')\ntext")

    assert notebook.names["f"]() == "$name {name}"


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%electron f(a\n1", "is not a signature"),
        ("%%electron f(a) --retries many\n1", "invalid int value"),
        ("%%electron f(a) --no-such-option\n1", "unrecognized arguments"),
        ("%%electron --name not-a-name\nx = 1", "Python name"),
        ("%%electron --name class\nx = 1", "Python name"),
        ("%result data", "`data` holds no dispatch id, but an object of type int"),
        ("%pause ''", "an empty text is no dispatch id"),
        ("%%electron f(a)\nfrom math import *", "import \\*"),
        ("%%electron f(a)\nreturn a", "line 2 of the cell"),
        ("%%electron f(a)\na + data", "without naming it in its signature"),
        ("%%electron --run\nz = nowhere", "the notebook has no such name"),
        ("%%lattice\n1", "needs a name"),
        ("%%lattice f(a) --retries 3\n1", "has no options"),
        ("%lattice", "needs a name"),
        ("%lattice flow", "no electron cell yet"),
        ("%dispatch nothing()", "there is no lattice 'nothing'"),
        ("%dispatch data", "is not a lattice but of type int"),
        ("%dispatch 1 +", "is not a call"),
        ("%dispatch (lambda: 1)()", "does not name a lattice"),
        ("%dispatches --status lost", "there is no such status"),
        ("%dispatches -n -5", "'-5' is no number from 1 to 1000"),
        ("%dispatches -n 0", "'0' is no number from 1 to 1000"),
        ("%cancel", "required"),
        ("%redispatch", "required"),
        ("%pause", "required"),
        ("%resume", "required"),
        ("%redispatch 1234 --replace tiny", "write the old name and the new electron"),
        ("%redispatch 1234 --replace tiny=nowhere", "there is no electron 'nowhere' in this notebook"),
    ],
)
def test_mistakes_stop_run_all_with_one_line(notebook: Notebook, cell: str, says: str) -> None:
    """Every mistake is a UsageError: IPython shows the message alone, and the cells below do not run."""
    notebook.run("data = 1")

    with pytest.raises(UsageError, match=says):
        notebook.run(cell)


def shown_error(notebook: Notebook, cell: str) -> str:
    """Return what IPython shows of the error of a cell, without colours."""
    with capture_output() as captured:
        assert not notebook.shell.run_cell(cell, store_history=True).success
    return re.sub(r"\x1b\[[0-9;]*m", "", captured.stdout)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%electron f(a)  --retries -1\na", "electron 'f': retries must be a whole number from 0 on, not -1"),
        ("%%electron f(a)  --memory lots\na", "'lots' is no amount of memory"),
        ("%result 1234", "no dispatch '1234'"),
        ("%redispatch 1234", "no dispatch '1234'"),
        ("%bring 1234", "no dispatch '1234'"),
        ("%answer 1234", "no dispatch '1234'"),
        ("%dispatch flow(1, 2)", "lattice 'flow' got 2 positional arguments; it takes (a)"),
        ("%dispatch flow", "lattice 'flow' is missing 'a'; it takes (a)"),
        ("%dispatch flow(nowhere)", "name 'nowhere' is not defined"),
        ("%dispatch asks(1)", "no value yet while the lattice is built"),
        ("%dispatch fails(1)", "1 / 0"),
        ("%dispatch tiny(i for i in 'ab')", "make a list of it first"),
    ],
)
def test_what_a_magic_refuses_is_shown_without_lines_of_covalab(notebook: Notebook, cell: str, says: str) -> None:
    """The message, and the line of the cell; IPython's lines and ours tell the user nothing."""
    notebook.run("%%electron tiny(a)\na")
    notebook.run("%%lattice flow(a)\na")
    notebook.run("%%lattice asks(a)\nif tiny(a):\n    a")
    notebook.run("%%lattice fails(a)\n1 / 0")

    shown = shown_error(notebook, cell)

    assert says in shown
    assert "magics.py" not in shown
    assert "interactiveshell.py" not in shown


def test_lines_of_the_user_stay_in_what_a_magic_shows(notebook: Notebook) -> None:
    """The body of a lattice, an argument that fails, and an object that refuses to be pickled."""
    notebook.run("%%electron one(a)\na")
    notebook.run("%%lattice body(a)\nb = a\none(b, 5)")
    notebook.run("class Odd:\n    def __reduce__(self):\n        return nowhere")

    in_body = shown_error(notebook, "%dispatch body(1)")
    in_argument = shown_error(notebook, "%dispatch body(1 / 0)")
    in_reduce = shown_error(notebook, "%dispatch one(Odd())")

    assert "one(b, 5)" in in_body
    assert "magics.py" not in in_body
    assert "ZeroDivisionError" in in_argument
    assert "return nowhere" in in_reduce


def test_a_name_is_as_python_reads_it(notebook: Notebook) -> None:
    """Of letters that look joined Python makes two."""
    notebook.run("%%electron \ufb01t(a) -> \ufb01n\n\ufb01n = a + 1")

    assert notebook.run("%dispatch \ufb01t(1)")
    assert notebook.run("%result --wait").result == 2


def test_a_result_in_a_variable_stands_for_its_dispatch(notebook: Notebook) -> None:
    """Whoever keeps the result has the id as well."""
    notebook.run("%%electron one(a)\na")
    notebook.run("%dispatch one(1)")
    notebook.run("found = %result --wait")

    assert notebook.run("%result found").dispatch_id == notebook.run("found").dispatch_id


def test_what_is_not_python_is_a_syntax_error(notebook: Notebook) -> None:
    """As in any other cell, at the line that the notebook shows."""
    with pytest.raises(SyntaxError) as caught:
        notebook.run("%%electron f()\nx = = 1")

    assert (caught.value.lineno, caught.value.text) == (2, "x = = 1\n")


def test_a_dispatch_that_does_not_exist_is_named(notebook: Notebook) -> None:
    """The error is covalab's own."""
    with pytest.raises(MissingLatticeRecordError, match="no dispatch '1234'"):
        notebook.run("%result 1234")
    with pytest.raises(MissingLatticeRecordError, match="no dispatch '1234'"):
        notebook.run("%cancel 1234")


def test_a_dispatch_is_cancelled(notebook: Notebook) -> None:
    """By its id or by a variable that holds it; its status can be asked for in both vocabularies."""
    notebook.run("%%electron wait_long()\nimport time\ntime.sleep(600)")
    notebook.run("run = %dispatch wait_long()")

    assert "cancelled" in notebook.run(f"%cancel {notebook.names['run'][:9]}")
    assert notebook.run("%result run --wait").status == "CANCELLED"
    for word in ("cancelled", "CANCELLED"):
        listed = notebook.run(f"%dispatches --status {word} -n 5")
        assert str(notebook.names["run"]) in {one.id for one in listed}


def result_nodes(result: ct.Result) -> list[int]:
    """Return the numbers of the electrons of a result."""
    return [node["node_id"] for node in result.get_all_node_results() if not node["node_name"].startswith(":")]


def test_a_dispatch_runs_again_with_another_electron(notebook: Notebook) -> None:
    """By a variable that holds its id; what comes before the replaced electron is reused."""
    notebook.run("%%electron start_with(n)\nn + 1")
    notebook.run("%%electron go_on(x)\nx * 2")
    notebook.run("%%electron go_on_v2(x)\nx * 100")
    notebook.run("%%lattice whole(n)\ngo_on(start_with(n))")
    notebook.run("run = %dispatch whole(n=1)")
    notebook.run("%result run --wait")

    again = notebook.run("%redispatch run --replace go_on=go_on_v2 --reuse")
    result = notebook.run("%result --wait")

    assert result.dispatch_id == again != notebook.names["run"]
    assert result.result == 200
    first = result.get_node_result(0)
    assert (first["node_name"], first["start_time"]) == ("start_with", first["end_time"])

    notebook.run("%redispatch run --from go_on")
    first, second = (notebook.run("%result --wait").get_node_result(node) for node in result_nodes(result))
    assert first["start_time"] == first["end_time"]
    assert second["start_time"] < second["end_time"]


def asked(notebook: Notebook, name: str) -> list[str]:
    """Dispatch the lattice `name` into a variable `run`, and return the ids of what it waits for."""
    notebook.run(f"run = %dispatch {name}()")
    deadline = time.monotonic() + 60
    while not (waiting := ct.get_interrupts(notebook.names["run"])):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [one["id"] for one in waiting]


def test_a_person_answers_in_the_notebook(notebook: Notebook) -> None:
    """`%answer` lists what waits, shows what is asked, and answers with the value of an expression."""
    notebook.run("import covalab as ct\nlimits = {'high': 3}")
    notebook.run("%%electron rate(found, answer)\n[found, answer]")
    notebook.run("%%lattice checked()\nrate(1, ct.pause_for('approval', '<b>how high?</b>'))")
    (waiting,) = asked(notebook, "checked")

    listed = notebook.run("%answer              # all that waits")
    assert waiting in {one["id"] for one in listed}
    assert waiting in repr(listed)
    (shown,) = notebook.run("%answer run")
    assert notebook.run(f"%answer {waiting}")[0] == shown
    assert (shown["type"], shown["status"]) == ("approval", "waiting")
    html = notebook.run("%answer run")._repr_html_()
    assert "how high" in html
    assert "<b>" not in html
    with pytest.raises(UsageError, match="a text has quotes"):
        notebook.run("%answer run certainly")
    with pytest.raises(UsageError, match="is not an expression"):
        notebook.run("%answer run yes, of course")

    said = notebook.run("%answer run limits['high'] + len('# no comment')  # a comment")
    assert said == f"'approval' ({waiting}) was answered with 15."
    assert notebook.run("%result run --wait").result == [1, 15]
    assert repr(notebook.run("%answer run")) == "nothing waits for an answer"
    assert notebook.run(f"%answer '{waiting}'")[0]["status"] == "resumed"
    with pytest.raises(AnsweredDifferently, match="an answer is final"):
        notebook.run(f"%answer {waiting} 16")
    with pytest.raises(UsageError, match="waits for nothing"):
        notebook.run("%answer run 1")
    with pytest.raises(MissingLatticeRecordError, match="nobody"):
        notebook.run("%answer nobody 1")


def test_of_several_that_wait_one_is_named(notebook: Notebook) -> None:
    """The message has their ids; what is below another dispatch is listed, too."""
    notebook.run("import covalab as ct")
    notebook.run("@ct.electron\n@ct.lattice\ndef below():\n    return ct.pause_for('below')")
    notebook.run("%%lattice both()\n[ct.pause_for('first'), ct.pause_for('second'), below()]")
    first, second = asked(notebook, "both")
    with pytest.raises(UsageError, match=rf"waits for {first} \(first\), {second} \(second\); name one"):
        notebook.run("%answer run True")
    notebook.run(f"%answer {second} 2")
    notebook.run("%answer run 1")
    deadline = time.monotonic() + 60
    while not (of_below := [one["id"] for one in notebook.run("%answer") if one["type"] == "below"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    notebook.run(f"%answer {of_below[0]} 3")

    assert notebook.run("%result run --wait").result == [1, 2, 3]


def test_a_dispatch_is_paused_and_goes_on(notebook: Notebook, live: Client) -> None:
    """By a variable that holds its id."""
    notebook.run("import covalab as ct\n%load_ext covalab")
    notebook.run("%%lattice slow()\nct.pause_for('go')")
    asked(notebook, "slow")
    run = notebook.names["run"]

    assert notebook.run("%pause run") == f"Dispatch {run} is paused; %resume {run} lets it go on."
    assert live.summary(run).paused
    assert notebook.run("%resume run") == f"Dispatch {run} goes on."
    assert not live.summary(run).paused
    notebook.run("%answer run 7")
    assert notebook.run("%result run --wait").result == 7
    with pytest.raises(RuntimeError, match="nothing to pause"):
        notebook.run("%pause run")


def test_the_list_is_text_and_html(notebook: Notebook) -> None:
    """Both have the name, and the HTML is escaped."""
    notebook.run("%%electron tiny()\n1")
    notebook.run("%dispatch tiny()").result(60)

    listed = notebook.run("%dispatches -n 1")

    assert len(listed) == 1
    assert repr(listed).splitlines()[1].startswith("tiny     completed")
    assert "<td style" in listed._repr_html_()


def test_the_help_says_how_to_write_a_cell(notebook: Notebook) -> None:
    """`%%electron?` shows the form of the line and every option."""
    magics = notebook.shell.magics_manager.registry["CovalabMagics"]
    assert isinstance(magics, CovalabMagics)
    interrupts = notebook.shell.magics_manager.registry["InterruptMagics"]

    for magic, words in {
        "electron": [
            "NAME(parameters) -> outputs",
            "--retries",
            "--time-limit",
            "--executor",
            "--run",
            "--name",
            "--pip",
            "--bash",
        ],
        "lattice": ["%lattice NAME", "--output"],
        "dispatch": ["%dispatch NAME(arguments)"],
        "dispatches": ["--status"],
        "result": ["--wait"],
        "cancel": ["id"],
        "redispatch": ["--replace", "--reuse"],
        "answer": ["%answer ID VALUE", "Python expression"],
        "pause": ["%resume"],
        "resume": ["id"],
    }.items():
        text = getattr(magics if hasattr(magics, magic) else interrupts, magic).__doc__
        assert all(word in text for word in words), (magic, text)


def test_future_imports_of_the_notebook_hold_in_its_cells(notebook: Notebook) -> None:
    """Annotations that nothing evaluates are no inputs."""
    notebook.run("from __future__ import annotations")

    assert "electron make_x() -> x" in notebook.output_of("%%electron\ndef f(a: Nowhere): return a\nx = f(1)")


def test_loading_never_fails(notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a data folder that cannot be one, the magics load, cells are read, and a dispatch says what is wrong."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "file" / "data"))

    notebook.run("%reload_ext covalab")
    notebook.run("%%electron one()\n1")

    with pytest.raises(DataFolderError, match="COVALAB_DATA_DIR"):
        notebook.run("%dispatch one()")


def test_a_lattice_is_a_lattice(notebook: Notebook) -> None:
    """`%%lattice` and `%lattice` make the same as `ct.lattice`, with the text that was written."""
    notebook.run("%%electron one()\n1")
    notebook.run("%%lattice by_hand()\none()")
    notebook.run("%lattice by_names")

    for name, line in {"by_hand": "%%lattice by_hand()", "by_names": "def by_names():"}.items():
        made = notebook.names[name]
        assert isinstance(made, Lattice)
        assert made.workflow_function_string.startswith(line)
