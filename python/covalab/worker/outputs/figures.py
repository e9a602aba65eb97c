"""Figures of matplotlib: those that a node leaves open are shown at its end, as a notebook shows those of a cell."""

from __future__ import annotations

import sys
from typing import Any, Final

_DEFAULTS: Final = ("figure_formats", "print_figure_kwargs", "close_figures")


def flush_figures() -> None:
    """Show the figures that were made since the last time."""
    backend: Any = sys.modules.get("matplotlib_inline.backend_inline")
    if backend is not None:
        backend.flush_figures()


class InlineBackendState:
    """Formats of figures that a node chose, as with `%config InlineBackend.figure_formats`.

    Parameters
    ----------
    backend
        The module of the inline backend.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._renderers: list[Any] = []
        self.put_back()

    def put_back(self) -> None:
        """Choose the formats that a kernel begins with, if they changed."""
        shell = self._backend.get_ipython()
        if shell is None:
            return
        formatters = [*shell.display_formatter.formatters.values()]
        options = self._backend.InlineBackend.instance()
        chosen = [getattr(options, name) for name in _DEFAULTS]
        renderers = [one.type_printers.get(self._backend.Figure) for one in formatters]
        if [*renderers, *chosen] == self._renderers:
            return
        for name in _DEFAULTS:
            setattr(options, name, options.traits()[name].default(options))
        self._backend.select_figure_formats(shell, options.figure_formats, **options.print_figure_kwargs)
        self._renderers = [one.type_printers.get(self._backend.Figure) for one in formatters]
        self._renderers += [_copied(getattr(options, name)) for name in _DEFAULTS]


def _copied(value: Any) -> Any:
    return type(value)(value)
