"""Settings of libraries that notebooks change: NumPy, pandas, matplotlib, scikit-learn, `decimal`; and open figures.

A library is looked at only when it is loaded, from the moment on that it is. One that a node loaded first begins with
the library's own defaults, as in a new process.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from operator import attrgetter
from types import ModuleType
from typing import Any, Final, Protocol

from covalab.core.process_variables import INLINE_BACKEND
from covalab.namespace.hidden_libraries import NUMPY_ERRORS, numpy_printing, option_leaves
from covalab.worker.outputs.figures import InlineBackendState


class LibraryState:
    """The settings of the libraries of this process.

    Attributes
    ----------
    before_closing
        Called before figures that a node left open are closed.
    """

    def __init__(self) -> None:
        self.before_closing: Callable[[], None] | None = None
        self._known: list[_Library] = []
        self._new = dict(_LIBRARIES)
        self._n_modules = 0
        self._add_loaded()

    def put_back(self) -> None:
        """Put the settings back, and close figures."""
        # `pyplot` is one more module than its package, and is loaded later.
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            self._close_figures(pyplot)
        if len(sys.modules) != self._n_modules:
            self._add_loaded()
        for library in self._known:
            try:  # noqa: SIM105 - `suppress` would cost as much as the rest
                library.put_back()
            except Exception:  # noqa: BLE001, S110 - of another version than is known here
                pass

    def _close_figures(self, pyplot: Any) -> None:
        with suppress(Exception):
            if not pyplot.get_fignums():
                return
        if self.before_closing is not None:
            with suppress(Exception):
                self.before_closing()
        with suppress(Exception):
            pyplot.close("all")

    def _add_loaded(self) -> None:
        self._n_modules = len(sys.modules)
        for name in [name for name in self._new if name in sys.modules]:
            with suppress(Exception):
                self._known.append(self._new.pop(name)(sys.modules[name]))


class _Library(Protocol):
    """A library that is loaded."""

    def put_back(self) -> None:
        """Put its settings back, if they changed."""


class _Numpy(_Library):
    """NumPy before 2.1: later versions keep these settings in the context, of which every node has its own."""

    def __init__(self, module: ModuleType) -> None:
        self._numpy: Any = module
        context = contextvars.copy_context()
        errors, printing = self._numpy.geterr(), self._numpy.get_printoptions()
        context.run(self._numpy.seterr, all="raise")
        context.run(self._numpy.set_printoptions, precision=3)
        self._has_own_errors = self._numpy.geterr() != errors
        self._has_own_printing = self._numpy.get_printoptions() != printing
        self._printing = numpy_printing(self._numpy)
        if self._has_own_errors:
            self._numpy.seterr(**NUMPY_ERRORS)
        if self._has_own_printing:
            self._numpy.set_printoptions(**self._printing)

    def put_back(self) -> None:
        if self._has_own_errors:
            self._numpy.seterr(**NUMPY_ERRORS)
        if self._has_own_printing:
            self._numpy.set_printoptions(**self._printing)


class _Pandas(_Library):
    """The options of pandas."""

    def __init__(self, module: ModuleType) -> None:
        self._pandas: Any = module
        config: Any = sys.modules["pandas._config.config"]
        self._options: dict[str, Any] = self._pandas.options.d
        registered = config._registered_options  # noqa: SLF001 - `reset_option("all")` takes a tenth of a second
        self._before = {name: option.defval for name, option in registered.items()}
        self._put()
        self._copy = _deep(self._options)

    def put_back(self) -> None:
        if self._options != self._copy:
            self._put()
            self._copy = _deep(self._options)

    def _put(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an option is deprecated is no news about the task
            for name, value in option_leaves(self._options):
                if name in self._before and value != self._before[name]:
                    self._pandas.set_option(name, self._before[name])


def _deep(options: dict[str, Any]) -> dict[str, Any]:
    return {name: _deep(value) if isinstance(value, dict) else value for name, value in options.items()}


class _Matplotlib(_Library):
    """`rcParams`, as they are after the import: the user's own file counts."""

    def __init__(self, module: ModuleType) -> None:
        self._matplotlib: Any = module
        self._params: dict[str, Any] = self._matplotlib.rcParams
        original = dict(self._matplotlib.rcParamsOrig)
        backend = dict.get(self._matplotlib.rcParamsOrig, "backend")
        self._backend = backend if isinstance(backend, str) else INLINE_BACKEND
        original.pop("backend", None)
        self._before = original
        self._put()

    def put_back(self) -> None:
        if [*dict.values(self._params)] != self._values:
            self._put()

    def _put(self) -> None:
        dict.update(self._params, {name: _copied(value) for name, value in self._before.items()})  # all are valid
        if _is_inline(self._backend) and INLINE_BACKEND.removeprefix("module://") in sys.modules:
            # The backend sets it when it is loaded, for the first figure; no figure after that would set it again.
            dict.__setitem__(self._params, "interactive", True)
        now = dict.get(self._params, "backend")
        if isinstance(now, str) and now.lower() != self._backend.lower() and "matplotlib.pyplot" in sys.modules:
            self._put_backend(now)
        self._values = [_copied(value) for value in dict.values(self._params)]

    def _put_backend(self, now: str) -> None:
        pyplot = self._matplotlib.pyplot
        if not _is_inline(self._backend) or not hasattr(pyplot, "_backend_mod"):
            pyplot.switch_backend(self._backend)
        elif not _is_inline(now):
            # Loaded when a figure is made, as it is the first time: it brings IPython along.
            dict.__setitem__(self._params, "backend", self._backend)
            pyplot._backend_mod = None  # noqa: SLF001


def _is_inline(backend: str) -> bool:
    return backend.lower() in ("inline", INLINE_BACKEND)


def _copied(value: Any) -> Any:
    return [*value] if type(value) is list else value


class _Sklearn(_Library):
    """The configuration of scikit-learn, which belongs to a thread."""

    def __init__(self, module: ModuleType) -> None:
        self._sklearn: Any = module
        found: list[dict[str, Any]] = []
        thread = threading.Thread(target=lambda: found.append(self._sklearn.get_config()))  # there it is the default
        thread.start()
        thread.join()
        self._before = found[0]
        self.put_back()

    def put_back(self) -> None:
        if self._sklearn.get_config() != self._before:
            self._sklearn.set_config(**self._before)


class _Decimal(_Library):
    """The context that `decimal` copies for each new one; the one that a node uses is of the node's own context."""

    def __init__(self, module: ModuleType) -> None:
        decimal: Any = module
        self._context: Any = decimal.DefaultContext
        self._fresh: Any = decimal.Context(
            prec=28,
            rounding=decimal.ROUND_HALF_EVEN,
            Emin=-999999,
            Emax=999999,
            capitals=1,
            clamp=0,
            flags=[],
            traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
        )
        self._before = _decimal_settings(self._fresh)
        self.put_back()

    def put_back(self) -> None:
        if _decimal_settings(self._context) != self._before:
            for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp"):
                setattr(self._context, name, getattr(self._fresh, name))
            self._context.traps.update(self._fresh.traps)


_decimal_settings: Final = attrgetter("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")


_LIBRARIES: Final[dict[str, Callable[[ModuleType], _Library]]] = {
    "decimal": _Decimal,
    "numpy": _Numpy,
    "pandas": _Pandas,
    "matplotlib": _Matplotlib,
    "sklearn": _Sklearn,
    "matplotlib_inline.backend_inline": InlineBackendState,
}
