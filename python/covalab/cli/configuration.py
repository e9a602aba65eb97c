"""Commands about settings and files: `config`, `purge`, and the two of Covalent's that are not available."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from covalab.cli.output import duration_text

_REPLACEMENTS: Final[Mapping[str, str]] = {
    "db": "the database is brought up to date when the dispatcher starts; there is nothing to migrate by hand",
    "deploy": (
        "covalab starts no machines; name a cluster that is there, or a class that starts one, in `dask.cluster_class` "
        "(`covalab config` shows the file)"
    ),
}
"""Commands of Covalent's that are not available, and what to use instead."""


def save_settings(*, workers: int | None = None, memory: str | None = None, no_cluster: bool | None = None) -> None:
    """Write the given options to the configuration file; those that are None stay as they are."""
    from covalab.sdk.configuration import set_config

    given: dict[str, Any] = {"dask.num_workers": workers, "dask.mem_per_worker": memory}
    if no_cluster is not None:
        given["sdk.no_cluster"] = "true" if no_cluster else "false"
    given = {key: value for key, value in given.items() if value is not None}
    if given:
        set_config(given)


@click.command()
def config() -> None:
    """Show the configuration file: the settings in it, and the defaults of the others."""
    import tomlkit

    from covalab.config import config_file
    from covalab.sdk.configuration import get_config

    path = config_file()
    click.echo(f"# {path}{'' if path.exists() else ' (not there: these are the defaults)'}")
    click.echo(tomlkit.dumps(get_config()), nl=False)


@click.command()
@click.option("-H", "--hard", is_flag=True, help="Also delete all dispatches and their values.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option(
    "--older-than",
    metavar="DURATION",
    help="Delete only dispatches that ended longer ago than this, e.g. '30 days'; everything else stays.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be deleted, and delete nothing.")
def purge(*, hard: bool, yes: bool, older_than: str | None, dry_run: bool) -> None:
    """Stop the dispatcher and delete the configuration file, logs and caches.

    With --hard, all dispatches are deleted too. With --older-than, only dispatches that ended before are deleted, and
    the dispatcher is not stopped.
    """
    if older_than is not None:
        _purge_dispatches(older_than, hard=hard, yes=yes, dry_run=dry_run)
        return
    from covalab.client import Client
    from covalab.client.connecting import own_data_dir
    from covalab.client.launcher import find

    folder = own_data_dir()
    paths = _paths_to_delete(folder, hard=hard)
    if not paths:
        click.echo(f"there is nothing to delete in {folder}")
        return
    for path in paths:
        click.echo(str(path))
    if dry_run:
        return
    if not yes:
        click.confirm("Delete these?", abort=True)
    if find(folder) is not None:
        Client(folder, start=False).stop()
    for path in paths:
        _delete(path)
    click.echo("deleted")


def _paths_to_delete(folder: Path, *, hard: bool) -> list[Path]:
    from covalab.client.paths import CACHES, KEPT
    from covalab.config import config_file

    # By name: whatever folder COVALAB_DATA_DIR names, other files in it must not be deleted.
    paths = [config_file(), *(folder / name for name in (*CACHES, *(KEPT if hard else ())))]
    return [path for path in paths if path.exists()]


def _delete(path: Path) -> None:
    # The target of a link belongs to its owner; only the link is deleted.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _purge_dispatches(duration: str, *, hard: bool, yes: bool, dry_run: bool) -> None:
    from covalab.client import connect
    from covalab.core.duration_text import parse_duration
    from covalab.core.lifecycle import covalent_text
    from covalab.view.words import short_name

    if hard:
        message = "--hard deletes all dispatches, --older-than some; give one of them"
        raise click.UsageError(message)
    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--older-than") from error
    if dry_run:
        due = connect().due(time.time() - seconds)
        for dispatch in due:
            summary = connect().summary(dispatch)
            click.echo(f"{dispatch}  {short_name(summary.name)}  {covalent_text(summary.status)}")
        click.echo(f"{len(due)} dispatches would be forgotten")
        return
    if not yes:
        click.confirm(f"Forget dispatches that ended more than {duration_text(seconds)} ago?", abort=True)
    click.echo(f"{connect().purge(time.time() - seconds)} dispatches are forgotten")


def _unavailable(name: str) -> click.Command:
    """Return a command that only says what to use instead, whatever arguments follow it."""

    def refuse(**_: object) -> None:
        message = f"`covalab {name}`: {_REPLACEMENTS[name]}"
        raise click.UsageError(message)

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["args"], nargs=-1, type=click.UNPROCESSED)],
        help=f"Not available: {_REPLACEMENTS[name]}.",
        context_settings={"ignore_unknown_options": True},
    )


COMMANDS: Final[tuple[click.Command, ...]] = (config, purge, *map(_unavailable, _REPLACEMENTS))
