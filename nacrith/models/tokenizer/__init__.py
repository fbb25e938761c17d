"""The lossless byte-level BPE tokenizer, and its import from GGUF and tokenizer.json."""
