"""Commands about notebooks: run one in the background, go on with it, write the executed notebook."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from covalab.cli.export import export_archive, export_crate, is_crate
from covalab.cli.ids import dispatch_id
from covalab.cli.notebook_file import NotebookFile
from covalab.cli.notebook_table import follow
from covalab.core.errors import CovalabError, GraphError, MissingLatticeRecordError

_PAIR: Final = (str, str)


class _BadNotebook(click.ClickException):
    """Notebook or option that cannot be used: nothing was run."""

    exit_code = 2


def _yaml_of(text: str) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(text) if text.strip() else {}
    except yaml.YAMLError as error:
        message = f"the parameters are no YAML: {error}"
        raise _BadNotebook(message) from error
    if not isinstance(found, dict):
        message = f"the parameters must be names with values, like `region: north`, not {text[:60]!r}"
        raise _BadNotebook(message)
    return {str(name): value for name, value in found.items()}


@click.command()
@click.argument("notebook", metavar="NOTEBOOK.ipynb", required=False)
@click.option(
    "-p",
    "--parameter",
    "parameters",
    type=_PAIR,
    multiple=True,
    metavar="NAME VALUE",
    help="Value of a parameter: True, False, None and numbers are those, anything else is text. May be repeated.",
)
@click.option(
    "-r",
    "--raw",
    type=_PAIR,
    multiple=True,
    metavar="NAME TEXT",
    help="Parameter that is text, whatever it looks like.",
)
@click.option(
    "-y", "--yaml", "yamls", multiple=True, metavar="YAML", help="Parameters as YAML or JSON: `-y '{limits: [1, 2]}'`."
)
@click.option("-b", "--base64-yaml", "encoded", multiple=True, metavar="TEXT", help="Parameters as YAML in base64.")
@click.option(
    "-f",
    "--parameters-file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    help="YAML or JSON file of parameters.",
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="File for the executed notebook; its ending chooses the format, `-` is "
    "standard output. Default: NAME.executed.ipynb beside the notebook.",
)
@click.option("--in-place", is_flag=True, help="Write the executed notebook over NOTEBOOK.ipynb.")
@click.option(
    "--at", metavar="TIME", help="Start then: 2026-01-31T18:30, or 18:30 for the next time that it is so late."
)
@click.option(
    "--every",
    metavar="WHEN",
    help="Run it again and again: a timetable in cron's notation ('0 6 * * 1-5': at six on weekdays), or so long after "
    "each run ('30m', '12h', '1d').",
)
@click.option(
    "--time-zone", metavar="ZONE", help="Time zone of the timetable, such as Europe/Berlin; default: this machine's."
)
@click.option("--detach", is_flag=True, help="Print the dispatch id and return at once; write no file.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Limit for the whole run; then it is cancelled.",
)
@click.option(
    "--cell-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Limit for one cell that has none of its own.",
)
@click.option(
    "--cwd", type=click.Path(exists=True, file_okay=False), help="Working folder; default: that of the notebook."
)
@click.option(
    "--kernel-env", is_flag=True, help="Run in the environment of the notebook's kernel, not in that of this command."
)
@click.option("--allow-errors", is_flag=True, help="Run the cells after one that failed, too.")
@click.option(
    "--stop-on-error",
    is_flag=True,
    help="Run no cell after one that failed; else those run that are shown to be independent of it.",
)
@click.option(
    "--reuse/--fresh",
    default=None,
    help="Take values and outputs of cells that did not change from earlier runs, or run all. Default: --reuse; of "
    "runs at a later time or of a timetable: --fresh.",
)
@click.option(
    "--parallel/--no-parallel",
    default=None,
    help="Run cells that are shown to be independent of those before them beside these, and say at the end which; or "
    "run each in its turn. Default: beside, and only what ran so is said.",
)
@click.option("--no-check", is_flag=True, help="Do not look for missing packages before the run.")
@click.option(
    "--resume",
    metavar="ID",
    type=dispatch_id,
    help="Go on with a run that failed: completed cells at its beginning whose text is the same are kept.",
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Give the run this tag; may be repeated.")
@click.option("-q", "--quiet", is_flag=True, help="Show no table.")
def run(notebook: str | None, *, kernel_env: bool, **options: Any) -> None:
    """Run a notebook in the background, as it is, and write the executed notebook.

    A table shows its cells while they run, and the executed notebook is written as cells end. The notebook itself is
    not changed. Closing the terminal ends the table, not the run: `covalab export ID -o OUT` writes the executed
    notebook at any time.

    Exit codes: 0, all cells completed; 1, a cell failed, or the run was cancelled or took too long; 2, nothing was run;
    130, interrupted.
    """
    from covalab.jupyter.runs.document import NotebookRefused

    try:
        if kernel_env and notebook is not None:
            _enter_kernel_environment(notebook)
        _run(notebook, **options)
    except (NotebookRefused, GraphError, MissingLatticeRecordError) as error:
        raise _BadNotebook(str(error)) from error


def _run(
    notebook: str | None,
    *,
    output: str | None,
    in_place: bool,
    detach: bool,
    timeout: float | None,
    resume: str | None,
    quiet: bool,
    at: str | None,
    every: str | None,
    time_zone: str | None,
    **options: Any,
) -> None:
    from covalab.cli.notebook_times import timing_options
    from covalab.sdk.results.notebooks import run_of

    timing = timing_options(at, every, time_zone)
    is_later = bool(timing)
    if is_later and resume is not None:
        message = "--resume goes on at once; leave out --at and --every"
        raise click.UsageError(message)

    if notebook is None and resume is None:
        message = "name a notebook, or a run to go on with: --resume ID"
        raise click.UsageError(message)
    if sum((output is not None, in_place, detach or is_later)) > 1:
        message = (
            "nobody waits for a run with --detach, --at or --every, so leave out --output and --in-place; "
            "`covalab export ID -o OUT` writes the executed notebook"
        )
        raise click.UsageError(message)
    source = notebook
    if source is None:
        from covalab.client import connect

        source = run_of(connect().submission(str(resume))).path
    target = None if detach or is_later else _target(Path(source), output, in_place=in_place)
    dispatch = _resumed(resume, notebook, options) if resume else _started(source, options, timing)
    if is_later:
        _print_start(dispatch, timing)
        return
    if detach:
        click.echo(dispatch)
        return
    assert target is not None
    # The notebook itself is written over once, when there is something to replace it.
    grows = target.endswith(".ipynb") and not in_place
    file = NotebookFile(dispatch, target) if grows else None
    code = follow(
        dispatch,
        Path(source).name,
        timeout=timeout,
        quiet=quiet or target == "-",
        with_waits=bool(options["parallel"]),
        on_change=None if file is None else file.update,
    )
    _write(dispatch, target)
    sys.exit(code)


def _print_start(dispatch: str, timing: Mapping[str, Any]) -> None:
    """Print the id, and when it starts, in which time zone."""
    from covalab.cli.output import time_text
    from covalab.client import connect
    from covalab.sdk.dispatching.api import local_zone

    click.echo(dispatch)
    starts_at = connect().summary(dispatch).starts_at
    when = f"starts {time_text(starts_at)} ({local_zone()})" if starts_at is not None else "starts now"
    follows = f", then by {timing['cron']!r} in {timing.get('time_zone') or local_zone()}" if "cron" in timing else ""
    follows = f", then again {timing['interval']:g} s after each run" if "interval" in timing else follows
    click.echo(
        f"{when}{follows}; `covalab list --schedule {dispatch}` lists its runs, `covalab cancel` ends it", err=True
    )


def _started(notebook: str, options: Mapping[str, Any], timing: Mapping[str, Any]) -> str:
    from covalab.jupyter.runs.document import read_document
    from covalab.jupyter.runs.parameters import has_parameters_cell, unknown_parameters
    from covalab.jupyter.runs.run import run_notebook

    parameters = _parameters(options)
    document = read_document(Path(os.path.abspath(notebook)))  # noqa: PTH100 - a link is the notebook's name
    if parameters and not has_parameters_cell(document):
        click.echo(f"{notebook} has no cell tagged `parameters`; the values are set in a new first cell", err=True)
    for name in unknown_parameters(document, parameters):
        click.echo(f"the cell tagged `parameters` does not set {name!r}; it is set nevertheless", err=True)
    return str(
        run_notebook(
            notebook,
            parameters,
            document=document.json,
            cell_timeout=options["cell_timeout"],
            allow_errors=options["allow_errors"],
            stop_on_error=options["stop_on_error"],
            reuse=options["reuse"],
            parallel=options["parallel"] is not False,
            check=not options["no_check"],
            folder=options["cwd"],
            tags=options["tags"],
            **timing,
        )
    )


def _resumed(dispatch: str, notebook: str | None, options: Mapping[str, Any]) -> str:
    from covalab.jupyter.runs.run import resume_notebook

    if _parameters(options):
        message = "--resume goes on with the parameters of that run; start another run for other values"
        raise click.UsageError(message)
    return str(resume_notebook(dispatch, path=notebook))


def _parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters; where a name is given twice, the nearest to the end of this list counts."""
    from covalab.jupyter.runs.parameters import value_of_text

    found: dict[str, Any] = {}
    for text in options["encoded"]:
        try:
            found.update(_yaml_of(base64.b64decode(text, validate=True).decode()))
        except ValueError as error:
            message = f"--base64-yaml {text[:40]}: that is no base64 of text"
            raise _BadNotebook(message) from error
    for file in options["files"]:
        found.update(_yaml_of(Path(file).read_text(encoding="utf-8")))
    for text in options["yamls"]:
        found.update(_yaml_of(text))
    found.update({name: value_of_text(text) for name, text in options["parameters"]})
    found.update(dict(options["raw"]))
    return found


def _enter_kernel_environment(notebook: str) -> None:
    """Begin again in the interpreter of the notebook's kernel, if that is another."""
    from covalab.jupyter.runs.document import read_document
    from covalab.jupyter.runs.kernel_env import kernel_python

    kernel = kernel_python(read_document(Path(os.path.abspath(notebook))))  # noqa: PTH100 - as above
    if kernel.is_this:
        return
    arguments = [one for one in sys.argv[1:] if one != "--kernel-env"]
    code = "import sys; from covalab.cli import main; sys.argv[0] = 'covalab'; main()"
    os.execve(kernel.python, [kernel.python, "-c", code, *arguments], {**os.environ, **kernel.variables})  # noqa: S606


def _target(source: Path, output: str | None, *, in_place: bool) -> str:
    """Return the file for the executed notebook; refuse one that cannot be written before anything runs."""
    if output == "-":
        return output
    if in_place:
        target = source
    else:
        target = source.with_name(f"{source.stem}.executed.ipynb") if output is None else Path(output)
        if target.exists() and source.exists() and target.samefile(source):
            message = f"{target} is the notebook itself; --in-place writes the executed notebook over it"
            raise _BadNotebook(message)
    from covalab.sdk.results.notebooks import format_of

    try:
        format_of(target, None)
    except CovalabError as error:
        raise _BadNotebook(str(error)) from error
    folder = target.parent
    if not folder.is_dir():
        message = f"there is no folder {folder} for the executed notebook; make it, or name another file with -o"
        raise _BadNotebook(message)
    if not os.access(folder, os.W_OK):
        message = f"the folder {folder} is read-only; name another file for the executed notebook with -o"
        raise _BadNotebook(message)
    return str(target)


def _write(dispatch: str, target: str) -> None:
    from covalab.sdk.results.notebooks import executed_notebook, export_notebook, notebook_text

    if target == "-":
        click.echo(notebook_text(executed_notebook(dispatch)), nl=False)
        return
    try:
        written = export_notebook(dispatch, target)
    except OSError as error:
        message = (
            f"the executed notebook could not be written to {target} ({error.strerror or error}); nothing is lost: "
            f"`covalab export {dispatch} -o OUT` writes it"
        )
        raise click.ClickException(message) from error
    click.echo(f"wrote {written}", err=True)


@click.command()
@click.argument("dispatch", metavar="ID", type=dispatch_id)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="File to write: its ending (.ipynb, .html, .md, .py, .tex, .pdf, .rst) chooses the format, .zip or none (a "
    "folder) means an RO-Crate; `-` is the notebook on standard output.",
)
@click.option("--to", metavar="FORMAT", help="Another format: the name of an exporter of nbconvert.")
@click.option("--force", is_flag=True, help="Write over the notebook that was run.")
def export(dispatch: str, *, output: str, to: str | None, force: bool) -> None:
    """Write the executed notebook of a notebook run, as far as it has run; or any dispatch as an RO-Crate.

    The crate has source, arguments, versions and outputs. A file whose name ends in .covalab has the whole dispatch,
    for `covalab import` in another data folder.
    """
    if to is None and output.endswith(".covalab"):
        click.echo(export_archive(dispatch, output))
        return
    if to is None and is_crate(output):
        click.echo(export_crate(dispatch, output))
        return
    from covalab.client import connect
    from covalab.sdk.results.notebooks import executed_notebook, export_notebook, notebook_text, run_of

    if output == "-":
        click.echo(notebook_text(executed_notebook(dispatch)), nl=False)
        return
    source = Path(run_of(connect().submission(dispatch)).path)
    if not force and source.exists() and Path(output).exists() and source.samefile(output):
        message = f"{output} is the notebook that was run, and may have been changed since; --force writes over it"
        raise _BadNotebook(message)
    try:
        click.echo(f"wrote {export_notebook(dispatch, output, to)}", err=True)
    except OSError as error:
        message = f"{output} could not be written: {error.strerror or error}"
        raise click.ClickException(message) from error


COMMANDS: Final[tuple[click.Command, ...]] = (run, export)
