"""Names that a user may have meant: the nearest known ones, and the modules that go by usual short names."""

from __future__ import annotations

import builtins
import difflib
from collections.abc import Collection
from typing import Final

_USUAL: Final = {
    "pd": "pandas",
    "np": "numpy",
    "plt": "matplotlib.pyplot",
    "mpl": "matplotlib",
    "sns": "seaborn",
    "pl": "polars",
    "nx": "networkx",
    "xr": "xarray",
    "sp": "sympy",
    "sm": "statsmodels.api",
    "smf": "statsmodels.formula.api",
    "px": "plotly.express",
    "alt": "altair",
    "tf": "tensorflow",
    "dt": "datetime",
}
_MODULES: Final = frozenset(
    {"math", "random", "os", "sys", "re", "json", "time", "datetime", "itertools", "collections", "functools", "torch"}
)


def meant(name: str, known: Collection[str]) -> str:
    """Return the part of a sentence that says which name may have been meant; empty, if none is near.

    Examples
    --------
    >>> meant("valu", ["value", "other"])
    "did you mean 'value'? "
    >>> meant("pd", ["value"])
    "'pd' is not imported in this notebook (import pandas as pd): "
    >>> meant("zzz", ["value"])
    ''
    """
    if name in _USUAL or name in _MODULES:
        statement = f"import {_USUAL[name]} as {name}" if name in _USUAL else f"import {name}"
        return f"{name!r} is not imported in this notebook ({statement}): "
    candidates = [one for one in known if not one.startswith("_")]
    near = difflib.get_close_matches(name, candidates, n=2, cutoff=0.75) or difflib.get_close_matches(
        name, dir(builtins), n=1, cutoff=0.8
    )
    return f"did you mean {' or '.join(map(repr, near))}? " if near else ""
