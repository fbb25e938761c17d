"""Benchmarks of what runs a model: speed, and what exact integers cost against floats."""
