"""The model-coded golden archives: what the tiny model wrote once decodes for ever, everywhere.

They also pin the encoder: within a version of the format, equal input, model and parameters give equal
bytes. A change here is a change of the format.
"""

import hashlib
import io
import json

import pytest
from paths import GOLDEN, TINY

from nacrith import codec, errors
from nacrith.archive import ArchiveReader
from nacrith.archive.blockcodec import CodecId
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.fallback import CODECS
from nacrith.models import load_model

ENTRIES = [e for e in json.loads((GOLDEN / "manifest.json").read_text("utf-8")) if "model" in e]
GOOD = [e for e in ENTRIES if "error" not in e]
REFUSED = [e for e in ENTRIES if "error" in e]


@pytest.fixture(scope="module", params=[1, 2])
def model(request):
    return load_model(str(TINY), threads=request.param)


def _read(name, model):
    file = io.BytesIO((GOLDEN / name).read_bytes())

    def find(codec_id: CodecId) -> ModelCodec:
        return codec.for_decoding(codec_id, model, None)

    return b"".join(ArchiveReader(file, find, CODECS))


def test_there_are_model_coded_archives():
    assert len(GOOD) >= 5
    assert len(REFUSED) >= 2


@pytest.mark.parametrize("entry", GOOD, ids=lambda e: e["file"])
def test_good(entry, model):
    content = _read(entry["file"], model)
    assert len(content) == entry["content_size"]
    assert hashlib.sha256(content).hexdigest() == entry["content_sha256"]


@pytest.mark.parametrize("entry", REFUSED, ids=lambda e: e["file"])
def test_refused(entry, model):
    with pytest.raises(errors.NacrithError) as caught:
        _read(entry["file"], model)
    assert type(caught.value) is getattr(errors, entry["error"])


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("good/model-short.nac", CodingParams(64)),
        ("good/model-cascade.nac", CodingParams(512, 1, 13)),
        ("good/model-cascade-2.nac", CodingParams(512, 2, 13)),
    ],
)
def test_encoder_still_writes_these_bytes(model, name, params):
    """The payload of a short archive, made again (the container may choose other blocks one day)."""
    (payload,) = ModelCodec(model, params).encode([_read(name, model)])
    assert payload in (GOLDEN / name).read_bytes()
