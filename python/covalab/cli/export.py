"""Commands that take a dispatch elsewhere: as an RO-Crate, or beside another one."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from covalab.cli.ids import dispatch_id
from covalab.cli.output import console, plain_text
from covalab.core.previews import PreviewQuery

if TYPE_CHECKING:
    from covalab.sdk.results.result import Result

_MOST_OUTPUTS: Final = 200


def is_crate(output: str) -> bool:
    """Whether an output is a folder or an archive, and so an RO-Crate rather than a notebook."""
    return output != "-" and Path(output).suffix.lower() in ("", ".zip")


def export_crate(dispatch: str, output: str) -> Path:
    """Write source, arguments, versions and outputs of a dispatch as an RO-Crate; return its path."""
    from covalab.sdk.results import fetch
    from covalab.sdk.results.provenance import write_crate

    result = fetch.fetch_result(dispatch)
    return write_crate(Path(output), result.provenance(), dict(_outputs(result)))


def export_archive(dispatch: str, output: str) -> Path:
    """Write a dispatch with all below it as one file; return its path."""
    from covalab.sdk.results.archives import export_dispatch

    return export_dispatch(dispatch, output)


@click.command()
@click.argument("left", metavar="A", type=dispatch_id)
@click.argument("right", metavar="B", type=dispatch_id)
def compare(left: str, right: str) -> None:
    """Compare two dispatches: inputs, code, versions, durations, and outputs by digest."""
    from covalab.sdk.results import comparing

    for line in repr(comparing.compare(left, right)).splitlines():
        console().print(plain_text(line))


def _outputs(result: Result) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of a file for each output: in a format that other programs read where there is one."""
    from covalab.client import connect

    client, record = connect(), result.full_record()
    for number in sorted(record.outputs)[:_MOST_OUTPUTS]:
        name = f"outputs/{number}-{_file_name(record.graph.nodes[number].name)}"
        file = client.preview(result.dispatch_id, number, PreviewQuery(whole=True)).file
        if file is None:
            yield f"{name}.txt", record.outputs[number].text.encode("utf-8", "backslashreplace")
        else:
            yield f"{name}.{file.ending}", base64.b64decode(file.content)


def _file_name(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_" else "_" for char in name)[:60]


COMMANDS: Final[tuple[click.Command, ...]] = (compare,)
