"""Fingerprints: tell whether two pickled things are the same, although their bytes differ.

The same cell pickles to other bytes in another kernel: file names, line numbers, which strings happen to be one object.
What counts is what it does: its byte code, and the values, functions and classes that it refers to. Asked only when
results are to be reused; a dispatch that reuses nothing pays nothing.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from covalab.blobs import BlobStore
from covalab.core.codec import decode, encode
from covalab.core.errors import BlobDamaged, BlobNotFound, SerializationError
from covalab.core.hooks import Hooks
from covalab.core.model import Digest, Function, Graph, Node, NodeKind, Settings, Submission, Value
from covalab.core.old_pickle_names import current_name
from covalab.core.pickling import is_single_dispatch, reduced
from covalab.core.plain_types import ATOMS
from covalab.core.reuse import same_value
from covalab.sdk.code.storing import open_code
from covalab.sdk.values import UserValue
from covalab.worker.session.cell_text import CellText

_BY_REPR: Final = (ATOMS - {str, bytes}) | {type(Ellipsis), range, slice}
"""Types told apart by their `repr`; texts and bytes are hashed as they are."""
_NO_BEHAVIOUR: Final = frozenset(
    {"__module__", "__qualname__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__", "_abc_impl"}
)
_CANNOT_BE_COMPARED: Final = (SerializationError, BlobNotFound, BlobDamaged, RecursionError)


def align(new: Submission, old: Submission, blobs: BlobStore) -> Submission:
    """Return a submission in which what is the same as in an earlier one also has the same bytes.

    Parameters
    ----------
    new, old
        The submissions. A function that is the same also keeps the source text that was recorded with it.
    blobs
        Where their longer values and functions lie.
    """
    nodes = zip(new.graph.nodes, old.graph.nodes, strict=False)
    parameters = [(now, then) for now, then in nodes if now.kind is then.kind is NodeKind.PARAMETER]
    values = list(new.values)
    for at, was in {(now.value, then.value) for now, then in parameters if now.name == then.name}:
        if _is_same_value(values[at], old.values[was], blobs):
            values[at] = old.values[was]
    recorded: dict[str, list[Function]] = {}
    for function in old.graph.functions:
        recorded.setdefault(function.name, []).append(function)
    functions, code = list(new.graph.functions), dict(new.code)
    for at, now in enumerate(functions):
        for then in recorded.get(now.name, ()):
            if _is_same_function(now.digest, new, then.digest, old, blobs):
                functions[at] = then
                if then.digest in old.code:
                    code[then.digest] = old.code[then.digest]
                break
    settings, hooks = _aligned_settings(new, old, blobs)
    code.update({digest: old.code[digest] for digest in hooks if digest in old.code})
    graph = replace(new.graph, functions=functions, settings=settings)
    return replace(new, graph=graph, values=values, code=code)


def _aligned_settings(new: Submission, old: Submission, blobs: BlobStore) -> tuple[list[Settings], Collection[Digest]]:
    """Return the settings with the earlier names of hooks that are the same, and those names."""
    pairs = {
        (_hooks_of(new.graph, now), _hooks_of(old.graph, then))
        for now, then in zip(new.graph.nodes, old.graph.nodes, strict=False)
    }
    same = {now: then for now, then in pairs if now and then and _are_same_hooks(now, new, then, old, blobs)}
    return [replace(it, hooks=same.get(it.hooks, it.hooks)) for it in new.graph.settings], same.values()


def _hooks_of(graph: Graph, node: Node) -> Digest:
    return graph.settings[node.settings].hooks if node.settings >= 0 else Digest("")


def _are_same_hooks(now: Digest, new: Submission, then: Digest, old: Submission, blobs: BlobStore) -> bool:
    if now == then:
        return True
    try:
        return fingerprint(_open_hooks(now, new.code, blobs)) == fingerprint(_open_hooks(then, old.code, blobs))
    except _CANNOT_BE_COMPARED:
        return False


def _open_hooks(digest: Digest, code: Mapping[Digest, bytes], blobs: BlobStore) -> list[UserValue]:
    """Return hooks as plain values, functions and arguments deserialized."""
    hooks = msgspec.msgpack.decode(blobs.code(digest, code, "a hook"), type=Hooks)
    found: list[UserValue] = []
    for hook in (*hooks.before, None, *hooks.after):
        parts = {} if hook is None else msgspec.structs.asdict(hook)
        inside = decode(parts.pop("code"), what="a hook") if "code" in parts else None
        found.append((type(hook).__name__, parts, inside))
    return found


def _is_same_value(now: Value, then: Value, blobs: BlobStore) -> bool:
    if same_value(now, then):
        return True
    if (_current_type(now), now.text) != (_current_type(then), then.text):
        return False
    try:
        return fingerprint(blobs.deserialize(now)) == fingerprint(blobs.deserialize(then))
    except _CANNOT_BE_COMPARED:
        return False


def _current_type(value: Value) -> tuple[str, str]:
    """Return the type's module and name as they are today, whichever version wrote the value."""
    module, _, name = value.type.rpartition(".")
    return current_name(module, name)


def _is_same_function(now: Digest, new: Submission, then: Digest, old: Submission, blobs: BlobStore) -> bool:
    """Return whether a function does the same. One that travels by name may have been edited since: unknown here."""
    try:
        one = open_code(now, new.code, blobs)
        if isinstance(one, types.FunctionType) and _is_importable(one):
            # Covalab's own functions are pickled under another name when they have moved between two versions.
            return one.__module__.startswith("covalab.") and one is open_code(then, old.code, blobs)
        return now == then or fingerprint(one) == fingerprint(open_code(then, old.code, blobs))
    except _CANNOT_BE_COMPARED:
        return False  # then it is not the same: it runs


def fingerprint(obj: object) -> bytes:
    r"""Return a digest of what an object is, independent of where it was defined and how it came here.

    Examples
    --------
    >>> one, two = eval("lambda x: x + 1"), eval("\n\nlambda x: x + 1")
    >>> fingerprint(one) == fingerprint(two) != fingerprint(lambda x: x + 2)
    True
    """
    return _Print().of(obj)


class _Print:
    """Walk through an object and what it refers to."""

    def __init__(self) -> None:
        self._done: dict[int, bytes] = {}
        self._open: dict[int, int] = {}
        self._alive: list[object] = []  # so that no other object gets an id that was seen

    def of(self, obj: UserValue) -> bytes:
        key = id(obj)
        if key in self._done:
            return self._done[key]
        if key in self._open:
            return b"cycle %d" % self._open[key]
        self._open[key] = len(self._open)
        self._alive.append(obj)
        digest = hashlib.sha256()
        for part in self._parts(obj):
            data = part if isinstance(part, bytes) else self.of(part)
            digest.update(len(data).to_bytes(8, "big"))
            digest.update(data)
        del self._open[key]
        self._done[key] = digest.digest()
        return self._done[key]

    def _parts(self, obj: UserValue) -> Iterator[UserValue]:  # noqa: C901, PLR0912 - one case per kind of object
        kind = type(obj)
        yield kind.__qualname__.encode()
        if kind in _BY_REPR:
            yield repr(obj).encode()
        elif kind is str:
            yield obj.encode("utf-8", "surrogatepass")
        elif kind is bytes or kind is bytearray:
            yield bytes(obj)
        elif kind is list or kind is tuple:
            yield from obj
        elif kind is dict:
            for item in obj.items():
                yield from item
        elif kind is set or kind is frozenset:
            yield from sorted(map(self.of, obj))
        elif kind is types.CodeType:
            yield from self._code(obj)
        elif kind is types.FunctionType:
            yield from self._function(obj)
        elif isinstance(obj, types.ModuleType):
            yield obj.__name__.encode()
        elif isinstance(obj, type):
            yield from self._class(obj)
        elif isinstance(obj, types.BuiltinFunctionType):
            yield f"{obj.__module__}.{obj.__qualname__}".encode()
            yield obj.__self__ if not isinstance(obj.__self__, types.ModuleType) else b""
        elif isinstance(obj, staticmethod | classmethod):
            yield obj.__func__
        elif isinstance(obj, property):
            yield from (obj.fget, obj.fset, obj.fdel)
        elif isinstance(obj, types.MethodType):
            yield from (obj.__func__, obj.__self__)
        elif isinstance(obj, functools.partial):
            yield from (obj.func, obj.args, obj.keywords)
        elif kind is CellText:  # whether an earlier run may stand for it is not what it does
            yield from self._reduced(replace(obj, reuse=False))
        else:
            yield from self._reduced(obj)

    @staticmethod
    def _code(code: types.CodeType) -> Iterator[UserValue]:
        yield code.co_code
        yield from (code.co_consts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        yield from (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_name)
        yield getattr(code, "co_exceptiontable", b"")

    def _function(self, function: types.FunctionType) -> Iterator[UserValue]:
        if _is_importable(function):
            yield f"{function.__module__}.{function.__qualname__}".encode()
            return
        electron = function.__dict__.get("electron_object")
        if electron is not None:  # how it is run (retries, limits) is not what it does
            yield electron.function
            return
        if is_single_dispatch(function):
            yield dict(function.registry)  # type: ignore[attr-defined]
            return
        yield from (function.__code__, function.__defaults__, function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:
                yield b"empty"
        for name in sorted(_names(function.__code__)):
            if name in function.__globals__:
                yield name
                yield function.__globals__[name]
        yield {name: value for name, value in sorted(function.__dict__.items()) if name != "__covalab_source__"}

    def _class(self, cls: type) -> Iterator[UserValue]:
        if _is_importable(cls):
            yield f"{cls.__module__}.{cls.__qualname__}".encode()
            return
        yield cls.__name__
        yield cls.__bases__
        for name, value in sorted(vars(cls).items()):
            if name not in _NO_BEHAVIOUR:
                yield from (name, value)

    @staticmethod
    def _reduced(obj: UserValue) -> Iterator[UserValue]:
        try:
            made = reduced(obj)  # as it travels: without caches and locks
        except Exception:  # noqa: BLE001 - whatever pickling does about such a thing
            yield encode(obj).join()
            return
        if isinstance(made, str):
            yield made
            return
        for part in made:
            yield list(part) if isinstance(part, Iterator) else part


def _is_importable(obj: UserValue) -> bool:
    """Return whether pickling something only writes down its name."""
    module = sys.modules.get(obj.__module__ or "") if obj.__module__ != "__main__" else None
    found: UserValue = module
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is obj


def _names(code: types.CodeType) -> set[str]:
    """Return the names of globals that code may look up, in nested functions too."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found
