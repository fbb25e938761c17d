"""Benchmarks of coding: the ensemble, blocks, the range coder, where the time goes."""
