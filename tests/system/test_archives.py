"""A dispatch as one file, brought to another data folder: whole, checked, and not trusted unless that is said."""

from __future__ import annotations

import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import covalab as ct
from covalab.client import Client, connect
from covalab.core import archive
from covalab.core.errors import ArchiveDamaged, ArchiveExists, CovalabError


@ct.electron
def numbers(n: int) -> list[int]:
    """Print, and return a value that is a file."""
    print("working")
    return list(range(n))


@ct.electron(retries=1)
def flaky() -> int:
    """Fail at each run, and leave state."""
    ct.append_state("seen", 1)
    message = "never"
    raise ValueError(message)


@ct.electron
def total(values: list[int]) -> int:
    """Add."""
    return sum(values)


@ct.electron
@ct.lattice
def inner(n: int) -> int:
    """Run below another dispatch."""
    return total(numbers(n))


@ct.lattice
def study(n: int) -> Any:
    """Have everything in it."""
    return {"large": numbers(n), "below": inner(20)}


broken = ct.lattice(flaky)


class Made:
    """Files of two dispatches, and what was known of these."""

    def __init__(self, client: Client, ids: dict[str, str], files: dict[str, Path]) -> None:
        self.client, self.ids, self.files = client, ids, files


def described(dispatch: str) -> dict[str, Any]:
    """Return what can be read of a dispatch, but its id and whatever has that in it."""
    result = ct.get_result(dispatch)
    record = result.full_record()
    return {
        "result": result.result,
        "error": result.error,
        "nodes": [(it["node_name"], str(it["status"]), it["output"]) for it in result.get_all_node_results()],
        "states": record.nodes,
        "state": result.get_state(),
        "provenance": {name: it for name, it in result.provenance().items() if name != "dispatch_id"},
        "source": record.source,
        "graph": record.graph,
        "printed": {node: it.stdout for node, it in connect().all_outputs(dispatch).items()},
    }


@pytest.fixture(scope="module")
def made(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Run two dispatches and export them."""
    client, folder = connect(data_dir=data_dir), tmp_path_factory.mktemp("files")
    ids = {"study": str(ct.dispatch(study)(30_000)), "broken": str(ct.dispatch(broken)())}
    for one in ids.values():
        client.record(one, wait=True, timeout=120)
    files = {name: ct.export_dispatch(one, folder / f"{name}.covalab") for name, one in ids.items()}
    return Made(client, ids, files)


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Use another data folder."""
    folder = tmp_path_factory.mktemp("there") / "data"
    client = connect(data_dir=folder)
    yield client
    client.stop()


@pytest.fixture
def elsewhere(there: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Let everything go to the other data folder."""
    monkeypatch.setenv("COVALAB_DATA_DIR", str(there.data_dir))
    return there


def test_it_goes_round(made: Made, there: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All that is known of a dispatch is known of it there, after consent; once more changes nothing; it runs again."""
    before = {name: described(one) for name, one in made.ids.items()}
    with pytest.raises(ArchiveExists, match="already"):
        ct.export_dispatch(made.ids["study"], made.files["study"])
    assert made.files["study"].stat().st_mode & 0o777 == 0o600
    assert ct.import_dispatch(made.files["study"]) == made.ids["study"], "where it came from"

    monkeypatch.setenv("COVALAB_DATA_DIR", str(there.data_dir))
    for name, one in made.ids.items():
        assert ct.import_dispatch(made.files[name]) == one
        assert there.summary(one).name in ("study", "flaky")
        with pytest.raises(ct.NotTrusted):
            ct.get_result(one)
        with pytest.raises(ct.NotTrusted):
            ct.redispatch(one)()
        assert ct.get_result(one, trusted=True).dispatch_id == one
        assert described(one) == before[name]
        assert ct.import_dispatch(made.files[name]) == one, "once more"
        assert described(one) == before[name]
    assert {one.id for one in there.dispatches()} == {*made.ids.values()}

    again = ct.redispatch(made.ids["study"], reuse_previous_results=True)()
    assert ct.get_result(again, wait=True, timeout=120).result == before["study"]["result"]
    ct.export_dispatch(made.ids["study"], tmp_path / "back.covalab")
    new = ct.import_dispatch(tmp_path / "back.covalab", as_new=True, trusted=True)
    assert new not in made.ids.values()
    found = described(new)
    found["provenance"] = before["study"]["provenance"]
    assert found == before["study"]
    there.delete(new)
    there.delete(made.ids["study"])
    assert ct.import_dispatch(made.files["study"], trusted=True) == made.ids["study"], "after it was deleted"
    assert described(made.ids["study"]) == before["study"]


def rewritten(path: Path, target: Path, change: Callable[[dict[str, bytes]], object], packed: bool = False) -> Path:
    """Write an archive anew, after a change."""
    with zipfile.ZipFile(path) as source:
        entries = {name: source.read(name) for name in source.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return target


def changed_dispatch(path: Path, target: Path, number: int = 0, **changes: Any) -> Path:
    """Write an archive anew with fields of a dispatch changed, and everything that says how long or what it is."""

    def change(entries: dict[str, bytes]) -> None:
        from blake3 import blake3

        name = archive.dispatch_entry(number)
        found = msgspec.msgpack.decode(entries[name])
        for path_, value in changes.items():
            part = found
            *above, last = path_.split("__")
            for one in above:
                part = part[one]
            part[last] = value
        entries[name] = msgspec.msgpack.encode(found)
        manifest = msgspec.json.decode(entries[archive.MANIFEST])
        its = list(manifest["dispatches"].values())[number]
        its["size"], its["digest"] = len(entries[name]), blake3(entries[name]).hexdigest()
        entries[archive.MANIFEST] = msgspec.json.encode(manifest)

    return rewritten(path, target, change)


def edited(old: bytes, new: bytes) -> Callable[[dict[str, bytes]], object]:
    """Return a change of the manifest's text."""

    def change(entries: dict[str, bytes]) -> None:
        assert old in entries[archive.MANIFEST]
        entries[archive.MANIFEST] = entries[archive.MANIFEST].replace(old, new)

    return change


def test_another_dispatch_of_that_id_stays(made: Made, elsewhere: Client, tmp_path: Path) -> None:
    """It is said, with what to do; under a new id it is imported beside it."""
    one = made.ids["broken"]
    ct.import_dispatch(made.files["broken"], trusted=True)
    before = described(one)
    other = changed_dispatch(made.files["broken"], tmp_path / "other.covalab", summary__name="other")
    with pytest.raises(ArchiveExists, match=f"{one}.*as-new"):
        ct.import_dispatch(other)
    assert described(one) == before
    new = ct.import_dispatch(other, as_new=True)
    assert elsewhere.summary(new).name == "other"
    elsewhere.delete(new)


def hostile(made: Made, folder: Path) -> Iterator[Path]:
    """Yield files that somebody made or changed on purpose, or by accident."""
    good, number = made.files["study"], iter(range(1_000))

    def target() -> Path:
        return folder / f"{next(number)}.covalab"

    def more(name: str, data: bytes = b"x") -> Callable[[dict[str, bytes]], object]:
        return lambda entries: entries.update({name: data})

    for name in ("../../evil", "/tmp/evil", "blobs/../../evil", "blobs/x", "manifest.json/", "dispatches/9", "a\\b"):
        yield rewritten(good, target(), more(name))
    yield rewritten(good, target(), lambda _: None, packed=True)
    yield rewritten(good, target(), more("bomb", b"\0" * 10_000_000), packed=True)
    for old, new in (
        (b'"format":1', b'"format":2'),
        (b'"format":1', b'"format":"x"'),
        (b'"blobs":{"', b'"blobs":{"../../../../evil":3,"'),
        (b'"dispatches":{"', b'"dispatches":{"../'),
        (b'{"format"', b"[" * 100_000 + b'{"format"'),
        (b'"size":', b'"size":1'),
        (b'"size":', b'"size":-'),
        (b'"missing":[', b'"missing":["../../etc/passwd"'),
    ):
        yield rewritten(good, target(), edited(old, new))
    yield rewritten(good, target(), lambda entries: entries.pop(archive.MANIFEST))
    yield rewritten(good, target(), lambda entries: entries.pop(archive.dispatch_entry(1)))
    yield rewritten(good, target(), lambda entries: entries.update({archive.dispatch_entry(0): b"\xff"}))

    def exchanged(entries: dict[str, bytes]) -> None:
        name = next(name for name in entries if name.startswith("blobs/"))
        entries[name] = bytes(reversed(entries[name]))

    yield rewritten(good, target(), exchanged)
    changed: tuple[dict[str, Any], ...] = (
        {"summary__id": "other"},
        {"submission__id": "other"},
        {"summary__status": "running"},
        {"summary__status": "excellent"},
        {"summary__held": True},
        {"summary__root": "other"},
        {"summary__parent": "other"},
        {"blobs": ["0" * 64]},
        {"submission__values": []},
        {"submission__graph__output": 99},
        {"states": [[99, "completed"]]},
        {"states": [[0, "completed"], [0, "completed"]]},
        {"outcomes": [[-1, "completed", 0.0, 0.0]]},
        {"journal": [[1, True, ["nonsense", 0.0]]]},
        {"summary": None},
    )
    for changes in changed:
        yield changed_dispatch(good, target(), **changes)
    content = good.read_bytes()
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        cut = target()
        cut.write_bytes(content[:size])
        yield cut
    twice = target()
    with zipfile.ZipFile(twice, "w") as file:
        file.writestr("a", "x")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a", "x")
    yield twice
    # The directory says that an entry is larger than the file.
    grown = bytearray(content)
    at = content.rindex(b"PK\x01\x02")
    grown[at + 20 : at + 28] = struct.pack("<II", 2**31, 2**31)
    large = target()
    large.write_bytes(grown)
    yield large
    yield folder / "missing.covalab"
    yield folder


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Use a data folder in which there is nothing."""
    folder = tmp_path / "empty"
    monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
    client = connect(data_dir=folder)
    yield client
    client.stop()


def test_a_hostile_file_is_refused_and_leaves_nothing(made: Made, empty: Client, tmp_path: Path) -> None:
    """Each is named; nothing is written outside of the data folder, nothing is recorded, and work goes on."""
    (tmp_path / "deep" / "files").mkdir(parents=True)
    n = 0
    for path in hostile(made, tmp_path / "deep" / "files"):
        with pytest.raises(ArchiveDamaged, match=str(path)):
            ct.import_dispatch(path)
        n += 1
    assert n > 40
    for name in ("relative.covalab", "/dev/null", "/proc/self/mem", f"/tmp/{'x' * 300}"):
        with pytest.raises(CovalabError):
            empty.bring_in(Path(name))
    assert [*tmp_path.rglob("evil")] == []
    assert not Path("/tmp/evil").exists()
    assert empty.dispatches() == []
    assert ct.import_dispatch(made.files["study"], trusted=True) == made.ids["study"]


def test_a_flipped_bit_is_never_imported(made: Made, empty: Client, tmp_path: Path) -> None:
    """Wherever it is: refused, or what is imported is what was exported."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance, content = random.Random(seed), made.files["broken"].read_bytes()
    path = tmp_path / "flipped.covalab"
    n_refused = 0
    for _ in range(60):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            ct.import_dispatch(path)
        except (ArchiveDamaged, ArchiveExists):
            n_refused += 1
    assert n_refused > 30
    if empty.dispatches():
        ct.import_dispatch(made.files["broken"])  # the same, or this raises
