"""IPython in a task: whoever asks it for a shell gets the one that records, made when it is first asked for.

Nothing of IPython is imported before user code does. So its modules are looked for when they are imported: by a finder
that finds nothing itself.
"""

from __future__ import annotations

import builtins
import random
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

from covalab.core.process_variables import INLINE_BACKEND
from covalab.worker import context


def install() -> None:
    """Prepare this process: modules that are there already, and those that will be imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
        for name in _AFTER_IMPORT:
            if name in sys.modules:
                _AFTER_IMPORT[name](sys.modules[name])
    vars(builtins).setdefault("display", display)


def act_as_notebook() -> None:
    """Let code find what a notebook has: `get_ipython` among the built-in functions. Libraries look for it there."""
    builtins.get_ipython = _get_ipython  # type: ignore[attr-defined]
    builtins.__IPYTHON__ = True  # type: ignore[attr-defined]
    _put_kernel_module()


def _put_kernel_module() -> None:
    """Let libraries find the module of a kernel's shell, with IPython; the kernel's own would import the kernel."""
    if "IPython" in sys.modules and hasattr(builtins, "__IPYTHON__"):
        sys.modules.setdefault(_SHELLS.__name__, _SHELLS)


def _shell_class(name: str) -> Any:
    """Return the class of the shell, which IPython is imported for."""
    if name != "ZMQInteractiveShell":
        raise AttributeError(name)
    from covalab.worker.outputs.shell import ZMQInteractiveShell  # noqa: PLC0415 - as below

    return ZMQInteractiveShell


_SHELLS: Final = ModuleType("ipykernel.zmqshell")
"""The module by which libraries know that they are in a notebook."""
_SHELLS.__getattr__ = _shell_class  # type: ignore[method-assign]


def after_import(name: str, call: Callable[[Any], None]) -> None:
    """Let a function be called with a module when that was imported."""
    own = _AFTER_IMPORT.get(name)

    def call_both(module: Any) -> None:
        if own is not None:
            own(module)
        call(module)

    _AFTER_IMPORT[name] = call_both


def display(*objects: Any, **options: Any) -> Any:
    """Show objects, as in a notebook."""
    from IPython.display import display as show  # noqa: PLC0415 - most tasks show nothing

    return show(*objects, **options)


def _get_ipython() -> Any:
    """Return the shell of this process, as in a notebook."""
    from IPython import get_ipython  # noqa: PLC0415 - as above

    return get_ipython()


class _Finder:
    """Finder that calls something after a module was imported."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a module that is waited for; of all others nothing."""
        if name not in _AFTER_IMPORT:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if name in _DRAWING:
            _before_rich[name] = random.getstate()
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def execute_and_call(module: ModuleType) -> None:
                loader.exec_module = execute
                execute(module)
                _AFTER_IMPORT[name](module)

            loader.exec_module = execute_and_call
        return spec


def _use_own_shell(module: Any) -> None:
    """Let `InteractiveShell.initialized()` and `.instance()` make the shell of this process while a node runs."""
    kind: Any = module.InteractiveShell
    making: list[bool] = []
    plain_initialized, plain_instance = kind.initialized.__func__, kind.instance.__func__

    def initialized(cls: Any) -> bool:
        is_wanted = cls is kind and cls._instance is None and context.process.task is not context.OUTSIDE
        if is_wanted and not making:
            making.append(True)  # IPython may ask for its shell meanwhile
            try:
                _make_shell()
            finally:
                making.clear()
        return bool(plain_initialized(cls))

    def instance(cls: Any, *args: Any, **options: Any) -> Any:
        if cls is kind:
            initialized(cls)
        return plain_instance(cls, *args, **options)

    kind.initialized, kind.instance = classmethod(initialized), classmethod(instance)
    _put_kernel_module()


def _make_shell() -> None:
    from covalab.worker.outputs.shell import shell  # noqa: PLC0415 - it imports IPython

    shell()


def _use_inline_backend(pyplot: Any) -> None:
    """Let figures become outputs, unless another backend was chosen."""
    params = pyplot.rcParams
    if not isinstance(dict.get(params, "backend"), str):  # it would be chosen when the first figure is made
        dict.__setitem__(params, "backend", INLINE_BACKEND)


def _undo_draw(module: Any) -> None:
    """Put back the random number that rich draws when it is imported: here that may have been before the task."""
    state = _before_rich.pop(module.__name__, None)
    if state is not None:
        random.setstate(state)


_DRAWING: Final = ("rich.style", "rich.default_styles")
"""In which of them depends on the version."""
_before_rich: Final[dict[str, Any]] = {}
_AFTER_IMPORT: Final[dict[str, Callable[[Any], None]]] = {
    "IPython.core.interactiveshell": _use_own_shell,
    "matplotlib.pyplot": _use_inline_backend,
    **dict.fromkeys(_DRAWING, _undo_draw),
}
