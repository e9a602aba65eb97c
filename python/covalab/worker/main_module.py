"""Main module of a node: `__main__` has the definitions of the notebook that came with it, as in the notebook.

So `pickle`, `joblib`, `typing.get_type_hints`, `dataclasses` and `multiprocessing` find the notebook's functions and
classes. Nothing is copied: the module is a view of the globals of the node's function. What is not among those
(a definition of the cell that runs, a function inside an argument) is looked for when somebody asks for it.
"""

from __future__ import annotations

import gc
import sys
import threading
import types
from collections.abc import Callable, Iterator
from multiprocessing import spawn
from typing import Any, Final

from covalab.worker.kept_functions import is_by_name

_MAIN: Final = "__main__"
_SPAWNED: Final = f"{__package__}.spawned_main"
_OBJECTS_LIMIT: Final = 20_000
"""Objects that are looked at for definitions inside arguments."""


class NodeMain(types.ModuleType):
    """Module over the globals of a function; it is `__main__` between `enter` and `leave`."""

    # The module's own dictionary has nothing but `__name__` and its like, so that everything else is asked for below.
    __slots__ = ("_view",)
    _view: _View

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(_MAIN)
        _set(self, "_view", _View(function))

    def enter(self) -> None:
        """Make this module `__main__`, for a node that runs in this thread."""
        self._view.thread = threading.get_ident()
        sys.modules[_MAIN] = self

    def carry(self, *values: object) -> None:
        """Add values in which definitions may be: the arguments."""
        self._view.values = values

    def leave(self) -> None:
        """Put the process's own `__main__` back."""
        sys.modules[_MAIN] = _own_main
        # A reference to this module must not keep large arguments.
        self._view.values = ()
        self._view.local = self._view.found = _NOTHING

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        local = self._view.look_at_cell()
        # The variables of a cell can be read here, and not set.
        return {**self._view.names, **local} if local else self._view.names

    def __getattr__(self, name: str) -> Any:
        return self._view.find(name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._view.names[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self._view.names:
            raise AttributeError(name)
        del self._view.names[name]

    def __dir__(self) -> list[str]:
        return sorted({*self._view.names, *self._view.look_at_cell()})

    def definitions(self) -> dict[str, Any]:
        """Return all functions and classes of the notebook that came with the node, by name."""
        return self._view.definitions()


_set: Final = object.__setattr__
_own_main: Final = sys.modules[_MAIN]
_NOTHING: Final[dict[str, Any]] = {}


class _View:
    """The names that `__main__` has while a function runs, and where they are looked for."""

    def __init__(self, function: Callable[..., Any]) -> None:
        plain = _plain_function(function)
        is_of_main = plain is not None and plain.__globals__.get("__name__") == _MAIN
        self.names: dict[str, Any] = plain.__globals__ if plain is not None and is_of_main else {}
        self._function = plain if plain is not None and plain.__module__ == _MAIN else None
        # Only a cell's function has variables that were global in the notebook.
        self._code = plain.__code__ if plain is not None and hasattr(plain, "__covalab_source__") else None
        self._callable = function
        self.thread = 0
        self.values: tuple[object, ...] = ()
        self.local = self.found = _NOTHING

    def find(self, name: str) -> Any:
        """Return what has this name."""
        for names in (self.look_at_cell(), self.names, self.found):
            # The presence of `__file__` would make a spawned process run the user's script from the start.
            if name in names and name != "__file__":
                return names[name]
        if self._function is not None and name == self._function.__name__:
            return self._function
        if not name.startswith("__"):
            for found in self._inside():
                if found.__qualname__ == name:
                    self.found = {**self.found, name: found}
                    return found
        message = f"module {_MAIN!r} has no attribute {name!r}"
        raise AttributeError(message, name=name)

    def definitions(self) -> dict[str, Any]:
        """Return all functions and classes of the notebook, by name."""
        found = {one.__qualname__: one for one in self._inside() if "." not in one.__qualname__}
        if self._function is not None:
            found[self._function.__name__] = self._function
        for names in (self.names, self.look_at_cell()):
            found.update({name: one for name, one in names.items() if _is_definition(one)})
        return found

    def look_at_cell(self) -> dict[str, Any]:
        """Return the present variables of the cell that runs: in the notebook they are those of `__main__`."""
        if self._code is not None:
            # A pool of processes pickles in a thread of its own.
            for innermost in (sys._getframe(), sys._current_frames().get(self.thread)):  # noqa: SLF001
                frame = innermost
                while frame is not None and frame.f_code is not self._code:
                    frame = frame.f_back
                if frame is not None:
                    # Not the frame: a child process that a thread forks has freed the frames of the others.
                    self.local = dict(frame.f_locals)
                    break
        return self.local

    def _inside(self) -> Iterator[Any]:
        return _definitions((self._callable, *self.values))


def _plain_function(function: Any) -> types.FunctionType | None:
    """Return the Python function inside a callable."""
    for _ in range(10):
        if isinstance(function, types.FunctionType):
            return function
        function = getattr(function, "__func__", None) or getattr(function, "func", None) or type(function).__call__
    return None


def _is_definition(value: Any) -> bool:
    kind = type(value)
    if kind is types.FunctionType:
        return bool(value.__module__ == _MAIN)
    return issubclass(kind, type) and value.__dict__.get("__module__") == _MAIN


def _definitions(roots: tuple[object, ...]) -> Iterator[Any]:
    """Yield the functions and classes of the notebook that can be reached from some objects."""
    seen: set[int] = set()
    level: list[Any] = [*roots]
    while level and len(seen) < _OBJECTS_LIMIT:
        deeper: list[Any] = []
        for one in gc.get_referents(*level):
            if len(seen) >= _OBJECTS_LIMIT:
                break
            if id(one) in seen or not gc.is_tracked(one) or isinstance(one, types.ModuleType):
                continue
            seen.add(id(one))
            if isinstance(one, (type, types.FunctionType)) and is_by_name(one):
                continue
            if _is_definition(one):
                yield one
            deeper.append(one)
        level = deeper


def install() -> None:
    """Let processes that a task spawns find its definitions, too. For the whole life of this process."""
    if spawn.get_preparation_data is not _preparation_data:
        spawn.get_preparation_data = _preparation_data


_python_preparation_data: Final = spawn.get_preparation_data


def _preparation_data(name: str) -> dict[str, Any]:
    """Return the data that a spawned process begins with: Python's own, and the definitions of the node."""
    data = _python_preparation_data(name)
    main = sys.modules.get(_MAIN)
    if isinstance(main, NodeMain):
        # The process runs this module as its main module; there it finds what is unpickled with the data.
        data["init_main_from_name"] = _SPAWNED
        data["covalab_definitions"] = _Definitions(main)
    return data


class _Definitions:
    """Definitions on the way to a spawned process: they are opened there when its search path is set, not at once."""

    def __init__(self, main: NodeMain) -> None:
        self._main = main

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive, (_dumped(self._main.definitions()),)


def _dumped(definitions: dict[str, Any]) -> bytes:
    """Pickle definitions by value, in one piece, so that they share their globals; leave out what cannot be pickled."""
    import cloudpickle  # noqa: PLC0415 - most tasks spawn nothing

    for is_last in (False, True):
        try:
            data: bytes = cloudpickle.dumps(definitions)
        except Exception:
            if is_last:
                raise
            definitions = {name: one for name, one in definitions.items() if _can_be_pickled(one)}
        else:
            break
    return data


def _can_be_pickled(value: object) -> bool:
    import cloudpickle  # noqa: PLC0415 - as above

    try:
        cloudpickle.dumps(value)
    except Exception:  # noqa: BLE001 - pickling runs the user's code
        return False
    return True


_received: Final[list[bytes]] = []


def _receive(data: bytes) -> None:
    _received[:] = [data]


def received() -> dict[str, Any]:
    """Return the definitions that this spawned process began with."""
    import cloudpickle  # noqa: PLC0415 - as above

    definitions: dict[str, Any] = cloudpickle.loads(_received[0]) if _received else {}
    return definitions


def use_plain_names(function: Callable[..., Any]) -> None:
    """Give the definitions of a cell the names that they have in the notebook.

    A cell is compiled to a function, so what it defines is called ``load.<locals>.square``, which `pickle` refuses.
    It is done here and not where the cell is compiled: there the code must stay equal to what was stored before.
    """
    code = getattr(function, "__code__", None)
    if isinstance(code, types.CodeType) and hasattr(function, "__covalab_source__"):
        prefix = f"{function.__qualname__}.<locals>."
        function.__code__ = _renamed(code, prefix)


def _renamed(code: types.CodeType, prefix: str) -> types.CodeType:
    constants = tuple(
        _renamed(one, prefix)
        if isinstance(one, types.CodeType)
        else one.removeprefix(prefix)  # of a class; before Python 3.11 of a function, too
        if isinstance(one, str)
        else one
        for one in code.co_consts
    )
    changes: dict[str, Any] = {}
    if not all(new is old for new, old in zip(constants, code.co_consts, strict=True)):
        changes["co_consts"] = constants
    qualified = getattr(code, "co_qualname", "")
    if qualified.startswith(prefix):
        changes["co_qualname"] = qualified.removeprefix(prefix)
    return code.replace(**changes) if changes else code
