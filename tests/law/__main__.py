"""A table of the law: `python -m tests.law [NOTEBOOK ...] [--way whole|run|mixed] [--details]`; without names, all."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import traceback
from pathlib import Path

from tests.law.judge import Verdict, judge
from tests.law.notebooks import Notebook, notebooks
from tests.law.ways import WAYS, Way, run_plainly

from covalab.client import Client, connect


def main() -> None:
    """Run notebooks in the background and print how they compare with their plain runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--way", choices=WAYS, action="append")
    parser.add_argument("--details", action="store_true")
    options = parser.parse_args()
    ways: tuple[Way, ...] = tuple(options.way or WAYS)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as text:
        folder = Path(text)
        os.environ |= {"COVALAB_DATA_DIR": f"{text}/data", "COVALAB_CONFIG": f"{text}/none", "COVALAB_WORKERS": "2"}
        client = connect(data_dir=folder / "data")
        print(f"{'notebook':28} " + " ".join(f"{way:10}" for way in ways))
        try:
            for notebook in notebooks():
                if not options.names or notebook.name in options.names:
                    _row(notebook, ways, folder, client, with_details=options.details)
        finally:
            client.stop()


def _row(notebook: Notebook, ways: tuple[Way, ...], folder: Path, client: Client, *, with_details: bool) -> None:
    began = time.monotonic()
    plain = run_plainly(notebook.cells, folder / notebook.name)
    verdicts = [_judged(notebook, way, plain, folder, client) for way in ways]
    took = time.monotonic() - began
    print(f"{notebook.name:28} " + " ".join(f"{one.status:10}" for one in verdicts) + f" {took:5.1f} s", flush=True)
    if with_details:
        print("\n".join(one.text for one in verdicts if one.text), flush=True)


def _judged(notebook: Notebook, way: Way, plain: object, folder: Path, client: Client) -> Verdict:
    try:
        return judge(notebook, way, plain, folder / notebook.name, client)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - a row of the table all the same
        return Verdict("failed", f"{notebook.name}, {way}: {traceback.format_exc()[-1500:]}")


if __name__ == "__main__":
    main()
