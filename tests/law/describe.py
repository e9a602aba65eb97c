"""Descriptions of values as JSON: two namespaces are the same if their descriptions are equal.

Runs inside kernels, on its own. A mutable object that was met before is described as the place where it was first met,
so that two names of one object have another description than two equal objects.
"""

from __future__ import annotations

import base64
import builtins
import copy
import datetime as dt
import decimal
import dis
import enum
import fractions
import hashlib
import inspect
import io
import itertools
import json
import os
import pathlib
import random
import re
import sys
import types
import uuid
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

Json = Any

_ATOMS = (type(None), bool, int, complex, type(...), type(NotImplemented))
_NO_IDENTITY = (  # immutable: whether two of them are one object is no difference that a program should see
    str, bytes, tuple, frozenset, range, slice, dt.date, dt.time, dt.timedelta, dt.tzinfo,
    decimal.Decimal, fractions.Fraction, pathlib.PurePath, re.Pattern, re.Match, uuid.UUID, enum.Enum,
)  # fmt: skip
_OF_THE_COMPILER = {"__static_attributes__", "__firstlineno__"}
_HIDDEN_ATTRIBUTES = {"__dict__", "__weakref__", "_abc_impl", "__slotnames__"} | _OF_THE_COMPILER
_TIMES = re.compile(r"(mean|std)_(fit|score)_time|refit_time_")  # scikit-learn's searches measure them
_THREADS = "_n_threads"  # how many there were when an estimator of scikit-learn was fitted
_MEMO = {"_clear_cache"}  # of `singledispatch`: which implementation it found for a class
_MANY = 2000


def described(names: Mapping[str, Any], namespace: Mapping[str, Any], *, last: Collection[str] = ()) -> dict[str, Json]:
    """Return the description of each name, in alphabetical order; `last` are those of which no other one is a part."""
    describer = _Describer(namespace)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 20_000))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            in_order = sorted(names, key=lambda name: (name in last, name))
            found = {name: describer.value(names[name], name) for name in in_order}
            describer.read_names()
            return describer.with_shared_memory(found)
    finally:
        sys.setrecursionlimit(limit)


class _Describer:
    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace
        self._places: dict[int, str] = {}
        self._kept: list[Any] = []  # an id means something as long as its object lives
        self._later: list[tuple[dict[str, Json], str, Any, str]] = []
        self._arrays: list[tuple[int, int, Any, list[Json]]] = []

    def value(self, value: Any, place: str) -> Json:
        """Return the description of a value that is first met at a place."""
        kind = type(value)
        if kind in _ATOMS:
            return [kind.__name__, repr(value)]
        if kind is float:
            return ["float", repr(value)]
        if kind in {str, bytes}:
            return [kind.__name__, _short(repr(value))]
        has_identity = not issubclass(kind, _NO_IDENTITY) and not _is_immutable_of_library(value)
        if has_identity:
            if id(value) in self._places:
                return ["same as", self._places[id(value)]]
            self._places[id(value)] = place
        self._kept.append(value)
        return self._content(value, kind, place)

    def _content(self, value: Any, kind: type, place: str) -> Json:
        container = self._container(value, kind, place)
        if container is not None:
            return container
        if issubclass(kind, types.ModuleType):
            return ["module", value.__name__]
        if issubclass(kind, type):
            return self._class(value, place)
        describe = _special(value)
        return self._by_parts(value, kind, place) if describe is None else describe(self, value, place)

    def _container(self, value: Any, kind: type, place: str) -> Json:
        if kind in {list, tuple}:
            return [kind.__name__, self._items(value, place)]
        if kind in {set, frozenset}:
            return [kind.__name__, sorted((self.value(one, f"{place}{{}}") for one in value), key=json.dumps)]
        if kind is dict and "__build_class__" in value:  # what `exec` puts into the dictionary that it is given
            return ["the built-in names"]
        if kind in {dict, types.MappingProxyType}:
            return [kind.__name__, self._pairs(value.items(), place)]
        return None

    def _items(self, values: Any, place: str) -> Json:
        if len(values) > _MANY and all(type(one) in {*_ATOMS, float, str} for one in values):
            return [len(values), _digest(repr(list(values)).encode())]
        return [self.value(one, f"{place}[{number}]") for number, one in enumerate(values)]

    def _pairs(self, pairs: Any, place: str) -> Json:
        return [
            [
                self.value(key, f"{place} key"),
                _a_time(value)
                if type(key) is str and _TIMES.fullmatch(key)
                else self.value(value, f"{place}[{_short(_plain_repr(key))}]"),
            ]
            for key, value in pairs
        ]

    # Code.

    def _class(self, cls: type, place: str) -> Json:
        if cls.__module__ != "__main__":
            return ["class", f"{cls.__module__}.{cls.__qualname__}"]
        if issubclass(cls, enum.Enum):
            members = {name: self.value(one.value, f"{place}.{name}") for name, one in cls.__members__.items()}
            return ["enum", cls.__qualname__, members]
        body = {
            name: self.value(one, f"{place}.{name}")
            for name, one in sorted(vars(cls).items())
            if name not in _HIDDEN_ATTRIBUTES and not name.startswith("__pydantic_")
        }
        bases = [self.value(base, f"{place} base") for base in cls.__bases__]
        return ["class", cls.__qualname__, type(cls).__qualname__, bases, body]

    def function(self, function: types.FunctionType, place: str) -> Json:
        """Return the description of a function: what it does, what it carries and what it reads."""
        if function.__module__ != "__main__":
            return ["function", f"{function.__module__}.{function.__qualname__}"]
        variables = function.__globals__
        reads: dict[str, Json] = {}
        for name in sorted(_global_names(function.__code__) & variables.keys()):
            self._later.append((reads, name, variables[name], f"{place} reads {name}"))
        return [
            "function",
            function.__qualname__,
            {
                "code": _code(function.__code__),
                "doc": function.__doc__,
                "defaults": self.value(function.__defaults__, f"{place}.__defaults__"),
                "keyword defaults": self.value(function.__kwdefaults__, f"{place}.__kwdefaults__"),
                "annotations": self.value(dict(function.__annotations__), f"{place}.__annotations__"),
                "attributes": self.value({k: v for k, v in vars(function).items() if k not in _MEMO}, place),
                "closure": [self._cell(cell, place) for cell in function.__closure__ or ()],
                "reads": reads,
                "lives in the notebook": variables is self._namespace,
            },
        ]

    def read_names(self) -> None:
        """Describe the globals that functions read: after all names, so that an object is found at its own name."""
        while self._later:
            reads, name, value, place = self._later.pop(0)
            reads[name] = self.value(value, place)

    def _cell(self, cell: types.CellType, place: str) -> Json:
        if id(cell) in self._places:  # two closures that share a variable
            return ["same as", self._places[id(cell)]]
        self._places[id(cell)] = f"{place}.__closure__"
        self._kept.append(cell)
        try:
            return self.value(cell.cell_contents, f"{place}.__closure__")
        except ValueError:
            return ["empty"]

    # Objects.

    def _by_parts(self, value: Any, kind: type, place: str) -> Json:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if kind.__module__ in {"builtins", "itertools"} and hasattr(kind, "__next__"):
            following = _following(value)
            # Inside, it may be at another one of its states.
            if following is not None and (not following or kind is itertools.cycle):
                return [name if following else _at_its_end(value), [self.value(one, "") for one in following]]
        try:
            parts = value.__reduce_ex__(4)
        except Exception:  # noqa: BLE001 - a generator, a connection: nothing can be said but its type
            return ["cannot be stored", name]
        if isinstance(parts, str):
            return ["global", name, parts]
        make, args, *more = parts
        state, items, pairs = (*more, None, None, None)[:3]
        # Parts that were made for the call have no identity, but what is in them has.
        found = [
            name,
            getattr(make, "__qualname__", repr(make)),
            [self.value(a, f"{place}({n})") for n, a in enumerate(args)],
        ]
        is_estimator = str(kind.__module__).startswith("sklearn.")
        found.append(self._state(state, place, left_out=(_THREADS,) if is_estimator else ()))
        found.append(None if items is None else self._items(list(items), place))
        found.append(None if pairs is None else self._pairs(list(pairs), place))
        if issubclass(kind, BaseException):
            found.append(self.value(value.__cause__, f"{place}.__cause__"))
        if kind.__module__ == "__main__":
            found.append(self.value(kind, f"type({place})"))
        return found

    def _state(self, state: Any, place: str, left_out: Collection[str] = ()) -> Json:
        if type(state) is dict:
            pairs = sorted(((str(key), one) for key, one in state.items() if key not in left_out), key=lambda p: p[0])
            return {
                key: _a_time(one) if _TIMES.fullmatch(key) else self.value(one, f"{place}.{key}") for key, one in pairs
            }
        if type(state) is tuple and len(state) == 2 and all(part is None or type(part) is dict for part in state):
            return [self._state(part, place, left_out) for part in state]  # with slots
        return self.value(state, f"{place} state")

    # Arrays.

    def array(self, array: Any, place: str) -> Json:
        """Return the description of an array; whether it shares memory with others is added at the end."""
        if array.dtype.hasobject:
            values = self._items(list(array.ravel()), place)
        elif array.size > _MANY:
            values = _digest(array.tobytes())
        else:
            values = repr(array.tolist())
        kind = f"{type(array).__module__}.{type(array).__qualname__}"
        found = [kind, str(array.dtype), list(array.shape), values, {"writeable": bool(array.flags.writeable)}]
        if array.size:
            low, high = sys.modules["numpy"].lib.array_utils.byte_bounds(array)
            self._arrays.append((low, high, array, found))
        return found

    def with_shared_memory(self, found: dict[str, Json]) -> dict[str, Json]:
        """Add to arrays that share memory which ones do, and where in it they are."""
        groups: list[list[tuple[int, int, Any, list[Json]]]] = []
        high_so_far = -1
        for one in sorted(self._arrays, key=lambda one: one[:2]):
            if one[0] >= high_so_far:
                groups.append([])
            groups[-1].append(one)
            high_so_far = max(high_so_far, one[1])
        for group in groups:
            if len(group) > 1:
                first = min(self._places[id(one[2])] for one in group)
                for low, _, array, description in group:
                    description.append({"memory of": first, "at": low - group[0][0], "strides": list(array.strides)})
        return found


# Libraries. A function of (describer, value, place), by the class of the value; looked up without importing anything.

_Special = Callable[[_Describer, Any, str], Json]


def _special(value: Any) -> _Special | None:
    for cls in type(value).__mro__:
        found = _SPECIAL.get(f"{cls.__module__}.{cls.__qualname__}")
        if found is not None:
            return found
    return None


def _frame(describer: _Describer, frame: Any, place: str) -> Json:
    columns = [[_plain_repr(name), _column(describer, frame.iloc[:, n], place)] for n, name in enumerate(frame.columns)]
    labels = [_plain_repr(frame.columns.names), type(frame.columns).__name__]
    return ["DataFrame", _index(describer, frame.index, place), labels, columns, _plain_repr(frame.attrs)]


def _series(describer: _Describer, series: Any, place: str) -> Json:
    return [
        "Series",
        _index(describer, series.index, place),
        _column(describer, series, place),
        _plain_repr(series.attrs),
    ]


def _column(describer: _Describer, series: Any, place: str) -> Json:
    return [_plain_repr(series.name), str(series.dtype), describer._items(series.tolist(), f"{place}.{series.name}")]


def _index(describer: _Describer, index: Any, place: str) -> Json:
    kind = type(index).__name__
    return [
        kind,
        _plain_repr(index.names),
        str(index.dtype),
        str(getattr(index, "freq", "")),
        describer._items(index.tolist(), place),
    ]


def _figure(describer: _Describer, figure: Any, place: str) -> Json:
    import matplotlib as mpl

    stream = io.BytesIO()
    # A figure is drawn with the settings of the process that draws it, so by the same ones on both sides.
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        figure.savefig(stream, format="png", dpi=40)
    axes = [describer.value(one, f"{place}.axes") for one in figure.axes]
    return ["Figure", {"image/png": base64.b64encode(stream.getvalue()).decode()}, axes]


def _artist(describer: _Describer, artist: Any, place: str) -> Json:
    figure = getattr(artist, "figure", None)
    number = [*figure.axes].index(artist) if figure is not None and artist in figure.axes else None
    return [type(artist).__qualname__, number, describer.value(figure, f"{place}.figure")]


def _by_sorted_dict(describer: _Describer, value: Any, place: str) -> Json:
    """Describe a figure of plotly: what is loaded from a pickle has the parts of its template in another order."""
    return [type(value).__qualname__, describer.value(_in_order(value.to_dict()), place)]


def _in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in_order(value[name]) for name in sorted(value)}
    return [*map(_in_order, value)] if isinstance(value, list | tuple) else value


def _by_dict(describer: _Describer, value: Any, place: str) -> Json:
    return [type(value).__qualname__, describer.value(value.to_dict(), place)]


def _polars(describer: _Describer, frame: Any, place: str) -> Json:
    return [
        type(frame).__qualname__,
        repr(getattr(frame, "schema", frame.dtype if hasattr(frame, "dtype") else "")),
        repr(frame.rows() if hasattr(frame, "rows") else frame.to_list()),
    ]


def _type_only(describer: _Describer, value: Any, place: str) -> Json:
    return ["of type", f"{type(value).__module__}.{type(value).__qualname__}"]


def _wrapped(describer: _Describer, value: Any, place: str) -> Json:
    if value.__module__ != "__main__":  # a library's, whose cache is that of its process
        return ["lru_cache", f"{value.__module__}.{value.__qualname__}"]
    info = value.cache_info()
    return ["lru_cache", list(info), describer.value(value.__wrapped__, f"{place}.__wrapped__")]


def _accessor(*names: str) -> _Special:
    def described(describer: _Describer, value: Any, place: str) -> Json:
        parts = {name: describer.value(getattr(value, name), f"{place}.{name}") for name in names}
        return [type(value).__qualname__, parts]

    return described


def _slot(describer: _Describer, value: Any, place: str) -> Json:
    return [type(value).__name__, value.__name__]


def _builtin(describer: _Describer, value: Any, place: str) -> Json:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return ["builtin", f"{value.__module__}.{value.__qualname__}"]
    return ["builtin method", value.__name__, describer.value(owner, f"{place}.__self__")]


def _file(describer: _Describer, value: Any, place: str) -> Json:
    return ["cannot be stored", type(value).__qualname__, {"closed": value.closed}]


def _partial(describer: _Describer, value: Any, place: str) -> Json:
    # Whether it has a dictionary that is empty, or none yet, depends on whether somebody has looked.
    parts = {"func": value.func, "args": list(value.args), "keywords": value.keywords, "attributes": dict(vars(value))}
    return ["partial", {name: describer.value(one, f"{place}.{name}") for name, one in parts.items()}]


def _match(describer: _Describer, value: Any, place: str) -> Json:
    return ["Match", value.re.pattern, value.string, list(value.regs)]


def _random_generator(describer: _Describer, value: Any, place: str) -> Json:
    return [type(value).__qualname__, _plain_repr(value.bit_generator.state)]


def _random_state(describer: _Describer, value: Any, place: str) -> Json:
    return [type(value).__qualname__, _plain_repr(value.get_state())]


def _lazy_polars(describer: _Describer, value: Any, place: str) -> Json:
    return ["LazyFrame", value.explain()]


_SPECIAL: dict[str, _Special] = {
    "numpy.ndarray": lambda describer, value, place: describer.array(value, place),
    "numpy.memmap": lambda describer, value, place: describer.array(value, place),
    "numpy.random._generator.Generator": _random_generator,
    "numpy.random.mtrand.RandomState": _random_state,
    "pandas.DataFrame": _frame,
    "pandas.Series": _series,
    "pandas.core.frame.DataFrame": _frame,
    "pandas.core.series.Series": _series,
    "pandas.Index": _index,
    "pandas.core.indexes.base.Index": _index,
    "matplotlib.figure.Figure": _figure,
    "matplotlib.artist.Artist": _artist,
    "matplotlib.colorbar.Colorbar": _type_only,
    "seaborn.axisgrid.Grid": _accessor("figure"),
    "plotly.basedatatypes.BaseFigure": _by_sorted_dict,
    "altair.vegalite.v6.api.TopLevelMixin": _by_dict,
    "altair.vegalite.v5.api.TopLevelMixin": _by_dict,
    "xarray.core.dataarray.DataArray": _by_dict,
    "xarray.core.dataset.Dataset": _by_dict,
    "polars.dataframe.frame.DataFrame": _polars,
    "polars.series.series.Series": _polars,
    "polars.lazyframe.frame.LazyFrame": _lazy_polars,
    "ipywidgets.widgets.widget.Widget": _type_only,
    "tqdm.std.tqdm": _accessor("n", "total", "desc"),
    "rich.console.Console": _type_only,
    "sqlite3.Connection": _type_only,
    "IPython.core.magics.execution.TimeitResult": _type_only,
    "concurrent.futures.thread.ThreadPoolExecutor": _type_only,
    "threading.Thread": _accessor("daemon"),
    "functools._lru_cache_wrapper": _wrapped,
    "functools.partial": _partial,
    "functools.cached_property": _accessor("func"),
    "builtins.function": lambda describer, value, place: describer.function(value, place),
    "builtins.method": lambda describer, value, place: [
        "method",
        value.__name__,
        describer.value(value.__self__, f"{place}.__self__"),
    ],
    "builtins.property": _accessor("fget", "fset", "fdel"),
    "builtins.staticmethod": _accessor("__func__"),
    "builtins.classmethod": _accessor("__func__"),
    "builtins.member_descriptor": _slot,
    "builtins.getset_descriptor": _slot,
    "builtins.wrapper_descriptor": _slot,
    "builtins.builtin_function_or_method": _builtin,
    "builtins.ellipsis": _type_only,
    "_io._IOBase": _file,
    "re.Match": _match,
    "logging.Logger": _accessor("name"),
}


def _is_immutable_of_library(value: Any) -> bool:
    """Return whether a value is an immutable one of a library."""
    return any(
        f"{cls.__module__}.{cls.__qualname__}"
        in {
            "numpy.generic",
            "numpy.dtype",
            "sympy.core.basic.Basic",
            "sympy.core.assumptions.StdFactKB",
            "pandas._libs.tslibs.nattype.NaTType",
            "pandas._libs.interval.Interval",
            "builtins.builtin_function_or_method",
            "builtins.member_descriptor",
        }
        for cls in type(value).__mro__
    )


# Code.


def _code(code: types.CodeType) -> Json:
    """Return what a code object does; not where it was written."""
    constants = [_code(one) if isinstance(one, types.CodeType) else _plain_repr(one) for one in code.co_consts]
    names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
    flags = code.co_flags & ~inspect.CO_NESTED
    return [
        code.co_name,
        getattr(code, "co_qualname", ""),
        _digest(code.co_code),
        constants,
        list(map(list, names)),
        flags,
        code.co_argcount,
    ]


def _global_names(code: types.CodeType) -> set[str]:
    """Return the names that code looks up as globals, without those of builtins."""
    found = {one.argval for one in dis.get_instructions(code) if one.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            found |= _global_names(one)
    return {name for name in found if not hasattr(builtins, name)}


# What a notebook has beside its names.


def hidden_state() -> dict[str, Json]:
    """Return random state, settings of modules, folder and environment.

    Of a library, only settings that are not its own: one that nobody has changed says nothing if it is not loaded.
    """
    found: dict[str, Json] = {
        "random": _digest(repr(random.getstate()).encode()),
        "os.environ": {key: value for key, value in os.environ.items() if key.startswith("LAW_")},
        "recursion limit": sys.getrecursionlimit(),
        "folder": pathlib.Path.cwd().name,
        "warnings": [_plain_repr(one) for one in warnings.filters if not _is_of_library(one)],
        "decimal": repr(decimal.getcontext()),
    }
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        found["numpy print options"] = _changed(numpy.get_printoptions(), _NUMPY_PRINTS)
        found["numpy errors"] = _changed(numpy.geterr(), _NUMPY_ERRORS)
        if "numpy.random" in sys.modules:
            found["numpy.random"] = _digest(repr(numpy.random.get_state()).encode())
            found["numpy.random is seeded"] = _is_seeded(numpy)
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None:
        settings = {key: matplotlib.rcParams._get(key) for key in matplotlib.rcParams if not key.startswith("backend")}
        found["rcParams"] = _changed(settings, dict(matplotlib.rcParamsOrig))
        backend = matplotlib.rcParams._get("backend")
        if isinstance(backend, str) and "inline" not in backend:  # that of a notebook, under one of its names
            found["backend"] = backend.lower()
    if "pandas" in sys.modules:
        options = sys.modules["pandas._config.config"]._registered_options
        settings = {name: sys.modules["pandas"].get_option(name) for name in sorted(options)}
        found["pandas options"] = _changed(settings, {name: option.defval for name, option in options.items()})
    found |= _of_further_libraries()
    return {name: value for name, value in found.items() if value != {}}


def _of_further_libraries() -> dict[str, Json]:
    """Return the settings of libraries that are loaded, and of loggers."""
    found: dict[str, Json] = {}
    loaded = sys.modules
    if "sklearn" in loaded:
        found["sklearn"] = _changed(loaded["sklearn"].get_config(), loaded["sklearn._config"]._global_config)
    if "polars" in loaded:
        found["polars"] = {name: repr(one) for name, one in loaded["polars"].Config.state().items() if one is not None}
    if "plotly.io" in loaded and loaded["plotly.io"].templates.default != "plotly":
        found["plotly"] = loaded["plotly.io"].templates.default
    if "logging" in loaded:
        found["logging"] = [loaded["logging"].root.level, loaded["logging"].root.manager.disable]
    return found


_NUMPY_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_NUMPY_PRINTS = {
    "edgeitems": 3, "threshold": 1000, "floatmode": "maxprec", "precision": 8, "suppress": False, "linewidth": 75,
    "nanstr": "nan", "infstr": "inf", "sign": "-", "formatter": None, "legacy": False, "override_repr": None,
}  # fmt: skip


def _changed(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: (_plain_repr(one), _plain_repr(defaults.get(name))) for name, one in settings.items()}
    return {name: text for name, (text, default) in texts.items() if text != default}


def _is_of_library(found: tuple[Any, ...]) -> bool:
    """Return whether a filter is one that a library sets when it is imported: for a warning or a module of its own."""
    _, message, category, module, _ = found
    is_own = module is not None or getattr(message, "pattern", "").startswith("plotly")
    return is_own or category.__module__.partition(".")[0] not in {"builtins", "__main__"}


def _is_seeded(numpy: Any) -> bool:
    """Return whether the legacy generator was seeded in this process: then its state is no accident.

    Where another process has seeded it, and its state was set here, NumPy does not know of it.
    """
    return getattr(numpy.random.get_bit_generator(), "_seed_seq", None) is None


# Text.


def _following(iterator: Any) -> list[Any] | None:
    """Return the first values that an iterator would give, None if it cannot be copied."""
    try:
        return list(itertools.islice(copy.deepcopy(iterator), 20))
    except Exception:  # noqa: BLE001 - whatever the reason
        return None


def _at_its_end(iterator: Any) -> Json:
    """Return whether an iterator that gives nothing may give something later: when the list behind it has grown."""
    if type(iterator) is not type(iter([])):
        return "an iterator at its end"
    more = iterator.__reduce__()[2:]
    return f"a list_iterator that is {'behind the last element' if more else 'at its end'}"


def _a_time(value: Any) -> Json:
    """Return the description of a time, or of several, that were measured."""
    return ["a time", type(value).__name__, list(getattr(value, "shape", ()))]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _short(text: str) -> str:
    return text if len(text) <= _MANY else f"{text[:80]}... {_digest(text.encode())}"


def _plain_repr(value: Any) -> str:
    return re.sub(r"0x[0-9a-f]{6,}", "0x", repr(value))
