"""Floating-point backends (llama.cpp, transformers), whose archives decode only in the same environment."""
