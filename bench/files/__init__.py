"""Benchmarks of whole files: sizes and times against other compressors, round trips."""
