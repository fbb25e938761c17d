"""Parses JSON from untrusted sources: manifests, prompts, tokenizers, headers, responses of a hub.

`json.loads` raises RecursionError, MemoryError or ValueError for hostile text. It accepts NaN and Infinity,
which are not JSON, and numbers that overflow a float (1e999). `parse` raises one error for all of these. It
is also a ValueError, so that callers can handle unreadable text and wrong values in the same way.
https://www.rfc-editor.org/rfc/rfc8259
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from nacrith.errors import NacrithError


class JsonError(NacrithError, ValueError):
    """Text that is not JSON, or JSON beyond the limits of this module."""


def parse(text: str | bytes | bytearray, *, finite: bool = True, unique: bool = False) -> Any:
    """Parse `text`; bytes are UTF-8, UTF-16 or UTF-32. Raises JsonError.

    finite: reject NaN and numbers that are infinite as a float. unique: reject objects with a duplicate key,
    of which json would keep the last value. Strings may contain lone surrogates.
    """
    hooks: dict[str, Any] = {"parse_float": _float, "parse_constant": _refuse} if finite else {}
    if unique:
        hooks["object_pairs_hook"] = _object
    try:
        return json.loads(text, **hooks)
    except JsonError:
        raise
    except RecursionError:
        raise JsonError("nested too deeply") from None
    except MemoryError:
        raise JsonError("larger than the memory allows") from None
    except ValueError as error:
        raise JsonError(str(error)) from None


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise JsonError(f"an object has a key twice, one of {', '.join(map(repr, made))}"[:200])
    return made


def _refuse(text: str) -> NoReturn:
    raise JsonError(f"{text[:40]} is no finite number")
