"""The codec over the tiny model: round trips in any number of lanes, whatever shares a pass, threads, damage.

Where nothing is said of coders, plain ones take the place of the real ones (`plain_group`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import plain_group
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import TINY

from nacrith.codec import encoding, group, model_codec
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.codec.payload import head, parse
from nacrith.codec.pool import LANES
from nacrith.codec.text import MAX_LANES
from nacrith.errors import CorruptError
from nacrith.models import load_model
from nacrith.models.exact.model import ExactModel

PARAMS = CodingParams(64)
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
def model() -> ExactModel:
    return load_model(str(TINY), threads=1)  # type: ignore[return-value]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[plain_group.PlainEncoder]:
    """Plain coders; the encoders."""
    return plain_group.use(monkeypatch)


@pytest.fixture
def codec(model: ExactModel, made: object) -> ModelCodec:
    """Of plain coders, with many lanes for short texts."""
    return ModelCodec(model, PARAMS, lane_size=40, threads=2)


def sized(payloads: list[bytes], blocks: list[bytes]) -> list[tuple[bytes, int]]:
    return [(payload, len(block)) for payload, block in zip(payloads, blocks, strict=True)]


def round_trip(codec: ModelCodec, blocks: list[bytes]) -> list[bytes]:
    payloads = codec.encode(blocks)
    assert codec.decode(sized(payloads, blocks)) == blocks
    return payloads


# --- with the real coders ---


@pytest.mark.parametrize(
    "params",
    [CodingParams(64), CodingParams(64, 1, 8), CodingParams(64, 2, 8)],
    ids=["set 0", "set 1", "set 2"],
)
def test_nasty_blocks_come_back_in_lanes(model: ExactModel, params: CodingParams) -> None:
    blocks = [*NASTY[2:], NASTY[1][120:140], b"", TEXT[:60]]
    payloads = round_trip(ModelCodec(model, params, lane_size=16), blocks)
    lanes = [len(parse(p, len(b)).lengths) for p, b in zip(payloads, blocks, strict=True)]
    assert lanes == [1, 2, 1, 2, 1, 0, 4]
    assert len(payloads[-1]) < 60 * 3 / 4


def test_real_damage_ends_in_our_error_or_in_bytes_of_the_right_length(model: ExactModel) -> None:
    block = TEXT[:24]
    codec = ModelCodec(model, CodingParams(64, 1, 8), lane_size=8)
    (payload,) = codec.encode([block])
    start = len(head(parse(payload, len(block)).lengths, False))
    outcomes = set()
    for at in range(start, len(payload)):
        damaged = payload[:at] + bytes([payload[at] ^ 0x55]) + payload[at + 1 :]
        outcomes.add(outcome(codec, damaged, len(block)))
    assert outcomes <= {"error", "bytes"}


# --- lanes ---


def test_no_blocks_and_empty_blocks(codec: ModelCodec) -> None:
    assert codec.encode([]) == codec.decode([]) == []
    assert round_trip(codec, [b"", b"a", b""])[0] == b"\0"


@settings(max_examples=25)
@given(
    blocks=st.lists(st.one_of(st.binary(max_size=90), st.text(max_size=60).map(str.encode)), max_size=6),
    lanes=st.integers(1, 9),
    size=st.integers(1, 40),
)
def test_any_bytes_come_back(model: ExactModel, blocks: list[bytes], lanes: int, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        plain_group.use(patch)
        round_trip(ModelCodec(model, PARAMS, lanes=lanes, lane_size=size), blocks)


@pytest.mark.parametrize("lanes", [1, 2, 3, 15, 16, 31, 32, 33, MAX_LANES])
def test_any_number_of_lanes(model: ExactModel, made: object, lanes: int) -> None:
    """Also more than a pool has for several groups."""
    text = TEXT * 3
    codec = ModelCodec(model, PARAMS, lanes=lanes, lane_size=1)
    payload, short = round_trip(codec, [text, TEXT[:20]])
    assert len(parse(payload, len(text)).lengths) == lanes
    assert len(parse(short, 20).lengths) <= min(lanes, 20)
    codec.shared = True
    assert codec.decode([(payload, len(text)), (short, 20)]) == [text, TEXT[:20]]


def test_the_schedule(
    model: ExactModel, made: list[plain_group.PlainEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token t of every lane before token t + 1 of any, each under the row of a lane of its own, however many
    rows a pass has."""
    text = TEXT + b"a\n" * 9
    seen = []
    for rows in (1, 7, 256):
        monkeypatch.setattr(encoding, "ROWS", rows)
        codec = ModelCodec(model, PARAMS, lane_size=50)
        (payload,) = codec.encode([text])
        seen.append(made[-1].seen)
    assert seen[0] == seen[1] == seen[2]
    lengths = parse(payload, len(text)).lengths
    assert len(lengths) == 4
    assert len(set(lengths)) > 1, "lanes are to end at different steps"
    steps = [(t, lane) for lane, n in enumerate(lengths) for t in range(n)]
    assert [lane for lane, _, _ in seen[0]] == [lane for _, lane in sorted(steps)]
    found = []
    for lane in range(4):
        ids = [token for at, token, _ in seen[0] if at == lane]
        found.append(model.tokenizer.decode(ids))
        rows = model.session(1, 64).extend([[model.bos_id, *ids[:-1]]])[0]
        assert [row for at, _, row in seen[0] if at == lane] == [row.tobytes() for row in rows]
    assert b"".join(found) == text


def test_a_lane_that_is_full_begins_again(model: ExactModel, made: list[plain_group.PlainEncoder]) -> None:
    class Short:
        max_length = 20

        def __getattr__(self, name: str) -> object:
            return getattr(model, name)

    codec = ModelCodec(Short(), PARAMS, lanes=2, lane_size=1)  # type: ignore[arg-type]
    round_trip(codec, [TEXT * 2, TEXT[:9]])
    ids = [token for lane, token, _ in made[0].seen if lane == 1]
    assert len(ids) > 40
    rows = [row for lane, _, row in made[0].seen if lane == 1]
    session = model.session(1, 64)
    for at in range(0, len(ids), 20):
        session.rollback(0, 0)
        part = session.extend([[model.bos_id, *ids[at : at + 20][:-1]]])[0]
        assert rows[at : at + 20] == [row.tobytes() for row in part]


# --- company ---


def test_payload_does_not_depend_on_company_or_threads(codec: ModelCodec) -> None:
    blocks = [TEXT[i : i + n] for i, n in ((0, 5), (3, 190), (40, 90), (7, 60), (0, 190))] * 5
    together = codec.encode(blocks)
    assert together == [codec.encode([b])[0] for b in blocks]
    threaded = ModelCodec(load_model(str(TINY), threads=2), PARAMS, lane_size=40, threads=1)
    assert threaded.encode(blocks) == together
    jobs = sized(together, blocks)
    assert sum(len(parse(*job).lengths) for job in jobs) > LANES  # lanes are handed on
    assert codec.decode(jobs) == threaded.decode(jobs) == blocks
    assert codec.decode(jobs[3:4]) == blocks[3:4]


def test_short_blocks_share_passes(codec: ModelCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [TEXT[i : i + 30] for i in range(20)]
    passes = passes_of(codec, monkeypatch)
    payloads = codec.encode(blocks)
    assert len(passes) < 6
    passes.clear()
    codec.decode(sized(payloads, blocks))
    assert len(passes) == max(max(parse(p, 30).lengths) for p in payloads)
    assert max(passes) == 20


def passes_of(codec: ModelCodec, patch: pytest.MonkeyPatch) -> list[int]:
    """For each pass that will be made, how many lanes it has."""
    passes: list[int] = []
    original = codec.model.session

    def session(*args: object) -> object:
        made = original(*args)  # type: ignore[arg-type]
        extend = made.extend

        def counted(tokens: list[list[int]]) -> object:
            passes.append(sum(map(bool, tokens)))
            return extend(tokens)

        made.extend = counted  # type: ignore[method-assign]
        return made

    patch.setattr(codec.model, "session", session)
    return passes


def test_threads_share_passes(codec: ModelCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets its own blocks back, more threads than lanes; what is damaged harms its own thread only."""
    blocks = [TEXT[i : i + n] for i, n in ((0, 5), (3, 190), (40, 90), (7, 60), (0, 0))] * 9
    payloads = codec.encode(blocks)
    jobs = sized(payloads, blocks)
    jobs[6] = (jobs[6][0], 189)
    alone = sum(max(parse(*job).lengths, default=0) for job in jobs)
    codec.shared = True
    passes = passes_of(codec, monkeypatch)
    told: list[int] = []
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(codec.decode, [job, jobs[0]], told.append) for job in jobs]
    with pytest.raises(CorruptError, match="189"):
        futures.pop(6).result()
    expected = [[b, blocks[0]] for i, b in enumerate(blocks) if i != 6]
    assert [future.result() for future in futures] == expected
    assert len(passes) < alone / 2
    assert sum(told) == sum(size for _, size in jobs) + 5 * len(jobs)
    with ThreadPoolExecutor(len(blocks)) as pool:
        assert [p for (p,) in pool.map(lambda b: codec.encode([b]), blocks)] == payloads


def test_memory_bounds_the_groups_at_a_time(codec: ModelCodec, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [TEXT[i : i + 30] for i in range(6)]
    payloads = codec.encode(blocks)
    monkeypatch.setattr(model_codec, "_MEMORY", 3 * group.memory(PARAMS))
    passes = passes_of(codec, monkeypatch)
    assert codec.decode(sized(payloads, blocks)) == blocks
    assert max(passes) == 3
    monkeypatch.setattr(model_codec, "_MEMORY", 1)
    passes.clear()
    assert codec.decode(sized(payloads, blocks)) == blocks
    assert max(passes) == 1


def test_progress_counts_every_byte_once(codec: ModelCodec) -> None:
    blocks = [TEXT, TEXT.replace(b" ", b"\r\n"), *NASTY]
    seen: list[int] = []
    payloads = codec.encode(blocks, seen.append)
    assert sum(seen) == sum(map(len, blocks))
    seen.clear()
    codec.decode(sized(payloads, blocks), seen.append)
    assert sum(seen) == sum(map(len, blocks))


# --- damage ---


def outcome(codec: ModelCodec, payload: bytes, size: int) -> str:
    try:
        (content,) = codec.decode([(payload, size)])
    except CorruptError:
        return "error"
    assert len(content) == size
    return "bytes"


def test_every_bit_of_a_payload(codec: ModelCodec) -> None:
    """In lanes, the counts of tokens included."""
    block = TEXT[:60]
    (payload,) = codec.encode([block])
    damaged = [payload[:n] for n in range(len(payload))]
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    assert {outcome(codec, payload, len(block)) for payload in damaged} == {"error", "bytes"}


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "token counts"),
        (b"\xff\xff\xff\xff\xff\xff\1", "token counts"),
        (b"\x08\1", "token counts"),
        (b"\x08\xff\xff\xff\xff\xff\1", "token counts"),
        (head([1] * 65, False), "65 lanes"),
        (head([1 << 32], False), "tokens"),
        (head([16, 15], True), "31 tokens"),
        (b"\0", "0 bytes, not 10"),
        (head([0] * 64, True), "0 bytes, not 10"),
    ],
)
def test_heads_that_no_block_has(codec: ModelCodec, payload: bytes, words: str) -> None:
    with pytest.raises(CorruptError, match=words):
        codec.decode([(payload, 10)])


def test_a_block_that_grows_beyond_its_size_ends_at_once(
    codec: ModelCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = max(range(codec.model.vocab_size), key=lambda i: len(codec.model.tokenizer.decode([i])))
    spelled = len(codec.model.tokenizer.decode([long]))
    assert spelled > 3

    class Endless:
        def decode(self, rows: np.ndarray, lanes: np.ndarray, at: np.ndarray) -> list[int]:
            return [long] * len(lanes)

    monkeypatch.setattr(group, "decoder", lambda *_: Endless())
    passes = passes_of(codec, monkeypatch)
    with pytest.raises(CorruptError, match="more than its 1000 bytes"):
        codec.decode([(head([1500, 1500], False), 1000)])
    assert len(passes) == 1000 // spelled + 1
