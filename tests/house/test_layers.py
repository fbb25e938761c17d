"""The layers: imports go one way, files stay readable, only the command line prints or exits.

`MAY_IMPORT` is the table of docs/pages/architecture.md in code. A new package under nacrith/ fails here until
it has been given its place in the table.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

PACKAGE = ROOT / "nacrith"
MAX_LINES = 400

# Low parts, which know nothing of compression: every other part may import them.
LOW: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "stateful": set(),
    "scratch": set(),
    "cores": set(),
    "atomic": set(),
    "jsontext": {"errors"},
    "varint": set(),
    "cuts": set(),
    "arith": {"scratch"},
    "native": {"errors", "settings"},
    "workers": set(),
    "lazy": set(),
}

# What the modules of each other part may import of nacrith, besides their own part and LOW. "" is the top of
# the package: the Python API. A dotted entry allows that module only.
ABOVE: dict[str, set[str]] = {
    "archive": set(),
    "fallback": {"archive.blockcodec", "learner"},
    "coder": set(),
    "learner": {"coder"},
    "models": {"coder"},
    "predictors": {"coder", "models"},
    "codec": {"archive.blockcodec", "bytelevel", "coder", "learner", "models", "predictors"},
    "bytelevel": {"coder", "decoding.sampling", "models"},
    "decoding": {"coder", "models"},
    "": {"archive", "bytelevel", "codec", "fallback", "models"},
    "integrations": {"", "decoding"},
    "jobs": set(),
    "prompt": {"models"},
    "training": {"models", "prompt.encoder", "prompt.segment", "prompt.scorers"},
    "cli": {
        "",
        "archive",
        "bytelevel",
        "coder",
        "codec",
        "decoding",
        "fallback",
        "jobs",
        "models",
        "predictors",
        "prompt",
        "training",
    },
}
# The rooms of nacrith/models, and which others each may import. "" is models/__init__.py.
ROOMS: dict[str, set[str]] = {
    "files": set(),
    "protocol": {"tokenizer"},
    "tokenizer": set(),
    "exact": {"files", "protocol", "tokenizer"},
    "sources": {"exact", "files", "tokenizer"},
    "store": {"exact", "files", "sources"},
    "hub": {"files", "sources", "store"},
    "floats": {"exact", "protocol", "sources", "store", "tokenizer"},
    "": {"exact", "floats", "protocol", "store"},
}
MAY_IMPORT = LOW | {part: allowed | set(LOW) for part, allowed in ABOVE.items()}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Dotted name below nacrith, such as archive.reader; "" for nacrith/__init__.py."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The layer that a module below nacrith belongs to."""
    if module == "__main__":
        return "cli"
    top = module.partition(".")[0]
    return top if (PACKAGE / top).is_dir() or top in MAY_IMPORT else ""


def imports(module: str, is_package: bool, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module below nacrith) of every import in `tree`, wherever it stands."""
    here = [p for p in module.split(".") if p]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = node.level - 1 if is_package else node.level
                base = ".".join(["nacrith", *here[: len(here) - up], *filter(None, [base])])
            # `from nacrith.x import y`: y may be a module, and where it is, that is what is meant.
            names = [f"{base}.{alias.name}" for alias in node.names] if base else []
        else:
            continue
        for name in names:
            if name == "nacrith" or name.startswith("nacrith."):
                yield node.lineno, name.removeprefix("nacrith").removeprefix(".")


def breaches(module: str, source: str, is_package: bool = False) -> list[str]:
    """What in `source` breaks the import rule, one line each."""
    part = part_of(module)
    found = []
    for line, target in imports(module, is_package, ast.parse(source)):
        allowed = MAY_IMPORT[part]
        own = part_of(target) == part
        if not own and not any(
            part_of(target) == a if "." not in a else f"{target}.".startswith(f"{a}.") for a in allowed
        ):
            found.append(f"nacrith.{module}:{line} imports nacrith.{target}")
    return found


def room_of(module: str) -> str | None:
    """The room of nacrith/models that a module belongs to; None for a module elsewhere."""
    top, _, rest = module.partition(".")
    return rest.partition(".")[0] if top == "models" else None


def room_breaches(module: str, source: str, is_package: bool = False) -> list[str]:
    """What in `source` breaks the order of the rooms, one line each."""
    room = room_of(module)
    assert room is not None
    found = []
    for line, target in imports(module, is_package, ast.parse(source)):
        other = room_of(target)
        if other not in (None, room) and other not in ROOMS[room]:
            found.append(f"nacrith.{module}:{line} imports nacrith.{target}")
    return found


def commands(source: str) -> list[str]:
    """Calls that belong to the command line only: print, exit and their like."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in {"print", "exit", "quit", "sys.exit", "os._exit", "SystemExit"}:
                found.append(f"line {node.lineno}: {name}")
    return found


def uses_of_environment(source: str) -> list[str]:
    """Places that read or change environment variables, in whatever spelling."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [node.attr] if isinstance(node, ast.Attribute) else []
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            names = [alias.name for alias in node.names]
        for name in {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"} & set(names):
            found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    found = breaches(module_name(path), path.read_text(), path.name == "__init__.py")
    assert not found


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if room_of(module_name(p)) is not None],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_imports_between_the_rooms_of_models_go_one_way(path: Path) -> None:
    assert not room_breaches(module_name(path), path.read_text(), path.name == "__init__.py")


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_file_is_short_and_says_what_it_is(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= MAX_LINES
    assert not source.strip() or ast.get_docstring(ast.parse(source))


ELSEWHERE = {"training.lm.away"}
"""Commands for machines that lack what `cli` needs."""


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if part_of(module_name(p)) != "cli" and module_name(p) not in ELSEWHERE],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_only_the_command_line_prints_and_exits(path: Path) -> None:
    assert not commands(path.read_text())


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if part_of(module_name(p)) not in ("cli", "settings")],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_only_settings_and_the_command_line_touch_the_environment(path: Path) -> None:
    assert not uses_of_environment(path.read_text())


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.environ['X']",
        "import os\nos.getenv('X')",
        "from os import environ",
        "os.environ.update(a)",
    ],
)
def test_uses_of_the_environment_are_found(source: str) -> None:
    assert uses_of_environment(source)


def test_native_code_reads_no_environment() -> None:
    sources = [p for p in (ROOT / "codecs").rglob("*") if p.suffix in {".cpp", ".hpp", ".h", ".inl"}]
    assert sources
    assert not [p for p in sources if "getenv" in p.read_text()]


def test_every_part_has_its_place() -> None:
    assert {part_of(module_name(path)) for path in SOURCES} <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("heading", "table"), [("part", MAY_IMPORT), ("room of `models`", ROOMS)], ids=["parts", "rooms"]
)
def test_the_documentation_has_the_same_names(heading: str, table: dict[str, set[str]]) -> None:
    page = (ROOT / "docs" / "pages" / "architecture.md").read_text(encoding="utf-8")
    rows = page.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(filter(None, table))


@pytest.mark.parametrize("table", [MAY_IMPORT, ROOMS], ids=["parts", "rooms"])
def test_the_rule_has_no_cycles(table: dict[str, set[str]]) -> None:
    done: set[str] = set()
    while left := set(table) - done:
        free = {p for p in left if {a.partition(".")[0] for a in table[p]} <= done}
        assert free, f"these import each other: {left}"
        done |= free


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("archive.reader", "import nacrith.models"),
        ("archive.reader", "from nacrith.coder import cdf"),
        ("archive.reader", "from nacrith import codec"),
        ("archive.superblock", "from nacrith.fallback import CODECS"),
        ("fallback.registry", "from nacrith.archive.wire import RAW"),
        ("archive.reader", "from ..models import protocol"),
        ("archive.reader", "def f():\n    from nacrith.codec.levels import x"),
        ("coder.cdf", "from nacrith.models.protocol import LOGIT_BITS"),
        ("models.store", "from nacrith.codec import x"),
        ("models.store", "import nacrith.predictors.mixer as m"),
        ("predictors.ngram", "from nacrith.archive.blockcodec import CodecId"),
        ("native.engine", "from nacrith.models.exact.config import ExactConfig"),
        ("codec.blocks", "from nacrith.archive.reader import x"),
        ("codec.blocks", "from nacrith.archive import reader"),
        ("errors", "from nacrith import cli"),
        ("jobs.plan", "from nacrith.cli.outputs import AtomicFile"),
        ("jobs.local", "import nacrith.codec"),
        ("api", "from nacrith.cli import main"),
    ],
)
def test_a_breach_is_found(module: str, source: str) -> None:
    assert len(breaches(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.exact.model", "from nacrith.models import store"),
        ("models.exact.model", "from nacrith.models.sources.gguf import read_gguf"),
        ("models.sources.gguf", "import nacrith.models.store.records"),
        ("models.store.lookup", "def f():\n    from nacrith.models.hub.pull import pull"),
        ("models.store.lookup", "from ..hub import pull"),
        ("models.hub.pull", "from nacrith.models.floats import opening"),
        ("models.floats.opening", "from nacrith.models import load_model"),
    ],
)
def test_a_breach_between_rooms_is_found(module: str, source: str) -> None:
    assert len(room_breaches(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "archive.reader",
            "import os\nfrom nacrith.errors import CorruptError\nfrom . import writer",
        ),
        ("codec.blocks", "from nacrith.archive.blockcodec import CodecId"),
        ("codec.blocks", "from nacrith.models.protocol import Session\nimport nacrith.coder.cdf"),
        ("cli.compress", "from nacrith import loaded\nfrom nacrith.archive import ArchiveReader"),
        ("", "from nacrith.archive import ArchiveReader\nfrom nacrith.api import compress"),
    ],
)
def test_what_is_allowed_is_let_through(module: str, source: str) -> None:
    assert breaches(module, source) == []


def test_a_command_is_found() -> None:
    assert commands("print('x')\nimport sys\nsys.exit(1)\nraise SystemExit(2)") == [
        "line 1: print",
        "line 3: sys.exit",
        "line 4: SystemExit",
    ]
    assert commands("self.print()\n'print()'") == []
