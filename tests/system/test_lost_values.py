"""A value whose bytes are not those that were written is never handed out: it is named, and made again."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from tests.system.tasks import runs
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.core.errors import BlobDamaged, BlobNotFound
from covalab.core.model import Digest

SIZE = 200_000


def damage(path: Path, how: str) -> None:
    """Change a file as a disk does, or a person."""
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 4
    elif how == "last bit":
        content[-1] ^= 1
    elif how == "cut":
        del content[-100:]
    elif how == "empty":
        content.clear()
    elif how == "gone":
        path.unlink()
        return
    path.write_bytes(content)


HOW = ["flipped", "last bit", "cut", "empty", "gone"]


@ct.electron
def letters(word: str, witness: str) -> bytearray:
    """Return a large value that can change, so that it is read for each use; and say so."""
    with open(witness, "a") as file:  # noqa: PTH123 - O_APPEND, one short line: atomic
        file.write(f"{word}\n")
    return bytearray(word.encode() * (SIZE // len(word)))


@ct.electron
def doubled(value: bytearray, witness: str) -> bytearray:
    """Return a value made of another."""
    with open(witness, "a") as file:  # noqa: PTH123
        file.write("doubled\n")
    return value + value


@ct.electron
def gate(folder: str, after: object) -> str:
    """Wait for a file."""
    deadline = time.monotonic() + 120
    while not Path(folder, "go").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return "open"


@ct.electron
def counted(values: list[bytes | bytearray], word: str) -> dict[int, int]:
    """Count the bytes of large values."""
    found: Counter[int] = Counter()
    for value in values:
        found.update(value)
    return dict(found)


@ct.lattice
def chain(folder: str) -> object:
    """A value, one made of it, something that takes long, and what is made of all of it."""
    witness = f"{folder}/witness"
    first = letters("abcd", witness)
    second = doubled(first, witness)
    return counted([first, second], gate(folder, after=second[:3]))


@ct.lattice
def two(witness: str) -> object:
    """A value, and one made of it."""
    return doubled(letters("xyz.", witness), witness)


@ct.lattice
def given(value: bytes) -> object:
    """A large argument."""
    return counted([value], "")


def blob_of(client: Client, run: str, node: int) -> Path:
    """Return the file of a node's value."""
    value = client.node(run, node).value
    assert value is not None
    assert value.digest is not None
    return client.blobs.path(value.digest)


def number_of(client: Client, run: str, name: str) -> int:
    """Return the number of a node."""
    return next(number for number, node in enumerate(client.graph(run).nodes) if node.name == name)


@pytest.mark.parametrize("how", HOW)
def test_what_is_damaged_while_a_dispatch_runs_is_made_again(live: Client, tmp_path: Path, how: str) -> None:
    """Both the value that is needed and the one that it is made of: each runs once more, and the result is right."""
    run = ct.dispatch(chain)(str(tmp_path))
    numbers = [number_of(live, run, name) for name in ("letters", "doubled")]
    until(lambda: live.node(run, numbers[1]).status == "completed")
    for number in numbers:
        damage(blob_of(live, run, number), how)
    (tmp_path / "go").touch()
    result = ct.get_result(run, wait=True, timeout=120)

    assert str(result.status) == "COMPLETED", result.error
    assert result.result == dict.fromkeys(b"abcd", 3 * SIZE // 4)
    assert runs(tmp_path / "witness") == {"abcd": 2, "doubled": 2}
    assert [live.node(run, number).attempt for number in numbers] == [2, 2]
    assert result.get_node_result(numbers[0])["output"].get_deserialized() == b"abcd" * (SIZE // 4)


@pytest.mark.parametrize("how", HOW)
def test_what_was_damaged_later_is_named_and_made_again_by_a_redispatch(live: Client, tmp_path: Path, how: str) -> None:
    """Reading it names node and dispatch; a redispatch that reuses what there is runs what is missing, and no more."""
    word = f"{how:.4s}".ljust(4, ".")

    @ct.lattice
    def both(witness: str) -> object:
        return doubled(letters(word, witness), witness)

    witness = tmp_path / "witness"
    run = ct.dispatch(both)(str(witness))
    assert ct.get_result(run, wait=True, timeout=120).result == word.encode() * (SIZE // 2)
    first, second = (number_of(live, run, name) for name in ("letters", "doubled"))
    damage(blob_of(live, run, second), how)

    again = ct.get_result(run)
    with pytest.raises((BlobDamaged, BlobNotFound), match=rf"'doubled' \(node {second} of dispatch {run}\)"):
        _ = again.result
    assert again.get_node_result(first)["output"].get_deserialized() == word.encode() * (SIZE // 4)
    new = ct.redispatch(run, reuse_previous_results=True)(str(witness))
    assert ct.get_result(new, wait=True, timeout=120).result == word.encode() * (SIZE // 2)
    assert runs(witness) == {word: 1, "doubled": 2}
    assert again.result == word.encode() * (SIZE // 2), "the same bytes have the same name"


def test_a_damaged_value_is_kept_aside(live: Client, tmp_path: Path) -> None:
    """It may be all that is left of it."""
    run = ct.dispatch(two)(str(tmp_path / "witness"))
    result = ct.get_result(run, wait=True, timeout=120)
    path = blob_of(live, run, number_of(live, run, "doubled"))
    damage(path, "flipped")
    content = path.read_bytes()
    with pytest.raises(BlobDamaged, match="is kept as") as caught:
        _ = result.result

    (kept,) = live.blobs.damaged_folder.glob(f"{path.name}.*")
    assert str(kept) in str(caught.value)
    assert kept.read_bytes() == content
    assert Digest(path.name) not in live.blobs


@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_a_damaged_argument_is_named(live: Client, tmp_path: Path, how: str) -> None:
    """Nobody can make it again: the node fails as storage, and the failure names argument and dispatch."""
    value = how.encode() * 20_000
    first = ct.dispatch(given)(value)
    assert str(ct.get_result(first, wait=True, timeout=120).status) == "COMPLETED"
    damage(live.blobs.path(Digest(str(live.record(first).values[0].digest))), how)
    run = ct.redispatch(first)()
    result = ct.get_result(run, wait=True, timeout=120)

    assert str(result.status) == "FAILED"
    failure = live.node(run, number_of(live, run, "counted")).failure
    assert failure is not None
    assert failure.type == "storage"
    assert run in failure.message
    assert ":parameter:" in failure.message


@ct.electron
def unseen() -> bytes:
    """Return a large value that does not get to the data folder: the file goes once it was written."""
    from covalab.blobs import BlobStore
    from covalab.core.model import Outcome
    from covalab.worker import after, reporting

    blobs: BlobStore = reporting.blobs_of_batch()

    def remove(outcome: Outcome) -> Outcome:
        after.process.complete = None
        assert outcome.value is not None
        assert outcome.value.digest is not None
        blobs.path(outcome.value.digest).unlink()
        return outcome

    after.process.complete = remove
    return b"unseen" * SIZE


def test_no_node_completes_whose_value_is_not_there(live: Client) -> None:
    """A worker that does not see the data folder: the node fails as storage, and the message says where it looked."""
    run = ct.dispatch(ct.lattice(unseen))()
    result = ct.get_result(run, wait=True, timeout=120)
    failure = live.node(run, 0).failure

    assert str(result.status) == "FAILED"
    assert failure is not None
    assert failure.type == "storage"
    assert str(live.blobs.folder) in failure.message


def test_a_start_makes_again_what_is_gone(own: Client, tmp_path: Path) -> None:
    """A dispatch that is taken up after a restart runs what it needs of what was lost meanwhile, and nothing else."""
    from tests.dispatcher.test_service import kill

    run = ct.dispatch(chain)(str(tmp_path))
    numbers = [number_of(own, run, name) for name in ("letters", "doubled")]
    until(lambda: own.node(run, numbers[1]).status == "completed")
    path = blob_of(own, run, numbers[1])
    kill(own)
    damage(path, "gone")
    (tmp_path / "go").touch()
    result = ct.get_result(run, wait=True, timeout=120)

    assert result.result == dict.fromkeys(b"abcd", 3 * SIZE // 4)
    assert runs(tmp_path / "witness") == {"abcd": 1, "doubled": 2}
