"""Blobs: whole or not there, never shared by accident, and named by nothing but digests."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from covalab.artifacts import Artifacts
from covalab.core.codec import digest_of, encode
from covalab.core.errors import BlobDamaged, BlobNotFound, DataFolderError, ValueTooLarge
from covalab.core.model import INLINE_LIMIT, Digest


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """Return an empty blob folder."""
    return Artifacts(tmp_path / "blobs")


def files(artifacts: Artifacts) -> list[Path]:
    """Return every file there is, temporary ones too."""
    return [path for path in artifacts.folder.rglob("*") if path.is_file()]


def test_small_values_are_inline_and_large_ones_are_files(artifacts: Artifacts) -> None:
    """The limit decides; both come back."""
    small, large = artifacts.close([1, 2]), artifacts.close(np.arange(100_000.0))

    assert (small.data is not None, small.digest, large.data) == (True, None, None)
    assert large.size > INLINE_LIMIT
    assert artifacts.open(small) == [1, 2]
    assert (artifacts.open(large) == np.arange(100_000.0)).all()
    assert [path.name for path in files(artifacts)] == [large.digest]


def test_what_is_there_is_not_written_again(artifacts: Artifacts) -> None:
    """The file stays the same file, marked as just used."""
    digest = artifacts.put(encode("x" * 100_000))
    path = artifacts.path(digest)
    os.utime(path, (0, 0))
    before = path.stat().st_ino

    assert artifacts.put(encode("x" * 100_000)) == digest
    assert path.stat().st_ino == before
    assert time.time() - path.stat().st_mtime < 60
    assert digest in artifacts
    assert list(artifacts.digests()) == [digest]


def test_writing_to_an_array_changes_nobody_elses(artifacts: Artifacts) -> None:
    """Every opening is a private map, writable and aligned."""
    value = artifacts.close(np.zeros(100_000))
    one, other = artifacts.open(value), artifacts.open(value)
    one[:] = 7

    assert one.flags.aligned
    assert other.sum() == 0
    assert artifacts.open(value).sum() == 0


def test_a_damaged_file_is_said_to_be_damaged(artifacts: Artifacts) -> None:
    """Cut or empty, the error is `BlobDamaged`; gone, it is `BlobNotFound`."""
    value = artifacts.close(np.zeros(100_000))
    assert value.digest is not None
    path = artifacts.path(value.digest)
    for length in (value.size - 1, 1, 0):
        os.truncate(path, length)
        with pytest.raises(BlobDamaged, match="damaged"):
            artifacts.open(value, what="the value of node 3")
    path.unlink()
    with pytest.raises(BlobNotFound, match="run the dispatch again"):
        artifacts.open(value)


def test_a_damaged_file_is_made_whole_by_the_next_write(artifacts: Artifacts) -> None:
    """A file of the wrong length is no reason not to write."""
    value = artifacts.close(np.zeros(100_000))
    assert value.digest is not None
    os.truncate(artifacts.path(value.digest), 10)

    artifacts.close(np.zeros(100_000))

    assert artifacts.open(value).sum() == 0


@pytest.mark.parametrize(
    "hostile", ["", "..", "../x", "a" * 63, "a" * 65, "A" * 64, "a" * 64 + "\n", "/etc/passwd", "٣" * 64, "\0" * 64]
)
def test_only_a_digest_names_a_file(artifacts: Artifacts, hostile: str) -> None:
    """No text from outside becomes a path."""
    for ask in (artifacts.path, artifacts.read, artifacts.__contains__):
        with pytest.raises(BlobNotFound, match="is not the digest"):
            ask(Digest(hostile))


def _put_again_and_again(folder: str) -> None:
    artifacts = Artifacts(folder)
    for seed in range(8):
        artifacts.put(encode(bytes([seed]) * 200_000))


def test_several_processes_may_write_the_same(artifacts: Artifacts) -> None:
    """Every blob is there once, whole, and nothing else is."""
    processes = [
        multiprocessing.get_context("spawn").Process(target=_put_again_and_again, args=(str(artifacts.folder),))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    expected = {artifacts.put(encode(bytes([seed]) * 200_000)) for seed in range(8)}
    assert {path.name for path in files(artifacts)} == expected
    for digest in expected:
        assert len(bytes(artifacts.read(digest))) == artifacts.path(digest).stat().st_size


def test_a_failed_write_leaves_nothing_behind(artifacts: Artifacts) -> None:
    """When the disk refuses in the middle, no file remains and the error names the way out."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(DataFolderError, match="COVALAB_DATA_DIR"):
            artifacts.close(np.ones(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)

    assert files(artifacts) == []


def test_an_interrupted_write_leaves_nothing_behind(artifacts: Artifacts) -> None:
    """The stop button in the middle of a large value costs no disk."""
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell may have it ignored in the background
        "from covalab.artifacts import Artifacts\n"
        "from covalab.core.codec import Encoded\n"
        "class Pieces(list):\n"
        "    def __iter__(self):\n"
        "        for n, piece in enumerate(super().__iter__()):\n"
        "            if n == 3 and hasattr(self, 'hashed'): os.kill(os.getpid(), signal.SIGINT)\n"
        "            yield piece\n"
        "        self.hashed = True\n"
        f"Artifacts({str(artifacts.folder)!r}).put(Encoded(Pieces([bytes(100_000)] * 5), 500_000))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)

    assert "KeyboardInterrupt" in done.stderr
    assert files(artifacts) == []


def test_a_value_above_the_limit_is_refused(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written."""
    monkeypatch.setenv("COVALAB_MAX_VALUE_BYTES", "100000")
    with pytest.raises(ValueTooLarge, match="COVALAB_MAX_VALUE_BYTES"):
        artifacts.close(bytes(200_000), what="argument 'x'")

    assert files(artifacts) == []


def test_only_what_nobody_used_lately_is_removed(artifacts: Artifacts) -> None:
    """Whoever is about to send a value that was there already must still find it."""
    digest = artifacts.put(encode("x" * 100_000))

    assert not artifacts.remove(digest, unused_for=60)
    assert digest in artifacts
    os.utime(artifacts.path(digest), (0, 0))
    assert artifacts.remove(digest, unused_for=60)
    assert digest not in artifacts
    assert artifacts.remove(digest, unused_for=60), "what is gone is gone"
    assert files(artifacts) == []


def _reuse_again_and_again(folder: str) -> None:
    artifacts = Artifacts(folder)
    encoded = encode("y" * 100_000)
    digest = digest_of(encoded.pieces)
    removed = 0
    for turn in range(300):
        began = time.time()
        removed += digest not in artifacts
        artifacts.put(encoded)
        # It may lie aside for an instant, while the remover looks whether it was just used.
        if digest not in artifacts:
            time.sleep(0.01)
            if digest not in artifacts and time.time() - began < UNUSED:
                raise SystemExit(3)
        if turn % 50 == 0:
            time.sleep(2 * UNUSED)
    raise SystemExit(0 if removed > 3 else 4)


UNUSED = 0.1


def test_removing_and_reusing_at_once_loses_nothing(artifacts: Artifacts) -> None:
    """What was written or reused a moment ago is there, however eagerly somebody removes what is not used."""
    digest = artifacts.put(encode("y" * 100_000))
    process = multiprocessing.get_context("spawn").Process(target=_reuse_again_and_again, args=(str(artifacts.folder),))
    process.start()
    while process.is_alive():
        artifacts.remove(digest, unused_for=UNUSED)
    process.join()

    assert process.exitcode == 0, "3: lost though in use; 4: never removed, so nothing was tried"


def test_what_killed_writers_left_is_removed(artifacts: Artifacts) -> None:
    """Temporary files that nobody writes to any more go; blobs and younger files stay."""
    digest = artifacts.put(encode("x" * 100_000))
    old, young = (artifacts.path(digest).with_name(f".{digest}.{end}") for end in ("0ld", "y0ung"))
    old.touch()
    young.touch()
    os.utime(old, (0, 0))

    artifacts.remove_unfinished(unused_for=60)

    assert {path.name for path in files(artifacts)} == {digest, young.name}


def test_folders_are_private_whoever_makes_them(tmp_path: Path) -> None:
    """The blob folder and those in it, also when the first blob is written before there is any."""
    artifacts = Artifacts(tmp_path / "blobs")
    artifacts.close(bytes(INLINE_LIMIT + 1))

    folders = [artifacts.folder, *(path for path in artifacts.folder.iterdir() if path.is_dir())]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 2
