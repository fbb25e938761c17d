"""The command line: `nacrith`.

Everything that deals with file names, terminals, signals and exit codes lives here, nowhere else.
Nothing in this package imports numpy or a model at import time, so `--help`, `--version`, `info`
and a mistyped option answer at once; the commands import what they need when they run.
"""

from nacrith.cli.entry import main

__all__ = ["main"]
