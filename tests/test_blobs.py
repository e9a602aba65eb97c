"""Blobs: whole or not there, never shared by accident, and named by nothing but digests."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.conftest import SEED

from covalab.blobs import BlobStore
from covalab.core.codec import decode, digest_of, encode
from covalab.core.errors import BlobDamaged, BlobNotFound, DataFolderError, ValueTooLarge
from covalab.core.model import INLINE_LIMIT, Digest


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    """Return an empty blob folder."""
    return BlobStore(tmp_path / "blobs")


def files(blobs: BlobStore) -> list[Path]:
    """Return every file there is, temporary ones too."""
    return [path for path in blobs.folder.rglob("*") if path.is_file()]


def test_small_values_are_inline_and_large_ones_are_files(blobs: BlobStore) -> None:
    """The limit decides; both come back."""
    small, large = blobs.serialize([1, 2]), blobs.serialize(np.arange(100_000.0))

    assert (small.data is not None, small.digest, large.data) == (True, None, None)
    assert large.size > INLINE_LIMIT
    assert blobs.deserialize(small) == [1, 2]
    assert (blobs.deserialize(large) == np.arange(100_000.0)).all()
    assert [path.name for path in files(blobs)] == [large.digest]


def test_what_is_there_is_not_written_again(blobs: BlobStore) -> None:
    """The file stays the same file, marked as just used."""
    digest = blobs.put(encode("x" * 100_000))
    path = blobs.path(digest)
    os.utime(path, (0, 0))
    before = path.stat().st_ino

    assert blobs.put(encode("x" * 100_000)) == digest
    assert path.stat().st_ino == before
    assert time.time() - path.stat().st_mtime < 60
    assert digest in blobs
    assert list(blobs.digests()) == [digest]


def test_writing_to_an_array_changes_nobody_elses(blobs: BlobStore) -> None:
    """Every opening is a private map, writable and aligned."""
    value = blobs.serialize(np.zeros(100_000))
    one, other = blobs.deserialize(value), blobs.deserialize(value)
    one[:] = 7

    assert one.flags.aligned
    assert other.sum() == 0
    assert blobs.deserialize(value).sum() == 0


def test_a_damaged_file_is_said_to_be_damaged(blobs: BlobStore) -> None:
    """Cut or empty, the error is `BlobDamaged`; gone, it is `BlobNotFound`."""
    for length in (-1, 1, 0):
        value = blobs.serialize(np.zeros(100_000))
        assert value.digest is not None
        path = blobs.path(value.digest)
        os.truncate(path, length % value.size)
        with pytest.raises(BlobDamaged, match="damaged"):
            blobs.deserialize(value, what="the value of node 3")
    with pytest.raises(BlobNotFound, match="run the dispatch again"):
        blobs.deserialize(value)


def test_a_flipped_bit_is_found_by_who_reads_first(blobs: BlobStore) -> None:
    """Wherever it is, also after others have read the file; the file is kept aside, and the value can be made again."""
    for position in (0, 9, 400_000, -1):
        value = blobs.serialize(np.arange(100_000))
        assert blobs.deserialize(value).sum() == 4_999_950_000
        assert value.digest is not None
        path = blobs.path(value.digest)
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)
        with pytest.raises(BlobDamaged, match=r"the value of node 3: .*damaged.*is kept as"):
            blobs.deserialize(value, what="the value of node 3")
        assert not blobs.has(value)

    assert len(list(blobs.damaged_folder.iterdir())) == 4
    assert blobs.deserialize(blobs.serialize(np.arange(100_000))).sum() == 4_999_950_000


def test_blobs_of_the_first_versions_open(blobs: BlobStore) -> None:
    """Their names are digests of another kind."""
    data = encode(list(range(100_000))).join()
    digest = Digest(hashlib.sha256(data).hexdigest())
    path = blobs.path(digest)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)

    assert decode(blobs.read(digest)) == list(range(100_000))


def test_an_inline_value_is_compared_with_its_check(blobs: BlobStore) -> None:
    """One that was changed is damaged; one of an earlier version has no check, and opens."""
    value = blobs.serialize("abcdef")
    assert value.data is not None
    changed = msgspec.structs.replace(value, data=value.data.replace(b"abc", b"abC"))
    with pytest.raises(BlobDamaged, match="argument 'x' is damaged"):
        blobs.deserialize(changed, what="argument 'x'")

    assert blobs.deserialize(msgspec.structs.replace(changed, check=-1)) == "abCdef"


def test_a_damaged_file_is_made_whole_by_the_next_write(blobs: BlobStore) -> None:
    """A file of the wrong length is no reason not to write."""
    value = blobs.serialize(np.zeros(100_000))
    assert value.digest is not None
    os.truncate(blobs.path(value.digest), 10)

    blobs.serialize(np.zeros(100_000))

    assert blobs.deserialize(value).sum() == 0


@pytest.mark.parametrize(
    "hostile", ["", "..", "../x", "a" * 63, "a" * 65, "A" * 64, "a" * 64 + "\n", "/etc/passwd", "٣" * 64, "\0" * 64]
)
def test_only_a_digest_names_a_file(blobs: BlobStore, hostile: str) -> None:
    """No text from outside becomes a path."""
    for ask in (blobs.path, blobs.read, blobs.__contains__):
        with pytest.raises(BlobNotFound, match="is not the digest"):
            ask(Digest(hostile))


def _put_again_and_again(folder: str) -> None:
    blobs = BlobStore(folder)
    for seed in range(8):
        blobs.put(encode(bytes([seed]) * 200_000))


def test_several_processes_may_write_the_same(blobs: BlobStore) -> None:
    """Every blob is there once, whole, and nothing else is."""
    processes = [
        multiprocessing.get_context("spawn").Process(target=_put_again_and_again, args=(str(blobs.folder),))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    expected = {blobs.put(encode(bytes([seed]) * 200_000)) for seed in range(8)}
    assert {path.name for path in files(blobs)} == expected
    for digest in expected:
        assert len(bytes(blobs.read(digest))) == blobs.path(digest).stat().st_size


def test_a_failed_write_leaves_nothing_behind(blobs: BlobStore) -> None:
    """When the disk refuses in the middle, no file remains and the error names the way out."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(DataFolderError, match="COVALAB_DATA_DIR"):
            blobs.serialize(np.ones(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)

    assert files(blobs) == []


def test_an_interrupted_write_leaves_nothing_behind(blobs: BlobStore) -> None:
    """The stop button in the middle of a large value costs no disk."""
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell may have it ignored in the background
        "from covalab.blobs import BlobStore\n"
        "from covalab.core.codec import Encoded\n"
        "class Pieces(list):\n"
        "    def __iter__(self):\n"
        "        for n, piece in enumerate(super().__iter__()):\n"
        "            if n == 3 and hasattr(self, 'hashed'): os.kill(os.getpid(), signal.SIGINT)\n"
        "            yield piece\n"
        "        self.hashed = True\n"
        f"BlobStore({str(blobs.folder)!r}).put(Encoded(Pieces([bytes(100_000)] * 5), 500_000))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=240)

    assert "KeyboardInterrupt" in done.stderr
    assert files(blobs) == []


def test_a_value_above_the_limit_is_refused(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written."""
    monkeypatch.setenv("COVALAB_MAX_VALUE_BYTES", "100000")
    with pytest.raises(ValueTooLarge, match="COVALAB_MAX_VALUE_BYTES"):
        blobs.serialize(bytes(200_000), what="argument 'x'")

    assert files(blobs) == []


def test_only_what_nobody_used_lately_is_removed(blobs: BlobStore) -> None:
    """Whoever is about to send a value that was there already must still find it."""
    digest = blobs.put(encode("x" * 100_000))

    assert not blobs.remove(digest, unused_for=60)
    assert digest in blobs
    os.utime(blobs.path(digest), (0, 0))
    assert blobs.remove(digest, unused_for=60)
    assert digest not in blobs
    assert blobs.remove(digest, unused_for=60), "what is gone is gone"
    assert files(blobs) == []


def _reuse_again_and_again(folder: str) -> None:
    blobs = BlobStore(folder)
    encoded = encode("y" * 100_000)
    digest = digest_of(encoded.pieces)
    removed = 0
    for turn in range(300):
        began = time.time()
        removed += digest not in blobs
        blobs.put(encoded)
        # It may lie aside for an instant, while the remover looks whether it was just used.
        if digest not in blobs:
            time.sleep(0.01)
            if digest not in blobs and time.time() - began < UNUSED:
                raise SystemExit(3)
        if turn % 50 == 0:
            time.sleep(2 * UNUSED)
    raise SystemExit(0 if removed > 3 else 4)


UNUSED = 0.1


def test_removing_and_reusing_at_once_loses_nothing(blobs: BlobStore) -> None:
    """What was written or reused a moment ago is there, however eagerly somebody removes what is not used."""
    digest = blobs.put(encode("y" * 100_000))
    process = multiprocessing.get_context("spawn").Process(target=_reuse_again_and_again, args=(str(blobs.folder),))
    process.start()
    while process.is_alive():
        blobs.remove(digest, unused_for=UNUSED)
    process.join()

    assert process.exitcode == 0, "3: lost though in use; 4: never removed, so nothing was tried"


def test_what_killed_writers_left_is_removed(blobs: BlobStore) -> None:
    """Temporary files that nobody writes to any more go; blobs and younger files stay."""
    digest = blobs.put(encode("x" * 100_000))
    old, young = (blobs.path(digest).with_name(f".{digest}.{end}") for end in ("0ld", "y0ung"))
    old.touch()
    young.touch()
    os.utime(old, (0, 0))

    blobs.remove_unfinished(unused_for=60)

    assert {path.name for path in files(blobs)} == {digest, young.name}


def test_folders_are_private_whoever_makes_them(tmp_path: Path) -> None:
    """The blob folder and those in it, also when the first blob is written before there is any."""
    blobs = BlobStore(tmp_path / "blobs")
    blobs.serialize(bytes(INLINE_LIMIT + 1))

    folders = [blobs.folder, *(path for path in blobs.folder.iterdir() if path.is_dir())]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 2


def test_random_damage_is_always_found(blobs: BlobStore) -> None:
    """A hundred flipped bits and cuts, anywhere in a file: never another value, always the name of what it is."""
    for case in range(100):
        chance = random.Random(f"{SEED} {case}")
        value = blobs.serialize(np.arange(10_000 + case))
        assert value.digest is not None
        path = blobs.path(value.digest)
        content = bytearray(path.read_bytes())
        at = chance.randrange(len(content))
        if chance.random() < 0.3:
            del content[at:]
        else:
            content[at] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        with pytest.raises(BlobDamaged, match=r"the value of node 3: .*damaged"):
            blobs.deserialize(value, what="the value of node 3")
        assert len(blobs.deserialize(blobs.serialize(np.arange(10_000 + case)))) == 10_000 + case, f"{SEED} {case}"


def test_no_text_but_a_digest_names_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 texts that are no digests, near to one and far from it: none opens, none becomes a path."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance, store = random.Random(seed), BlobStore(tmp_path / "blobs")
    good = "0123456789abcdef" * 4
    parts = [
        "..",
        "/",
        "\\",
        "\0",
        "%2e%2e",
        "%2f",
        "~",
        "C:",
        "\uff0e",
        "\u2215",
        "\n",
        " ",
        "A",
        "\ud800",
        "\u0660",
        "g",
        ".",
    ]
    opened: list[object] = []
    monkeypatch.setattr(Path, "open", lambda *its, **_: opened.append(its))
    for _ in range(100_000):
        at, part = chance.randrange(65), "".join(chance.choices(parts, k=chance.randrange(1, 4)))
        text = chance.choice([good[:at] + part + good[at + len(part) :], part, good + part, part + good, good[:at]])
        if len(text) == 64 and set(text) <= set("0123456789abcdef"):
            continue
        with pytest.raises(BlobNotFound):
            store.path(Digest(text))
        with pytest.raises(BlobNotFound):
            store.read(Digest(text))
    assert opened == []
