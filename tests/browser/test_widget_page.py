"""Tests of the widget in a page without the extension: the shipped module with the real Python side behind it."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser.lab import ARTIFACTS, PATIENCE, badge

import covalab as ct
from covalab.client import Client
from covalab.core.model import DispatchId
from covalab.view.bundle import MIME_TYPE, dispatch_bundle
from covalab.view.widget import DispatchWidget

STATIC = Path(ct.__file__).parent / "static"
PAGE = """<!doctype html><meta charset="utf-8"><div id="here"></div>"""
MODEL = """async bundle => {
    const callbacks = [];
    const model = {
        get: name => name === 'bundle' ? bundle : undefined,
        send: content => { void window.toKernel(JSON.stringify(content)); },
        on: (event, callback) => event === 'msg:custom' && callbacks.push(callback),
        off: () => undefined
    };
    window.fromKernel = content => callbacks.forEach(callback => callback(content));
    const { default: widget } = await import('/widget.js');
    widget.render({ model, el: document.getElementById('here') });
}"""


@ct.electron
def note(answer: Any) -> Any:
    """Write the answer into the state."""
    ct.set_state("answer", {"was": answer})
    return answer


@ct.lattice
def asking() -> Any:
    """Ask somebody."""
    return note(ct.pause_for("approval", "ship it?"))


class Kernel:
    """Carries messages between a page and a widget; the widget sends from a thread, so its messages are queued."""

    def __init__(self, page: Page, client: Client, dispatch: str) -> None:
        summary, graph = client.summary(DispatchId(dispatch)), client.graph(DispatchId(dispatch))
        self.bundle = dispatch_bundle(summary, graph, [], widget=False)[MIME_TYPE]
        self.widget = DispatchWidget(bundle=self.bundle)
        self._page = page
        self._sent: queue.Queue[Any] = queue.Queue()
        self.widget.send = lambda content, _buffers=None: self._sent.put(content)
        page.expose_function("toKernel", lambda text: self.widget._on_message(self.widget, json.loads(text), []))

    def deliver(self) -> None:
        """Deliver the widget's messages to the page."""
        while not self._sent.empty():
            self._page.evaluate("content => window.fromKernel(content)", self._sent.get())
        self._page.wait_for_timeout(50)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a page that has nothing but the widget's files."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.route("http://kernel.test/", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.route("http://kernel.test/widget.js", lambda route: route.fulfill(path=STATIC / "widget.js"))
    page.goto("http://kernel.test/")
    page.add_style_tag(path=STATIC / "widget.css")
    yield page
    page.close()


def test_the_widget_asks_and_takes_an_answer(page: Page, live: Client) -> None:
    """Where there is no extension the kernel carries question and answer, pause and state."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    kernel = Kernel(page, live, ct.dispatch(asking)())
    page.evaluate(MODEL, kernel.bundle)
    view = page.locator(".jp-covalab-Dispatch")
    form = view.get_by_role("form", name="approval")

    def until(what: Any) -> None:
        for _ in range(400):
            kernel.deliver()
            if what():
                return
        raise AssertionError(view.inner_text())

    until(lambda: form.count() == 1)
    view.get_by_role("button", name="Pause", exact=True).click()
    until(lambda: badge(view).inner_text() == "Paused")
    view.get_by_role("button", name="Resume", exact=True).click()
    until(lambda: badge(view).inner_text() == "Waiting")
    form.get_by_role("button", name="Enter a value…").click()
    form.get_by_role("textbox", name="Value").fill("1.0")
    expect(form).to_contain_text("Will be sent as JSON: a number")
    page.screenshot(path=ARTIFACTS / "widget-ask.png")
    page.set_viewport_size({"width": 360, "height": 700})
    page.screenshot(path=ARTIFACTS / "widget-narrow.png")
    form.get_by_role("button", name="Send").click()
    until(lambda: badge(view).inner_text() == "Completed")
    until(lambda: form.count() == 0)
    until(lambda: "State of 1 key" in view.locator(".cv-execution").inner_text())
    view.locator(".cv-execution > summary").click()
    view.locator(".cv-tree").get_by_text("answer").click()
    expect(view.locator(".cv-tree").first).to_contain_text("was1.0float")
    view.get_by_role("button", name="Log", exact=True).click()
    until(lambda: "Dispatch completed after" in view.locator(".cv-log").inner_text())
    page.screenshot(path=ARTIFACTS / "widget-execution.png")
