"""The model-coded golden archives: what the tiny model wrote once decodes for ever, everywhere.

They are read by native code, by the reference in Python, and by a second reader made from the documents alone
(`archive_plain_reader`, `coding_plain`, `ensemble_plain`), which takes only the rows of models from the
package. They also pin the encoder: within a version of the format, equal input, model and parameters give
equal bytes. A change here is a change of the format. `tests/support/make_golden_model.py` made them.
"""

import hashlib
import io
import json

import archive_plain_reader
import plain_blocks
import pytest
from paths import GOLDEN, TINY
from two_models import write_second

from nacrith import codec, errors
from nacrith.archive import ArchiveReader
from nacrith.archive.blockcodec import CodecId
from nacrith.archive.records import parse_short_head
from nacrith.archive.wire import Source
from nacrith.bytelevel.joined import JoinedModel
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.fallback import CODECS
from nacrith.models import load_model

ENTRIES = [e for e in json.loads((GOLDEN / "manifest.json").read_text("utf-8")) if "model" in e]
GOOD = [e for e in ENTRIES if "error" not in e]
REFUSED = [e for e in ENTRIES if "error" in e]
SMALL = [e for e in GOOD if e["content_size"] < 300]
"""For the reference, which takes 10 ms a token. There are lanes, hard bytes, and all sets among them."""

MORE = ["good/model-cascade-blocks.nac", "good/model-lanes-64.nac", "good/model-groups.nac"]
PLAIN = [e for e in GOOD if e in SMALL or e["file"] in MORE]
"""For the plain reader: also several blocks, as many lanes as may be, and several groups."""


@pytest.fixture(scope="module", params=[1, 2])
def model(request):
    return load_model(str(TINY), threads=request.param)


def _read(name, model):
    file = io.BytesIO((GOLDEN / name).read_bytes())

    def find(codec_id: CodecId) -> ModelCodec:
        return codec.for_decoding(codec_id, model, None)

    return b"".join(ArchiveReader(file, find, CODECS))


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return load_model(str(write_second(tmp_path_factory.mktemp("models"))), threads=1)


def _is_joint(entry):
    return "+" in entry["model"]


def _coder(entry, model, second):
    return JoinedModel([model, second]) if _is_joint(entry) else model


def _predictors(entry):
    """The set of a short stream."""
    head = parse_short_head(Source(io.BytesIO((GOLDEN / entry["file"]).read_bytes()[2:])), CODECS.names)
    return CodingParams.from_bytes(head.codec.params).predictors


def _check(entry, content):
    assert len(content) == entry["content_size"]
    assert hashlib.sha256(content).hexdigest() == entry["content_sha256"]


def test_there_are_model_coded_archives():
    assert len(GOOD) >= 14
    assert len(REFUSED) >= 14
    assert {_predictors(entry) for entry in SMALL} == {0, 1, 2}
    assert sum("lanes" in entry["file"] for entry in SMALL) >= 3


@pytest.mark.parametrize("entry", GOOD, ids=lambda e: e["file"])
def test_good(entry, model, second):
    _check(entry, _read(entry["file"], _coder(entry, model, second)))


@pytest.mark.parametrize("entry", SMALL, ids=lambda e: e["file"])
def test_good_by_the_reference(entry, second, monkeypatch):
    monkeypatch.setenv("NACRITH_ENGINE", "numpy")
    _check(entry, _read(entry["file"], _coder(entry, load_model(str(TINY), threads=1), second)))


@pytest.mark.parametrize("entry", PLAIN, ids=lambda e: e["file"])
def test_good_by_the_plain_reader(entry, second):
    tiny = load_model(str(TINY), threads=1)
    block = plain_blocks.ensemble([tiny, second]) if _is_joint(entry) else plain_blocks.single(tiny)
    _check(entry, archive_plain_reader.read((GOLDEN / entry["file"]).read_bytes(), block))


@pytest.mark.parametrize("entry", REFUSED, ids=lambda e: e["file"])
def test_refused(entry, model):
    with pytest.raises(errors.NacrithError) as caught:
        _read(entry["file"], model)
    assert type(caught.value) is getattr(errors, entry["error"])


@pytest.mark.parametrize(
    ("name", "lanes", "params"),
    [
        ("good/model-short.nac", 1, CodingParams(64, bits=16)),
        ("good/model-cascade.nac", 1, CodingParams(512, 1, 13, 20)),
        ("good/model-cascade-2.nac", 1, CodingParams(512, 2, 15, 22)),
        ("good/model-lanes.nac", 6, CodingParams(64, 1, 9, 16)),
    ],
)
def test_encoder_still_writes_these_bytes(model, name, lanes, params):
    """The payload of a short archive, made again (the container may choose other blocks one day)."""
    codec = ModelCodec(model, params, lanes=lanes, lane_size=1)
    (payload,) = codec.encode([_read(name, model)])
    assert payload in (GOLDEN / name).read_bytes()
