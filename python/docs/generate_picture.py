"""Writes `python/docs/graph.svg`: the picture that an output cell keeps of a dispatch, from a real one.

`python python/docs/generate_picture.py`, in an environment with scikit-learn.
"""

from __future__ import annotations

import os
import re
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("graph.svg")


def main() -> None:
    """Dispatch the README's sweep in a data folder of its own, and keep its picture."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COVALAB_DATA_DIR"] = folder
        import covalab as ct  # noqa: PLC0415 - it reads the variable

        try:
            TARGET.write_text(_picture(ct), encoding="utf-8")
        finally:
            ct.covalent_stop()


def _picture(ct: Any) -> str:
    """Return the SVG in the HTML output of a completed dispatch."""

    @ct.electron
    def load() -> Any:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - the worker's business

        return load_digits(return_X_y=True)

    @ct.electron
    def train_svm(data: Any, c: float) -> Any:
        from sklearn.svm import SVC  # noqa: PLC0415

        return SVC(C=c).fit(*data)

    @ct.electron
    def score_svm(data: Any, model: Any) -> float:
        return float(model.score(*data))

    @ct.electron
    def best_of(scores: list[float]) -> float:
        return max(scores)

    @ct.lattice
    def experiment() -> Any:
        data = load()
        return best_of([score_svm(data, train_svm(data, c)) for c in (0.1, 1.0, 10.0)])

    run = ct.dispatch(experiment)()
    html = ct.get_result(run, wait=True)._repr_mimebundle_()["text/html"]
    found = re.search(r"data:image/svg\+xml;base64,([^\"]+)", html)
    assert found is not None, html
    return b64decode(found[1]).decode()


if __name__ == "__main__":
    main()
