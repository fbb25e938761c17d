"""A web page that shows where the bits go: the text in colours, a lane for each model, side by side.

One self-contained file without scripts. Pointing at a token shows its bits and what was expected instead.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from nacrith.bytelevel.scoring import Scored, Token

_STEPS = (0.5, 1, 2, 3, 4, 6, 8, 11, 15)
"""Bits below which a token has the first, second, ... colour."""

_COLOURS = (
    "".join(f".b{i}{{background:rgba(214,84,20,{0.08 + 0.085 * i:.3f})}}" for i in range(1, len(_STEPS) + 1))
    + ".b0{}"
)

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Where the bits go</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff; }}
.lanes {{ display: flex; gap: 2rem; align-items: flex-start; }}
.lane {{ flex: 1 1 0; min-width: 0; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font: 14px/1.8 ui-monospace, monospace; }}
pre span {{ position: relative; border-radius: 2px; }}
pre span:hover {{ outline: 1px solid currentColor; }}
pre span:hover::after {{ content: attr(data-t); position: absolute; left: 0; top: 1.6em; z-index: 1;
  white-space: pre; background: #222; color: #fff; padding: .3rem .6rem; font-size: 12px; }}
td, th {{ text-align: right; padding: 0 1rem 0 0; }} td:first-child, th:first-child {{ text-align: left; }}
{colours}
@media (prefers-color-scheme: dark) {{ body {{ background: #181818; color: #ddd; }} }}
</style></head><body>
<h1>Where the bits go</h1>
<p>{key}. Point at a token for its bits, and for what was likelier.</p>
{files}
</body></html>
"""


def page(files: Sequence[tuple[str, Sequence[Scored]]]) -> str:
    """HTML of files, each a name and what every model says of it."""
    key = " ".join(f'<span class="b{i}">&nbsp;{text}&nbsp;</span>' for i, text in enumerate(_legend()))
    return _PAGE.format(colours=_COLOURS, key=f"Bits: {key}", files="\n".join(_file(*f) for f in files))


def _legend() -> list[str]:
    return [f"&lt; {step:g}" for step in _STEPS] + [f"&ge; {_STEPS[-1]:g}"]


def _file(name: str, lanes: Sequence[Scored]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(s.model)}</td><td>{s.bits_per_byte:.3f}</td><td>{s.bits_per_token:.3f}</td>"
        f"<td>{len(s.tokens)}</td><td>{s.bits / 8:.0f}</td></tr>"
        for s in lanes
    )
    head = "<tr><th>model</th><th>bits/byte</th><th>bits/token</th><th>tokens</th><th>bytes coded</th></tr>"
    columns = "".join(f'<div class="lane"><h3>{html.escape(s.model)}</h3>{_text(s)}</div>' for s in lanes)
    return f'<h2>{html.escape(name)}</h2><table>{head}{rows}</table><div class="lanes">{columns}</div>'


def _text(scored: Scored) -> str:
    return f"<pre>{''.join(_span(scored.data, token) for token in _whole(scored))}</pre>"


def _whole(scored: Scored) -> list[Token]:
    """The tokens, those that share a character as one."""
    out: list[Token] = []
    for token in scored.tokens:
        if out and scored.data[token.start] & 0xC0 == 0x80:
            before = out.pop()
            token = Token(before.start, token.end, before.bits + token.bits, before.others)
        out.append(token)
    return out


def _span(data: bytes, token: Token) -> str:
    told = [f"{token.bits:.2f} bits", *(f"{bits:6.2f}  {visible(text)}" for text, bits in token.others)]
    kind = sum(token.bits >= step for step in _STEPS)
    text = _escaped(data[token.start : token.end], "\n\t")
    tip = html.escape("\n".join(told)).replace("\n", "&#10;")
    return f'<span class="b{kind}" data-t="{tip}">{html.escape(text)}</span>'


def visible(text: bytes) -> str:
    """A token on one line: spaces as middle dots, other white space and bytes that are no text as escapes."""
    return _escaped(text, "").replace(" ", "\u00b7")


def _escaped(text: bytes, kept: str) -> str:
    """`text`, with escapes for bytes that are no text and for characters that are not `kept` and would not be
    seen, or be taken for others, as HTML takes a carriage return for a line feed."""
    readable = text.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in readable)
