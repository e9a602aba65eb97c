"""Starting a dispatch and running it again from the page, without a kernel."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import expect
from tests.browser.axe import violations
from tests.browser.lab import Desk
from tests.system.tasks import adding

import covalab as ct
from covalab.client import Client


def test_a_dispatch_is_started_and_run_again_from_the_page(desk: Desk, live: Client) -> None:
    """A recorded dispatch is labelled and can be started; an ended one can be run again, in a new tab."""
    # Playwright's event loop runs in this thread, so the dispatch is made before the page is asked anything.
    run = ct.dispatch(ct.lattice(adding), disable_run=True)(41)
    desk.open()
    desk.command("covalab:show-dispatches")
    row = desk.page.locator(f".jp-covalab-Row[data-dispatch='{run}']")
    expect(row).to_contain_text("Not started")
    row.hover()
    expect(row.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(row.get_by_role("button", name="Delete")).to_be_visible()
    desk.shoot("not-started")
    row.get_by_role("button", name="Start", exact=True).click()
    expect(row).to_have_attribute("data-status", "completed")

    row.locator(".cv-row").click()
    tab = desk.page.locator(".jp-covalab-Tab:visible .jp-covalab-Dispatch")
    expect(tab.locator(".cv-value")).to_contain_text("42")
    expect(tab.get_by_role("button", name="Start", exact=True)).to_be_hidden()
    tab.get_by_role("button", name="Run again", exact=True).click()
    rows = desk.page.locator(".jp-covalab-Row")
    expect(rows.first).not_to_have_attribute("data-dispatch", str(run))
    expect(rows.first).to_have_attribute("data-status", "completed")
    expect(tab.locator(".cv-value")).to_contain_text("42")
    desk.shoot("run-again")

    # From a task on, and with a tag, by which the list is narrowed.
    again = rows.first.get_attribute("data-dispatch")
    assert again is not None
    expect(tab.locator(".cv-badge")).to_contain_text("Completed")
    tab.get_by_role("option", name="adding").click()
    tab.get_by_role("button", name="Run again from here").click()
    expect(rows.first).not_to_have_attribute("data-dispatch", again)
    expect(rows.first).to_have_attribute("data-status", "completed")
    expect(tab.locator(".cv-badge")).to_contain_text("Completed")
    tab.get_by_role("button", name="+ tag").click()
    tab.get_by_role("textbox", name="New tag").fill("thesis #night")
    desk.page.keyboard.press("Enter")
    expect(tab.locator(".cv-tag")).to_have_count(2)
    tab.get_by_role("button", name="Remove the tag night").click()
    expect(tab.locator(".cv-tag")).to_have_count(1)
    desk.shoot("tags")
    assert violations(tab) == []
    desk.page.keyboard.press("Escape")
    desk.page.get_by_role("combobox", name="Tag", exact=True).select_option("thesis")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("#thesis")

    new = rows.first.get_attribute("data-dispatch")
    assert new is not None
    summary, state = live.record(new).summary, live.record(new).nodes[0]
    assert (summary.name, summary.tags, state.attempt) == ("adding", ["thesis"], 1)


def test_a_scheduled_dispatch_shows_its_time_and_can_be_cancelled(desk: Desk, live: Client) -> None:
    """Its list row and its tab show the start time; nothing is started."""
    run = ct.dispatch(ct.lattice(adding), eta=timedelta(hours=1))(41)
    desk.open()
    desk.command("covalab:show-dispatches")
    row = desk.page.locator(f".jp-covalab-Row[data-dispatch='{run}']")
    expect(row).to_contain_text("Starts ")
    row.locator(".cv-row").click()
    tab = desk.page.locator(".jp-covalab-Tab:visible .jp-covalab-Dispatch")
    expect(tab).to_contain_text("Starts ")
    expect(tab.get_by_role("button", name="Pause")).to_be_hidden()
    expect(tab.get_by_role("button", name="Cancel")).to_be_visible()
    desk.shoot("starts-later")
    row.hover()
    row.get_by_role("button", name="Cancel").click()
    expect(row).to_have_attribute("data-status", "cancelled")
    expect(tab.get_by_role("button", name="Cancel")).to_be_hidden()

    summary = live.summary(run)
    assert (summary.status, summary.started_at) == ("cancelled", summary.ended_at)
