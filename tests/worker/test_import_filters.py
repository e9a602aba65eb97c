"""Warning filters of packages that were imported beforehand are there from the task's own import on."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import json, sys, warnings
sys.path.insert(0, sys.argv[1])
from covalab.worker import import_filters
from covalab.worker.process_settings import ProcessSettings

def seen():
    return [item[2].__name__ for item in warnings.filters if item[2].__module__.startswith("filters_")]

with import_filters.deferred():
    import filters_of_user.part
    import filters_plain
settings = ProcessSettings()
answers = [seen()]
def imports(text):
    exec(text, {})
    answers.append(seen())
    settings.put_back()
    answers.append(seen())
for text in sys.argv[2:]:
    imports(text)
print(json.dumps(answers))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a package that adds filters, one that imports it, and one that has none."""
    base = """
        import warnings
        class Mine(Warning): pass
        class Last(Warning): pass
        warnings.simplefilter("always", Mine)
        warnings.simplefilter("ignore", Last, append=True)
        with warnings.catch_warnings():
            class Never(Warning): pass
            warnings.simplefilter("ignore", Never)
    """
    user = """
        import warnings
        import filters_base
        class Other(Warning): pass
        warnings.filterwarnings("ignore", category=Other)
    """
    (tmp_path / "filters_base.py").write_text(textwrap.dedent(base))
    (tmp_path / "filters_of_user").mkdir()
    (tmp_path / "filters_of_user" / "__init__.py").write_text(textwrap.dedent(user))
    (tmp_path / "filters_of_user" / "part.py").write_text("")
    (tmp_path / "filters_plain.py").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    ("imports", "seen"),
    [
        (["import filters_plain"], [[]]),
        (["exec('import filters_base', {'__name__': 'covalab.worker.random_state'})"], [[]]),  # for tasks of all kinds
        (["import filters_base", "pass"], [["Mine", "Last"]] * 2),
        (["from filters_of_user import part", "import filters_base"], [["Other", "Mine", "Last"]] * 2),
        (["import filters_of_user.part as p"], [["Other", "Mine", "Last"]]),
        (["__import__('filters_base')", "import filters_of_user"], [["Mine", "Last"], ["Other", "Mine", "Last"]]),
        (["import importlib; importlib.import_module('filters_of_user.part')"], [["Other", "Mine", "Last"]]),
    ],
)
def test_filters_come_with_the_import(imports: list[str], seen: list[Any], folder: Path) -> None:
    """None before; those of what a package imports as well; they stay for the next task."""
    command = [sys.executable, "-c", PROGRAM, str(folder), *imports]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *answers = json.loads(done.stdout)
    assert first == []
    assert answers == [it for it in seen for _ in range(2)]


def test_a_real_package_shows_the_warnings_that_it_wants_shown() -> None:
    """SciPy wants some of its own always, and Python's are as they were."""
    program = """
        import sys, warnings
        before = [*warnings.filters]
        from covalab.worker import learned_imports
        from covalab.worker.process_settings import ProcessSettings
        learned_imports.preload(["scipy.special", "numpy"])
        assert "scipy.special" in sys.modules
        settings = ProcessSettings()
        assert warnings.filters == before, warnings.filters
        import numpy
        assert warnings.filters != before
        n = len(warnings.filters)
        settings.put_back()
        import scipy.special
        assert len(warnings.filters) > n
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_shell_brings_no_filters_of_packages_that_the_task_has_not_imported() -> None:
    """It imports NumPy, to show its numbers, where that is among the modules: there it always is."""
    program = """
        import sys, warnings
        from covalab.worker import learned_imports
        learned_imports.preload(["IPython.core.interactiveshell", "numpy"])
        def of_numpy():
            return [item for item in warnings.filters if item[1] is not None and "numpy" in item[1].pattern]
        import IPython.core.interactiveshell
        shell = IPython.core.interactiveshell.InteractiveShell.instance()
        assert shell.display_formatter.formatters["text/plain"].type_printers
        assert "numpy" in sys.modules and not of_numpy(), of_numpy()
        import numpy
        assert of_numpy()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
