"""The processor's peak in multiplications and additions, which shares of a peak refer to."""

from __future__ import annotations

import importlib

import torch
from torch.nn import functional as F

import timing


def peak(threads: int = 1) -> tuple[float, str]:
    """Floating-point operations a second of ``threads`` threads, and how they were found.

    The most that any of these reaches: the engine's loop of independent FMA instructions, if there is an
    engine, times threads; torch's large matrix product; its convolution. Without the first, or where torch's
    are quicker, it is a lower bound of the peak.
    """
    found = {
        "torch's large matrix product, a lower bound": _product(),
        "torch's large convolution, a lower bound": _convolution(),
    }
    try:
        measure = getattr(importlib.import_module("unrolled._engine"), "peak", None)
    except ImportError:
        measure = None
    if measure is not None:
        found["independent FMA instructions in registers"] = float(measure()) * threads
    how = max(found, key=lambda name: found[name])
    return found[how], how


def _quickest(side: timing.Side) -> float:
    return min(timing.interleaved({"": side}, 7)[""])


def _product() -> float:
    a, b = torch.randn(768, 1024), torch.randn(1024, 1024)
    with torch.inference_mode():
        return 2 * 768 * 1024 * 1024 / _quickest(lambda: torch.mm(a, b))


def _convolution() -> float:
    x, weight = torch.randn(1, 256, 34, 34), torch.randn(256, 256, 3, 3)
    with torch.inference_mode():
        return 2 * 32 * 32 * 256 * 256 * 9 / _quickest(lambda: F.conv2d(x, weight))
