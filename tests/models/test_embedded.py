"""The model that the package brings: nothing but the package is needed, and all engines agree on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nacrith
from nacrith.models import load_model, store
from nacrith.models.exact import modelfile
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import NumpyEngine

ENGLISH = b"Dear Anna, the train from Lyon is two hours late. Please do not wait for me at the station. "
GERMAN = "Liebe Anna, der Zug aus Lyon hat zwei Stunden Verspätung. Warte bitte nicht am Bahnhof. ".encode()
JSON = b'{"version": 1, "items": [{"id": 17, "name": "first"}, {"id": 18, "name": "second"}]}\n'
CODE = b"for (int i = 0; i < count; ++i) {\n    if (names[i] == nullptr)\n        return -1;\n}\n"


@pytest.fixture(scope="module")
def model() -> ExactModel:
    found = load_model(threads=2)
    assert isinstance(found, ExactModel)
    return found


@pytest.mark.parametrize(("text", "most"), [(ENGLISH, 48), (GERMAN, 64), (JSON, 45), (CODE, 44)])
def test_it_knows_more_than_english_prose(model: ExactModel, text: bytes, most: int) -> None:
    archive = nacrith.compress(text, model=model)
    assert nacrith.decompress(archive) == text  # finds the model by its fingerprint
    assert len(archive) <= most


def test_engines_agree(model: ExactModel) -> None:
    if nacrith.engine != "native":
        pytest.skip("no native engine to compare with")
    tokens = [[model.bos_id, *model.tokenizer.encode(ENGLISH + GERMAN + JSON)]]
    file = modelfile.read(model.file.path)
    engines = (NativeEngine(file, 2), NumpyEngine(file, 2))
    rows = [engine.session(1, model.max_context).extend(tokens)[0] for engine in engines]
    assert np.array_equal(*rows)


def test_every_byte_has_a_token(model: ExactModel) -> None:
    assert all(len(model.tokenizer.encode(bytes([b]))) == 1 for b in range(256))


def test_nothing_is_written_or_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(store.CARRIERS, "smollm2-135m", None)
    assert store.find(None).is_dir()
    assert not (tmp_path / "cache").exists()
