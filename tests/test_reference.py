"""The reference pages in python/docs are those that the code would give today."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    """Return the names of the script that makes the pages."""
    return runpy.run_path(str(ROOT / "python" / "docs" / "generate_reference.py"))


@pytest.mark.parametrize("page", ["commands.md", "settings.md"])
def test_a_page_is_up_to_date(generator: dict[str, Any], page: str) -> None:
    """Each committed page equals the generated one; the message names the command that writes it."""
    committed = (ROOT / "python" / "docs" / page).read_text()

    assert committed == generator["pages"]()[page], f"python/docs/{page} is out of date; run: {generator['COMMAND']}"


def test_the_pages_have_every_environment_variable(generator: dict[str, Any]) -> None:
    """Whatever variable the package reads from the environment is in the page of settings."""
    read = {
        name
        for path in (ROOT / "python" / "covalab").rglob("*.py")
        for name in re.findall(r"environ\.get\(\"(COVALAB_[A-Z_]+)\"", path.read_text())
    }

    assert len(read) > 2
    assert {name for name in read if f"`{name}`" not in generator["settings_page"]()} == set()
