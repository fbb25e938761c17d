"""Reports on a compression: a diff for the terminal, a table of reasons, a web page."""

from __future__ import annotations

import html
import math

from nacrith.prompt.result import PUNCTUATION, SCORE, SPACE, Compressed, Span

_DROPPED, _RULE, _PLAIN = "\x1b[9;31m", "\x1b[32m", "\x1b[0m"

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Compressed prompt</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; }}
del {{ color: #a33; opacity: .6; }}
mark {{ background: #dfefdf; }}
td, th {{ text-align: left; padding: 0 1rem 0 0; }}
@media (prefers-color-scheme: dark) {{
body {{ background: #181818; color: #ddd; }} mark {{ background: #243a24; color: inherit; }}
}}
</style></head><body>
<h1>Compressed prompt</h1>
<table>
{rows}
</table>
<p>Kept by score, <mark>kept by rule</mark>, <del>dropped</del>. Point at a word to see why.</p>
<pre>{body}</pre>
</body></html>
"""


def _by_rule(span: Span) -> bool:
    return span.kept and span.reason not in (SCORE, SPACE, PUNCTUATION)


def diff(result: Compressed, *, colour: bool) -> str:
    """The original with the dropped text struck out in colour, or as [-dropped-] in plain text."""
    out = []
    for span in result.spans:
        text = result.origin[span.start : span.end]
        if not span.kept:
            core = text.rstrip()
            space = text[len(core) :]
            mark = f"{_DROPPED}{core}{_PLAIN}" if colour else f"[-{core}-]"
            out.append(mark + space if core else text)
        elif colour and _by_rule(span):
            out.append(f"{_RULE}{text}{_PLAIN}")
        else:
            out.append(text)
    return "".join(out)


def why(span: Span) -> str:
    """Whether and why a span was kept, in words."""
    score = "" if math.isnan(span.score) else f" {span.score:.3g}"
    return f"{'kept' if span.kept else 'dropped'}: {span.reason}{score}"


def table(result: Compressed) -> str:
    """A line for each unit: offset, whether it was kept, the reason, the text."""
    lines = ["start\tend\tfate\treason\tscore\ttext"]
    for span in result.units:
        if span.reason == SPACE:
            continue
        score = "" if math.isnan(span.score) else f"{span.score:.4g}"
        shown = result.origin[span.start : span.end]
        if not shown.isprintable():
            shown = shown.encode("unicode_escape").decode()
        fate = "kept" if span.kept else "dropped"
        lines.append(f"{span.start}\t{span.end}\t{fate}\t{span.reason}\t{score}\t{shown}")
    return "\n".join(lines) + "\n"


def stats(result: Compressed) -> list[tuple[str, str]]:
    """Name and value of each figure."""
    ratio = result.origin_tokens / result.compressed_tokens if result.compressed_tokens else math.inf
    rows = [
        ("scorer", result.scorer),
        ("tokens before", f"{result.origin_tokens:,}"),
        ("tokens after", f"{result.compressed_tokens:,}"),
        ("tokens allowed", "no limit" if result.limit is None else f"{result.limit:,}"),
        ("kept", f"{100 * result.rate:.1f}%"),
        ("ratio", f"{ratio:.2f}x"),
    ]
    if result.retain:
        rows.append(("rules of prose", result.retain.replace("_", " ")))
    return [*rows, ("left unchanged", result.note)] if result.note else rows


def page(result: Compressed) -> str:
    """A self-contained web page."""
    rows = "\n".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in stats(result))
    body = []
    for span in result.units:
        text = html.escape(result.origin[span.start : span.end])
        title = html.escape(why(span), quote=True)
        if span.reason == SPACE and span.kept:
            body.append(text)
        elif not span.kept:
            body.append(f'<del title="{title}">{text}</del>')
        else:
            tag = "mark" if _by_rule(span) else "span"
            body.append(f'<{tag} title="{title}">{text}</{tag}>')
    return _PAGE.format(rows=rows, body="".join(body))
