"""Code of a dispatch is stored with the texts of its cells, by any number of threads at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from covalab.blobs import InMemory
from covalab.core.cell_source import CELLS, remember
from covalab.core.codec import decode
from covalab.core.model import Digest
from covalab.sdk.code.storing import store_code

CELL = "<ipython-input-7-storing>"
TEXT = "def outer(x):\n    return inner(x)\n\ndef inner(x):\n    return 1 / x\n"


@pytest.fixture
def outer() -> Callable[[Any], Any]:
    """Return a function of a notebook."""
    remember(CELL, TEXT)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(TEXT, CELL, "exec"), names)
    found: Callable[[Any], Any] = names["outer"]
    return found


def test_it_arrives_with_the_text_of_its_cell(outer: Callable[[Any], Any]) -> None:
    """The function here stays without: it is the user's."""
    inline: dict[Digest, bytes] = {}
    digest = store_code(outer, "a function", InMemory(), inline)

    assert vars(decode(inline[digest]))[CELLS] == ((CELL, TEXT),)
    assert vars(outer) == {}


@pytest.mark.usefixtures("fast_threads")
def test_many_threads_store_the_same(outer: Callable[[Any], Any]) -> None:
    """One function, the same bytes from each: a task dispatches from a pool of threads."""

    def store(_: int) -> Digest:
        return store_code(outer, "a function", InMemory(), {})

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(store, range(400)))) == 1
    assert vars(outer) == {}


@pytest.fixture
def fast_threads() -> Iterator[None]:
    """Let threads take turns often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
