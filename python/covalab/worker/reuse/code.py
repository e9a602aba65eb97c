"""Code of a cell or function, looked at for what cannot be observed while it runs: clocks, dynamic names, settings.

In doubt code counts as not reusable: that costs a run, and nothing else, because what follows is compared by value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import msgspec

IMPURE: Final = frozenset(
    {
        *("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time"),
        *("process_time_ns", "thread_time", "thread_time_ns", "now", "utcnow", "today", "localtime", "gmtime", "ctime"),
        *("asctime", "clock_gettime", "clock_gettime_ns"),
        *("getpid", "getppid", "gettid", "get_ident", "get_native_id", "urandom", "getrandom", "getrandbits"),
        *("SystemRandom", "Random", "secrets", "uuid", "uuid1", "uuid4", "token_hex", "token_bytes", "token_urlsafe"),
        *("id", "hash", "input", "getpass", "getuser", "gethostname", "psutil", "cpu_count", "getloadavg", "times"),
        *("resource", "getrusage", "tracemalloc", "threading", "Thread", "ThreadPoolExecutor", "ProcessPoolExecutor"),
        *("multiprocessing", "Pool", "asyncio", "create_task", "subprocess", "Popen", "system", "popen", "fork"),
        *("ctypes", "cffi", "socket", "urlopen", "urlretrieve", "requests", "httpx", "aiohttp", "gc", "weakref"),
        *("ipywidgets", "interact", "interactive", "FigureWidget", "widgets", "tensorflow", "Faker"),
        *("exists", "lexists", "isfile", "isdir", "is_file", "is_dir", "getmtime", "getctime", "getatime", "getsize"),
        *("readlink", "islink", "is_symlink", "getxattr", "listxattr", "which"),
        *("stat", "lstat", "access", "disk_usage", "statvfs", "samefile", "get_state", "getstate", "bit_generator"),
        *("numba", "njit", "jit", "guvectorize", "atexit", "faulthandler", "settrace", "setprofile", "memmap"),
    }
)
"""Names by which code asks for what is another thing each time, or shares memory or threads with others."""

_TIMES: Final = frozenset({"Timestamp", "to_datetime", "datetime64", "Period", "DatetimeIndex", "date_range"})

_UNSEEN: Final = frozenset(
    {
        *("read_parquet", "read_feather", "read_orc", "read_hdf", "HDFStore", "read_sql", "read_sql_query"),
        *("read_sql_table", "File", "Dataset", "open_dataset", "open_mfdataset", "open_zarr", "open_dataarray"),
        *("load_dataset", "scan_csv", "scan_parquet", "scan_ipc", "scan_ndjson", "read_ipc", "read_avro"),
        *("read_ndjson", "VideoCapture", "imread", "memory_map", "ParquetFile", "connect", "ImageFolder"),
        *("read_clipboard", "read_gbq", "read_spss", "load_model", "create_engine"),
    }
)
"""Functions by which libraries open files themselves, which nobody sees."""
_READS_BY_ITSELF: Final = frozenset(
    {
        *("polars", "pl", "duckdb", "h5py", "netCDF4", "rasterio", "cv2", "fiona", "osgeo", "gdal", "tables", "zarr"),
        *("vaex", "soundfile", "pyarrow", "pa", "pq", "lmdb", "sqlite3", "sqlalchemy", "pyspark", "dask", "geopandas"),
    }
)
_READS: Final = re.compile(r"(read|scan|load|open|sql|from_file)\w*")
_DRAWS: Final = frozenset({"sample", "shuffle", "rand", "random"})

_DYNAMIC: Final = frozenset(
    {
        *("eval", "exec", "compile", "globals", "locals", "vars", "dir", "query", "get_ipython", "__main__"),
        *("_getframe", "currentframe", "inspect", "sys.modules", "__import__", "import_module", "reload"),
        *("ols", "logit", "glm", "wls", "gls", "probit", "from_formula", "dmatrix", "dmatrices", "formula", "smf"),
        *("dumps", "dump", "cloudpickle"),
    }
)
"""Names by which code may read names that its text does not show."""

_HISTORY: Final = re.compile(r"_|__|___|_\d+|_i+|_i\d+|_[iod]h|In|Out|__annotations__")
_FOR_EFFECT: Final = re.compile(
    r"(set|enable|disable|register|config|configure|use|init|activate|install|patch|seed|reset|setup|login|extension"
    r"|pandas|basicConfig|monkeypatch|notebook_extension)(_[A-Za-z]\w*)?|\w+_(seed|options?|theme|backend|extension)"
)
_FOR_EFFECT_INSIDE: Final = frozenset({"update", "append", "add", "insert", "remove", "clear", "pop", "extend"})
"""Of what a package has inside: `package.config.update`."""
_OF_LOGGERS: Final = frozenset(
    {
        *("addHandler", "removeHandler", "addFilter", "removeFilter", "basicConfig", "dictConfig", "fileConfig"),
        *("setLoggerClass", "setLogRecordFactory", "captureWarnings"),
    }
)
"""Methods of loggers, which are one object for all modules, whatever name they have here."""
_TRACKED: Final = frozenset(
    {
        *("set_option", "set_printoptions", "seterr", "filterwarnings", "simplefilter", "set_config", "resetwarnings"),
        *("option_context", "printoptions", "errstate", "rc", "rcParams", "environ", "seed", "set_index", "options"),
        *("reset_index", "add_subplot", "style", "reset_option", "manual_seed", "rcdefaults", "path"),
    }
)
"""Names that set hidden state which is looked at as a whole (`namespace.hidden_state`), or nothing at all."""
_TRACKED_ROOTS: Final = frozenset(
    {
        *("plt", "pyplot", "mpl", "matplotlib", "np", "numpy", "pd", "pandas", "random", "os", "sys", "warnings"),
        *("sklearn", "torch", "decimal", "rcParams", "environ"),
    }
)
_DRAWING: Final = frozenset({"plt", "pyplot"})
_MAGICS: Final = frozenset({"matplotlib", "time", "timeit", "capture", "precision"})


class CodeFacts(msgspec.Struct):
    """Facts about code.

    Attributes
    ----------
    identifiers
        The names in it, of variables and of attributes.
    doubts
        Why it may be another thing each time, as texts for people.
    is_dynamic
        Whether it may read names that it does not show.
    uses_history
        Whether it reads `_`, `Out` and the like.
    settings
        What of it may change the state of a package, which nobody sees.
    handed
        The names in what it hands to a package there, which may keep it.
    """

    identifiers: set[str]
    doubts: list[str]
    is_dynamic: bool = False
    uses_history: bool = False
    settings: list[str] = []
    handed: set[str] = set()


def facts_of(
    tree: ast.AST, is_foreign: Callable[[str], bool], is_local: Callable[[str], bool] = lambda _: False
) -> CodeFacts:
    """Return the facts about code.

    Parameters
    ----------
    tree
        The code.
    is_foreign
        Whether a name is a module, or a class or function of one.
    is_local
        Whether a module is one of the user's own, whose data are looked at as a whole.
    """
    found = CodeFacts(set(), [], settings=[])
    imported = {name for name, module in imported_in(tree).items() if not is_local(module)}
    says_now = False
    sleeps = {one.value for one in ast.walk(tree) if isinstance(one, ast.Attribute) and one.attr == "sleep"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not (node.id == "time" and node in sleeps):
            found.identifiers.add(node.id)
            if isinstance(node.ctx, ast.Load) and _HISTORY.fullmatch(node.id):
                found.uses_history = True
        elif isinstance(node, ast.Attribute):
            found.identifiers.add(node.attr)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            _look_at_import(node, found)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in ("now", "today"):
            says_now = True
        elif isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith)):
            found.identifiers.add("asyncio")
        for text, values in settings_in(node, lambda name: name in imported or is_foreign(name)):
            found.settings.append(text)
            found.handed.update(
                inner.id for value in values for inner in ast.walk(value) if isinstance(inner, ast.Name)
            )
    if says_now and not found.identifiers.isdisjoint(_TIMES):
        found.identifiers.add("now")
    found.identifiers.discard("get_ipython")
    found.settings += _magics_in(tree, found)
    _look_at_names(found)
    return found


def doubts_about(names: set[str]) -> list[str]:
    """Return why code with some names in it may be another thing each time, as texts for people."""
    facts = CodeFacts(names, [])
    _look_at_names(facts)
    return facts.doubts


def _look_at_names(facts: CodeFacts) -> None:
    """Conclude from the names in code."""
    names = facts.identifiers
    facts.doubts += [f"uses `{name}`" for name in sorted(names & IMPURE)]
    facts.doubts += [f"uses `{name}`, which reads in a way that cannot be observed" for name in sorted(names & _UNSEEN)]
    readers = names & _READS_BY_ITSELF
    if readers:
        reads = sorted(name for name in names if _READS.fullmatch(name))
        facts.doubts += [f"uses `{name}` of {', '.join(sorted(readers))}, which may read files" for name in reads[:1]]
        facts.doubts += [f"uses `{name}`, which has random numbers of its own" for name in sorted(names & _DRAWS)]
    facts.is_dynamic = facts.is_dynamic or not names.isdisjoint(_DYNAMIC)


def _look_at_import(node: ast.Import | ast.ImportFrom, found: CodeFacts) -> None:
    aliases = [alias for alias in node.names if not _is_sleep(node, alias)]
    for alias in aliases:
        found.identifiers.update(alias.name.split("."))
        found.is_dynamic = found.is_dynamic or alias.name == "*"
    if isinstance(node, ast.ImportFrom) and node.module and aliases:
        found.identifiers.update(node.module.split("."))


def _is_sleep(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
    """Return whether an import is of `sleep`, or of the module of clocks under its name, so that its uses are seen."""
    wanted = "time" if isinstance(node, ast.Import) else "sleep" if node.module == "time" else None
    return (alias.name, alias.asname) == (wanted, None)


def imported_in(tree: ast.AST) -> dict[str, str]:
    """Return the names that code imports, also inside a function, and of each the module that it imports.

    Examples
    --------
    >>> imported_in(ast.parse("import os.path, numpy as np; from math import pi; from . import helpers"))
    {'os': 'os.path', 'np': 'numpy', 'pi': 'math', 'helpers': ''}
    """
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: node.module or "" for alias in node.names}
    return found


def root_of(node: ast.AST) -> str:
    """Return the name with which an expression of attributes, items and calls begins."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _path_of(node: ast.AST) -> list[str]:
    names: list[str] = []
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
        node = node.func if isinstance(node, ast.Call) else node.value
    return names


def settings_in(node: ast.AST, is_foreign: Callable[[str], bool]) -> Iterator[tuple[str, list[ast.AST]]]:
    """Yield what may change the state of a package: `package.option = x`, `package.enable()`, and what it is given."""
    for target in _targets_of(node):
        if isinstance(target, (ast.Attribute, ast.Subscript)):
            root = root_of(target)
            if is_foreign(root) and not _is_tracked(root, [root, *_path_of(target)]):
                value = getattr(node, "value", None)
                yield ast.unparse(target), [] if value is None else [value]
    yield from _decorators_in(node, is_foreign)
    if not isinstance(node, ast.Call):
        return
    root = root_of(node.func)
    name = node.func.attr if isinstance(node.func, ast.Attribute) else root
    given: list[ast.AST] = [*node.args, *(one.value for one in node.keywords)]
    sets_attribute = root in ("setattr", "delattr") and node.args and is_foreign(root_of(node.args[0]))
    if sets_attribute or name in _OF_LOGGERS:
        yield ast.unparse(node.func), given
    elif is_foreign(root):
        path = _path_of(node.func) or [name]
        is_setting = _FOR_EFFECT.fullmatch(name) or (name in _FOR_EFFECT_INSIDE and len(path) > 1)
        if is_setting and root not in _DRAWING and not _is_tracked(root, [root, *path]):
            yield ast.unparse(node.func), given


def _decorators_in(node: ast.AST, is_foreign: Callable[[str], bool]) -> Iterator[tuple[str, list[ast.AST]]]:
    """Yield the decorators that hand a function or class to a package: `@register_line_magic`."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    for one in node.decorator_list:  # those that are calls are looked at as such
        called = one.attr if isinstance(one, ast.Attribute) else root_of(one)
        if not isinstance(one, ast.Call) and is_foreign(root_of(one)) and _FOR_EFFECT.fullmatch(called):
            yield ast.unparse(one), [ast.Name(node.name)]


def _targets_of(node: ast.AST) -> Collection[ast.AST]:
    if isinstance(node, (ast.Assign, ast.Delete)):
        return node.targets
    return (node.target,) if isinstance(node, (ast.AugAssign, ast.AnnAssign)) else ()


def _is_tracked(root: str, path: list[str]) -> bool:
    return root in _TRACKED_ROOTS and not _TRACKED.isdisjoint(path)


def _magics_in(tree: ast.AST, found: CodeFacts) -> Iterator[str]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            if isinstance(node, ast.Name) and node.id == "get_ipython" and not _is_of_magic(tree, node):
                found.is_dynamic = True
                found.handed |= {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
                yield "get_ipython"
            continue
        if node.func.attr in ("run_line_magic", "run_cell_magic"):
            name, *rest = [*map(_constant, node.args), ""]
            if (name, *rest[:1]) != ("matplotlib", "inline"):  # which a task has in any case
                found.is_dynamic = True
            if name == "matplotlib" and rest[:1] != ["inline"]:
                yield "%matplotlib"
            if name not in _MAGICS:
                yield f"%{name}"
        elif node.func.attr in ("system", "getoutput"):
            found.identifiers.add("system")


def _is_of_magic(tree: ast.AST, name: ast.Name) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("run_line_magic", "run_cell_magic", "system", "getoutput")
        and isinstance(node.value, ast.Call)
        and node.value.func is name
        for node in ast.walk(tree)
    )


def _constant(node: ast.AST) -> Any:
    return node.value if isinstance(node, ast.Constant) else ""
