"""Hidden state of libraries: global random generators, and options that change what a cell computes or prints.

Each library has a function that reads its settings as a flat dictionary, one that sets some of them, and one that
returns the defaults. Reading needs the library to be loaded.
"""

from __future__ import annotations

import importlib
import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, Final, TypeAlias

_Settings: TypeAlias = "dict[str, Any]"


def _loaded(name: str) -> Any:
    module = sys.modules.get(name)
    return importlib.import_module(name) if module is None else module


# Random generators.


def _read_random() -> _Settings:
    version, words, gauss = random.getstate()
    # A tuple of numbers would take twice as much.
    return {"state": (version, b"".join(word.to_bytes(4, "little") for word in words), gauss)}


def _put_random(settings: _Settings) -> None:
    version, data, gauss = settings["state"]
    words = tuple(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4))
    random.setstate((version, words, gauss))


def _read_numpy_random() -> _Settings:
    state: dict[str, Any] = _loaded("numpy.random").get_state(legacy=False)
    inner = {name: value.tobytes() if hasattr(value, "tobytes") else value for name, value in state["state"].items()}
    return {"state": {**state, "state": inner}}


def _put_numpy_random(settings: _Settings) -> None:
    numpy = _loaded("numpy")
    state = settings["state"]
    inner = {
        name: numpy.frombuffer(value, numpy.uint32) if isinstance(value, bytes) else value
        for name, value in state["state"].items()
    }
    now = _loaded("numpy.random").get_state(legacy=False)["bit_generator"]
    if now != state["bit_generator"]:  # the notebook has put another one there
        bits = getattr(numpy.random, state["bit_generator"])()
        numpy.random.set_bit_generator(bits)
    numpy.random.set_state({**state, "state": inner})


def _read_torch() -> _Settings:
    torch = _loaded("torch")
    settings: _Settings = {"state": bytes(torch.get_rng_state().tolist()), "dtype": torch.get_default_dtype()}
    if torch.cuda.is_initialized():
        settings["devices"] = [bytes(state.tolist()) for state in torch.cuda.get_rng_state_all()]
    return settings


def _put_torch(settings: _Settings) -> None:
    torch = _loaded("torch")
    for name, value in settings.items():
        if name == "state":
            torch.set_rng_state(torch.tensor(list(value), dtype=torch.uint8))
        elif name == "dtype":
            torch.set_default_dtype(value)
        elif torch.cuda.is_available():
            torch.cuda.set_rng_state_all([torch.tensor(list(one), dtype=torch.uint8) for one in value])


# Options.


def _read_numpy() -> _Settings:
    numpy = _loaded("numpy")
    printing = {f"print {name}": value for name, value in numpy.get_printoptions().items()}
    return {**printing, **numpy.geterr(), _CALLED: numpy.geterrcall()}


def _put_numpy(settings: _Settings) -> None:
    numpy = _loaded("numpy")
    printing = {name.removeprefix("print "): value for name, value in settings.items() if name.startswith("print ")}
    errors = {name: value for name, value in settings.items() if name in NUMPY_ERRORS}
    if _CALLED in settings:
        numpy.seterrcall(settings[_CALLED])
    if printing:
        numpy.set_printoptions(**printing)
    if errors:
        numpy.seterr(**errors)


_CALLED: Final = "called"  # for errors that are set to "call" or "log"
NUMPY_ERRORS: Final = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_NUMPY_PRINTING: Final[_Settings] = {
    "precision": 8,
    "threshold": 1000,
    "edgeitems": 3,
    "linewidth": 75,
    "suppress": False,
    "nanstr": "nan",
    "infstr": "inf",
    "formatter": None,
    "sign": "-",
    "floatmode": "maxprec",
    "legacy": False,
    "override_repr": None,
}


def numpy_printing(numpy: Any) -> _Settings:
    """Return the options of printing that a new process has, of those that this NumPy knows."""
    known = numpy.get_printoptions()
    return {name: value for name, value in _NUMPY_PRINTING.items() if name in known}


def _defaults_of_numpy() -> _Settings:
    printing = numpy_printing(_loaded("numpy"))
    return {**{f"print {name}": value for name, value in printing.items()}, **NUMPY_ERRORS, _CALLED: None}


def _read_pandas() -> _Settings:
    return dict(option_leaves(_loaded("pandas").options.d))


def option_leaves(options: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the options of pandas by their whole names."""
    for name, value in options.items():
        if isinstance(value, dict):
            yield from option_leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _put_pandas(settings: _Settings) -> None:
    pandas = _loaded("pandas")
    known = _read_pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an option is deprecated is no news
        for name, value in settings.items():
            if name in known:
                pandas.set_option(name, value)


def _defaults_of_pandas() -> _Settings:
    registered = _loaded("pandas._config.config")._registered_options  # noqa: SLF001 - there is no public way
    return {name: option.defval for name, option in registered.items()}


_OF_THE_PROCESS: Final = frozenset({"backend", "backend_fallback", "interactive", "toolbar", "webagg.port"})
"""Parameters of matplotlib that belong to a process, as its backend does."""
_IN_USE: Final = ":backend is in use:"
"""Name of the setting that pyplot has loaded its backend: from then on a notebook shows figures as pictures."""
_IS_OFF: Final = ":is off:"
"""Name of the setting that it does so only when it is told to: `plt.ioff()`."""


def _read_matplotlib() -> _Settings:
    settings = _parameters(_loaded("matplotlib").rcParams)
    if getattr(sys.modules.get("matplotlib.pyplot"), "_backend_mod", None) is not None:
        settings[_IN_USE] = True
        if not dict.get(_loaded("matplotlib").rcParams, "interactive"):
            settings[_IS_OFF] = True
    return settings


def _parameters(parameters: Any) -> _Settings:
    # Not by its own `items`, which resolves the backend.
    return {
        name: list(value) if type(value) is list else value
        for name, value in dict.items(parameters)
        if name not in _OF_THE_PROCESS
    }


def _put_matplotlib(settings: _Settings) -> None:
    parameters = _loaded("matplotlib").rcParams
    dict.update(parameters, {name: value for name, value in settings.items() if name in parameters})
    if settings.get(_IN_USE) and isinstance(dict.get(parameters, "backend"), str):  # else it would look for a screen
        _loaded("matplotlib.pyplot")._get_backend_mod()  # noqa: SLF001 - there is no public way without a figure
    if _IS_OFF in settings:
        dict.__setitem__(parameters, "interactive", not settings[_IS_OFF])


def _defaults_of_matplotlib() -> _Settings:
    return _parameters(_loaded("matplotlib").rcParamsOrig)


def _read_decimal() -> _Settings:
    context = _loaded("decimal").getcontext()
    names = "prec", "rounding", "Emin", "Emax", "capitals", "clamp"
    signals = {
        kind: [signal.__name__ for signal, is_set in getattr(context, kind).items() if is_set] for kind in _SIGNALS
    }
    return {**{name: getattr(context, name) for name in names}, **signals}


_SIGNALS: Final = ("traps", "flags")


def _put_decimal(settings: _Settings) -> None:
    decimal = _loaded("decimal")
    context = decimal.getcontext()
    for name, value in settings.items():
        if name in _SIGNALS:
            signals = getattr(context, name)
            for signal in signals:
                signals[signal] = signal.__name__ in value
        else:
            setattr(context, name, value)


def _defaults_of_decimal() -> _Settings:
    decimal = _loaded("decimal")
    with decimal.localcontext(decimal.Context(traps=None, flags=[])):
        return _read_decimal()


def _read_sklearn() -> _Settings:
    settings: _Settings = _loaded("sklearn").get_config()
    return settings


def _put_sklearn(settings: _Settings) -> None:
    _loaded("sklearn").set_config(**settings)


def _defaults_of_sklearn() -> _Settings:
    return dict(_loaded("sklearn._config")._global_config)  # noqa: SLF001 - each thread begins with it


def _read_xarray() -> _Settings:
    return dict(_loaded("xarray.core.options").OPTIONS)


def _put_xarray(settings: _Settings) -> None:
    now = _read_xarray()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as for pandas
        _loaded("xarray").set_options(
            **{name: value for name, value in settings.items() if name in now and value != now[name]}
        )


def _read_polars() -> _Settings:
    return {"settings": _loaded("polars").Config.save()}


def _put_polars(settings: _Settings) -> None:
    _loaded("polars").Config.load(settings["settings"])


def _read_plotly() -> _Settings:
    return {"template": _loaded("plotly.io").templates.default}


def _put_plotly(settings: _Settings) -> None:
    _loaded("plotly.io").templates.default = settings["template"]


_SHELL: Final = "IPython.core.interactiveshell"
_SHOWN_TEXT: Final = "text/plain"


def _defaults_of_ipython() -> _Settings:
    return {"ast_node_interactivity": "last_expr", "float_precision": "", "float_format": "%r", "pprint": True}


def _read_ipython() -> _Settings:
    shell = _loaded(_SHELL).InteractiveShell._instance  # noqa: SLF001 - to ask for it would make one
    if shell is None:
        return _defaults_of_ipython()
    texts = shell.display_formatter.formatters[_SHOWN_TEXT]
    of_texts = {name: getattr(texts, name) for name in ("float_precision", "float_format", "pprint")}
    return {"ast_node_interactivity": shell.ast_node_interactivity, **of_texts}


def _put_ipython(settings: _Settings) -> None:
    shell = _loaded(_SHELL).InteractiveShell.instance()
    texts = shell.display_formatter.formatters[_SHOWN_TEXT]
    numpy = sys.modules.get("numpy")
    with numpy.printoptions() if numpy is not None else nullcontext():  # a precision sets NumPy's, too
        for name, value in settings.items():
            setattr(shell if name == "ast_node_interactivity" else texts, name, value)


_DISABLED: Final = " disabled "
_ALONE: Final = " alone "  # its records go to no handler above it


def _read_logging() -> _Settings:
    manager = logging.Logger.manager
    settings: _Settings = {"": manager.root.level, " ": manager.disable}
    for name, logger in list(manager.loggerDict.items()):
        if isinstance(logger, logging.Logger):
            if logger.level:
                settings[name] = logger.level
            if logger.disabled:
                settings[_DISABLED + name] = True
            if not logger.propagate:
                settings[_ALONE + name] = True
    return settings


def _put_logging(settings: _Settings) -> None:
    for name, value in settings.items():
        if name == " ":
            logging.disable(value)
        elif name.startswith(_DISABLED):
            logging.getLogger(name.removeprefix(_DISABLED)).disabled = bool(value)
        elif name.startswith(_ALONE):
            logging.getLogger(name.removeprefix(_ALONE)).propagate = not value
        else:
            logging.getLogger(name or None).setLevel(value or logging.NOTSET)


def _nothing_else() -> _Settings:
    return {}


_Row: TypeAlias = "tuple[str, Callable[[], _Settings], Callable[[_Settings], None], Callable[[], _Settings]]"

PLACES: Final[dict[str, _Row]] = {
    "random": ("random", _read_random, _put_random, _nothing_else),
    "numpy.random": ("numpy.random", _read_numpy_random, _put_numpy_random, _nothing_else),
    "torch": ("torch", _read_torch, _put_torch, _nothing_else),
    "numpy": ("numpy", _read_numpy, _put_numpy, _defaults_of_numpy),
    "pandas": ("pandas", _read_pandas, _put_pandas, _defaults_of_pandas),
    "matplotlib": ("matplotlib", _read_matplotlib, _put_matplotlib, _defaults_of_matplotlib),
    "decimal": ("decimal", _read_decimal, _put_decimal, _defaults_of_decimal),
    "sklearn": ("sklearn", _read_sklearn, _put_sklearn, _defaults_of_sklearn),
    "xarray": ("xarray", _read_xarray, _put_xarray, _nothing_else),
    "polars": ("polars", _read_polars, _put_polars, _nothing_else),
    "plotly": ("plotly.io", _read_plotly, _put_plotly, _nothing_else),
    "IPython": (_SHELL, _read_ipython, _put_ipython, _defaults_of_ipython),
    "logging": ("logging", _read_logging, _put_logging, _nothing_else),
}
"""By name: the module without which there is nothing to read, how it is read, set, and what it is in a new process."""
