"""The command line: `nacrith`.

All handling of file names, terminals, signals and exit codes is in this package. No module of it imports
numpy or a model at import time, so that `--help`, `--version`, `info` and a mistyped option respond at once;
commands import what they need when they run.
"""

from nacrith.cli.entry import main

__all__ = ["main"]
