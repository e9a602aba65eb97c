"""The command line `covalab`: control of the dispatcher, dispatches and settings without a notebook.

Commands only send requests and print answers. Each imports what it needs when it runs, so that `covalab --help` is
quick; what all of them share (`output`) imports `rich` only to print a table.
"""

from __future__ import annotations

from typing import Any

import click

from covalab._version import __version__
from covalab.cli import configuration, dispatcher, dispatches, export, jupyter, moving, notebooks, upkeep
from covalab.core.errors import CovalabError

__all__ = ["main"]


class CommandGroup(click.Group):
    """Group of commands that prints an error of covalab as one line and exits with code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        # Other exceptions are faults of ours and keep their traceback.
        try:
            return super().invoke(ctx)
        except CovalabError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-v", "--version", prog_name="covalab")
def main() -> None:
    """Run notebook cells as background tasks that outlive the notebook.

    All data is kept in one folder: the one that COVALAB_DATA_DIR names, or `covalab` in the Jupyter data directory.
    """


for _command in (
    *notebooks.COMMANDS,
    *dispatcher.COMMANDS,
    *dispatches.COMMANDS,
    *export.COMMANDS,
    *configuration.COMMANDS,
    *jupyter.COMMANDS,
    *upkeep.COMMANDS,
    *moving.COMMANDS,
):
    main.add_command(_command)
