"""The page in Chromium: a graph of ten thousand drawn nodes, and the table of its tasks.

Frames are as long as the page shows them, so a busy machine makes them longer. Of the longest tasks of the page's main
thread the processor time is given as well, which does not depend on what else runs.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.labextension.front_end import ROOT, run

NODES, WIDTH = 10_000, 100
ZOOM_FRAMES = 80
"""As many as ``page.ts`` asks for; the tasks that draw them are the longest of that step."""
SIZE = {"width": 1100, "height": 700}
STEPS = ("open", "drawn", "zoom", "table")
STYLES = ("view", "graph", "timeline", "tables", "panel")
BROWSER_ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")


class Task(NamedTuple):
    """One task of the main thread: milliseconds by the clock, and milliseconds of processor time."""

    clock: float
    processor: float
    is_whole: bool
    """Whether it is no part of another one that is counted."""


class Page(NamedTuple):
    """One visit, in milliseconds."""

    first_picture: float
    frame: float
    frame_p95: float
    longest: dict[str, Task]
    frame_processor_p95: float
    first_picture_processor: float


def chromium() -> str | None:
    """Return the path of Chromium, if there is one."""
    return os.environ.get("COVALAB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


def visit(browser: str) -> Page:
    """Open the page once, in a browser of its own, and do what a reader does."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=browser, args=list(BROWSER_ARGUMENTS))
        page = program.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.set_content(_document())
        devtools = page.context.new_cdp_session(page)
        events: list[dict[str, Any]] = []
        devtools.on("Tracing.dataCollected", lambda part: events.extend(part["value"]))
        devtools.send(
            "Tracing.start", {"transferMode": "ReportEvents", "categories": "toplevel,blink.user_timing,v8.gc"}
        )
        first_picture = page.evaluate("bench.open()")
        page.wait_for_timeout(1500)  # the minimap and the timeline are drawn afterwards
        frame, frame_p95 = page.evaluate("bench.zoom()")
        page.evaluate("bench.table()")
        with_end: list[object] = []
        devtools.on("Tracing.tracingComplete", lambda end: with_end.append(end))  # noqa: PLW0108 - playwright marks what it calls
        devtools.send("Tracing.end")
        while not with_end:
            page.wait_for_timeout(50)
        program.close()
    tasks = tasks_by_step(events)
    longest = {step: max(found, key=lambda task: task.processor) for step, found in tasks.items()}
    frames = sorted(task.processor for task in tasks["zoom"])[-ZOOM_FRAMES:]
    until_drawn = sum(task.processor for task in tasks["open"] if task.is_whole)
    return Page(first_picture, frame, frame_p95, longest, frames[round(0.95 * (ZOOM_FRAMES - 1))], until_drawn)


def tasks_by_step(events: Sequence[dict[str, Any]]) -> dict[str, list[Task]]:
    """Return the tasks of the main thread in each step, from the events of a trace."""
    marks = {event["name"]: event for event in events if event["name"] in STEPS}
    thread = (marks["open"]["pid"], marks["open"]["tid"])
    ends = [*(marks[step]["ts"] for step in STEPS[1:]), float("inf")]
    found = {}
    for step, end in zip(STEPS, ends, strict=True):
        found[step] = [
            Task(event["dur"] / 1000, event.get("tdur", 0) / 1000, event["name"].startswith("ThreadController"))
            for event in events
            if (event["pid"], event["tid"]) == thread
            and event["name"].endswith("RunTask")
            and marks[step]["ts"] <= event["ts"] + event.get("dur", 0)
            and event["ts"] < end
            and "dur" in event
        ]
    return found


def _document() -> str:
    """Build the page: the front end's own code and styles, in one document."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "page.js"
        options = {"entryPoints": [str(Path(__file__).with_suffix(".ts"))], "bundle": True, "outfile": str(script)}
        run("-e", f"require('esbuild').buildSync({json.dumps(options | {'format': 'iife'})})")
        code = script.read_text()
    styles = "".join((ROOT / f"labextension/style/{name}.css").read_text() for name in STYLES)
    constants = json.dumps({"nodes": NODES, "width": WIDTH})
    return (
        f"<!doctype html><meta charset=utf-8><style>{styles} body {{ margin: 0 }} #host {{ display: flex;"
        f" width: {SIZE['width']}px; height: {SIZE['height']}px }} #host > * {{ flex: 1 }}</style>"
        f"<div id=host></div><script>const PAGE = {constants};</script><script>{code}</script>"
    )
