"""Classes that travelled with values, where their module is there as well."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec
from pathlib import Path

import pytest

from covalab.core.local_modules import LocalModule
from covalab.namespace.classes_beside import class_of_module
from covalab.worker.local_modules import spec_of

_MODULE = b"""
import enum, logging, re
RATE, COUNT, PATTERN, LABELS = 2, 0, re.compile("a"), {}
log = logging.getLogger(__name__)
class Plain:
    made = []
    class Inner: pass
class Colour(enum.Enum):
    RED = 1
class Constant:
    def f(self): return [RATE for _ in PATTERN.findall("a")], log, Colour.RED, helped()
class Counting:
    @property
    def f(self):
        global COUNT
        COUNT += 1
class Labelled:
    @classmethod
    def f(cls): return LABELS
class Calls:
    f = staticmethod(lambda: reads())
class Inherits(Labelled): pass
class Uses:
    def f(self): return Counting()
def helped(): return RATE
def reads(): return LABELS
"""


@pytest.mark.parametrize(
    ("name", "is_found"),
    [
        *[(name, True) for name in ("Plain", "Plain.Inner", "Colour", "Constant")],
        *[(name, False) for name in ("Counting", "Labelled", "Calls", "Inherits", "Uses", "helped", "Nothing")],
    ],
)
def test_the_class_is_the_modules_if_it_reads_no_data_that_may_change(
    name: str, is_found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What travelled has a copy of such data, of which the module would know nothing."""
    spec = spec_of("classes_here", LocalModule(str(tmp_path / "classes_here.py").encode(), False, _MODULE))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "classes_here", module)
    spec.loader.exec_module(module)

    found = class_of_module("classes_here", name)

    assert found is (eval(name, vars(module)) if is_found else None)
