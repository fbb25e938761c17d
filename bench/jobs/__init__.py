"""Benchmarks of many files at once."""
