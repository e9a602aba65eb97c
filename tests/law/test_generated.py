"""The law of the background for random small notebooks; what it finds is kept as a notebook or an example."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from tests.law.compare import differences, failed, report
from tests.law.generating import START, cells
from tests.law.kernels import Notebook, open_notebook
from tests.law.ways import Way, in_background_in, plainly_in

from covalab.client import Client

SEED = int(os.environ.get("COVALAB_LAW_SEED") or random.randrange(10**6))
# Finding a smaller example takes minutes, so it is done where a seed was given: by somebody who looks at a failure.
PHASES = [Phase.generate, Phase.shrink] if "COVALAB_LAW_SEED" in os.environ else [Phase.generate]
WAYS: tuple[Way, ...] = ("whole", "run", "mixed")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Notebook, Notebook, Path]]:
    """Return a notebook for plain runs, one for runs in the background, and a folder: all stay for all examples."""
    folder = tmp_path_factory.mktemp("generated")
    with (
        open_notebook(folder / "plain" / "notebook") as plain,
        open_notebook(folder / "back" / "notebook") as background,
    ):
        yield plain, background, folder


def _holds(notebook: Sequence[str], way: Way, pair: tuple[Notebook, Notebook, Path], client: Client) -> None:
    plain, background, folder = pair
    given_cells = [START, *notebook]
    here = plainly_in(plain, given_cells, folder)
    if here.failed_at is not None:
        here.names_before_error = plainly_in(plain, given_cells[: here.failed_at], folder).names
        if way == "run":
            given_cells = given_cells[: here.failed_at + 1]

    there = in_background_in(background, way, given_cells, folder, client)

    text = "\n# %%\n".join(given_cells[1:])
    if way == "run" and re.search(r"'gen'", there.refused or failed(there)):
        return  # a generator cannot come back into the notebook, and the cell that needs it is refused
    assert not there.refused, f"COVALAB_LAW_SEED={SEED}, {way}: refused: {there.refused}\n{text}"
    found = differences(here, there, cells=len(there.outputs), way=way)
    assert not found, f"COVALAB_LAW_SEED={SEED}, {failed(there)}\n{report(found, way)}\n{text}"


@pytest.mark.parametrize("way", ["whole"])  # the other ways are nightly: not each of their refusals has a rule yet
def test_a_random_notebook_is_the_same_in_the_background(
    way: Way, pair: tuple[Notebook, Notebook, Path], live: Client
) -> None:
    """A few random notebooks in each run; the seed is in the message."""
    _examples(way, pair, live, 3)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", WAYS)
def test_many_random_notebooks_are_the_same_in_the_background(
    way: Way, pair: tuple[Notebook, Notebook, Path], live: Client
) -> None:
    """A hundred random notebooks."""
    _examples(way, pair, live, 100)


def _examples(way: Way, pair: tuple[Notebook, Notebook, Path], client: Client, number: int) -> None:
    @seed(SEED)
    @settings(max_examples=number, deadline=None, database=None, phases=PHASES, suppress_health_check=[*HealthCheck])
    @given(notebook=cells)
    def law(notebook: Sequence[str]) -> None:
        _holds(notebook, way, pair, client)

    law()
