"""JupyterLab server and page, as the browser tests use them."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page, expect

ARTIFACTS = Path(__file__).parents[2] / "artifacts" / "browser"
PATIENCE = 60_000  # milliseconds; two busy cores


class Lab:
    """A JupyterLab server with our extension, under a base URL as JupyterHub gives one.

    Parameters
    ----------
    folder
        Where its notebooks, settings and runtime files go.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self.token = secrets.token_hex(16)
        self._runtime = folder / "runtime"
        settings = folder / "config" / "lab" / "user-settings" / "@jupyterlab"
        for name, content in {
            "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
            "notebook-extension/tracker": {"windowingMode": "none"},
        }.items():
            path = settings / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))
        environment = os.environ | {
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_RUNTIME_DIR": str(self._runtime),
            "IPYTHONDIR": str(folder / "ipython"),
        }
        environment.pop("JPY_PARENT_PID", None)
        self._log = (folder / "lab.log").open("wb")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                "--allow-root",
                "--ip=127.0.0.1",
                "--port=0",
                f"--IdentityProvider.token={self.token}",
                "--ServerApp.base_url=/user/ada/",
                "--LabApp.expose_app_in_browser=True",
                f"--ServerApp.root_dir={self.work}",
            ],
            env=environment,
            cwd=self.work,
            stdout=self._log,
            stderr=self._log,
        )
        self.url = self._find()

    def _find(self) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for file in self._runtime.glob("jpserver-*.json"):
                found = json.loads(file.read_text() or "{}")
                if found.get("port"):
                    url: str = found["url"]
                    return url.rstrip("/")
            assert self.process.poll() is None, Path(self._log.name).read_text()
            time.sleep(0.1)
        message = Path(self._log.name).read_text()
        raise AssertionError(message)

    def ask(self, path: str, method: str = "GET") -> Any:
        """Send a request to the server's API and return the answer."""
        request = urllib.request.Request(
            f"{self.url}/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def notebook(self, name: str, *cells: str, with_kernel: bool = True) -> str:
        """Write a notebook of code cells and return its name."""
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        if with_kernel:
            book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, self.work / name)
        return name

    def shut_kernels_down(self) -> None:
        """End every kernel and forget every session."""
        for session in self.ask("api/sessions"):
            self.ask(f"api/sessions/{session['id']}", "DELETE")
        for kernel in self.ask("api/kernels"):
            self.ask(f"api/kernels/{kernel['id']}", "DELETE")

    def stop(self) -> None:
        """End the server and its kernels."""
        self.process.send_signal(signal.SIGTERM)  # a shell that runs this in the background has SIGINT ignored
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


class Desk:
    """A JupyterLab page."""

    def __init__(self, page: Page, lab: Lab) -> None:
        self.page = page
        self.lab = lab
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)

    def open(self, notebook: str | None = None, *, reset: bool = True) -> None:
        """Load JupyterLab, with a notebook if one is named."""
        tree = f"/tree/{notebook}" if notebook else ""
        query = f"token={self.lab.token}" + ("&reset" if reset else "")
        self.page.goto(f"{self.lab.url}/lab{tree}?{query}")
        self.page.wait_for_function("window.jupyterapp !== undefined")
        self.page.evaluate("() => window.jupyterapp.restored.then(() => null)")
        if notebook:
            self.page.locator(".jp-NotebookPanel:visible .jp-Cell").first.wait_for()

    def command(self, name: str) -> None:
        """Run a command of JupyterLab, as soon as it is enabled."""
        self.page.wait_for_function("name => window.jupyterapp.commands.isEnabled(name)", arg=name)
        # `void`: what a command returns cannot always be sent to us.
        self.page.evaluate("name => { void window.jupyterapp.commands.execute(name); }", name)

    def wait_for_kernel(self) -> None:
        """Wait until the notebook's kernel answers."""
        self.page.wait_for_function(
            """() => {
                const panel = window.jupyterapp.shell.currentWidget;
                const kernel = panel?.sessionContext?.session?.kernel;
                return kernel?.connectionStatus === 'connected' && kernel?.status === 'idle';
            }"""
        )

    def is_executing(self, cell: int) -> bool:
        """Return whether a code cell still runs.

        A kernel whose lock is held by C code cannot even say that it is busy; its cell's prompt can.
        """
        prompts = self.page.locator(".jp-NotebookPanel:visible .jp-CodeCell .jp-InputPrompt")
        return prompts.nth(cell).inner_text() == "[*]:"

    def run_all(self) -> None:
        """Run every cell of the notebook."""
        self.wait_for_kernel()
        self.command("notebook:run-all-cells")

    def keys_as_notebook_7(self) -> None:
        """Let the page look for shortcuts before its elements get a key, as Notebook 7 does; Lab does it after."""
        self.page.evaluate(
            """() => document.addEventListener(
                'keydown', event => window.jupyterapp.commands.processKeydownEvent(event), true
            )"""
        )

    def save(self) -> None:
        """Save the notebook and wait until it is on the disk."""
        self.command("docmanager:save")
        self.page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")

    def views(self) -> Locator:
        """Return the dispatches that are shown in the notebook."""
        return self.page.locator(".jp-NotebookPanel:visible .jp-covalab-Dispatch")

    def shoot(self, name: str) -> None:
        """Save a screenshot for review."""
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")

    def until(self, what: Callable[[], bool], message: str, seconds: float = 60) -> None:
        """Wait for a condition while the page continues to run."""
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                self.shoot("did-not-happen")
                raise AssertionError(message)
            self.page.wait_for_timeout(100)


def badge(view: Locator) -> Locator:
    """Return the element with the status of a view."""
    return view.locator(".cv-badge")


def done(view: Locator) -> int:
    """Return the number of ended nodes that a view shows."""
    return int(view.locator(".cv-bar").first.get_attribute("aria-valuenow") or 0)
