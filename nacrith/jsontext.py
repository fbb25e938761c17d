"""JSON that others wrote: manifests, prompts, tokenizers, headers, answers of a hub.

`json.loads` answers hostile text with a RecursionError, a MemoryError or a ValueError, and takes what is
no JSON (NaN, Infinity) and numbers that no float holds (1e999). `parse` has one error for all of it, which
is a ValueError too, so that a caller treats text that cannot be read like a value that is wrong.
https://www.rfc-editor.org/rfc/rfc8259
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from nacrith.errors import NacrithError


class JsonError(NacrithError, ValueError):
    """Text that is not JSON, or JSON that is not read."""


def parse(text: str | bytes | bytearray, *, finite: bool = True, unique: bool = False) -> Any:
    """The value that `text` stands for, bytes in UTF-8, 16 or 32. JsonError if there is none.

    finite: refuse numbers that are infinite as a float, and NaN. unique: refuse an object with two values
    for a key, of which the last would count. Strings may hold lone surrogates.
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
