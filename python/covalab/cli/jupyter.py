"""Commands that start Jupyter: `lab` and `demo`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from covalab.cli.output import console


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def lab(args: Sequence[str]) -> None:
    """Start JupyterLab with covalab. All arguments are passed to `jupyter lab`."""
    _require("jupyterlab")
    sys.stdout.flush()  # `execv` discards what is still in the buffer
    # JupyterLab replaces this process, so that Ctrl-C and signals reach it directly.
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *args])  # noqa: S606 - no shell is wanted


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("covalab-demo"),
    show_default=True,
    help="Folder to copy the notebook to.",
)
def demo(folder: Path) -> None:
    """Run the first notebook in a Jupyter server, shut its kernel down, and fetch the results from another kernel."""
    for module in ("nbformat", "sklearn", "matplotlib", "jupyterlab"):
        _require(module)
    from covalab.demo import DemoFailed, run

    try:
        run(folder.absolute(), console())
    except DemoFailed as error:
        raise click.ClickException(str(error)) from error


def _require(module: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        message = f"{module} is not installed here; `{sys.executable} -m pip install 'covalab[demo]'` installs it"
        raise click.ClickException(message)


COMMANDS: Final[tuple[click.Command, ...]] = (lab, demo)
