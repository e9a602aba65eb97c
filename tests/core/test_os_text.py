"""Paths and variables that are no UTF-8 are written so that a message can carry them, and read back as they were."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from covalab.core.os_text import is_sendable, received, sendable


@pytest.mark.parametrize("text", ["", "/home/user", "/données/été", "relative", "a:b:/c", "C%41", "日本"])
def test_an_ordinary_text_is_as_it_was(text: str) -> None:
    """A text that a message can carry is carried as it is, so that people and earlier versions can read it."""
    assert sendable(text) == text == received(text)


@pytest.mark.parametrize(
    "name", [b"/caf\xe9", b"/a/\xff\xfe/b", b"/\xe9t\xe9:/usr/bin", b"\xc3", b"/ok/\xc3\xa9\xe9", b"/100%\x80"]
)
def test_bytes_that_are_no_text_come_back(name: bytes) -> None:
    """The system finds the same file on both ends."""
    text = os.fsdecode(name)

    assert not is_sendable(text)
    assert is_sendable(sendable(text))
    assert os.fsencode(received(msgspec.msgpack.decode(msgspec.msgpack.encode(sendable(text))))) == name


@given(st.binary(max_size=40))
def test_whatever_the_system_says_comes_back(name: bytes) -> None:
    """Also what looks like an escape itself."""
    for text in (os.fsdecode(name), "os-bytes:" + os.fsdecode(name)):
        assert is_sendable(sendable(text))
        assert received(sendable(text)) == text


def test_a_text_that_no_system_made_can_be_sent() -> None:
    """There is no such file; sending its name fails no dispatch."""
    assert sendable("/x/\ud800") == "/x/\\ud800"
