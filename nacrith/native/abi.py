"""codecs/nacrith.h in ctypes: its version, error codes, structures and function types, in the same order."""

from __future__ import annotations

import ctypes

VERSION = 9

ARGUMENT, MODEL, MEMORY, DATA = 1, 2, 3, 5
"""Error codes. 0 means success, and any other code an internal error."""

SIZES = ("layers", "width", "heads", "kv_heads", "head_dim", "ffn", "vocab", "tied_head")
LIMITS = ("qkv", "o", "mlp", "down", "head")


class Config(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in SIZES),
        *((f"limit_{kind}", ctypes.c_int64) for kind in LIMITS),
        ("rms_eps", ctypes.c_double),
    ]


class Tensor(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("data", ctypes.c_void_p), ("bytes", ctypes.c_int64)]


Handle = ctypes.c_void_p
_P = ctypes.c_void_p
_I32 = ctypes.c_int32
_I64 = ctypes.c_int64
_TEXT = ctypes.c_char_p
_OUT = ctypes.POINTER(Handle)

SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "nacrith_abi_version": (_I32, []),
    "nacrith_sources": (_TEXT, []),
    "nacrith_last_error": (_TEXT, []),
    "nacrith_kernels": (_TEXT, [_I32]),
    "nacrith_bare": (_I32, [_TEXT, _I32, _I64, _P]),
    "nacrith_destroy": (None, [_P]),
    "nacrith_engine_create": (
        _I32,
        [ctypes.POINTER(Config), ctypes.POINTER(Tensor), _I64, _TEXT, _I32, _OUT],
    ),
    "nacrith_session_create": (_I32, [_P, _I64, _I64, _I64, _I64, _OUT]),
    "nacrith_session_extend": (_I32, [_P, _P, _P, _P, _P]),
    "nacrith_session_keep": (_I32, [_P, _I64, _P, _I64]),
    "nacrith_session_rollback": (_I32, [_P, _I64, _I64]),
    "nacrith_vocabulary_create": (_I32, [_I64, _I64, _P, _P, _P, _OUT]),
    "nacrith_group_create": (
        _I32,
        [_P, _I32, _I64, _P, _P, _P, _I64, _I32, _P, _I64, _TEXT, _P, _I64, _OUT],
    ),
    "nacrith_group_encode": (_I32, [_P, _I64, _P, _P, _P, _P]),
    "nacrith_group_decode": (_I32, [_P, _I64, _P, _P, _P, _P]),
    "nacrith_group_learn": (_I32, [_P, _I64, _P, _P, _P, _P]),
    "nacrith_group_finish": (_I32, [_P, _P, _I64, _P]),
    "nacrith_learner_encoder": (_I32, [_I32, _I32, _I64, _I32, _I32, _TEXT, _OUT]),
    "nacrith_learner_decoder": (_I32, [_I32, _I32, _I64, _I32, _I32, _TEXT, _P, _I64, _OUT]),
    "nacrith_learner_encode": (_I32, [_P, _P, _I64, _P]),
    "nacrith_learner_decode": (_I32, [_P, _P, _I64]),
    "nacrith_learner_finish": (_I32, [_P, _P, _I64, _P]),
}
"""The result and argument types of every function."""
