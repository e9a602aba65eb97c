"""Commands for what comes from elsewhere: consent to open it, and files of dispatches."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click


@click.command()
@click.argument("what", metavar="[ID | FOLDER]", required=False)
def trust(what: str | None) -> None:
    """Trust dispatches that another account wrote, or that were changed since.

    ID is a dispatch, with all that belong together with it; FOLDER a data folder with all that is in it. Without
    either it is the whole data folder that is used. To open a value runs whatever code is in it, and what had not ended
    goes on.
    """
    from covalab.client import Client, connect, data_dir
    from covalab.sdk.ids import whole_id

    # `Path("")` is the current folder: an unset variable of a shell must not make a data folder of it.
    if what is not None and not (what and Path(what).is_dir()):
        count, where = connect().trust(what and whole_id(what)), f"in {data_dir()}"
    else:
        folder = data_dir() if what is None else Path(what).absolute()
        if what is not None and not (folder / "covalab.db").is_file():
            message = (
                f"nothing was trusted: {folder} is no data folder of covalab, it has no covalab.db; name one that has, "
                "or the id of a dispatch"
            )
            raise click.ClickException(message)
        count, where = Client(folder).trust(), f"in {folder}"
    click.echo(f"{count:,} dispatches {where} are trusted now" if count else f"all of it {where} was trusted already")


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as-new", is_flag=True, help="Record it under a new id.")
@click.option("--trusted", is_flag=True, help="Let its values be opened and its code run.")
def import_(file: Path, *, as_new: bool, trusted: bool) -> None:
    """Record the dispatch in FILE, which `covalab export ID -o FILE.covalab` wrote, and print its id."""
    from covalab.sdk.results.archives import import_dispatch

    click.echo(import_dispatch(file, as_new=as_new, trusted=trusted))


COMMANDS: Final[tuple[click.Command, ...]] = (trust, import_)
