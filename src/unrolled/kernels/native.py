"""The compiled engine (``unrolled._engine``), where this installation has it.

``UNROLLED_ENGINE=0`` leaves it out; ``UNROLLED_REQUIRE_ENGINE=1`` makes its absence an error, so that a
broken build cannot pass as a pure Python installation.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


def _load() -> ModuleType | None:
    if os.environ.get("UNROLLED_ENGINE", "1") == "0":
        return None
    try:
        return import_module("unrolled._engine")
    except ImportError:
        return None


engine: Any = _load()


def missing() -> bool:
    """Whether there is no engine.

    Raises:
        RuntimeError: there is none, and the environment requires it.
    """
    if engine is None and os.environ.get("UNROLLED_REQUIRE_ENGINE", "0") not in ("", "0"):
        raise RuntimeError(
            "UNROLLED_REQUIRE_ENGINE is set, but the native engine is not built (`make engine`) "
            "or switched off by UNROLLED_ENGINE=0"
        )
    return engine is None


def batched(*gradients: Tensor | None) -> bool:
    """Whether these are vmap's (``is_grads_batched=True``), without memory of their own."""
    return any(g is not None and not torch._C._has_storage(g) for g in gradients)


def isa() -> str | None:
    """The instruction set that the engine uses (``avx512``, ``avx2``, ``baseline``); None without engine.

    ``UNROLLED_ENGINE_ISA`` forces another that the machine has.
    """
    return None if missing() else str(engine.isa())


_weights = "float32"


def halved() -> bool:
    """Whether :func:`weights` last asked for bfloat16."""
    return _weights == "bfloat16"


class _Weights:
    """Undoes :func:`weights` at the end of a ``with`` block."""

    def __init__(self, previous: str) -> None:
        self._previous = previous

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        weights(self._previous)


def weights(dtype: str) -> _Weights:
    """How the engine keeps packed weights for inference, from here on or within ``with weights(...):``.

    Args:
        dtype: ``"float32"``, or ``"bfloat16"``: each weight rounded to 8 significant bits, half the memory to
            read. Inputs, states, biases and sums stay float32, and so does everything in training. A
            session keeps what was in force when it was opened.

    Raises:
        ValueError: another type.

    >>> import torch, unrolled
    >>> layer, x = unrolled.LSTM(4, 8), torch.ones(3, 1, 4)
    >>> with torch.inference_mode(), weights("bfloat16"):
    ...     rounded = layer(x)[0]
    >>> torch.allclose(rounded, layer(x)[0], atol=5e-3)
    True
    """
    global _weights
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"weights are kept as float32 or bfloat16, not {dtype!r}")
    previous, _weights = _weights, dtype
    return _Weights(previous)
