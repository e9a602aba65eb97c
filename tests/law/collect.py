"""Runs inside a kernel, at the end of a notebook: writes what the notebook has then to a file.

It is run from its path by a cell that sets no name, and adds nothing to the kernel's search path, which travels with a
dispatch.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_OF_IPYTHON = re.compile(
    r"_i*\d*|_+|_ih|_oh|_dh|In|Out|exit|quit|get_ipython|open"
    r"|__(name|doc|package|loader|spec|builtins?|annotations|warningregistry|covalab\w*)__"
)


def load(name: str) -> Any:
    """Return a module that is beside this one, without putting its folder into the search path."""
    spec = importlib.util.spec_from_file_location(f"_law_{name}", Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def start(shell: Any, *, with_covalab: bool = False) -> None:
    """Empty the notebook, give its hidden state a known beginning, and load the magics anew."""
    import random

    for name in [name for name in shell.user_ns if not _OF_IPYTHON.fullmatch(name)]:
        del shell.user_ns[name]
    with suppress(ImportError):
        import rich.console  # it draws a random number when it is imported  # noqa: F401
    random.seed(1)
    if "numpy" in sys.modules:
        sys.modules["numpy"].set_printoptions(precision=8, suppress=False)
    if with_covalab:
        import covalab

        covalab.load_ipython_extension(shell)


def collect(shell: Any, path: str, dispatch: str | None = None, ids: tuple[str, ...] = ()) -> None:
    """Write the names and hidden state of the notebook, and what dispatches have given."""
    describing = load("describe")
    hidden = describing.hidden_state()
    names = {name: value for name, value in shell.user_ns.items() if _is_of_notebook(name, value)}
    found: dict[str, Any] = {"hidden": hidden, "unavailable": {}, "from_run": []}
    if dispatch is not None:
        import covalab

        given, unavailable = _values_of(covalab.get_result(dispatch))
        names |= given
        found["unavailable"] = unavailable
        found["from_run"] = sorted({*given, *unavailable})
    found["unstorable"] = [name for name, value in names.items() if not _can_be_stored(value)]
    # A result does not have them, so nothing may be described as a part of them.
    found["names"] = describing.described(names, shell.user_ns, last=found["unstorable"])
    found["dispatches"] = {one: _dispatch(one) for one in ids}
    Path(path).write_text(json.dumps(found, default=repr))


def _is_of_notebook(name: str, value: Any) -> bool:
    """Return whether a name is the user's: not IPython's, no module of ours, no electron and no lattice."""
    return not (
        _OF_IPYTHON.fullmatch(name)
        or inspect.getattr_static(value, "electron_object", None) is not None
        or type(value).__module__.partition(".")[0] == "covalab"
    )


def _can_be_stored(value: Any) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception:  # noqa: BLE001 - whatever the reason
        return False
    return True


def _values_of(run: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the names that a result has, and why others cannot be read."""
    if not hasattr(type(run), "__getitem__"):  # as it was before a result was a mapping
        value = run.result
        return (value if isinstance(value, dict) and all(isinstance(key, str) for key in value) else {}), {}
    given, unavailable = {}, {}
    for name in run:
        try:
            given[name] = run[name]
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            unavailable[name] = f"{type(error).__name__}: {error}"
    return given, unavailable


def _dispatch(one: str) -> dict[str, Any]:
    """Return the state, the outputs and the errors of a dispatch's nodes."""
    import covalab

    run = covalab.get_result(one)
    nodes = [node for node in run.get_all_node_results() if "attempts" in node]
    outputs = getattr(run, "outputs", None)
    if outputs is None:  # as it was before nodes had outputs
        outputs = {node["node_id"]: _streams(node) for node in nodes}
    return {
        "status": str(run.status),
        "error": run.error,
        "nodes": [
            {
                "name": node["node_name"],
                "status": str(node["status"]),
                "error": node["error"],
                "outputs": outputs.get(node["node_id"], []),
            }
            for node in nodes
        ],
    }


def _streams(node: Any) -> list[dict[str, Any]]:
    return [{"output_type": "stream", "name": name, "text": node[name]} for name in ("stdout", "stderr") if node[name]]
