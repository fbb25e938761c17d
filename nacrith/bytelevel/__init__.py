"""Exact byte-level probabilities over any language model, and what they are good for."""

from nacrith.bytelevel.beam import Beam, BeamState
from nacrith.bytelevel.complete import Likelihood, complete, loglikelihood
from nacrith.bytelevel.ensemble import ByteEnsemble, EnsembleState
from nacrith.bytelevel.model import ByteModel
from nacrith.bytelevel.state import END, ByteState
from nacrith.decoding.sampling import Sampling

__all__ = [
    "END",
    "Beam",
    "BeamState",
    "ByteEnsemble",
    "ByteModel",
    "ByteState",
    "EnsembleState",
    "Likelihood",
    "Sampling",
    "complete",
    "loglikelihood",
]
