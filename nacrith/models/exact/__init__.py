"""Exact inference: a Llama-architecture engine whose every result is an integer that any machine repeats.

`nacrith.arith` states the contract (arithmetic version 1); `numpy_engine` is the reference.
"""
