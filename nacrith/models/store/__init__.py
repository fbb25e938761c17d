"""Models on this machine: which one a name, a path or a fingerprint stands for, and the model cache.

Other rooms use the names below; `library` and `downloads` are for commands that manage the cache.
"""

from nacrith.models.store.cache import cache_directory, in_cache, name_of
from nacrith.models.store.catalogue import (
    CARRIERS,
    DEFAULT_MODEL,
    EMBEDDED,
    HUB_MODELS,
    LARGE_MODEL,
    NAME_MAX,
    SUFFIX,
    slug,
)
from nacrith.models.store.conversions import Weights, convert, convert_weights
from nacrith.models.store.lookup import (
    find,
    find_by_fingerprint,
    find_source,
    find_source_by_fingerprint,
    is_embedded,
    is_here,
    look_up,
    preferred,
    pull_command,
)

__all__ = [
    "CARRIERS",
    "DEFAULT_MODEL",
    "EMBEDDED",
    "HUB_MODELS",
    "LARGE_MODEL",
    "NAME_MAX",
    "SUFFIX",
    "Weights",
    "cache_directory",
    "convert",
    "convert_weights",
    "find",
    "find_by_fingerprint",
    "find_source",
    "find_source_by_fingerprint",
    "in_cache",
    "is_embedded",
    "is_here",
    "look_up",
    "name_of",
    "preferred",
    "pull_command",
    "slug",
]
