"""A table of the law.

`python -m tests.law [NOTEBOOK ...] [--way whole|run|mixed] [--details]`; without names, all notebooks of ours. With
`--folder FOLDER` the notebooks there that run plainly, twice the same.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.law.compare import differences, failed
from tests.law.judge import Verdict, judge
from tests.law.notebooks import Notebook, notebooks, public
from tests.law.ways import WAYS, Run, Way, run_plainly

from covalab.client import Client, connect


def main() -> int:
    """Run notebooks in the background, print how they compare with their plain runs; 1 if one is not the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--details", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    ways: tuple[Way, ...] = tuple(options.way or WAYS)
    found = notebooks() if options.folder is None else [public(path) for path in sorted(options.folder.glob("*.ipynb"))]
    chosen = [one for one in found if not options.names or one.name in options.names]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as text:
        folder = Path(text)
        os.environ |= {"COVALAB_DATA_DIR": f"{text}/data", "COVALAB_CONFIG": f"{text}/none", "COVALAB_WORKERS": "2"}
        client = connect(data_dir=folder / "data")
        print(f"{'notebook':28} " + " ".join(f"{way:10}" for way in ways))
        try:
            rows = [
                _row(one, ways, folder, client, is_public=options.folder is not None, with_details=options.details)
                for one in chosen
            ]
        finally:
            client.stop()
    judged = [one for row in rows for one in row]
    print(f"{sum(one.status == 'same' for one in judged)} of {len(judged)} the same")
    return int(any(one.status != "same" for one in judged))


def _row(
    notebook: Notebook, ways: Sequence[Way], folder: Path, client: Client, *, is_public: bool, with_details: bool
) -> list[Verdict]:
    began = time.monotonic()
    try:
        plain = run_plainly(notebook.cells, folder / notebook.name)
        reason = _unfit(notebook, plain, folder) if is_public else ""
    except Exception as error:
        if not is_public:
            raise
        reason = f"{type(error).__name__} in the plain run"
    if reason:
        print(f"{notebook.name:28} left out: {reason}", flush=True)
        return []
    verdicts = [_judged(notebook, way, plain, folder, client) for way in ways]
    took = time.monotonic() - began
    print(f"{notebook.name:28} " + " ".join(f"{one.status:10}" for one in verdicts) + f" {took:5.1f} s", flush=True)
    if with_details:
        print("\n".join(one.text for one in verdicts if one.text), flush=True)
    return verdicts


def _unfit(notebook: Notebook, plain: Run, folder: Path) -> str:
    """Return why somebody else's notebook says nothing about the law."""
    if plain.failed_at is not None:
        return f"cell {plain.failed_at} fails here: {failed(plain)[:100]}"
    again = run_plainly(notebook.cells, folder / f"{notebook.name}-again")
    found = differences(plain, again)
    return f"two plain runs differ: {found[0].kind} in {found[0].where}" if found else ""


def _judged(notebook: Notebook, way: Way, plain: Run, folder: Path, client: Client) -> Verdict:
    try:
        return judge(notebook, way, plain, folder / notebook.name, client)
    except Exception:  # noqa: BLE001 - a row of the table all the same
        return Verdict("failed", f"{notebook.name}, {way}: {traceback.format_exc()[-1500:]}")


if __name__ == "__main__":
    sys.exit(main())
