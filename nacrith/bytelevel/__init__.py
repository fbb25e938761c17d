"""Exact byte-level probabilities over any language model."""

from nacrith.bytelevel.beam import Beam, BeamState
from nacrith.bytelevel.model import ByteModel
from nacrith.bytelevel.state import END, ByteState

__all__ = ["END", "Beam", "BeamState", "ByteModel", "ByteState"]
