"""Codec: serializes values to bytes, and back.

A serialized value is a small header and one or more frames: frame 0 is a pickle (protocol 5), the others are its large
buffers, kept apart so that an array of 10 MB is written from where it lies and read back through a memory map. Pure:
bytes in, bytes out; files are the business of `blobs`.

Pickling is cloudpickle's, which is not meant for long-term storage, so the header names the Python that wrote it and
`decode` says so when it cannot read.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import reprlib
import struct
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TypeAlias

import msgspec
from blake3 import blake3

from covalab.core.errors import SerializationError
from covalab.core.model import Digest, Value
from covalab.core.old_pickle_names import current_name, install
from covalab.core.plain_types import ATOMS

install()  # what is deserialized may import modules by the paths of earlier versions, at once or when it runs

Buffer: TypeAlias = "bytes | bytearray | memoryview"

USERS_ERRORS: Final = (Exception, SystemExit, GeneratorExit)
"""Exceptions of a piece of the user's code: all but `KeyboardInterrupt`, by which a task is cancelled."""

_MAGIC: Final = b"cvl1"
_HEAD: Final = struct.Struct("<4sBBHI")  # magic, python major, python minor, reserved, number of frames
_ONE_FRAME: Final = _HEAD.pack(_MAGIC, sys.version_info[0], sys.version_info[1], 0, 1)
_OUT_OF_BAND: Final = 32 * 1024  # smaller buffers are cheaper inside the pickle
_ALIGN: Final = 64  # arrays want aligned memory
_TEXT_LIMIT: Final = 2_000
_ITEMS_SHOWN: Final = 20  # of one container
_ITEMS_WALKED: Final = 1_000  # in all, however deep
_MORE: Final = "..."
_LONG_INT_BITS: Final = 10_000
_SIZED: Final = (list, tuple, dict, set, frozenset, deque)


class Encoded(msgspec.Struct, frozen=True):
    """A value ready to be written: the pieces in order, and how long they are together."""

    pieces: list[Any]
    size: int

    def join(self) -> bytes:
        """Return the pieces as one bytes object."""
        return b"".join(self.pieces)


def pack(frames: Sequence[Any]) -> Encoded:
    """Put a pickle and its large buffers together."""
    lengths = [memoryview(frame).nbytes for frame in frames]
    head = _HEAD.pack(_MAGIC, sys.version_info[0], sys.version_info[1], 0, len(frames))
    head += struct.pack(f"<{len(frames)}Q", *lengths)
    pieces: list[Any] = [head]
    size = len(head)
    for frame, length in zip(frames, lengths, strict=True):
        padding = -size % _ALIGN if len(frames) > 1 else 0
        if padding:
            pieces.append(bytes(padding))
        pieces.append(frame)
        size += padding + length
    return Encoded(pieces, size)


def encode(obj: object, *, what: str = "value", attributes: Mapping[str, object] | None = None) -> Encoded:
    """Serialize a value.

    Parameters
    ----------
    obj
        Any object that cloudpickle can pickle.
    what
        How an error should call it, e.g. ``"argument 'x' of electron 'f' (node 3)"``.
    attributes
        Attributes that a function of a notebook has besides its own where it is opened.

    Raises
    ------
    SerializationError
        If it cannot be pickled; the message names the type and the reason.

    Examples
    --------
    >>> decode(encode([1, 2.0, "three"]).join())
    [1, 2.0, 'three']
    """
    if type(obj) in ATOMS:  # their plain pickle is the same everywhere, ten times faster than cloudpickle's
        frame = pickle.dumps(obj, protocol=5)
        return Encoded([_ONE_FRAME, len(frame).to_bytes(8, "little"), frame], len(_ONE_FRAME) + 8 + len(frame))
    from covalab.core import pickling, unpicklable  # noqa: PLC0415 - atoms, the common case, do without cloudpickle

    buffers: list[pickle.PickleBuffer] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < _OUT_OF_BAND:
            return True
        buffers.append(buffer)
        return False

    try:
        try:
            head = pickling.dumps(obj, keep, attributes=attributes or {})
        except (pickle.PicklingError, RecursionError) as error:
            if not isinstance(error.__cause__ or error, RecursionError):
                raise
            buffers.clear()
            head = pickling.dumps_deep(obj, keep, attributes=attributes or {})
    except USERS_ERRORS as error:  # pickling runs the user's code
        raise SerializationError(unpicklable.message(obj, what, error)) from error
    return pack([head, *(buffer.raw() for buffer in buffers)])


def decode(data: Buffer, *, what: str = "value") -> Any:
    """Deserialize a value. From immutable bytes the large buffers are copied, so that arrays can be written to.

    Raises
    ------
    SerializationError
        If the bytes are not a serialized value, or it cannot be unpickled here (a missing module, another Python).
    """
    frames, (major, minor) = frames_of(data, what=what)
    buffers = [bytearray(frame) if frame.readonly else frame for frame in frames[1:]]
    is_foreign = (major, minor) != sys.version_info[:2]
    try:
        return (
            _ForeignUnpickler(io.BytesIO(frames[0]), buffers=buffers).load()
            if is_foreign
            else unpickle(frames[0], buffers)
        )
    except USERS_ERRORS as error:  # unpickling runs the user's code
        here = f"{sys.version_info[0]}.{sys.version_info[1]}"
        other = f" (written by Python {major}.{minor}, this is {here})" if is_foreign else ""
        message = f"{what} cannot be opened here: {type(error).__name__}: {error}{other}{_advice(error)}"
        raise SerializationError(message) from error


def _advice(error: BaseException) -> str:
    """Return what to do about a value that cannot be opened, as the end of a message."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return (
            f"; install {package!r} here, in the version that `provenance()` of the result names, or put it on sys.path"
        )
    if isinstance(error, AttributeError | ImportError):
        return "; another version of that module made it: `provenance()` of the result names the versions"
    return ""


def frames_of(data: Buffer, *, what: str = "value") -> tuple[list[Any], tuple[int, int]]:
    """Return the pickle and the large buffers of a serialized value, and the Python version that wrote it.

    Raises
    ------
    SerializationError
        If the bytes are not a serialized value.
    """
    view = memoryview(data)
    if len(view) < _HEAD.size + 8 or bytes(view[:4]) != _MAGIC:
        message = f"{what} is damaged: these {len(view):,} bytes are not a value that covalab wrote"
        raise SerializationError(message)
    _, major, minor, _, n_frames = _HEAD.unpack_from(view)
    offset = _HEAD.size + 8 * n_frames
    try:
        lengths = struct.unpack_from(f"<{n_frames}Q", view, _HEAD.size)
        frames: list[Any] = []
        for length in lengths:
            if n_frames > 1:
                offset += -offset % _ALIGN
            frame = view[offset : offset + length]
            if len(frame) != length:
                message = f"{what} is cut short: {length:,} bytes expected, {len(frame):,} found"
                raise SerializationError(message)
            frames.append(frame)
            offset += length
    except struct.error as error:
        message = f"{what} is damaged: {error}"
        raise SerializationError(message) from error
    # Otherwise a damaged length could open as a value of the right type and the wrong content.
    if not frames or offset != len(view):
        message = f"{what} is damaged: its header speaks of {offset:,} bytes, {len(view):,} are there"
        raise SerializationError(message)
    return frames, (major, minor)


class _RenamingUnpickler(pickle.Unpickler):
    """An unpickler that finds what has moved since the pickle was written."""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(*current_name(module, name))


class _ForeignUnpickler(_RenamingUnpickler):
    """An unpickler for values of another Python version: data opens, byte code is refused.

    Byte code of another version is accepted by ``CodeType`` and crashes the interpreter when it is called.
    """

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if (module, name) not in (("cloudpickle.cloudpickle", "_builtin_type"), ("types", "CodeType")):
            return found

        def refuse(*args: Any) -> Any:
            if args != ("CodeType",) and name != "CodeType":
                return found(*args)
            message = "a function of the notebook is byte code, which only the Python version that wrote it can run"
            raise TypeError(message)

        return refuse


def unpickle(pickled: Buffer, buffers: Iterable[Any] = ()) -> Any:
    """Load a pickle, also one that names modules of covalab by paths of an earlier version.

    The pickle is the user's own; nothing that comes from elsewhere may get here.
    """
    buffers = list(buffers)
    try:
        return pickle.loads(pickled, buffers=buffers)  # noqa: S301 - the user's own value, opened where it is used
    except (ImportError, AttributeError) as error:
        # Only here, because looking up each global in Python would slow down every value that moved nowhere.
        try:
            return _RenamingUnpickler(io.BytesIO(pickled), buffers=buffers).load()
        except (ImportError, AttributeError):
            raise error from None


def unwrap_pickle(data: Buffer) -> bytes | None:
    """Return the pickle inside a serialized value, if that is all there is inside."""
    view = memoryview(data)
    if bytes(view[: len(_ONE_FRAME)])[8:] != _ONE_FRAME[8:] or bytes(view[:4]) != _MAGIC:
        return None
    return bytes(view[_HEAD.size + 8 :])


def wrap_pickle(pickled: bytes) -> Encoded:
    """Serialize a value that is pickled already."""
    return pack([pickled])


def digest_of(pieces: Iterable[Any]) -> Digest:
    """Name bytes by what they are: BLAKE3 over the pieces in order, in hexadecimal.

    SHA-256 took longer for a large array than all the rest that is done with it, writing it to the disk included.
    """
    digest = blake3()
    for piece in pieces:
        digest.update(piece)
    return Digest(digest.hexdigest())


def has_digest(data: Buffer, digest: Digest) -> bool:
    """Whether bytes have a digest, also one of the first versions, which named by SHA-256."""
    return digest_of([data]) == digest or hashlib.sha256(data).hexdigest() == digest


def serialize_small(obj: object, *, what: str = "value", text: str | None = None) -> Value:
    """Serialize a value that is known to be small; `blobs.BlobStore.serialize` is for values of any size."""
    return inline_value(encode(obj, what=what).join(), type_name(obj), preview(obj) if text is None else text)


def inline_value(data: bytes, kind: str, text: str = "") -> Value:
    """Return the value that carries its own bytes."""
    return Value(len(data), kind, text, data, check=zlib.crc32(data))


def type_name(obj: object) -> str:
    """Return the name of a value's type, with its module unless everybody knows it."""
    return class_name(type(obj))


def class_name(kind: type) -> str:
    """Return the name of a class, with its module unless everybody knows it."""
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


class _Short(reprlib.Repr):
    """A `repr` that never walks a million elements."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxdict = _ITEMS_SHOWN
        self.maxstring = self.maxother = _TEXT_LIMIT
        self.maxlong = 200
        self._left = _ITEMS_WALKED

    def repr1(self, x: Any, level: int) -> str:
        # The limits are per container: without a common one, lists in lists in lists would be walked for seconds.
        self._left -= 1
        return super().repr1(x, level) if self._left >= 0 else _MORE

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        # The base class sorts all keys to show the first few.
        if level <= 0:
            return "{...}"
        shown = [f"{self.repr1(k, level - 1)}: {self.repr1(v, level - 1)}" for k, v in islice(x.items(), self.maxdict)]
        return "{" + ", ".join(shown + [_MORE] * (len(x) > self.maxdict)) + "}"

    def repr_set(self, x: set[Any] | frozenset[Any], level: int) -> str:
        if not x:
            return f"{type(x).__name__}()"
        shown = [self.repr1(item, level - 1) for item in islice(x, self.maxset)]
        text = "{" + ", ".join(sorted(shown) + [_MORE] * (len(x) > self.maxset)) + "}"
        return text if type(x) is set else f"{type(x).__name__}({text})"

    repr_frozenset = repr_set

    def repr_bytes(self, x: bytes | bytearray, level: int) -> str:
        return repr(x[:_TEXT_LIMIT])

    repr_bytearray = repr_bytes

    def repr_int(self, x: int, level: int) -> str:
        bits = x.bit_length()
        return f"<int of {bits:,} bits>" if bits > _LONG_INT_BITS else super().repr_int(x, level)

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, bytes | bytearray | str):
            return repr(x[:_TEXT_LIMIT])
        if isinstance(x, _SIZED) and len(x) > _ITEMS_WALKED:
            return f"<{type_name(x)} of {len(x):,} items>"
        return repr(x)[:_TEXT_LIMIT]


def preview(obj: object) -> str:
    """Return a short text of a value for people; never raises, never walks a large container to its end."""
    if type(obj) is str:
        return printable(obj, _TEXT_LIMIT)
    try:
        return printable(_Short().repr(obj), _TEXT_LIMIT)
    except USERS_ERRORS as error:  # __repr__ is the user's code
        return f"<{type_name(obj)}: its repr raised {type(error).__name__}>"


def printable(text: str, limit: int) -> str:
    r"""Return a text of at most `limit` characters that can be sent: half a surrogate pair is no UTF-8.

    A file name that is not UTF-8 contains such halves; they become escapes.

    Examples
    --------
    >>> print(printable("caf\udce9", 10), printable("abc", 2))
    caf\udce9 ab
    """
    text = text[:limit]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
