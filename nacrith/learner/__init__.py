"""The learner: a codec without a language model, which predicts every bit of a text from the bytes before.

`codec` is its face: bytes to a payload and back, in native code where there is some. The other modules are
the reference, in Python: `learner` joins `histories` (what contexts have seen), `match`, `mixer` and the
contexts of `shapes`, which read a `cursor`. Beside a model it takes the model's view as one more input, and
`ends` says whether a token goes on; `codec.group_reference` uses both. formats/learner-v1.md specifies it;
codecs/learner has the same in C++.
"""

from nacrith.learner.codec import LEAST_BITS, MOST_BITS, MOST_SIZE, NO_LAYOUT, Layout, Shape, decode, encode

__all__ = ["LEAST_BITS", "MOST_BITS", "MOST_SIZE", "NO_LAYOUT", "Layout", "Shape", "decode", "encode"]
