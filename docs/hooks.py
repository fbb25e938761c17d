"""mkdocs hook: replaces `<!-- generated: WHAT -->` lines by what `reference` generates from the code.

nacrith must be importable: it is installed, or PYTHONPATH names the source tree.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import reference

_MARK = re.compile(r"^<!-- generated: (\S+) -->$", re.M)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page's source, completed."""
    return _MARK.sub(lambda mark: _generate(mark[1]), markdown)


def _generate(what: str) -> str:
    return reference.command_line() if what == "command-line" else reference.interface(what)
