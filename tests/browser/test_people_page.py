"""Tests of interrupts on the page: answers without a kernel, pause and resume, and the execution panel."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from itertools import pairwise

from playwright.sync_api import Locator, Request, Route, expect
from tests.browser.lab import Desk, Lab, badge, done

import covalab as ct
from covalab.client import Client
from covalab.core.model import TaskStatusName

RELEASE = """
import time
import covalab as ct

@ct.electron
def train(rate):
    ct.set_state("training", {"rate": rate, "layers": {"first": 64, "second": 10}})
    ct.set_state("note", "the learning rate was chosen by hand, because the search had not ended when this began " * 3)
    for epoch in range(4):
        ct.append_state("losses", round(1 / (epoch + 1), 3))
        ct.put_into_stream({"epoch": epoch, "loss": round(1 / (epoch + 1), 3)})
    return {"accuracy": 0.93, "rate": rate}

@ct.electron
def publish(model, answer):
    ct.set_final_result({"published": answer})
    return answer

@ct.lattice(intervention_mode="auto")
def release(rate):
    model = train(rate)
    return publish(model, ct.pause_for("approval", model))

run = ct.dispatch(release)(0.1)
run
"""

BUSY = """
import time
import covalab as ct

@ct.electron
def tick(n):
    time.sleep(0.2)
    return n

@ct.electron
def total(numbers, answer):
    return [sum(numbers), answer]

@ct.lattice
def ticking():
    return total([tick(n) for n in range({n})], ct.pause_for("which one", "first or second?"))

run = ct.dispatch(ticking)()
run
"""


def dark(desk: Desk, name: str) -> None:
    """Save a screenshot in the dark theme."""
    for theme, wanted in (("JupyterLab Dark", True), ("JupyterLab Light", False)):
        desk.page.evaluate(
            "theme => { void window.jupyterapp.commands.execute('apputils:change-theme', { theme }); }", theme
        )
        desk.page.wait_for_timeout(1500)
        if wanted:
            desk.shoot(name)


def form(where: Locator, title: str) -> Locator:
    """Return the form of an interrupt."""
    return where.get_by_role("form", name=title)


def identity(view: Locator) -> str:
    """Return the id of the dispatch that a view shows."""
    found = view.locator(".cv-name").get_attribute("title")
    assert found
    return found


def test_a_question_is_answered_in_the_output_without_a_kernel(desk: Desk, lab: Lab, live: Client) -> None:
    """The form shows the payload; without a kernel, a typed value is recognised as JSON, sent, and is the result."""
    desk.open(lab.notebook("ask.ipynb", RELEASE))
    desk.run_all()
    view = desk.views().first
    ask = form(view, "approval")
    expect(ask).to_contain_text("accuracy")
    expect(badge(view)).to_have_text("Waiting")
    desk.save()
    lab.shut_kernels_down()
    ask.get_by_role("button", name="Enter a value…").click()
    field = ask.get_by_role("textbox", name="Value")
    expect(field).to_be_focused()
    desk.page.keyboard.type("yes, but")
    expect(ask).to_contain_text("Will be sent as text")
    field.fill('{"ok": 1.0}')
    expect(ask).to_contain_text("Will be sent as JSON: a dictionary of 1 key")
    view.scroll_into_view_if_needed()
    desk.shoot("ask-output")
    dark(desk, "ask-output-dark")
    expect(field).to_have_value('{"ok": 1.0}')
    field.press("Enter")
    expect(ask).to_have_count(0)
    expect(view.get_by_role("status").filter(has_text="was answered by")).to_be_visible()
    expect(badge(view)).to_have_text("Completed")
    expect(view.locator(".cv-value")).to_contain_text("{'ok': 1.0}")
    assert lab.ask("api/kernels") == []
    record = ct.get_result(identity(view))
    assert record.result == {"ok": 1.0}
    (asked,) = record.get_interrupts()
    assert asked["actor"]
    desk.shoot("ask-answered")


def test_nothing_typed_is_lost_while_the_view_moves_or_an_answer_fails(desk: Desk, lab: Lab, live: Client) -> None:
    """The form keeps focus and text while tasks end; an error is shown in it, and the same answer is then accepted."""
    desk.open(lab.notebook("busy-ask.ipynb", BUSY.format(n=300)))
    desk.run_all()
    view = desk.views().first
    ask = form(view, "which one")
    ask.get_by_role("button", name="Enter a value…").click()
    field = ask.get_by_role("textbox", name="Value")
    expect(field).to_be_focused()
    seen = done(view)
    # Letters that are commands of a notebook, too.
    for letter in "aabbddmmyx second":
        desk.page.keyboard.type(letter)
        desk.page.wait_for_timeout(100)
    desk.until(lambda: done(view) > seen + 3, "the view does not move while somebody types")
    expect(field).to_be_focused()
    expect(field).to_have_value("aabbddmmyx second")
    assert desk.page.locator(".jp-NotebookPanel:visible .jp-Cell").count() == 1

    asked: list[str] = []

    def refuse(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        asked.append(route.request.post_data or "")
        body = {"kind": "DispatcherUnavailable", "message": "no dispatcher is running; try again", "subject": ""}
        route.fulfill(status=503, content_type="application/json", body=json.dumps(body))

    desk.page.route("**/journal*", refuse)
    field.press("Enter")
    expect(ask.get_by_role("alert")).to_have_text("no dispatcher is running; try again")
    expect(field).to_be_focused()
    expect(field).to_have_value("aabbddmmyx second")
    desk.shoot("ask-error")
    desk.page.unroute("**/journal*")

    def note(route: Route) -> None:
        asked.append(route.request.post_data or "")
        route.continue_()

    desk.page.route("**/journal*", note)
    ask.get_by_role("button", name="Send").click()
    expect(ask).to_have_count(0)
    assert len({json.loads(body)["request_id"] for body in asked}) == 1
    desk.page.unroute("**/journal*")
    view.get_by_role("button", name="Cancel").click()


def test_somebody_elses_answer_takes_the_form_away(desk: Desk, lab: Lab, live: Client) -> None:
    """Output and side bar both show who answered what. A form that comes back has the unsent text."""
    desk.open(lab.notebook("elsewhere.ipynb", RELEASE))
    desk.run_all()
    view = desk.views().first
    run = identity(view)
    desk.command("covalab:show-dispatches")
    row = desk.page.locator(f".jp-covalab-Row[data-dispatch='{run}']")
    expect(form(row, "approval")).to_be_visible()
    expect(form(view, "approval")).to_be_visible()
    form(view, "approval").get_by_role("button", name="Enter a value…").click()
    form(view, "approval").get_by_role("textbox", name="Value").fill("half a sen")
    desk.shoot("ask-sidebar")

    row.locator(".cv-row").click()
    tab = desk.page.locator(".jp-covalab-Tab:visible .jp-covalab-Dispatch")
    expect(form(tab, "approval").get_by_role("textbox", name="Value")).to_have_value("half a sen")
    desk.shoot("ask-tab")
    dark(desk, "ask-tab-dark")
    ct.continue_with(run, value="no", actor="Grace")
    for where in (tab, row):
        expect(form(where, "approval")).to_have_count(0)
        expect(where).to_contain_text("“approval” was answered by Grace with no")
    expect(badge(tab)).to_have_text("Completed")


def test_an_answer_that_comes_too_late_says_who_was_first(desk: Desk, lab: Lab, live: Client) -> None:
    """A page that has not received the other answer shows an error in its form, which it removes when it has."""
    held: list[bool] = []

    def relay(route: Route) -> None:
        """Pass an answer on, unless it is held back: also that of a request which began before."""
        answer = None if held else route.fetch()
        if answer is None or held:
            route.abort()
        else:
            route.fulfill(response=answer)

    desk.page.route("**/execution*", relay)
    desk.open(lab.notebook("late.ipynb", RELEASE))
    desk.run_all()
    view = desk.views().first
    ask = form(view, "approval")
    expect(ask).to_be_visible()
    held.append(True)
    ct.continue_with(identity(view), value="no", actor="Grace")
    expect(badge(view)).to_have_text("Completed")
    ask.get_by_role("button", name="Approve").click()
    expect(ask.get_by_role("alert")).to_contain_text("has been answered by Grace with no; an answer is final")
    held.clear()
    ask.get_by_role("button", name="Reject").click()
    expect(ask).to_have_count(0)
    expect(view).to_contain_text("“approval” was answered by Grace with no")
    desk.page.unroute_all(behavior="ignoreErrors")


def test_the_side_bar_answers_and_counts(desk: Desk, lab: Lab, live: Client) -> None:
    """A form in the row approves by keyboard; the dashboard's numbers are those of all tasks, and filter the list."""
    failing = "import covalab as ct\nct.dispatch(ct.lattice(ct.electron(lambda x: 1 / x)))(0)"
    desk.open(lab.notebook("side.ipynb", RELEASE, failing, BUSY.format(n=200)))
    desk.run_all()
    view = desk.views().first
    run = identity(view)
    desk.command("covalab:show-dispatches")
    bar = desk.page.locator("#covalab-dispatches")
    row = bar.locator(f".jp-covalab-Row[data-dispatch='{run}']")
    expect(row).to_contain_text("Waiting")
    lab.shut_kernels_down()
    approve = form(row, "approval").get_by_role("button", name="Approve")
    approve.focus()
    desk.page.keyboard.press("Enter")
    expect(form(row, "approval")).to_have_count(0)
    expect(row).to_have_attribute("data-status", "completed")
    assert ct.get_result(run).result is True

    expect(desk.views()).to_have_count(3)
    busy = bar.locator(f".jp-covalab-Row[data-dispatch='{identity(desk.views().nth(2))}']")
    busy.hover()
    busy.get_by_role("button", name="Pause: start no new tasks").click()
    expect(busy).to_contain_text("Paused")
    dashboard = bar.get_by_role("region", name="All tasks")
    desk.until(
        lambda: shown_labels(dashboard) == expected_labels(live.tasks_summary().counts),
        "the dashboard does not come to what there is",
    )
    counted = live.tasks_summary()
    good, bad = counted.counts["completed"], counted.counts["failed"]
    assert bad >= 1
    assert f"{round(100 * good / (good + bad))} % succeeded" in dashboard.inner_text()
    errors = dashboard.get_by_role("list", name="Why tasks failed")
    for type_, count in counted.error_types.items():
        expect(errors.locator("li", has_text=type_.replace("_", " "))).to_contain_text(str(count))
    desk.shoot("dashboard")
    dark(desk, "dashboard-dark")

    dashboard.locator("[data-tally=failed]").click()
    expect(busy).to_be_hidden()
    listed = bar.locator(".cv-rows > .jp-covalab-Row").evaluate_all("rows => rows.map(row => row.dataset.dispatch)")
    assert listed
    assert all(live.summary(one).counts.failed for one in listed)
    dashboard.locator("[data-tally=failed]").click()
    expect(busy).to_be_visible()

    longest = live.tasks_summary().oldest_running
    assert longest is not None
    name = live.node(longest.dispatch, longest.node).name.removeprefix(":pause_for:")
    expect(dashboard.locator(".cv-longest")).to_contain_text(re.compile(rf"Longest: {re.escape(name)} · \d+"))
    dashboard.locator(".cv-longest").click()
    tab = desk.page.locator(".jp-covalab-Tab:visible .jp-covalab-Dispatch")
    expect(tab.locator(".cv-name")).to_have_attribute("title", longest.dispatch)
    busy.locator(".cv-row").click()
    expect(badge(tab)).to_have_text("Paused")
    desk.shoot("paused-tab")
    ct.cancel(identity(tab))


def test_tasks_are_counted_seldom_and_only_while_somebody_looks(desk: Desk, lab: Lab) -> None:
    """While tasks end: not before the list is shown, then every few seconds, and not when it is hidden."""
    counted_at: list[float] = []

    def note(request: Request) -> None:
        if "/covalab/api/summary" in request.url:
            counted_at.append(time.monotonic())

    desk.page.on("request", note)
    desk.open(lab.notebook("seldom.ipynb", BUSY.format(n=200)))
    desk.run_all()
    view = desk.views().first
    desk.until(lambda: done(view) >= 3, "it does not begin")
    assert counted_at == []
    desk.command("covalab:show-dispatches")
    desk.until(lambda: len(counted_at) >= 3, "it is not counted again")
    assert all(later - earlier > 2 for earlier, later in pairwise(counted_at))
    desk.command("application:toggle-left-area")
    desk.page.wait_for_timeout(500)
    times, seen = len(counted_at), done(view)
    desk.page.wait_for_timeout(4000)
    assert done(view) > seen
    assert len(counted_at) == times
    view.get_by_role("button", name="Cancel").click()
    expect(badge(view)).to_have_text("Cancelled")


def expected_labels(counts: Mapping[TaskStatusName, int]) -> set[str]:
    """Return the labels that the dashboard should have for screen readers."""
    return {f"{count:,} task{'' if count == 1 else 's'} {word}" for word, count in counts.items() if count}


def shown_labels(dashboard: Locator) -> set[str]:
    """Return the labels that the dashboard has for screen readers."""
    found: list[str] = dashboard.locator(".cv-tally:visible").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-label'))"
    )
    return set(found)


NESTED = """
import covalab as ct

@ct.electron
@ct.lattice
def inner(n):
    return ct.pause_for("inside", n)

@ct.electron
def number():
    return 7

@ct.lattice
def outer():
    return inner(number())

run = ct.dispatch(outer)()
run
"""


def test_what_a_sublattice_asks_is_seen_in_the_list(desk: Desk, lab: Lab, live: Client) -> None:
    """The row of the outermost dispatch unfolds to the one that waits, and has the form there."""
    desk.open(lab.notebook("inside.ipynb", NESTED))
    desk.run_all()
    run = identity(desk.views().first)
    desk.command("covalab:show-dispatches")
    row = desk.page.locator(f".jp-covalab-Row[data-dispatch='{run}']")
    ask = form(row.locator(".cv-below"), "inside")
    expect(ask).to_be_visible()
    expect(row.get_by_role("button", name="1 sublattice · an answer is awaited")).to_be_visible()
    desk.shoot("ask-sublattice")
    ask.get_by_role("button", name="Approve").click()
    expect(badge(desk.views().first)).to_have_text("Completed")
    expect(ask).to_have_count(0)
    assert ct.get_result(run).result is True


def test_pause_and_resume_by_button(desk: Desk, lab: Lab, live: Client) -> None:
    """A paused dispatch starts no new task and is labelled; resumed, it continues where it was."""
    desk.open(lab.notebook("pause.ipynb", BUSY.format(n=60)))
    desk.run_all()
    view = desk.views().first
    desk.until(lambda: done(view) >= 3, "it does not begin")
    lab.shut_kernels_down()
    view.get_by_role("button", name="Pause", exact=True).click()
    expect(badge(view)).to_have_text("Paused")
    resume = view.get_by_role("button", name="Resume", exact=True)
    expect(resume).to_be_focused()
    run = identity(view)
    desk.until(lambda: live.summary(run).counts.running == 1, "what was begun does not end")  # who is asked counts
    stopped = live.summary(run).counts.completed
    desk.page.wait_for_timeout(1500)
    assert live.summary(run).counts.completed == stopped
    assert stopped < 60
    desk.shoot("paused")
    dark(desk, "paused-dark")
    resume.click()
    expect(view.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    desk.until(lambda: done(view) > stopped + 3, "it does not go on")
    form(view, "which one").get_by_role("button", name="Reject").click()
    expect(badge(view)).to_have_text("Completed")
    assert ct.get_result(run).result == [sum(range(60)), False]


def test_state_interventions_and_stream_are_shown(desk: Desk, lab: Lab, live: Client) -> None:
    """The panel is folded at first; then it has a tree that stays unfolded, the ledger, and a stream that grows."""
    desk.open(lab.notebook("execution.ipynb", RELEASE))
    desk.run_all()
    view = desk.views().first
    expect(form(view, "approval")).to_be_visible()
    run = identity(view)
    ct.intervene(run, {"please": "hurry"}, author="Grace", note="before noon")
    panel = view.locator(".cv-execution")
    title = panel.locator("> summary")
    expect(title).to_have_text("State of 3 keys · 1 intervention · 7 items in the stream")
    expect(panel.get_by_role("heading", name="State")).to_be_hidden()
    title.click()
    tree = panel.locator(".cv-tree").first
    tree.get_by_text("training").click()
    tree.get_by_text("layers").click()
    tree.get_by_text("losses").click()
    expect(tree).to_contain_text("first64int")
    expect(tree).to_contain_text("30.25float")
    expect(panel.locator(".cv-ledger")).to_contain_text("{'please': 'hurry'}Grace · pending · before noon")
    stream = panel.locator(".cv-stream")
    expect(stream).to_contain_text("{'epoch': 3, 'loss': 0.25}")
    expect(stream).to_contain_text("Waits for an answer")
    panel.scroll_into_view_if_needed()
    desk.shoot("execution")

    form(view, "approval").get_by_role("button", name="Approve").click()
    expect(badge(view)).to_have_text("Completed")
    expect(stream).to_contain_text("Answered")
    expect(panel.locator(".cv-ledger")).to_contain_text("inserted before publish")
    expect(panel.get_by_role("heading", name="Final result")).to_be_visible()
    expect(panel).to_contain_text("{'published': True}")
    expect(tree.get_by_text("first")).to_be_visible()
    panel.scroll_into_view_if_needed()
    dark(desk, "execution-dark")
    view.get_by_role("button", name="Open in a tab of its own").click()
    tab = desk.page.locator(".jp-covalab-Tab:visible .jp-covalab-Dispatch")
    tab.locator(".cv-execution > summary").filter(has_text="Final result").click()
    expect(tab.locator(".cv-stream")).to_contain_text("Answered")
    desk.shoot("execution-tab")
