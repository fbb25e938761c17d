"""The constraint `Json`: an answer is one JSON value (RFC 8259), of UTF-8, and nothing behind it.

A small automaton with a stack, a byte a step. Its last state is kept, so that asking for many texts that go
on from the same one costs their ends only.
"""

from __future__ import annotations

import codecs
from typing import Any, NamedTuple

_SPACE = b" \t\n\r"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_WORDS = {word[0]: word[1:] for word in (b"true", b"false", b"null")}
_NUMBER = {
    # state: {bytes: next state}; a state in _NUMBER_ENDS may also be the last of the number
    "-": {b"0": "0", b"123456789": "int"},
    "0": {b".": ".", b"eE": "e"},
    "int": {_DIGITS: "int", b".": ".", b"eE": "e"},
    ".": {_DIGITS: "fraction"},
    "fraction": {_DIGITS: "fraction", b"eE": "e"},
    "e": {b"+-": "sign", _DIGITS: "exponent"},
    "sign": {_DIGITS: "exponent"},
    "exponent": {_DIGITS: "exponent"},
}
_NUMBER_ENDS = ("0", "int", "fraction", "exponent")
_DEEPEST = 256


class _State(NamedTuple):
    """mode: what is being read. stack: the open brackets. rest: what a literal or an escape still needs."""

    mode: str
    stack: bytes = b""
    rest: bytes = b""


class Json:
    """One JSON value. first: the bytes that it may begin with, by default those of objects and arrays."""

    def __init__(self, first: bytes = b"{[") -> None:
        self._first = first
        self._kept: tuple[bytes, _State] = b"", _State("value")

    def record(self) -> dict[str, Any]:
        """For recorded answers."""
        return {"json": self._first.decode("ascii")}

    def allows(self, text: bytes) -> bool:
        if not _is_utf8(text):
            return False
        return self._state(text) is not None

    def complete(self, text: bytes) -> bool:
        state = self._state(text)
        return state is not None and not state.stack and (state.mode == "after" or state.mode in _NUMBER_ENDS)

    def _state(self, text: bytes) -> _State | None:
        known, state = self._kept
        if not text.startswith(known):
            known, state = b"", _State("value")
        if not known and text and text[0] not in self._first:
            return None
        found: _State | None = state
        for place in range(len(known), len(text)):
            if found is None:
                return None
            if place == len(text) - 16:  # candidates differ at their ends: what lies before is kept
                self._kept = text[:place], found
            found = _step(found, text[place])
        return found


def _is_utf8(text: bytes) -> bool:
    """Whether `text` is UTF-8, or the beginning of it."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(text)
    except UnicodeDecodeError:
        return False
    return True


def _step(state: _State, byte: int) -> _State | None:
    """The state after one byte more; None if it cannot stand there."""
    mode, stack, rest = state
    if mode in ("string", "key string"):
        return _in_string(state, byte)
    if mode in ("escape", "key escape"):
        string = mode.replace("escape", "string")
        if rest:
            return _State(mode if rest[1:] else string, stack, rest[1:]) if byte in _HEX else None
        if byte == ord("u"):
            return _State(mode, stack, b"xxxx")
        return _State(string, stack) if byte in b'"\\/bfnrt' else None
    if mode == "word":
        if byte != rest[0]:
            return None
        return _State("word", stack, rest[1:]) if rest[1:] else _State("after", stack)
    if mode in _NUMBER:
        for some, then in _NUMBER[mode].items():
            if byte in some:
                return _State(then, stack)
        return _after(stack, byte) if mode in _NUMBER_ENDS else None
    if mode == "after":
        return _after(stack, byte)
    if byte in _SPACE:
        return state
    return _between(mode, stack, byte)


def _in_string(state: _State, byte: int) -> _State | None:
    key = state.mode == "key string"
    if byte == ord('"'):
        return _State("colon" if key else "after", state.stack)
    if byte == ord("\\"):
        return _State("key escape" if key else "escape", state.stack)
    return state if byte >= 0x20 else None


def _after(stack: bytes, byte: int) -> _State | None:
    """A byte behind a value."""
    if byte in _SPACE:
        return _State("after", stack) if stack else None
    if stack and byte == ord(","):
        return _State("key" if stack[-1:] == b"{" else "value", stack)
    if stack and byte == {b"{": ord("}"), b"[": ord("]")}[stack[-1:]]:
        return _State("after", stack[:-1])
    return None


def _between(mode: str, stack: bytes, byte: int) -> _State | None:
    """A byte where a value, a key or a colon is due."""
    if mode == "colon":
        return _State("value", stack) if byte == ord(":") else None
    if mode in ("key", "first key"):
        if byte == ord('"'):
            return _State("key string", stack)
        return _State("after", stack[:-1]) if mode == "first key" and byte == ord("}") else None
    if mode == "first value" and byte == ord("]"):
        return _State("after", stack[:-1])
    if byte in b"{[" and len(stack) < _DEEPEST:
        return _State("first key" if byte == ord("{") else "first value", stack + bytes([byte]))
    if byte == ord('"'):
        return _State("string", stack)
    if byte in _WORDS:
        return _State("word", stack, _WORDS[byte])
    if byte == ord("-"):
        return _State("-", stack)
    if byte in _DIGITS:
        return _State("0" if byte == ord("0") else "int", stack)
    return None
