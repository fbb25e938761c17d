"""Plain decoding, one token a pass, by `extend` and `Sampling.choose` alone; the tiny model on any engine."""

from __future__ import annotations

from functools import cache

from paths import TINY

from nacrith.decoding import Sampling
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import NumpyEngine

GREEDY = Sampling()
SEEDED = Sampling(temperature=0.9, top_k=40, top_p=0.95, min_p=0.01, seed=11)


@cache
def model(engine: str = "numpy") -> ExactModel:
    made = ExactModel(TINY, threads=1)
    if engine == "torch":
        from nacrith.models.exact.torch_engine import TorchEngine

        made.__dict__["engine"] = TorchEngine(made.file, 1, "cpu")
    else:
        made.__dict__["engine"] = (NativeEngine if engine == "native" else NumpyEngine)(made.file, 1)
    return made


def plainly(given: ExactModel, prompt: list[int], most: int, sampling: Sampling) -> list[int]:
    session, ids = given.session(), [given.bos_id, *prompt]
    row = session.extend([ids])[0][-1]
    out: list[int] = []
    while len(out) < most:
        out.append(sampling.choose(row, len(out)))
        if out[-1] == given.bos_id:
            break
        row = session.extend([out[-1:]])[0][0]
    return out
