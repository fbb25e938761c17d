"""Benchmarks of byte-level probabilities: cut prompts, middles, speed, ensembles."""
