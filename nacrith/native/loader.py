"""Where the native library is: named, in the package, or, for a source tree, in what was installed from it.

A source tree has no library beside its Python files, and Python prefers the tree to the installed package
when it is started in it. The tree may then use the installed library, if that was built from the same
sources; if not, the error says which tree it is and what to do.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from nacrith import settings
from nacrith.errors import ModelError
from nacrith.native.library import Library

_PACKAGE = Path(__file__).resolve().parents[1]
_NAMES = {"win32": "nacrith_native.dll", "darwin": "libnacrith_native.dylib"}
_INSIDE = Path("_native", _NAMES.get(sys.platform, "libnacrith_native.so"))  # the package
_SOURCES = {".cpp", ".hpp", ".h", ".inl", ".txt", ".cmake"}

_WAYS_OUT = "or name a library in NACRITH_NATIVE_LIB, or use NACRITH_ENGINE=numpy"


@cache
def load() -> Library:
    """The library that NACRITH_NATIVE_LIB names, or else that of the package.

    ModelError says why there is none that works."""
    named = settings.native_library()
    if named is not None:
        if not named.is_file():
            raise ModelError(
                f"{named}: there is no native engine, though NACRITH_NATIVE_LIB names it; correct or unset"
                " that, or use NACRITH_ENGINE=numpy"
            )
        return Library(named)
    return find(_PACKAGE, sys.path)


def find(package: Path, path: list[str]) -> Library:
    """The library of the package in the directory `package`, which may be a source tree's; distributions are
    looked for in `path`."""
    own = package / _INSIDE
    if own.is_file():
        return Library(own)
    tree = package.parent
    if not (tree / "codecs" / "nacrith.h").is_file():
        raise ModelError(
            f"{own}: there is no native engine; install nacrith again where there is a C++ compiler,"
            " or use NACRITH_ENGINE=numpy"
        )
    here = f"nacrith runs from the source tree {tree}, which has no native engine"
    version = None
    for version, library in installed(path):
        if library.is_file():
            return _of_tree(tree, here, version, library)
    if version is None:
        raise ModelError(
            f"{here}, and nacrith is not installed in this Python; pip install {tree}, {_WAYS_OUT}"
        )
    raise ModelError(
        f"{here}, and neither has nacrith {version}, which is installed in this Python;"
        f" pip install {tree} where there is a C++ compiler, {_WAYS_OUT}"
    )


def _of_tree(tree: Path, here: str, version: str, file: Path) -> Library:
    """The installed library `file`, if it is what the tree's own would be."""
    other = ModelError(
        f"{here}, and that of nacrith {version}, which is installed in this Python, was built from other"
        f" sources; pip install {tree}, {_WAYS_OUT}"
    )
    try:
        library = Library(file)
    except ModelError:  # another interface
        raise other from None
    if library.sources() != fingerprint(tree / "codecs"):
        raise other
    return library


def installed(path: list[str]) -> Iterator[tuple[str, Path]]:
    """Version, and where the library would be, of the distributions of nacrith in `path`."""
    for distribution in metadata.distributions(name="nacrith", path=path):
        yield distribution.version, Path(str(distribution.locate_file("nacrith"))) / _INSIDE


def fingerprint(codecs: Path) -> str:
    """Of the native sources in a directory, as codecs/fingerprint.cmake computes it for the library."""
    files = [p for p in codecs.rglob("*") if p.suffix in _SOURCES]
    lines = {p.relative_to(codecs).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    return hashlib.sha256("".join(f"{k} {v}\n" for k, v in sorted(lines.items())).encode()).hexdigest()
