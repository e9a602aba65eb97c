"""A table of the law.

`python -m tests.law [NOTEBOOK ...] [--way file|reuse|parallel|broken|whole|run|mixed] [--details]`; without names, all
notebooks of ours. With `--folder FOLDER` the notebooks there that run plainly, twice the same. `--plain FOLDER` keeps
plain runs there, for the next table of the same notebooks.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from tests.law.broken_way import judge_broken
from tests.law.compare import differences, failed
from tests.law.file_way import judge_file
from tests.law.judge import Verdict, judge
from tests.law.notebooks import Notebook, notebooks, public
from tests.law.reuse_way import judge_reuse
from tests.law.ways import WAYS, Run, run_plainly

from covalab.client import Client, connect

_ALL_WAYS: tuple[str, ...] = (*WAYS, "file", "reuse", "parallel", "broken")


def main() -> int:
    """Run notebooks in the background, print how they compare with their plain runs; 1 if one is not the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--way", choices=_ALL_WAYS, action="append")
    parser.add_argument("--details", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--plain", type=Path)
    options = parser.parse_args()
    ways: tuple[str, ...] = tuple(options.way or WAYS)
    found = notebooks() if options.folder is None else [public(path) for path in sorted(options.folder.glob("*.ipynb"))]
    chosen = found
    if options.names:
        chosen = [one for name in options.names for one in found if one.name == name]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as text:
        folder = Path(text)
        os.environ |= {"COVALAB_DATA_DIR": f"{text}/data", "COVALAB_CONFIG": f"{text}/none"}
        os.environ.setdefault("COVALAB_WORKERS", "2")
        client = connect(data_dir=folder / "data")
        table = _Table(ways, folder, client, options.plain, is_public=options.folder is not None)
        print(f"{'notebook':28} " + " ".join(f"{way:10}" for way in ways))
        try:
            rows = [table.row(one, with_details=options.details) for one in chosen]
        finally:
            client.stop()
    judged = [one for row in rows for one in row]
    print(f"{sum(one.status == 'same' for one in judged)} of {len(judged)} the same")
    return int(any(one.status != "same" for one in judged))


class _Table:
    """Rows of the table: notebooks compared in the chosen ways."""

    def __init__(
        self, ways: Sequence[str], folder: Path, client: Client, kept: Path | None, *, is_public: bool
    ) -> None:
        self._ways = ways
        self._folder = folder
        self._client = client
        self._kept = kept
        self._is_public = is_public

    def row(self, notebook: Notebook, *, with_details: bool) -> list[Verdict]:
        """Print how one notebook compares, and return the verdicts."""
        began = time.monotonic()
        try:
            plain = self._plain(notebook)
            reason = _unfit(notebook, plain, self._folder) if self._is_public else ""
        except Exception as error:
            if not self._is_public:
                raise
            reason = f"{type(error).__name__} in the plain run"
        if reason:
            print(f"{notebook.name:28} left out: {reason}", flush=True)
            return []
        verdicts = [self._judged(notebook, way, plain) for way in self._ways]
        took = time.monotonic() - began
        print(f"{notebook.name:28} " + " ".join(f"{one.status:10}" for one in verdicts) + f" {took:5.1f} s", flush=True)
        if with_details:
            print("\n".join(one.text for one in verdicts if one.text), flush=True)
        return verdicts

    def _plain(self, notebook: Notebook) -> Run:
        """Return the plain run, from the folder of those that were kept if it is there."""
        if self._kept is None:
            return run_plainly(notebook.cells, self._folder / notebook.name)
        text = hashlib.sha256("\n# %%\n".join(notebook.cells).encode()).hexdigest()[:16]
        path = self._kept / f"{notebook.name}-{text}.json"
        if not path.exists():
            self._kept.mkdir(parents=True, exist_ok=True)
            path.write_bytes(msgspec.json.encode(run_plainly(notebook.cells, self._folder / notebook.name)))
        return msgspec.json.decode(path.read_bytes(), type=Run)

    def _judged(self, notebook: Notebook, way: str, plain: Run) -> Verdict:
        folder = self._folder / notebook.name
        judges: dict[str, Callable[[], Verdict]] = {
            one: lambda one=one: judge(notebook, one, plain, folder, self._client)  # type: ignore[misc]
            for one in WAYS
        }
        judges["file"] = lambda: judge_file(notebook, plain, folder, self._client)
        judges["parallel"] = lambda: judge_file(notebook, plain, folder, self._client, parallel=True)
        judges["reuse"] = lambda: judge_reuse(notebook, plain, folder, self._client)
        judges["broken"] = lambda: judge_broken(notebook, plain, folder, self._client)
        try:
            return judges[way]()
        except Exception:  # noqa: BLE001 - a row of the table all the same
            return Verdict("failed", f"{notebook.name}, {way}: {traceback.format_exc()[-1500:]}")


def _unfit(notebook: Notebook, plain: Run, folder: Path) -> str:
    """Return why somebody else's notebook says nothing about the law."""
    if plain.failed_at is not None:
        return f"cell {plain.failed_at} fails here: {failed(plain)[:100]}"
    again = run_plainly(notebook.cells, folder / f"{notebook.name}-again")
    found = differences(plain, again)
    return f"two plain runs differ: {found[0].kind} in {found[0].where}" if found else ""


if __name__ == "__main__":
    sys.exit(main())
