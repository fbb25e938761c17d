"""Drafters that guess the same tokens everywhere, whatever the text is."""

from __future__ import annotations

from nacrith.decoding.drafters.protocol import Guess


class Same:
    """Guesses `tokens`, of the kinds 0, 1, ..., at every place. asked: how often. It is its own follower."""

    wants_rows = False

    def __init__(self, tokens=(7, 8), priors=(0.9, 0.3), price=0.0):
        self.tokens, self.priors, self.price = tokens, priors, price
        self.asked = 0

    def follow(self):
        return self

    def extend(self, tokens):
        pass

    def observe(self, rows):
        pass

    def start(self):
        return ()

    def guesses(self, state):
        self.asked += 1
        return [Guess(token, kind, ()) for kind, token in enumerate(self.tokens)]
