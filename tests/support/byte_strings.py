"""Byte strings that a tokenizer must give back: broken UTF-8, special tokens in the text, long words."""

from __future__ import annotations

import random

SMOLLM2_HOLES = bytes.fromhex("0406131416 1dc0c1f1f2 f5f6f7f8f9fafbfcfdfeff")
"""The bytes for which SmolLM2's vocabulary has no token."""
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|spare|>"]

NASTY = {
    "empty": b"",
    "nul": b"\x00",
    "nuls": b"a\x00\x00b\x00",
    "control characters": bytes(range(0x20)) + b"\x7f",
    "control characters in text": b"the\x04in\x06the\x13\x14\x16\x1d the",
    "lead byte F1": "\U00040000 and \U0007ffff".encode(),
    "lead byte F2": "the \U00080000\U000bffff the".encode(),
    "lead byte F3, F4": "\U000c0000\U00100000\U0010ffff".encode(),
    "lone surrogate": b"the \xed\xa0\x80 in",
    "surrogate pair in UTF-8": b"\xed\xa0\xbd\xed\xb8\x80",
    "overlong": b"\xc0\x80\xc1\xbf\xe0\x80\xaf",
    "above U+10FFFF": b"\xf4\x90\x80\x80\xf5\xff\xfe",
    "cut characters": b"\xe5\xad the \xf0\x9f\x98 \xc3",
    "continuation bytes": b"\x80\x81\xbf",
    "latin-1": "caf\xe9 na\xefve the".encode("latin-1"),
    "utf-16": "the in \u5b57".encode("utf-16"),
    "line ends": b"the\r\nin\rthe\n\n\r\n",
    "byte order mark": b"\xef\xbb\xbfthe",
    "spaces": b"  the   in \t \xc2\xa0 \xe3\x80\x80 ",
    "leading space kept": b" the",
    "special tokens": "".join(SPECIAL).encode(),
    "special token in text": b"the <|endoftext|> in <|spare|>61",
    "escape look-alike": b"<|byte|>04",
    "decomposed and composed": "e\u0301 \u00e9 \u212b \ufb01".encode(),
    "emoji": "\U0001f600\u200d\U0001f468 \ufe0f".encode(),
    "every byte": bytes(range(256)),
    "every byte, backwards": bytes(range(255, -1, -1)),
    "random": random.Random(1).randbytes(3000),
    "long word": b"the" * 30_000,
    "long word without characters": b"\x80" * 70_000,
}
