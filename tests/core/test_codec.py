"""Values become bytes and come back; bytes that are not a value are an error and never a crash."""

from __future__ import annotations

import collections
import importlib
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from covalab.core.codec import decode, digest_of, encode, preview, printable, type_name
from covalab.core.errors import SerializationError

ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers() | st.text(max_size=5), max_size=4)
    ),
    max_leaves=20,
)
IN_BAND, OUT_OF_BAND = 100, 100_000


@given(VALUES)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    """Nested containers and atoms are equal, and of the same type, after a round trip."""
    back = decode(encode(value).join())

    assert back == value
    assert type(back) is type(value)


@given(VALUES)
def test_equal_bytes_have_one_name(value: Any) -> None:
    """The digest is of the bytes, however they are cut into pieces."""
    encoded = encode(value)

    assert encoded.size == len(encoded.join())
    assert digest_of(encoded.pieces) == digest_of([encoded.join()])


@pytest.mark.parametrize("n", [0, 1, IN_BAND, OUT_OF_BAND])
@pytest.mark.parametrize("dtype", ["f8", "i2", "?", "c16", "U7", "M8[ns]", "V3"])
def test_arrays_come_back_writable_and_aligned(n: int, dtype: str) -> None:
    """Inside the pickle or beside it, an array can be written to and used by code that wants aligned memory."""
    array = np.zeros(n, dtype)

    back = decode(encode(array).join())

    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    assert back.flags.writeable
    assert back.flags.aligned


def test_large_buffers_begin_at_multiples_of_64() -> None:
    """So they are aligned in a memory map too."""
    arrays = [np.zeros(40_000 + i, "u1") for i in range(5)]
    encoded = encode(arrays)
    offset = 0
    for piece in encoded.pieces:
        if len(piece) >= 40_000:
            assert offset % 64 == 0
        offset += len(piece)

    assert all((a == b).all() for a, b in zip(decode(encoded.join()), arrays, strict=True))


@pytest.mark.parametrize("n", [IN_BAND, OUT_OF_BAND])
def test_frames_come_back(n: int) -> None:
    """A table with numbers, texts and times is equal to what it was, and can be changed."""
    frame = pd.DataFrame({"a": np.arange(n), "b": [f"row {i}" for i in range(n)], "c": pd.Timestamp("2026-01-01")})

    back = decode(encode(frame).join())
    pd.testing.assert_frame_equal(back, frame)
    back.loc[0, "a"] = -1

    assert back["a"][0] == -1


def test_fortran_order_and_views_keep_their_values() -> None:
    """What is not one plain block of memory is copied rather than torn."""
    block = np.arange(90_000, dtype="f8").reshape(300, 300)
    for array in (np.asfortranarray(block), block[::2, ::3], block.T):
        assert (decode(encode(array).join()) == array).all()


ENCODED = [
    encode(value).join()
    for value in (1, "text", [1, {"a": (2, 3.0)}], np.arange(10_000.0), [np.zeros(50_000, "u1"), bytearray(50_000)])
]


@pytest.mark.parametrize("data", ENCODED)
def test_every_prefix_is_refused(data: bytes) -> None:
    """A value that was cut anywhere is an error that says so."""
    lengths = range(len(data)) if len(data) < 2000 else [*range(400), *random.sample(range(400, len(data)), 50)]
    for length in lengths:
        with pytest.raises(SerializationError, match=r"damaged|cut short"):
            decode(data[:length])


@pytest.mark.parametrize("data", ENCODED)
def test_bytes_after_the_end_are_refused(data: bytes) -> None:
    """A value that is longer than its header says is not what was written."""
    with pytest.raises(SerializationError, match="damaged"):
        decode(data + b"\0")


@pytest.mark.parametrize("data", ENCODED)
def test_a_flipped_bit_in_the_header_is_no_crash(data: bytes) -> None:
    """Each of them is an error of ours, or changes nothing: the version of Python, and what falls into padding."""
    n_frames = int.from_bytes(data[8:12], "little")
    refused = 0
    for position in range(12 + 8 * n_frames):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            try:
                back = decode(bytes(damaged))
            except SerializationError:
                refused += 1
            else:
                assert encode(back).join() == data

    assert refused >= 8 * (4 + 4 + 8 * n_frames) - 6 * n_frames, "all but the version and a few bits of a length"


@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    """What covalab did not write is not unpickled."""
    with pytest.raises(SerializationError, match="not a value that covalab wrote"):
        decode(data, what="the value of node 3")


def test_another_python_is_named() -> None:
    """The message has both versions when the bytes came from elsewhere and cannot be opened."""
    data = bytearray(encode(1).join())
    data[4:6] = bytes([2, 7])
    data[-3] = 0xFF
    with pytest.raises(SerializationError, match=rf"written by Python 2\.7, this is 3\.{sys.version_info[1]}"):
        decode(bytes(data))


def test_what_to_do_about_a_value_that_cannot_be_opened_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its package is not there, or is another one: which, and where its version is written."""
    (tmp_path / "gone_package.py").write_text("class Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("gone_package")
    data = encode(module.Thing()).join()

    del module.Thing
    with pytest.raises(SerializationError, match=r"another version of that module made it: `provenance\(\)`"):
        decode(data)
    del sys.modules["gone_package"]
    (tmp_path / "gone_package.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(SerializationError, match=r"opened here: ModuleNotFoundError.*; install 'gone_package' here"):
        decode(data)


def test_what_cannot_be_pickled_is_named() -> None:
    """The error says which value, its type and the reason."""
    with pytest.raises(SerializationError, match=r"argument 'x' of type generator cannot be pickled: TypeError"):
        encode(iter_nothing(), what="argument 'x'")


def iter_nothing() -> Iterator[int]:
    """Return a generator, which no pickle can hold."""
    yield from ()


class Sly:
    """Its text cannot be made."""

    def __repr__(self) -> str:
        message = "no"
        raise RuntimeError(message)


class Sticky(dict[int, int]):
    """A container of one's own."""


def test_a_preview_never_raises() -> None:
    """Whatever `__repr__` does, there is a text, and it can be sent as UTF-8."""
    loop: list[Any] = []
    loop.append(loop)
    values = [
        Sly(),
        [Sly()],
        {"a": Sly()},
        loop,
        10**100_000,
        -(10**100_000),
        "\ud800",
        ["\udcff"],
        type("list", (), {})(),
    ]
    for value in values:
        text = preview(value)
        assert text
        assert len(text.encode()) < 10_000


@pytest.mark.parametrize(
    "value",
    [
        list(range(10**6)),
        set(range(10**6)),
        frozenset(range(10**6)),
        dict.fromkeys(range(10**6)),
        Sticky.fromkeys(range(10**6)),
        collections.Counter(range(10**6)),
        collections.deque(range(10**6)),
        bytes(10**8),
        bytearray(10**8),
        [[[[[[0] * 30] * 30] * 30] * 30] * 30] * 30,
        np.zeros(10**7),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_preview_never_walks_a_large_container(value: Any) -> None:
    """A hundred previews take less time than walking any of these once."""
    began = time.process_time()
    for _ in range(100):
        assert len(preview(value)) <= 2000

    assert time.process_time() - began < 1.0


def test_previews_read_like_python() -> None:
    """Small values look as they are typed."""
    small: list[Any] = [1, 2.5, True, None, [1, 2], (1,), {"a": {1, 2}}, {3}, set(), frozenset(), frozenset({1}), b"x"]
    for value in small:
        assert preview(value) == repr(value)
    assert preview("text") == "text"
    assert preview(list(range(100))).endswith("19, ...]")
    assert preview(dict.fromkeys(range(100))).endswith("19: None, ...}")
    assert preview(set(range(100))).endswith("...}")


def test_plain_text_keeps_what_can_be_sent() -> None:
    """Letters of any language stay; half a surrogate pair becomes its escape."""
    assert printable("größer 数 🎈", 100) == "größer 数 🎈"
    assert printable("a\ud800b", 100) == "a\\ud800b"
    assert printable("abcdef", 3) == "abc"


@dataclass
class Local:
    """A class of this module."""


def test_types_have_the_names_that_people_know() -> None:
    """Builtins and what a notebook defines have short names, the rest has its module."""
    here = __name__
    values: list[Any] = [1, [], None, np.zeros(1), Local()]
    assert [type_name(value) for value in values] == [
        "int",
        "list",
        "NoneType",
        "numpy.ndarray",
        f"{here}.Local",
    ]


def test_byte_code_of_another_python_is_refused_and_data_is_not() -> None:
    """Such code would crash the interpreter when it is called; data is the same everywhere."""

    def written_by_another(value: object) -> bytes:
        data = bytearray(encode(value).join())
        data[5] += 1  # the minor version in the header
        return bytes(data)

    factor = 3
    assert decode(written_by_another({"a": [Path("x"), dict]})) == {"a": [Path("x"), dict]}
    with pytest.raises(SerializationError, match=r"byte code.*written by Python 3\.\d+, this is"):
        decode(written_by_another(lambda x: factor * x))
