"""A second tiny model, of another vocabulary than the committed one's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from paths import TINY_HF

from nacrith.models.exact.conversion import convert
from nacrith.models.sources.safetensors import read_safetensors

_FEWER = 150  # merges that it lacks


def write_second(folder: Path) -> Path:
    """The committed weights behind a tokenizer that merges less, as the model file `second.nacm`."""
    source = folder / "second_hf"
    shutil.copytree(TINY_HF, source)
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    del tokenizer["model"]["merges"][-_FEWER:]
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    made = folder / "second.nacm"
    convert(read_safetensors(source), made, name="second", positions=1 << 14)
    return made
