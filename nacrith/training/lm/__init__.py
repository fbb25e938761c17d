"""Training of small Llama-architecture models: corpus, vocabulary, derivation from a larger model, optimiser,
loop, export. Needs torch; nothing outside this package imports it but the commands that train."""
