"""A recorded lattice is found by what it can do, and refused with a reason where it cannot be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

import covalab as ct
from covalab.blobs import BlobStore
from covalab.core.codec import digest_of, encode
from covalab.core.errors import SerializationError
from covalab.sdk.results.stored_code import StoredLattice, load_lattice


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    """Return an empty folder of blobs."""
    return BlobStore(tmp_path)


def double(x: int) -> int:
    """Double."""
    return 2 * x


def test_a_lattice_comes_back(blobs: BlobStore) -> None:
    """Also by its type: a `Lattice` has all that is read of a stored one."""
    made: StoredLattice = ct.Lattice(double)
    data = encode(made).join()
    digest = digest_of([data])

    found = load_lattice("an-id", digest, {digest: data}, blobs)

    assert isinstance(found, ct.Lattice)
    assert found(2) == 4


def test_what_cannot_be_opened_says_what_to_do(blobs: BlobStore) -> None:
    """The message names the dispatch and the way to run the stored graph."""
    data = b"no pickle"
    digest = digest_of([data])

    with pytest.raises(SerializationError, match=r"dispatch an-id.*ct\.redispatch\(id\)"):
        load_lattice("an-id", digest, {digest: data}, blobs)


def test_anything_else_is_no_lattice(blobs: BlobStore) -> None:
    """What cannot plan a graph was never recorded as one."""
    data = encode([1]).join()
    digest = digest_of([data])

    with pytest.raises(AssertionError, match="the lattice of dispatch an-id is"):
        load_lattice("an-id", digest, {digest: data}, blobs)
