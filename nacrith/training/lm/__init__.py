"""Training of small Llama-architecture models: corpus, vocabulary, derivation from a larger model,
optimiser, loop, export. Needs torch; outside this package only the training commands import it."""
