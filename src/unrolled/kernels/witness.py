"""Whether weights are still what something was made of.

Versions alone do not tell: torch's fused optimisers and whatever writes through ``.data`` change a parameter
without raising its version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast
from weakref import ref

from torch import Tensor

from unrolled.kernels.native import engine as _engine


class Witness:
    """What weights were: tensors, addresses, versions, contents. Needs the engine.

    Args:
        weights: contiguous, float32, on the CPU.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._seen = [(ref(w), w.data_ptr(), _version(w), _contents(w)) for w in weights]

    def holds(self, weights: Sequence[Tensor]) -> bool:
        """Whether these are the same, unchanged."""
        if len(weights) != len(self._seen):
            return False
        for w, (made_of, address, version, contents) in zip(weights, self._seen, strict=True):
            if made_of() is not w or w.data_ptr() != address or _version(w) != version:
                return False
            if _contents(w) != contents:
                return False
        return True


def _version(weight: Tensor) -> int:
    return -1 if weight.is_inference() else weight._version  # inference tensors have none


def _contents(weight: Tensor) -> int:
    return cast(int, _engine.fingerprint(weight.data_ptr(), weight.numel()))
