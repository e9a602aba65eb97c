"""What the verbs refuse before they ask anybody, and what one dispatch would send."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import covalab as ct
from covalab.blobs import BlobStore
from covalab.client import Client
from covalab.core.codec import decode
from covalab.core.errors import SerializationError
from covalab.core.model import INLINE_LIMIT
from covalab.sdk.building.submit import prepare
from covalab.sdk.building.value_table import deserialize_inputs


@ct.electron
def total(xs: Any) -> Any:
    """Return the sum."""
    return sum(xs)


@ct.lattice
def workflow(xs: Any) -> Any:
    """Sum up."""
    return total(xs)


def test_a_submission_is_complete(tmp_path: Path) -> None:
    """Graph, values, code, lattice, inputs, source: everything that a dispatch needs is in it."""
    it = prepare(workflow, ([1, 2],), {}, BlobStore(tmp_path))

    assert str(uuid.UUID(it.id)) == it.id
    assert decode(it.code[it.graph.functions[0].digest])([1, 2]) == 3
    assert decode(it.code[it.lattice])([1, 2]) == 3
    assert decode(it.inputs.data or b"") == {"args": ([1, 2],), "kwargs": {}}
    assert "def workflow" in it.source
    assert it.doc == "Sum up."
    assert list(tmp_path.iterdir()) == []


def test_two_submissions_have_two_ids_and_the_same_code(tmp_path: Path) -> None:
    """Only the id is new."""
    one, two = (prepare(workflow, ([1],), {}, BlobStore(tmp_path)) for _ in range(2))

    assert one.id != two.id
    assert (one.graph, one.code) == (two.graph, two.code)


def test_a_large_value_is_written_before_anything_is_sent(tmp_path: Path) -> None:
    """It is a file of the blob folder, and the message stays small."""
    blobs, array = BlobStore(tmp_path), np.arange(INLINE_LIMIT)

    it = prepare(workflow, (array,), {}, blobs)

    assert it.values[0].data is None
    assert (blobs.deserialize(it.values[0]) == array).all()
    assert it.inputs.size < 1_000


def test_a_large_argument_is_one_blob(tmp_path: Path) -> None:
    """However many electrons use it, alone or in a list, and although the inputs of the lattice have it too."""
    blobs, array = BlobStore(tmp_path), np.arange(INLINE_LIMIT)

    @ct.lattice
    def many(x: Any, *, xs: list[Any]) -> Any:
        return [total(x) for _ in range(100)] + [total(y) for y in xs]

    it = prepare(many, (array,), {"xs": [array, array]}, blobs)

    assert len(list(blobs.digests())) == 1
    opened = deserialize_inputs(it.inputs, it.values, blobs)
    assert (opened["args"][0] == array).all()
    assert [type(x) for x in opened["kwargs"]["xs"]] == [np.ndarray, np.ndarray]


def test_inputs_are_those_that_were_given(tmp_path: Path) -> None:
    """A body that changes its argument changes what its electrons get, not what the inputs of the lattice were."""
    blobs, array = BlobStore(tmp_path), np.zeros(INLINE_LIMIT)

    @ct.lattice
    def changing(x: Any) -> Any:
        x[0] = 1
        return total(x)

    it = prepare(changing, (array,), {}, blobs)

    assert deserialize_inputs(it.inputs, it.values, blobs)["args"][0][0] == 0
    assert blobs.deserialize(it.values[it.graph.nodes[1].value])[0] == 1


def test_a_lattice_that_cannot_be_pickled_is_named(tmp_path: Path) -> None:
    """Its function travels too; the error says so."""
    held = (n for n in range(3))
    mine = ct.lattice(lambda: total(list(held)))

    with pytest.raises(SerializationError, match="the lattice '<lambda>'"):
        prepare(mine, (), {}, BlobStore(tmp_path))


def test_an_electron_that_cannot_be_pickled_is_named(tmp_path: Path) -> None:
    """The error names the electron."""
    held = (n for n in range(3))
    task = ct.electron(lambda: list(held))

    with pytest.raises(SerializationError, match="the function of electron '<lambda>'"):
        prepare(ct.lattice(task), (), {}, BlobStore(tmp_path))


@pytest.mark.parametrize("verb", [ct.dispatch, ct.dispatch_sync])
def test_only_a_lattice_can_be_dispatched(verb: Any) -> None:
    """The error says how to make one."""
    with pytest.raises(TypeError, match=r"put @ct.lattice on the function"):
        verb(total)


@pytest.mark.parametrize(
    "address", ["http://localhost:48008", "localhost:48008", "http://127.0.0.1", "http://[::1]:1/"]
)
def test_an_address_of_this_machine_is_accepted(address: str, live: Client) -> None:
    """Covalent's programs pass what their configuration says; there is one dispatcher per data folder."""
    run = ct.dispatch(ct.lattice(ct.electron(abs)), address)(-1)

    assert ct.get_result(run, True, address).result == 1


@pytest.mark.parametrize("address", ["http://elsewhere:48008", "10.0.0.1:48008"])
def test_an_address_of_another_machine_is_refused(address: str) -> None:
    """By every verb, saying what takes its place."""
    for verb in (ct.dispatch, ct.dispatch_sync):
        with pytest.raises(ValueError, match="COVALAB_DATA_DIR"):
            verb(ct.lattice(abs), address)
    for ask in (ct.get_result, ct.cancel):
        with pytest.raises(ValueError, match="COVALAB_DATA_DIR"):
            ask("id", dispatcher_addr=address)
