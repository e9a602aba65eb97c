"""Objects that show themselves in a notebook: figures, images, models."""

from __future__ import annotations

import base64
import io
import sys
from typing import Any, Final

from covalab.core.codec import printable

_RICH_LIMIT: Final = 4_000_000
_KINDS: Final = (
    "text/html",
    "image/png",
    "image/jpeg",
    "image/svg+xml",
    "text/markdown",
    "text/latex",
    "application/json",
)
"""What is shown of an object that shows itself. Nothing that is a program."""


def displayed(value: Any) -> dict[str, Any]:
    """Return what an object shows of itself in a notebook, as far as it is no program."""
    figure = _figure(value)
    if figure is not None:
        return {"image/png": figure}
    if not any(
        hasattr(type(value), name)
        for name in (
            "_repr_mimebundle_",
            *(f"_repr_{kind}_" for kind in ("html", "png", "jpeg", "svg", "markdown", "latex", "json")),
        )
    ):
        return {}
    from IPython.core.formatters import DisplayFormatter  # noqa: PLC0415 - only a value that shows itself needs it

    found, _ = DisplayFormatter().format(value, exclude={"application/javascript"})
    data: dict[str, Any] = {}
    for name in _KINDS:
        one = found.get(name)
        if isinstance(one, bytes):
            one = base64.b64encode(one).decode()
        if one is not None and len(str(one)) <= _RICH_LIMIT:
            data[name] = printable(one, _RICH_LIMIT) if isinstance(one, str) else one
    return data


def _figure(value: Any) -> str | None:
    """Return a figure of matplotlib, or the figure of its axes, as a PNG in base64."""
    figures = sys.modules.get("matplotlib.figure")
    if figures is None:
        return None
    figure = value if isinstance(value, figures.Figure) else getattr(value, "figure", None)
    if not isinstance(figure, figures.Figure):
        return None
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight", dpi=100)
    return base64.b64encode(file.getvalue()).decode()
