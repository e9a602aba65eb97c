"""axe-core on a part of a page: what would stop a person with a screen reader or without a mouse."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator

_AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
_RUN = """async node => {
    const { violations } = await window.axe.run(node, { resultTypes: ['violations'] });
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
}"""


def violations(part: Locator) -> list[str]:
    """Return the violations in a part of a page, with the elements."""
    page = part.page
    if not page.evaluate("() => 'axe' in window"):
        # Within a function that hides `module` and `define`: it would register itself there, and not in `window`.
        page.evaluate(f"() => {{ const module = undefined, define = undefined; {_AXE.read_text(encoding='utf-8')} }}")
    found: list[str] = part.evaluate(_RUN)
    return found
