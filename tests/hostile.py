"""Texts that try to become a program wherever they are shown: names, outputs, errors, values."""

from __future__ import annotations

from html.parser import HTMLParser
from itertools import product
from typing import Final

_RUN: Final = "globalThis.__hit=1"

_TAGS: Final = (
    "<script>{}</script>",
    "<ScRiPt >{}</ScRiPt>",
    "<scr<script>ipt>{}</script>",
    "<img src=x onerror={}>",
    '<img src=x onerror="{}">',
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg><animate onbegin={} attributeName=x dur=1s>",
    "<svg><foreignObject><iframe srcdoc='<script>parent.{}</script>'></foreignObject></svg>",
    "<iframe src=javascript:{}>",
    "<iframe srcdoc='<script>parent.{}</script>'>",
    "<object data=javascript:{}>",
    "<embed src=javascript:{}>",
    "<a href=javascript:{} autofocus onfocus={}>x</a>",
    "<input autofocus onfocus={}>",
    "<details open ontoggle={}>x</details>",
    "<video><source onerror={}></video>",
    "<body onload={}>",
    "<style>@import 'javascript:{}'</style>",
    "<link rel=stylesheet href=javascript:{}>",
    "<meta http-equiv=refresh content='0;javascript:{}'>",
    "<base href=javascript:{}//>",
    "<form action=javascript:{}><button>x</button></form>",
    "<math><mtext><script>{}</script></mtext></math>",
    "<template><script>{}</script></template>",
)
_AROUND: Final = ("{}", '">{}', "'>{}", "</td></tr></table>{}", "-->{}<!--", "]]>{}", "\x00{}", "</pre></summary>{}")

PAYLOADS: Final = [around.format(tag.replace("{}", _RUN)) for around, tag in product(_AROUND, _TAGS)]
"""Two hundred of them; each sets a variable if it runs."""

_FORBIDDEN: Final = frozenset(
    "script iframe object embed link meta base form input video style template svg math body".split()  # noqa: SIM905
)


_ADDRESSES: Final = frozenset({"href", "src", "srcdoc", "action", "formaction", "data", "xlink:href"})
_HARMLESS: Final = ("data:image/svg+xml;base64,", "data:image/png;base64,", "http://", "https://", "#")


class _Programs(HTMLParser):
    """Parser that collects what could run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag or an attribute that could run something."""
        if tag in _FORBIDDEN:
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (name in _ADDRESSES and not (value or "").startswith(_HARMLESS)):
                self.found.append(f"{tag} {name}={value}")


def programs_in(html: str) -> list[str]:
    """Return everything in a piece of HTML that a page could run."""
    parser = _Programs()
    parser.feed(html)
    parser.close()
    return parser.found
