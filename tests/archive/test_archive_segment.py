"""Segmentation: what is text, in any language and with faults in it, and where its cuts lie."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from itertools import pairwise
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacrith.archive.segment import MIN_RUN, bad_bytes, cut, segment

LANGUAGES = {
    "English": "The sun shone, having no alternative, on the nothing new.",
    "French, accents": "Dès Noël où un zéphyr haï me vêt de glaçons würmiens.",
    "Russian": "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Chinese": "天地玄黄，宇宙洪荒。日月盈昃，辰宿列张。寒来暑往，秋收冬藏。",
    "Arabic": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر",
    "Hindi": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश",
    "emoji": "🦊 jumps 🐕, twice 👩‍👩‍👧‍👦 \U0010ffff end",
}


def text_of(language: str, size: int) -> bytes:
    line = LANGUAGES[language].encode() + b"\r\n\t"
    return line * (size // len(line) + 1)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", [60, 900, 5000, 70_000])
def test_text_in_any_language(language: str, size: int) -> None:
    for prefix in (b"", b"\xef\xbb\xbf"):
        content = prefix + text_of(language, size)
        assert segment(content) == [(0, len(content), True)]
        assert not bad_bytes(content).any()


@pytest.mark.parametrize("fault", [b"\xff", b"\x00", b"\x1a", b"\xc3", b"\x80", b"\xed\xa0\x80"])
@pytest.mark.parametrize("language", ["English", "Russian"])
def test_a_fault_does_not_throw_text_away(language: str, fault: bytes) -> None:
    content = bytearray(text_of(language, 40_000))
    for at in (0, 10_000, 20_001, len(content)):
        content[at:at] = fault
    assert segment(bytes(content)) == [(0, len(content), True)]
    assert 4 <= bad_bytes(bytes(content)).sum() <= 24


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_bad_bytes_are_those_that_decoding_finds(data: bytes) -> None:
    controls = set(range(0x20)) - {8, 9, 10, 12, 13, 27} | {0x7F}
    expected = []
    at = 0
    while at < len(data):
        for size in (1, 2, 3, 4):
            try:
                char = data[at : at + size].decode("utf-8")
            except UnicodeDecodeError:
                continue
            if len(char) == 1 and len(data[at : at + size]) == size:
                expected += [ord(char) in controls] * size
                at += size
                break
        else:
            expected.append(True)
            at += 1
    assert bad_bytes(data).tolist() == expected if data else segment(data) == []


@pytest.mark.parametrize(
    "content",
    [noise(50_000), bytes(50_000), bytes(range(256)) * 100, noise(700), bytes(100),
     "Das ist ein UTF-16-Text. ".encode("utf-16-le") * 200,
     b"".join(n.to_bytes(4, "little") for n in range(10_000))],
    ids=["noise", "zeros", "all bytes", "short noise", "short zeros", "utf-16", "integers"],
)  # fmt: skip
def test_binary(content: bytes) -> None:
    assert segment(content) == [(0, len(content), False)]


def test_mixed_content_is_cut_where_it_changes() -> None:
    text, binary = text_of("English", 9_000), b"\xff\x00" * 3000
    assert segment(binary + text + binary) == [
        (0, 6000, False),
        (6000, 6000 + len(text), True),
        (6000 + len(text), 12_000 + len(text), False),
    ]
    assert segment(text + binary + text) == [
        (0, len(text), True),
        (len(text), len(text) + 6000, False),
        (len(text) + 6000, 2 * len(text) + 6000, True),
    ]


def test_short_islands_go_to_their_surroundings() -> None:
    text, binary = text_of("English", 5000), b"\xff\x00" * 2500
    small_binary, small_text = binary[:600], text[:600]
    for content in (text + small_binary + text, small_binary + text, text + small_binary):
        assert segment(content) == [(0, len(content), True)]
    for content in (binary + small_text + binary, small_text + binary, binary + small_text):
        assert segment(content) == [(0, len(content), False)]
    assert segment((small_text + small_binary) * 50) == [(0, 60_000, False)]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("tbz"), st.integers(0, 4000)), max_size=8))
def test_segments_cover_everything_and_alternate(parts: list[tuple[str, int]]) -> None:
    source = {"t": text_of("Hindi", 4000), "b": noise(4000), "z": bytes(4000)}
    content = b"".join(source[kind][:size] for kind, size in parts)
    segments = segment(content)
    assert [start for start, _, _ in segments] == [0, *(end for _, end, _ in segments)][: len(segments)]
    assert sum(end - start for start, end, _ in segments) == len(content)
    assert all(a[2] != b[2] for a, b in pairwise(segments))
    if len(segments) > 1:
        assert min(end - start for start, end, _ in segments) >= MIN_RUN


def test_no_line_of_python_runs_for_each_byte() -> None:
    content = noise(1 << 18) * 4
    lines = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., object]:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        segment(content)
    finally:
        sys.settrace(before)
    assert 0 < lines < len(content) // 100


@settings(deadline=None, max_examples=150)
@given(st.text(alphabet="ab \n\té漢🦊", max_size=3000).map(str.encode), st.integers(1, 1500))
def test_cuts(text: bytes, target: int) -> None:
    blocks = cut(text, target)
    assert b"".join(blocks) == text
    assert all(blocks)
    if text:
        assert len(blocks) <= -(-len(text) // target)
        assert max(map(len, blocks)) <= target * 1.25 + 4
    if target >= 64:
        for block in blocks:
            block.decode("utf-8")


def test_cuts_prefer_lines_then_words() -> None:
    lines = b"".join(b"line %d has some words\n" % i for i in range(500))
    assert all(block.endswith(b"\n") for block in cut(lines, 1000))
    words = lines.replace(b"\n", b" ")
    assert all(block.startswith(b" ") for block in cut(words, 1000)[1:])
    sizes = [len(block) for block in cut(lines, 1000)]
    assert max(sizes) - min(sizes) < 60
