"""Benchmarks of prompt compression."""
