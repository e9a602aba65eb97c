"""Paths and links in README, the architecture page and its pages name what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *(str(page.relative_to(ROOT)) for page in (ROOT / "python").rglob("*.md")))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link, and every picture, of a page."""
    targets = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8"))

    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


def test_the_architecture_names_files_that_exist() -> None:
    """The table "Where do I change ...?" is of use only as long as it is true."""
    text = (ROOT / "python" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`", text)

    places = (ROOT / "python" / "covalab", ROOT / "python", ROOT)
    assert len(paths) > 40
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []
