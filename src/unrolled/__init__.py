"""Recurrent networks, unrolled: learning from sequences with any recurrent cell.

Names load when first used (PEP 562), so that the command line starts without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrolled import kernels
    from unrolled.cells import CELLS, Cell, GatedCell
    from unrolled.layers import GRU, LSTM, RNN, Recurrent, Session
    from unrolled.layers.convert import convert
    from unrolled.tasks import load

__version__ = "0.1.0"

_HOMES = {
    "CELLS": "unrolled.cells",
    "Cell": "unrolled.cells",
    "GatedCell": "unrolled.cells",
    "GRU": "unrolled.layers",
    "LSTM": "unrolled.layers",
    "RNN": "unrolled.layers",
    "Recurrent": "unrolled.layers",
    "Session": "unrolled.layers",
    "convert": "unrolled.layers",
    "load": "unrolled.tasks",
}
_ROOMS = (
    *("baselines", "cells", "config", "data", "decoding", "errors", "kernels", "layers"),
    *("metrics", "models", "state", "tasks", "training"),
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return import_module(f"unrolled.{name}")
    raise AttributeError(f"module 'unrolled' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])


__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "GatedCell",
    "Recurrent",
    "Session",
    "__version__",
    "convert",
    "kernels",
    "load",
]
