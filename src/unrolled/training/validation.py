"""Validation during training: rank 0 measures the weights that would be kept, all ranks learn the result."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import torch
from torch import nn

from unrolled.training.live import Live


def measure(live: Live, validate: Callable[[nn.Module], Mapping[str, float]]) -> dict[str, float]:
    """The metrics of the model (its average, if there is one), the same in every process.

    ``validate`` is called in rank 0 only, in evaluation mode, without gradients; what random
    numbers it draws, training does not notice.
    """
    data = None
    if live.workers.rank == 0:
        devices = [live.workers.device] if live.workers.device.type == "cuda" else []
        live.model.eval()
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices=devices),
            nullcontext() if live.average is None else live.average.swapped(),
        ):
            data = json.dumps(dict(validate(live.model))).encode()
        live.model.train()
    metrics: dict[str, float] = json.loads(live.workers.broadcast(data))
    return metrics
