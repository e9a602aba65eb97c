"""Fixtures for every test: a data folder that is not the user's, and real dispatchers in it."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from blake3 import blake3

from covalab.client import Client, connect


def _digest_of_sources() -> str:
    """Return a digest of all code: the same code runs the same cases, wherever it is tested."""
    folder = Path(__file__).parents[1]
    found = blake3()
    for path in sorted([*(folder / "python").rglob("*.py"), *(folder / "tests").rglob("*.py")]):
        found.update(path.read_bytes())
    return found.hexdigest(4)


# A run that passed says what another of the same code will do; over the changes of a day all cases get their turn.
SEED = os.environ.setdefault("COVALAB_SAMPLE_SEED", _digest_of_sources())

# A busy machine is no fault of an example.
hypothesis.settings.register_profile("covalab", deadline=None)
hypothesis.settings.load_profile("covalab")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs all cases of sampled tests."""
    parser.addoption(
        "--every-case",
        action="store_true",
        help="run all cases of tests that are marked `sampled`, or `nightly` with a number",
    )


def pytest_report_header() -> str:
    """Print the seed, by which the same cases are chosen again."""
    return f"cases of sampled tests: COVALAB_SAMPLE_SEED={SEED} (--every-case: all)"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Share all tests between two processes: they mostly wait. A few that somebody names run in this one."""
    return 0 if [*config.args] != [*config.getini("testpaths")] or config.option.keyword else 2


def _sample_of(item: pytest.Item, marker: pytest.Mark) -> str:
    """Return what a sampled case is one of: the cases of its test, the tests of its file, or those of its folder."""
    file = item.nodeid.partition("::")[0]
    groups = {"file": file, "folder": file.rpartition("/")[0]}
    return groups.get(marker.kwargs.get("of", ""), item.nodeid.partition("[")[0])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep so many cases of each test, or tests of each file, marked `sampled`, unless some were asked for.

    Of nightly ones all are kept, or so many cases as the marker says.
    """
    if config.option.every_case or config.option.keyword or any("::" in argument for argument in config.args):
        return
    cases: dict[tuple[str, int], list[pytest.Item]] = defaultdict(list)
    for item in items:
        nightly, sampled = item.get_closest_marker("nightly"), item.get_closest_marker("sampled")
        # A nightly one does not stand for those of each run, of which so many are to be kept.
        if nightly is not None and nightly.args:
            cases[item.nodeid.partition("[")[0], nightly.args[0]].append(item)
        elif nightly is None and sampled is not None:
            cases[_sample_of(item, sampled), sampled.args[0]].append(item)
    left_out: set[pytest.Item] = set()
    for (name, number), found in cases.items():
        kept = random.Random(f"{SEED} {name}").sample(found, min(number, len(found)))
        left_out |= {*found} - {*kept}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point the whole session at a data folder of its own."""
    hidden = os.environ.get("COVALAB_TESTS_HIDDEN")  # a folder that workers which were started by hand do not see
    folder = Path(hidden, "covalab-data") if hidden else tmp_path_factory.mktemp("covalab-data")
    folder.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("COVALAB_DATA_DIR")
    os.environ["COVALAB_DATA_DIR"] = str(folder)
    os.environ["COVALAB_CONFIG"] = str(folder / "covalab.toml")  # never the user's
    os.environ["COVALAB_KEY_FILE"] = str(folder.with_name("covalab.key"))  # neither
    os.environ["COVALAB_WORKERS"] = "2"
    os.environ["COVALAB_IDLE_SECONDS"] = "600"  # if a run is killed, its dispatchers end by themselves
    yield folder
    Client(folder, start=False).stop()
    if before is None:
        del os.environ["COVALAB_DATA_DIR"]
    else:
        os.environ["COVALAB_DATA_DIR"] = before


@pytest.fixture
def live(data_dir: Path) -> Client:
    """Return a client of the session's dispatcher, shared by tests that do not break it."""
    return connect(data_dir=data_dir)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Return a client of a dispatcher that this test alone uses, and may kill."""
    folder = tmp_path / "data"
    monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
    client = connect(data_dir=folder)
    yield client
    client.stop()
