"""axe-core on a part of a page: what would stop a person with a screen reader or without a mouse."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator

_AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
# Whether a level is left out is seen beside the headings before the part only, so that rule looks at the whole page.
_RUN = """async node => {
    const own = await window.axe.run(node, { resultTypes: ['violations'] });
    const order = await window.axe.run(document, { runOnly: ['heading-order'], elementRef: true });
    const headings = order.violations
        .map(found => ({ ...found, nodes: found.nodes.filter(({ element }) => node.contains(element)) }))
        .filter(({ nodes }) => nodes.length > 0);
    return [...own.violations.filter(({ id }) => id !== 'heading-order'), ...headings]
        .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
}"""


def violations(part: Locator) -> list[str]:
    """Return the violations in a part of a page, with the elements."""
    page = part.page
    if not page.evaluate("() => 'axe' in window"):
        # Within a function that hides `module` and `define`: it would register itself there, and not in `window`.
        page.evaluate(f"() => {{ const module = undefined, define = undefined; {_AXE.read_text(encoding='utf-8')} }}")
    found: list[str] = part.evaluate(_RUN)
    return found
