"""Text from tokens: every cut into pieces gives the text of the whole, and nothing is taken back."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from small_models import tiny

from nacrith.decoding.text import TextStream
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer


@cache
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer.from_definition(tiny().tokenizer_definition)


def pieces(ids: list[int], stop: list[str]) -> tuple[list[str], TextStream]:
    stream, out = TextStream(tokenizer(), stop), []
    for token in ids:
        out.append(stream.push(token))
        if stream.stopped:
            break
    return [*out, stream.finish()], stream


escapes = st.sampled_from([2, *tokenizer().encode(b"0af")])


@given(st.lists(st.one_of(st.integers(0, 520), escapes), max_size=40))
@example([0, 0, 0, 2, 18, 18])  # an escape after tokens that mean nothing
def test_pieces_of_any_tokens_are_the_text_of_all(ids):
    found, stream = pieces(ids, [])
    assert "".join(found) == stream.text == tokenizer().decode(ids).decode("utf-8", "replace")


@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode))
def test_bytes_of_any_kind(data):
    found, _ = pieces(list(tokenizer().encode(data)), [])
    assert "".join(found) == data.decode("utf-8", "replace")


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
def test_stop_texts_end_the_text_before_them(text, stop):
    """The stop text that is complete first ends it; a piece never shows a part of one that comes true."""
    found, stream = pieces([t for c in text for t in tokenizer().encode(c.encode())], stop)
    want, ended = text, False
    for end in range(len(text) + 1):
        places = [text[:end].find(s) for s in stop if s in text[:end]]
        if places:
            want, ended = text[: min(places)], True
            break
    assert ("".join(found), stream.text, stream.stopped) == (want, want, ended)


def test_text_comes_as_soon_as_it_is_certain():
    ids = list(tokenizer().encode(b"It was late"))
    found, _ = pieces(ids, ["zzz"])
    assert found[:-1] == [tokenizer().decode([t]).decode() for t in ids]
    held, _ = pieces(list(tokenizer().encode(b"xz")) + list(tokenizer().encode(b"y")), ["zz"])
    assert held == ["x", "", "zy", ""] or "".join(held) == "xzy"


@pytest.mark.parametrize("stop", [[], [""]])
def test_no_stop_text_stops_nothing(stop):
    _, stream = pieces(list(tokenizer().encode(b"abc")), stop)
    assert not stream.stopped
    assert stream.text == "abc"
