"""Fixtures of the browser tests: Chromium, JupyterLab, and a page of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from tests.browser.lab import Desk, Lab

INSTALL = "apt-get install -y --no-install-recommends chromium fonts-dejavu-core"

IN_EACH_RUN = 12


@pytest.hookimpl(tryfirst=True)  # those that are not chosen are left out by the hook of all tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the pages take turns: each of these tests has a JupyterLab server and a browser of its own."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.sampled(IN_EACH_RUN, of="folder"))


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of Chromium; without it the tests fail with the command that installs it."""
    found = os.environ.get("COVALAB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.fail(f"no Chromium found; run `{INSTALL}`, or name one in COVALAB_CHROMIUM", pytrace=False)
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Start the browser. Its event loop occupies this thread, so it ends before other modules need one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",  # root cannot use it
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab on the session's data folder."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.stop()


@pytest.fixture
def desk(browser: Browser, lab: Lab) -> Iterator[Desk]:
    """Open a page of its own; page errors that name covalab fail the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
    yield Desk(page, lab)
    context.close()
    lab.shut_kernels_down()
    assert [error for error in errors if "covalab" in error] == []
