"""Counting tokens as the model that will read the prompt does.

A budget means something only in the tokens of its reader, so the caller names the tokenizer: a
tokenizer.json or a directory with one, a GGUF or .nacm file, a model's name, a tiktoken encoding, or any
object that encodes. Who cannot name it gets an upper bound (`upper_bound`). Start tokens and chat templates
are not counted. Nothing is downloaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from nacrith.errors import ModelError, PromptError

Counter = Callable[[str], int]

CHARACTERS, ANY = "chars", "any"
OURS = "nacrith-36m"
"""The model of the package, whose vocabulary counts for readers that are not known."""

_TIKTOKEN = "tiktoken:"


def counter(tokenizer: Any = None) -> Counter:
    """A function that counts the tokens of a text.

    tokenizer: None or "chars" for characters; "any" for a count that no large vocabulary exceeds;
    "tiktoken:NAME"; the path of a tokenizer.json, of a directory
    that holds one, of a .gguf or .nacm file; the name of a model that is on this machine; a function from
    text to a number; or an object with `encode` (tiktoken, transformers, tokenizers, nacrith).
    """
    if tokenizer is None or tokenizer == CHARACTERS:
        return len
    if tokenizer == ANY:
        return _upper_bound()
    if isinstance(tokenizer, str | os.PathLike):
        name = os.fspath(tokenizer)
        if name.startswith(_TIKTOKEN):
            return _tiktoken(name.removeprefix(_TIKTOKEN))
        return _from_path(Path(name))
    if hasattr(tokenizer, "encode"):
        return _from_object(tokenizer)
    if callable(tokenizer):
        return tokenizer
    raise PromptError(
        f"{type(tokenizer).__name__} is no tokenizer: give a path, a name, a function from text to a number,"
        " or an object with encode()"
    )


def _from_path(path: Path) -> Counter:
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.suffix == ".json":
        return _tokenizers_file(file)
    if file.suffix == ".gguf" and file.is_file():
        return _gguf(file)
    from nacrith.models.tokenizer.byte_bpe import ByteTokenizer

    return _from_object(ByteTokenizer.from_definition(_definition(str(path))))


def _definition(model: str) -> bytes:
    """Of the tokenizer of a model that is on this machine."""
    from nacrith.models.exact import modelfile
    from nacrith.models.store import find

    try:
        return modelfile.read(find(model)).tokenizer_definition
    except ModelError as error:
        raise PromptError(f"no tokenizer to count with: {error}") from error


@cache
def _upper_bound() -> Counter:
    from nacrith.prompt.upper_bound import UpperBound

    return UpperBound(_definition(OURS))


def _tokenizers_file(file: Path) -> Counter:
    from tokenizers import Tokenizer

    if not file.is_file():
        raise PromptError(f"{file}: no such tokenizer file; a directory needs a tokenizer.json")
    with _library_errors(f"{file}: not a tokenizer of the tokenizers library"):
        library = Tokenizer.from_file(str(file))
        library.no_truncation()
        library.no_padding()

    def count(text: str) -> int:
        with _library_errors(f"{file}: the tokenizer fails on this text"):
            return len(library.encode(text, add_special_tokens=False).ids)

    return count


@contextmanager
def _library_errors(what: str) -> Iterator[None]:
    """PromptError for whatever the tokenizers library raises, its panics included."""
    from nacrith.models.tokenizer.byte_bpe import library_message

    try:
        yield
    except BaseException as error:
        if (said := library_message(error)) is None:
            raise
        raise PromptError(f"{what} ({said})") from None


def _gguf(file: Path) -> Counter:
    """The tokenizer of any GGUF with byte-level BPE, whether or not the exact engine runs its model."""
    from nacrith.models.sources.gguf_metadata import read_metadata
    from nacrith.models.tokenizer.importers import from_gguf_fields

    try:
        fields = read_metadata(file)
    except ModelError as error:
        raise PromptError(f"no tokenizer to count with: {error}") from None
    return _from_object(from_gguf_fields(fields))


def _tiktoken(name: str) -> Counter:
    try:
        import tiktoken
        import tiktoken.load
    except ImportError:
        raise PromptError(f"the encoding {name} needs a package; run: pip install tiktoken") from None

    def refuse(path: str) -> bytes:
        raise OSError(f"{path} is not in tiktoken's cache (TIKTOKEN_CACHE_DIR)")

    fetch = tiktoken.load.read_file
    tiktoken.load.read_file = refuse  # it would go to the network; its cache is read before
    try:
        return _from_object(tiktoken.get_encoding(name))
    except (OSError, ValueError) as error:
        raise PromptError(f"tiktoken cannot load {name!r}: {error}; nothing is downloaded here") from None
    finally:
        tiktoken.load.read_file = fetch


def _from_object(encoder: Any) -> Counter:
    """By what the library at hand calls it; text that looks like a special token is text."""
    module = type(encoder).__module__.partition(".")[0]
    if module == "tiktoken":
        return lambda text: len(encoder.encode_ordinary(text))
    if module in {"transformers", "tokenizers"}:
        return lambda text: len(encoder.encode(text, add_special_tokens=False))
    if module == "nacrith":
        return lambda text: len(encoder.encode(text.encode()))
    return lambda text: len(encoder.encode(text))
