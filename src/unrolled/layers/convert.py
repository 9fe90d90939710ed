"""Turning an existing model's recurrent layers into this library's, in place."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from unrolled.layers.drop_ins import GRU, LSTM, RNN

DROP_INS: dict[type[nn.Module], type[nn.Module]] = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}

WHOLE = "(the model itself)"


@dataclass(frozen=True)
class Conversion:
    """What :func:`convert` did: module names with the class each had, and why others were left."""

    model: nn.Module
    converted: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    speed: dict[str, tuple[float, float]] = field(default_factory=dict)

    def measure(
        self,
        *,
        steps: int = 64,
        batch: int = 32,
        repeats: int = 7,
        quiet: bool = False,
    ) -> dict[str, tuple[float, float]]:
        """Times each converted module against torch's own class: how many times as fast it is now.

        Both sides run the same weights and random inputs in turns; the medians of ``repeats`` are
        compared. What is printed is also kept in ``speed``.

        Args:
            steps: T and ``batch``: B of the inputs.
            repeats: how often each side runs.
            quiet: print nothing.

        Returns:
            For each module the ratio in inference and in training (forward and backward).
        """
        modules = dict(self.model.named_modules())
        for label, kind in self.converted.items():
            module = modules["" if label == WHOLE else label]
            self.speed[label] = _speed_up(module, steps=steps, batch=batch, repeats=repeats)
            if not quiet:
                inference, training = self.speed[label]
                print(
                    f"{label}: {kind} {inference:.2f}x in inference, {training:.2f}x in training "
                    f"(T={steps}, B={batch}, {torch.get_num_threads()} threads)",
                    flush=True,
                )
        return self.speed

    def __str__(self) -> str:
        lines = [f"{name}: {old} -> unrolled.{old}" for name, old in self.converted.items()]
        lines += [f"{name}: left as it is ({why})" for name, why in self.left.items()]
        return "\n".join(lines) or "no recurrent module found"


def convert(model: nn.Module, *, measure: bool = False) -> Conversion:
    """Swaps every torch.nn.RNN, LSTM and GRU of a model for the drop-in, in place.

    Modules stay the same objects: parameters, hooks, optimisers and references to them go on working.
    Subclasses of the three (your own, or parametrised ones) are left, as are single-step cells.

    Args:
        model: what is converted.
        measure: print how many times as fast each module is now (:meth:`Conversion.measure`, which
            takes other shapes than its T 64, B 32).

    >>> print(convert(nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 2))))
    0: LSTM -> unrolled.LSTM
    """
    result = Conversion(model)
    for name, module in model.named_modules():
        drop_in = DROP_INS.get(type(module))
        label = name or WHOLE
        if drop_in is not None:
            module.__class__ = drop_in
            result.converted[label] = drop_in.__name__
        elif isinstance(module, nn.RNNBase) and type(module) not in DROP_INS.values():
            result.left[label] = f"{type(module).__name__} is a subclass of torch's"
        elif isinstance(module, nn.RNNCellBase):
            result.left[label] = f"{type(module).__name__} is one step; unrolled.cells has its like"
    if measure:
        result.measure()
    return result


def _speed_up(module: nn.Module, *, steps: int, batch: int, repeats: int) -> tuple[float, float]:
    """torch's time over ours, in inference and in training."""
    torchs = {ours: theirs for theirs, ours in DROP_INS.items()}[type(module)]
    layer = cast(Any, module)
    reference = next(module.parameters())
    shape = (batch, steps) if layer.batch_first else (steps, batch)
    x = torch.randn(*shape, layer.input_size, device=reference.device, dtype=reference.dtype)

    def infer() -> None:
        with torch.no_grad():
            module(x)

    def train() -> None:
        y, _ = module(x.requires_grad_())
        torch.autograd.grad(y.sum(), [x, *(p for p in module.parameters() if p.requires_grad)])

    ratios = []
    for run in (infer, train):
        times: dict[type[nn.Module], list[float]] = {torchs: [], type(module): []}
        for _ in range(repeats + 1):
            for kind, kept in times.items():
                own = type(module)
                try:
                    module.__class__ = kind
                    start = time.perf_counter()
                    run()
                    kept.append(time.perf_counter() - start)
                finally:
                    module.__class__ = own
        there, here = (statistics.median(kept[1:]) for kept in times.values())
        ratios.append(there / here)
    return ratios[0], ratios[1]
