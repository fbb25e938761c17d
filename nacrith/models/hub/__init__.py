"""Pulling models from the Hugging Face hub: the only part that uses the network."""
