"""Models that compute in floats, by llama.cpp or transformers; their archives are bound to one machine."""
