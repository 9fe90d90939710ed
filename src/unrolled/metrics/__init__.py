"""Metrics: numbers from outputs, with intervals. No torch in this room."""

from __future__ import annotations

# These functions have the names of their modules, which importing a module later would put in their place.
from unrolled.metrics.bleu import bleu
from unrolled.metrics.meteor import meteor

__all__ = ["bleu", "meteor"]
