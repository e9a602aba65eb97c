"""Generator of `run.svg`: the table of `covalab run`, as a terminal shows it while the fourth cell runs.

Run it after a change of the table: ``uv run python python/docs/generate_run_picture.py``.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

from rich.console import Console

from covalab.cli.notebook_table import cell_table
from covalab.core.model import NodeState

TARGET: Final = Path(__file__).parent / "run.svg"
_CELLS: Final = (
    ("region, year = 'north', 2025", 0.01),
    ("import pandas as pd", 0.4),
    ("sales = pd.read_csv('sales.csv')", 12.0),
    ("model = fit(sales, folds=10)", None),
    ("plt.plot(model.predict(sales))", -1.0),
    ("sales.groupby('month').sum()", -1.0),
)
_NOW: Final = 1_800_000_000.0
_FORMAT: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px;
line-height: {line_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
<rect width="{width}" height="{height}" rx="8" fill="#292929" />
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def picture() -> str:
    """Return the picture."""
    states: dict[int, NodeState] = {}
    begin = _NOW - 60.0
    for node, (_, took) in enumerate(_CELLS):
        if took is None:
            states[node] = NodeState(node, "running", begin)
        elif took >= 0:
            states[node] = NodeState(node, "completed", begin, begin + took)
    out = Console(record=True, width=66, file=io.StringIO(), force_terminal=True, highlight=False)
    out.print("$ covalab run report.ipynb -p region north")
    texts = [text for text, _ in _CELLS]
    out.print(cell_table(list(range(len(_CELLS))), dict(enumerate(texts)), states, range(1, len(_CELLS) + 1), now=_NOW))
    return out.export_svg(title="", code_format=_FORMAT, unique_id="run")


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
