"""What test runners print: what failed and how it ended stays, what passed goes first.

Known are pytest, unittest, Go, Rust, and those that mark each test with a tick or a cross. The names of
failing tests, the lines that say why, and the counts are kept always; then come the lines around them, then
warnings and output. Lines of passing tests and of progress are worth least. A log (`logs`) has a time or a
level at each line; here lines have an outcome.
"""

from __future__ import annotations

import re

from nacrith.prompt.content.blocks import Content, Lines, Node, line_spans
from nacrith.prompt.content.priors import failure

_FAILED = re.compile(
    r"(?:FAILED|ERROR|FAIL:|ERROR:|FAIL)\s+\S|--- FAIL: |_{3,} .+ _{3,}$|\s*(?:✕|✗|×|✖|❌|not ok \d)"
    r"|test \S+ \.\.\. FAILED|\S+::\S+ (?:FAILED|ERROR)|\s*● .+"
)
_WHY = re.compile(
    r"E {2,}\S|\w*(?:Error|Exception|Failure)\b.*:|panicked at |thread '.*' panicked"
    r"|\s+(?:Expected|Received|expected|got|want):|\s*assertion"
    r"|\S+:\d+: (?:\w*Error|Exception|in )"
)
_COUNTS = re.compile(
    r"=+ .*\b\d+ (?:passed|failed|errors?|skipped|deselected)\b.*=+$"
    r"|\d+ (?:passed|failed)\b.*in [\d.]+ ?m?s|collected \d+ items?|\s*\d+ (?:passing|failing|pending)\b"
    r"|Ran \d+ tests? in|FAILED \(|OK(?: \(.*\))?$|# (?:pass|fail|tests) \d"
    r"|test result: |running \d+ tests?|(?:Tests|Test Suites|Snapshots):\s+.*\d"
    r"|(?:ok|FAIL|PASS)\s+\S+\s+(?:[\d.]+s|\(cached\))|(?:FAIL|PASS)$|exit(?:ed with)? (?:code|status):? \d"
)
_PASSED = re.compile(
    r"\S+::\S+ (?:PASSED|SKIPPED|XFAIL)|test \S+ \.\.\. (?:ok|ignored)|\s*(?:✓|✔|√|ok \d)"
    r"|--- (?:PASS|SKIP): |=== (?:RUN|PAUSE|CONT) |\S+ \(\S+\)(?: \.\.\.|:) ?ok"
    r"|(?:\S+\.\w+ )?[.sxX]+\s*(?:\[ *\d+%\])?$"
)
_SECTION = re.compile(r"=+ .+ =+$|-+ Captured .+ -+$")
_LEAST = 6  # lines
_NEAR = 2  # lines around one that says why


def parse(text: str) -> Content | None:
    """The content of the output of a test runner; None for other text."""
    lines = line_spans(text)
    if len(lines) < _LEAST:
        return None
    plain = [text[a:b].rstrip() for a, b in lines]
    counts = [_COUNTS.match(line) is not None for line in plain]
    passed = [_PASSED.match(line) is not None for line in plain]
    failed = [_FAILED.match(line) is not None for line in plain]
    if not any(counts) or sum(passed) + sum(failed) < 2:
        return None
    why = [_WHY.match(line) is not None for line in plain]
    near = {k for i, w in enumerate(why) if w for k in range(i - _NEAR, i + _NEAR + 1)}
    roots = []
    for i, (a, b) in enumerate(lines):
        node = Node(a, b, 0.4, forced=counts[i] or failed[i] or why[i])
        if passed[i]:
            node.prior = 0.1
        elif i in near or failure(plain[i]) or _SECTION.match(plain[i]):
            node.prior = 0.8
        roots.append(node)
    return Lines("test output", text, roots)
