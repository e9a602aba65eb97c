"""Electrons with `cache=True`: a call whose code, arguments and surroundings are those of an earlier one is not made.

Who writes `cache=True` says that the value may be used again, whatever the function does besides. What it was made from
is compared nevertheless: code that it reaches, arguments, files, variables, packages and modules, by what was observed.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from covalab.core import outputs
from covalab.core.codec import USERS_ERRORS, digest_of, encode, inline_value
from covalab.core.errors import CovalabError, ValueLost
from covalab.core.model import DispatchId, Outcome, Reuse, Value
from covalab.core.own_attributes import function_of_member, own_attribute
from covalab.reuse_index import ReuseIndex
from covalab.worker import after, context, reporting
from covalab.worker.reuse import local_code, shown, surroundings
from covalab.worker.reuse.surroundings import FileFact, Surroundings
from covalab.worker.reuse.watch import Watch

_FORMAT: Final = 1


class ElectronRun(msgspec.Struct, frozen=True):
    """A call of an electron: where and when, what it depended on, its value, and what it showed."""

    dispatch: str
    node: int
    at: float
    surroundings: Surroundings
    written: list[FileFact]
    value: Value
    outputs: Value


class CachedFunction:
    """Function of an electron with `cache=True`.

    Parameters
    ----------
    function
        The function.
    ttl
        How many seconds a value may be used; None: for ever.
    version
        The version of the function, which its author raises when it makes other values.
    key
        A function of the arguments whose value stands for them.
    """

    def __init__(
        self, function: Callable[..., Any], ttl: float | None, version: str, key: Callable[..., Any] | None
    ) -> None:
        functools.update_wrapper(self, function)
        self._ttl, self._version, self._key = ttl, version, key

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the value of an earlier call, or call the function; where no task runs, that alone."""
        function: Callable[..., Any] = self.__wrapped__  # type: ignore[attr-defined]
        if context.process.task is context.OUTSIDE:
            return function(*args, **kwargs)
        try:
            return _Call(self, function, self._ttl, self._key_of(function, args, kwargs)).value(args, kwargs)
        except _NoKey as error:
            why = Reuse(reasons=(str(error),), doubts=(str(error),))
            after.process.complete = lambda outcome: msgspec.structs.replace(outcome, reuse=why)
            return function(*args, **kwargs)

    def _key_of(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        try:
            bound = inspect.signature(function).bind(*args, **kwargs)
            bound.apply_defaults()
            given = self._key(*args, **kwargs) if self._key is not None else dict(bound.arguments)
            pieces = [msgspec.msgpack.encode([_FORMAT, sys.version, sys.prefix, self._version, function.__qualname__])]
            return digest_of([*pieces, *_code_of(function, set()), *encode(given, what="the arguments").pieces])
        except USERS_ERRORS as error:
            message = f"its code or arguments have no digest: {type(error).__name__}: {error}"
            raise _NoKey(message) from error


class _NoKey(Exception):
    """A call has no key."""


class _Call:
    """A call in a task."""

    def __init__(self, cached: CachedFunction, function: Callable[..., Any], ttl: float | None, key: str) -> None:
        self._cached, self._function, self._ttl, self._key = cached, function, ttl, key
        self._blobs = reporting.blobs_of_batch()
        self._index = ReuseIndex.beside(self._blobs.folder)
        self._draft: ElectronRun | None = None
        self._about = Reuse()
        after.process.complete = self._complete

    def value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the value of an earlier call or of a new one."""
        reasons: dict[str, None] = {}
        for data in self._index.runs(self._key):
            try:
                run = msgspec.msgpack.decode(data, type=ElectronRun)
            except msgspec.DecodeError:
                continue
            text = self._obstacle(run)
            if not text:
                same = "its code, arguments, files and packages are as they were"
                self._about = Reuse(DispatchId(run.dispatch), run.node, (same,))
                try:
                    value = self._blobs.deserialize(run.value)
                except ValueLost:
                    text = "the value of the earlier call is damaged"
                else:
                    shown.show_again(run.outputs, self._blobs, 0)
                    return value
            reasons[text] = None
        self._about = Reuse(reasons=tuple(reasons) or ("no call with this code and these arguments is kept",))
        return self._call(args, kwargs)

    def _obstacle(self, run: ElectronRun) -> str:
        if self._ttl is not None and time.time() - run.at > self._ttl:
            return f"its value is older than {self._ttl:g} s"
        lost = [fact.path for fact in run.written if fact.has_changed()]
        if lost:
            return f"{lost[0]}, which it wrote, has changed"
        if not all(map(self._blobs.keep, (run.value, run.outputs))):
            return "the value of the earlier call was deleted"
        return surroundings.change(run.surroundings)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        loaded = {*sys.modules}
        with Watch() as watch:
            value = self._function(*args, **kwargs)
            if inspect.iscoroutine(value):
                return value
        watch.settle()
        words = _names_of(self._function, set())
        modules = local_code.reached_modules(words, {str(self._function.__module__)})
        named = {name for name in words if name in sys.modules} | {name for name in sys.modules if name not in loaded}
        tops = {name.partition(".")[0] for name in (*named, str(self._function.__module__))}
        found = surroundings.take(watch.files, watch.variables.read, tops, modules, watch.variables_before)
        written = [fact for path in watch.written if (fact := FileFact.of(path)) is not None]
        task = context.process.task
        self._draft = ElectronRun(
            str(task.dispatch_id),
            -1 if task.task_id is None else task.task_id,
            time.time(),
            found,
            written,
            Value(0, ""),
            Value(0, ""),
        )
        return value

    def _complete(self, outcome: Outcome) -> Outcome:
        if self._draft is not None and outcome.status == "completed" and outcome.value is not None:
            data = outputs.encode(outputs.recorded(outcome, self._blobs.load))
            display = self._blobs.store(data, "outputs") if outcome.outputs else inline_value(data, "outputs")
            run = msgspec.structs.replace(self._draft, value=outcome.value, outputs=display)
            try:
                self._index.add(self._key, run.dispatch, msgspec.msgpack.encode(run))
            except (OSError, CovalabError) as error:
                about = f"its value cannot be kept: {error}"
                self._about = msgspec.structs.replace(self._about, doubts=(about,))
        return msgspec.structs.replace(outcome, reuse=self._about)


def _code_of(function: Any, seen: set[int]) -> Iterator[bytes]:
    """Yield what a function does: its code, and that of the functions and values of the notebook that it reaches."""
    if id(function) in seen:
        return
    seen.add(id(function))
    function = inspect.unwrap(function)
    if not isinstance(function, types.FunctionType):
        yield from encode(function).pieces
        return
    yield from _bytes_of(function.__code__)
    yield from encode((function.__defaults__, function.__kwdefaults__)).pieces
    for cell in function.__closure__ or ():
        yield from _part(cell.cell_contents, function.__module__, seen)
    if _is_package(function.__module__):
        return  # its version counts
    for name in sorted(_names_in(function.__code__)):
        if name in function.__globals__:
            yield name.encode()
            yield from _part(function.__globals__[name], function.__module__, seen)


def _part(value: Any, owner: str, seen: set[int]) -> Iterator[bytes]:
    if isinstance(value, types.ModuleType):
        yield value.__name__.encode()
    elif isinstance(value, types.FunctionType) or own_attribute(value, "__wrapped__") is not None:
        yield from _code_of(value, seen)
    elif isinstance(value, type) and value.__module__ == owner and id(value) not in seen:
        seen.add(id(value))
        for name, member in sorted(vars(value).items()):
            if name not in ("__dict__", "__weakref__", "__module__", "__doc__", "__annotations__"):
                yield name.encode()
                inner = function_of_member(member)
                yield from _part(inner, owner, seen)
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}".encode()
    else:
        yield from encode(value).pieces


def _is_package(module: str) -> bool:
    top = str(module).partition(".")[0]
    return top != "__main__" and top in sys.modules and module not in local_code.loaded_local_modules()


def _bytes_of(code: types.CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr((code.co_names, code.co_varnames, code.co_argcount, code.co_kwonlyargcount, code.co_flags)).encode()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _bytes_of(constant)
        else:
            text = sorted(map(repr, constant)) if isinstance(constant, frozenset) else repr(constant)
            yield f"{type(constant).__name__}{text}".encode()


def _names_in(code: types.CodeType) -> set[str]:
    inner = [_names_in(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return {*code.co_names}.union(*inner)


def _names_of(function: Any, seen: set[int]) -> set[str]:
    """Return the names in a function and in those that it reaches."""
    function = inspect.unwrap(function)
    if not isinstance(function, types.FunctionType) or id(function) in seen:
        return set()
    seen.add(id(function))
    names = _names_in(function.__code__)
    for name in [*names]:
        value = function.__globals__.get(name)
        if isinstance(value, types.ModuleType):
            names.update(value.__name__.split("."))
        elif isinstance(value, types.FunctionType) and not _is_package(value.__module__):
            names |= _names_of(value, seen)
        elif value is not None:
            names.add(str(getattr(value, "__module__", None) or type(value).__module__).partition(".")[0])
    return names
