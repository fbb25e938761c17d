"""The codec over the tiny model: round trips, independence of blocks, lanes and threads, damage."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import TINY

from nacrith.codec.model_codec import LANES, ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.codec.shared import SharedCodec
from nacrith.codec.text import restore_crlf, strip_crlf
from nacrith.errors import CorruptError, UnsupportedFormatError
from nacrith.models import load_model

TEXT = (
    b"The old ferry left the harbour a little after nine, when the fog had lifted from the water and the"
    b" gulls were coming back. Nobody on board knew the captain, and nobody asked where he would land.\n"
)
NASTY = [
    b"<|endoftext|> is only text, and so is <|im_start|>",
    bytes(range(256)),
    b"\xef\xbb\xbfBOM and CR LF\r\nline\r\n",
    b"lone \xed\xa0\x80 surrogate, \xf1\x80\x80\x80, \xf2 and \xff\xfe",
    b"\0\0\0",
    "Gr\u00fc\u00dfe, \u4f60\u597d, \u043f\u0440\u0438\u0432\u0435\u0442 \U0001f600".encode(),
]


@pytest.fixture(scope="module")
def model():
    return load_model(str(TINY), threads=1)


@pytest.fixture(
    scope="module",
    params=[CodingParams(64), CodingParams(64, 1, 8), CodingParams(64, 2, 8)],
    ids=["set 0", "set 1", "set 2"],
)
def codec(model, request):
    return ModelCodec(model, request.param)


def _round_trip(codec, blocks):
    payloads = codec.encode(blocks)
    assert codec.decode([(p, len(b)) for p, b in zip(payloads, blocks, strict=True)]) == blocks
    return payloads


def test_nasty_blocks_come_back(codec):
    _round_trip(codec, NASTY)


def test_no_blocks_and_empty_blocks(codec):
    assert codec.encode([]) == []
    assert _round_trip(codec, [b"", b"a", b""])[0] == b"\0"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)), max_size=6))
def test_any_bytes_come_back(codec, blocks):
    _round_trip(codec, blocks)


def test_model_beats_nothing(codec):
    """Plain text costs less than half of its bytes even from a cold start."""
    assert len(codec.encode([TEXT])[0]) < len(TEXT) / 2


def test_payload_does_not_depend_on_company_or_threads(codec):
    blocks = [TEXT[i : i + n] for i, n in ((0, 5), (3, 190), (40, 90), (7, 60), (0, 190))] * 5
    together = codec.encode(blocks)
    assert together == [codec.encode([b])[0] for b in blocks]
    threaded = ModelCodec(load_model(str(TINY), threads=2), codec.params)
    assert threaded.encode(blocks) == together
    jobs = [(p, len(b)) for p, b in zip(together, blocks, strict=True)]
    assert len(jobs) > LANES  # lanes are handed on from one block to the next
    assert codec.decode(jobs) == threaded.decode(jobs) == blocks
    assert codec.decode(jobs[3:4]) == blocks[3:4]


def test_threads_share_lanes(codec):
    """Each gets its own blocks back, more threads than lanes; what is damaged harms its own thread only."""
    blocks = [TEXT[i : i + n] for i, n in ((0, 5), (3, 190), (40, 90), (7, 60), (0, 0))] * 5
    payloads = codec.encode(blocks)
    jobs = [(p, len(b)) for p, b in zip(payloads, blocks, strict=True)]
    jobs[6] = (jobs[6][0], 189)
    shared = SharedCodec(codec)
    told = []
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(shared.decode, [job, jobs[0]], told.append) for job in jobs]
    with pytest.raises(CorruptError, match="189"):
        futures.pop(6).result()
    expected = [[b, blocks[0]] for i, b in enumerate(blocks) if i != 6]
    assert [future.result() for future in futures] == expected
    assert sum(told) == sum(size for _, size in jobs) + 5 * len(jobs)
    with ThreadPoolExecutor(len(blocks)) as pool:
        assert [p for (p,) in pool.map(lambda b: shared.encode([b]), blocks)] == payloads


def test_blocks_longer_than_the_window(codec):
    _round_trip(codec, [TEXT * 6])


def test_predictors_see_beyond_the_window(model):
    """TEXT has more tokens than the window; what set 1 learnt of it makes a repetition cheap."""
    sizes = {}
    for params in (CodingParams(16), CodingParams(16, 1, 10)):
        once, often = (len(p) for p in _round_trip(ModelCodec(model, params), [TEXT, TEXT * 8]))
        sizes[params.predictors] = (often - once) / 7 / once
    assert sizes[0] > 0.9
    assert sizes[1] < 0.1


@pytest.mark.parametrize(("drafts", "worth"), [(0, None), (1, 0.0), (7, 0.4), (999, 0.0), (32, None)])
def test_guesses_change_nothing(model, drafts, worth):
    """Not the result, whatever their number; and right ones save passes."""
    params = CodingParams(64, 1, 8)
    blocks = [TEXT * 2, *NASTY[2:4], TEXT[:50] * 3, b"ab" * 99]
    payloads = ModelCodec(model, params).encode(blocks)
    jobs = [(p, len(b)) for p, b in zip(payloads, blocks, strict=True)]
    codec = ModelCodec(model, params, drafts=drafts, worth=worth)
    assert codec.decode(jobs) == blocks
    assert codec.decode(jobs[:1]) == blocks[:1]


def test_right_guesses_save_passes(model, monkeypatch):
    params = CodingParams(64, 1, 8)
    block = TEXT * 6
    (payload,) = ModelCodec(model, params).encode([block])
    passes = []

    class Counting:
        def __init__(self, session):
            self.session = session

        def __getattr__(self, name):
            if name == "extend":
                passes.append(None)
            return getattr(self.session, name)

    class Model:
        def __getattr__(self, name):
            if name == "session":
                return lambda *args: Counting(model.session(*args))
            return getattr(model, name)

    used = {}
    for drafts in (0, 32):
        passes.clear()
        assert ModelCodec(Model(), params, drafts=drafts, worth=0.3).decode([(payload, len(block))]) == [
            block
        ]
        used[drafts] = len(passes)
    assert used[32] < used[0] / 3


def test_lanes_that_begin_again_may_guess(model):
    """A lane is emptied when it is full, and no guess goes beyond."""

    class Short:
        max_length = 20

        def __getattr__(self, name):
            return getattr(model, name)

    params = CodingParams(64, 1, 8)
    block = TEXT * 3
    codec = ModelCodec(Short(), params, drafts=32, worth=0.0)
    (payload,) = codec.encode([block])
    assert codec.decode([(payload, len(block))]) == [block]


def test_progress_counts_every_byte_once(codec):
    blocks = [TEXT, TEXT.replace(b" ", b"\r\n"), *NASTY]
    seen = []
    payloads = codec.encode(blocks, seen.append)
    assert sum(seen) == sum(map(len, blocks))
    seen.clear()
    codec.decode([(p, len(b)) for p, b in zip(payloads, blocks, strict=True)], seen.append)
    assert sum(seen) == sum(map(len, blocks))


def test_damaged_payloads_end_in_our_error_or_in_bytes_of_the_right_length(codec):
    block = TEXT[:24]
    payload = codec.encode([block])[0]
    damaged = [payload[:n] for n in range(len(payload))]
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    outcomes = set()
    for payload in damaged:
        try:
            (content,) = codec.decode([(payload, len(block))])
        except CorruptError:
            outcomes.add("error")
        else:
            assert len(content) == len(block)
            outcomes.add("bytes")
    assert "error" in outcomes


@given(st.binary(max_size=60))
def test_line_ends(data):
    stripped, crlf = strip_crlf(data)
    assert restore_crlf(stripped, crlf) == data
    mixed = data.replace(b"\r", b"").replace(b"\n", b"\r\n")
    assert strip_crlf(mixed)[1] == (b"\n" in mixed)


@given(st.integers(16, 1 << 16), st.one_of(st.none(), st.integers(8, 20)), st.integers(1, 2))
def test_params_round_trip(window, capacity, number):
    params = CodingParams(window) if capacity is None else CodingParams(window, number, capacity)
    assert CodingParams.from_bytes(params.to_bytes()) == params


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", CorruptError),
        (b"\1\0", CorruptError),
        (b"\3\0\x40", UnsupportedFormatError),
        (b"\1\x63\x40", UnsupportedFormatError),
        (b"\1\x10\x40", UnsupportedFormatError),
        (b"\1\xd1\x40", UnsupportedFormatError),
        (b"\1\0\x05", CorruptError),
        (b"\1\0\xff\xff\xff\x7f", CorruptError),
        (b"\1\0\xc0", CorruptError),
        (b"\1\0\x10\x01", CorruptError),
    ],
)
def test_bad_params(data, error):
    with pytest.raises(error):
        CodingParams.from_bytes(data)
