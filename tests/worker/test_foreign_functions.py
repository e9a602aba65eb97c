"""Functions of other languages, called as a worker calls them."""

from __future__ import annotations

import ctypes
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from covalab.worker.foreign_functions import INPUT, INPUT_OUTPUT, OUTPUT, CFunction, PythonFunction, ShellCommand

SOURCE = """
void add(int a, int b, int *sum) { *sum = a + b; }
void both(double factor, double *scaled, int *count, double *xs) {
  *scaled *= factor; *count = 7; xs[0] *= factor; xs[1] *= factor;
}
void nothing(int a) {}
void length(char *text, long *n) { *n = 0; while (text[*n]) ++*n; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Compile a shared library with the system's compiler."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "lib.c").write_text(SOURCE)
    compiler = shutil.which("cc") or "gcc"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", "lib.so", "lib.c"], cwd=folder, check=True)
    return str(folder / "lib.so")


def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call what came out of a pickle."""
    return pickle.loads(pickle.dumps(function))(*args, **kwargs)


def test_c_returns_what_it_wrote(library: str) -> None:
    """Nothing is None, one output a value, several a tuple, arrays lists; text goes in as bytes."""
    add = CFunction(library, "add", [("c_int", INPUT), ("c_int", INPUT), ("LP_c_int", OUTPUT)])
    types = [("c_double", INPUT), ("LP_c_double", INPUT_OUTPUT), ("LP_c_int", OUTPUT), ("LP_c_double", INPUT_OUTPUT)]

    assert call(add, 2, 3) == 5
    assert call(add, 2, 3, None) == 5
    assert call(CFunction(library, "both", types), 2.0, 1.5, [1, 2]) == (3.0, 7, [2.0, 4.0])
    assert call(CFunction(library, "nothing", [("c_int", INPUT)]), 1) is None
    assert call(CFunction(library, "length", [("c_char_p", INPUT), ("LP_c_long", OUTPUT)]), "four") == 4


def test_c_says_what_is_wrong(library: str) -> None:
    """A missing library or function, keyword arguments, a wrong number of them, unknown types, values as outputs."""
    with pytest.raises(OSError, match=r"'./none.so' of the lepton 'f' cannot be loaded"):
        call(CFunction("./none.so", "f", []))
    with pytest.raises(AttributeError, match="has no function 'missing'"):
        call(CFunction(library, "missing", []))
    with pytest.raises(ValueError, match="by position, not a"):
        call(CFunction(library, "nothing", [("c_int", INPUT)]), a=1)
    with pytest.raises(TypeError, match="takes 1 arguments, 2 were given"):
        call(CFunction(library, "nothing", [("c_int", INPUT)]), 1, 2)
    with pytest.raises(ValueError, match="'c_horse' is not a type"):
        call(CFunction(library, "nothing", [("c_horse", INPUT)]), 1)
    with pytest.raises(ValueError, match=r"ctypes.POINTER\(ctypes.c_int\)"):
        call(CFunction(library, "nothing", [("c_int", OUTPUT)]))


def test_names_of_types_are_those_of_ctypes() -> None:
    """A pointer's begins with LP_, which is how it is found again."""
    assert ctypes.POINTER(ctypes.c_double).__name__ == "LP_c_double"


def test_python_is_imported_where_it_runs() -> None:
    """A missing module or function is named."""
    assert call(PythonFunction("math", "hypot"), 3, 4) == 5.0
    assert call(PythonFunction("json", "dumps"), 1, indent=2) == "1"
    with pytest.raises(ModuleNotFoundError, match="'f' needs the module 'not_there_xyz'"):
        call(PythonFunction("not_there_xyz", "f"))
    with pytest.raises(AttributeError, match="'math' has no function 'f'"):
        call(PythonFunction("math", "f"))


def test_bash_takes_arguments_and_variables(capfd: pytest.CaptureFixture[str]) -> None:
    """Positionals are $1 and on, keywords variables and filled in; without outputs the value is None."""
    assert call(ShellCommand('echo "$1-$2" {word} $word', "", "", []), "a b", 2, word="w") is None
    assert capfd.readouterr().out == "a b-2 w w\n"


def test_bash_gives_back_variables() -> None:
    """Converted to built-in types; text with lines in it stays whole."""
    command = ShellCommand('n=$((x + 1)); text=$(printf "a\\nb")', "", "", [("n", "int"), ("text", "str")])
    assert call(command, x=4) == (5, "a\nb")
    assert call(ShellCommand("y=2.5", "", "", [("y", "float")])) == 2.5


def test_braces_are_doubled_or_left_alone() -> None:
    """As `str.format` has it; where there is nothing to fill in, bash's own braces may stay single."""
    assert call(ShellCommand("a=5; b=${{a}}{tail}", "", "", [("b", "str")]), tail=6) == "56"
    assert call(ShellCommand("a=5; b=${a}", "", "", [("b", "str")])) == "5"
    with pytest.raises(ValueError, match="write bash's own braces twice"):
        call(ShellCommand("b=${a}", "", "", []), tail=6)


def test_bash_calls_functions_of_scripts(tmp_path: Path) -> None:
    """The script is sourced, so what the function sets can be read."""
    script = tmp_path / "a script.sh"
    script.write_text('greet() { greeting="hello $1 and $2$mark"; }\n')
    command = ShellCommand("", str(script), "greet", [("greeting", "str")])

    assert call(command, "you there", "me", mark="!") == "hello you there and me!"


def test_bash_failures_say_why() -> None:
    """The exit code with what was printed last; a command that ends the shell gives no outputs."""
    with pytest.raises(RuntimeError, match="exit code 3: why"):
        call(ShellCommand("echo why >&2; exit 3", "", "", []))
    with pytest.raises(RuntimeError, match=r"before its outputs \(a\) could be read"):
        call(ShellCommand("a=1; exit 0", "", "", [("a", "int")]))
    with pytest.raises(ValueError, match="invalid literal"):
        call(ShellCommand("a=x", "", "", [("a", "int")]))
