"""Exact inference: Llama-architecture engines whose results are the same integers on every machine.

`nacrith.arith` states the rules (arithmetic version 1); `numpy_engine` is the reference implementation.
"""
