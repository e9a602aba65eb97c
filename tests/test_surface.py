"""Every public name of Covalent 0.240 is there with the same signature; what is more is keyword-only.

The reference is written out from Covalent's source (`covalent/__init__.py` and where it imports from); where its pages
document more by position (`disable_run`, `is_pending`), from them.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from types import ModuleType
from typing import Any

import pytest

import covalab as ct

SIGNATURES = {
    "DepsBash": "(commands=[])",
    "DepsCall": "(func=None, args=None, kwargs=None, *, retval_keyword='', override_reserved_retval_keys=False)",
    "DepsModule": "(module)",
    "DepsPip": "(packages=[], reqs_path='')",
    "Lepton": "(language='python', *, library_name='', function_name='', argtypes=[], command='', named_outputs=[], "
    "display_name='', executor=..., files=[], deps_bash=..., deps_pip=..., call_before=[], call_after=[])",
    "TransportableObject": "(obj)",
    "cancel": "(dispatch_id, task_ids=None, dispatcher_addr=None)",
    "covalent_start": "(develop=False, port=None, mem_per_worker=None, workers=None, threads_per_worker=None, "
    "ignore_migrations=False, no_cluster=False, no_triggers=False, triggers_only=False, *, quiet=False)",
    "covalent_stop": "(*, quiet=False)",
    "dispatch": "(orig_lattice, dispatcher_addr=None, disable_run=False)",
    "dispatch_sync": "(lattice, dispatcher_addr=None)",
    "electron": "(_func=None, *, backend=None, executor=None, files=[], deps_bash=None, deps_pip=None, "
    "deps_module=None, call_before=None, call_after=None)",
    "get_config": "(entries=None)",
    "get_context": "()",
    "get_result": "(dispatch_id, wait=False, dispatcher_addr=None, status_only=False, *, results_dir=None, "
    "workflow_output=True, intermediate_outputs=True, sublattice_results=True)",
    "get_result_manager": "(dispatch_id, results_dir=None, wait=False, dispatcher_addr=None)",
    "is_covalent_running": "()",
    "lattice": "(_func=None, *, backend=None, executor=None, workflow_executor=None, deps_bash=None, deps_pip=None, "
    "call_before=None, call_after=None, triggers=None)",
    "redispatch": "(dispatch_id, dispatcher_addr=None, replace_electrons=None, reuse_previous_results=False, "
    "is_pending=False)",
    "reload_config": "()",
    "set_config": "(new_config, new_value=None)",
    "stop_triggers": "(dispatch_ids, triggers_server_addr=None)",
    "wait": "(child, parents)",
}
MODULES = ("executor", "fs", "fs_strategies", "leptons", "metadata", "triggers")
CLASSES = ("status",)
NAMES = sorted({*SIGNATURES, *MODULES, *CLASSES})


def reference(name: str) -> inspect.Signature:
    """Return the signature written above. The default of a list is an empty one or None: nobody can tell."""
    space: dict[str, Any] = {}
    exec(f"def it{SIGNATURES[name]}: ...", space)
    return inspect.signature(space["it"])


OPTIONS = {("electron", "**retry"), ("lattice", "**retry")}
"""Keywords that are checked by name, `sdk.options.RetryOptions`."""


def is_nothing(default: object) -> bool:
    """Tell whether a default says "nothing given"."""
    return default is None or default is False or default is Ellipsis or default in ([], (), "")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_covalent_is_there(name: str) -> None:
    """In `dir`, in `__all__`, and it can be used; modules are modules."""
    assert name in dir(ct)
    assert name in ct.__all__
    assert isinstance(getattr(ct, name), ModuleType) is (name in MODULES)


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_a_signature_is_covalents(name: str) -> None:
    """The same parameters in the same order with the same defaults; ours come by keyword, and none is required."""
    wanted, found = reference(name).parameters, inspect.signature(getattr(ct, name)).parameters
    more = [found[extra] for extra in found if extra not in wanted]
    more = [extra for extra in more if (name, str(extra).partition(":")[0]) not in OPTIONS]

    assert [name for name in found if name in wanted] == list(wanted)
    for parameter in wanted.values():
        ours = found[parameter.name]
        assert ours.kind is parameter.kind
        assert ours.default == parameter.default or (is_nothing(ours.default) and is_nothing(parameter.default))
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in more)
    assert all(parameter.default is not inspect.Parameter.empty for parameter in more)


def test_the_version_is_that_of_the_installed_package() -> None:
    """`ct.__version__` and `ct.metadata` agree."""
    assert ct.metadata.version("covalab") == ct.__version__ == importlib.metadata.version("covalab")


STATUSES = {
    *("NEW_OBJECT", "STARTING", "PENDING_REUSE", "PENDING_REPLACEMENT", "COMPLETED", "POSTPROCESSING", "CANCELLED"),
    *("PENDING_POSTPROCESSING", "POSTPROCESSING_FAILED", "FAILED", "RUNNING", "DISPATCHING", "DISPATCHING_SUBLATTICE"),
}


def test_the_statuses_are_covalents() -> None:
    """All thirteen, each with its name as text but one, and `is_terminal`."""
    found = {name for name in dir(ct.status) if name.isupper()}

    assert found == STATUSES
    for name in STATUSES - {"DISPATCHING_SUBLATTICE"}:
        assert name == getattr(ct.status, name).STATUS
    assert ct.status.DISPATCHING_SUBLATTICE == "DISPATCHING"
    assert {name for name in STATUSES if ct.status.is_terminal(getattr(ct.status, name))} == {
        *("COMPLETED", "FAILED", "CANCELLED")
    }
