r"""Methods: what one update does. A method owns the gradient, its clipping and the optimiser's step.

Truncated back-propagation through time (Williams and Peng 1990; review, section 3.2) carries the
state of one window into the next, but no gradient: with window k of W steps,

.. math:: s_{k} = f(x_k, s_{k-1}), \quad
          g = \frac{\sum_k \partial L_k / \partial w}{\sum_k n_k}, \quad
          g \leftarrow g \cdot \min(1, c / \lVert g \rVert)

where L_k is summed over the n_k targets of the accumulated windows, s_{k-1} counts as a constant, and
c is the largest norm (Pascanu, Mikolov and Bengio 2013, section 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from unrolled.errors import ConfigError, TrainingError
from unrolled.state import detach
from unrolled.training.config import TrainingConfig
from unrolled.training.distributed import Workers, local_gradients, whole
from unrolled.training.optimisers import optimiser
from unrolled.training.snapshot import load_optimiser, optimiser_tensors


@dataclass(frozen=True)
class Update:
    """What one update saw, over all processes: summed nats, targets, and the gradient's norm."""

    nats: float
    count: int
    norm: float


class Method(Protocol):
    """What the trainer asks of a method."""

    last: Update
    """What the latest update saw."""

    def set_learning_rate(self, rate: float) -> None:
        """Sets the rate of the updates to come."""

    def update(self, model: nn.Module, batches: Sequence[Any], state: Any) -> Any:
        """One update from one or (when accumulating) several batches; returns the carried state."""

    def state(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values that a checkpoint must hold."""

    def load(self, model: nn.Module, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Continues from what :meth:`state` gave."""


class TruncatedBPTT:
    """First-order updates with the state carried from window to window.

    A batch with ``fresh`` True, or without such a field, starts from no state.

    Args:
        model: The model whose parameters are trained.
        config: Optimiser, clipping.
        workers: The processes that share the batch.
        precision: ``32``, or ``bf16-mixed`` for bfloat16 products (autocast).

    >>> from types import SimpleNamespace
    >>> class Mean(nn.Linear):
    ...     def forward(self, batch, state): return super().forward(batch.x), (batch.x,)
    ...     def loss(self, outputs, batch): return SimpleNamespace(sum=outputs.sum(), count=2)
    >>> model = Mean(1, 1)
    >>> method = TruncatedBPTT(model, TrainingConfig(), Workers.join("cpu"), precision="32")
    >>> _ = method.update(model, [SimpleNamespace(x=torch.ones(2, 1), fresh=True)], None)
    >>> method.last.count, round(method.last.norm, 3)
    (2, 1.414)
    """

    def __init__(
        self, model: nn.Module, config: TrainingConfig, workers: Workers, *, precision: str
    ) -> None:
        self.optimiser = optimiser(model.parameters(), config)
        self.clip = config.gradient_clip
        self.workers = workers
        self.autocast = precision == "bf16-mixed"
        self.last = Update(0.0, 0, 0.0)

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def update(self, model: nn.Module, batches: Sequence[Any], state: Any) -> Any:
        self.optimiser.zero_grad()
        nats, count = torch.zeros((), dtype=torch.float64, device=self.workers.device), 0
        for batch in batches[:-1]:
            with local_gradients(model):
                state, loss = self._backward(model, batch, state)
            nats, count = nats + loss.sum.detach(), count + loss.count
        state, loss = self._backward(model, batches[-1], state)
        nats, count = nats + loss.sum.detach(), count + loss.count
        self._step(whole(model), nats, count)
        return state

    def _backward(self, model: nn.Module, batch: Any, state: Any) -> tuple[Any, Any]:
        if getattr(batch, "fresh", True):
            state = None
        with torch.autocast(self.workers.device.type, torch.bfloat16, enabled=self.autocast):
            outputs, state = model(batch, state)
            loss = whole(model).loss(outputs, batch)  # type: ignore[operator]
        loss.sum.backward()
        return (None if state is None else detach(state)), loss

    def _step(self, model: nn.Module, nats: Tensor, count: int | Tensor) -> None:
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        norm = get_total_norm(gradients)
        totals = self.workers.sum(torch.stack([nats, nats.new_tensor(float(count))]))
        # One transfer from the device tells all three.
        seen_nats, seen_count, raw = torch.cat([totals, norm.double()[None]]).tolist()
        scale = self.workers.size / max(1.0, seen_count)
        self.last = Update(seen_nats, int(seen_count), raw * scale)
        if not math.isfinite(seen_nats + raw):
            raise TrainingError(_not_finite(model, self.last))
        if self.clip:
            scale *= min(1.0, self.clip / (self.last.norm + 1e-6))
        torch._foreach_mul_(gradients, scale)
        self.optimiser.step()

    def state(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return optimiser_tensors(self.optimiser, model)

    def load(self, model: nn.Module, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        load_optimiser(self.optimiser, model, tensors, values)


class OwnUpdates:
    """Updates that the model makes itself, by equations written out: sparse ones, for instance.

    The model has ``make_update(batch, rate) -> Update`` and keeps in its buffers what an update needs
    of those before, so that a checkpoint of the model is all there is to save.

    Args:
        model: The model.
        config: Of the training; its optimiser and clipping are not looked at.
        workers: This process, alone.
        precision: ``32``.

    Raises:
        ConfigError: several processes, or another precision.

    >>> class Down(nn.Module):
    ...     def make_update(self, batch, rate): return Update(batch.sum().item(), len(batch), 0.0)
    >>> method = OwnUpdates(Down(), TrainingConfig(), Workers.join("cpu"), precision="32")
    >>> method.set_learning_rate(0.1)
    >>> method.update(Down(), [torch.ones(3)], None); method.last.nats
    3.0
    """

    def __init__(
        self, model: nn.Module, config: TrainingConfig, workers: Workers, *, precision: str
    ) -> None:
        if workers.size > 1:
            raise ConfigError("this model is trained by one process; start it without torchrun")
        if precision != "32":
            raise ConfigError(f"--precision {precision}: this model is trained with 32")
        self.last = Update(0.0, 0, 0.0)
        self._rate = config.learning_rate

    def set_learning_rate(self, rate: float) -> None:
        self._rate = rate

    def update(self, model: nn.Module, batches: Sequence[Any], state: Any) -> Any:
        for batch in batches:
            with torch.no_grad():
                self.last = model.make_update(batch, self._rate)  # type: ignore[operator]
            if not math.isfinite(self.last.nats + self.last.norm):
                what = "loss" if math.isfinite(self.last.norm) else "gradient"
                raise TrainingError(f"the {what} is not finite (gradient norm {self.last.norm:g})")
        return state

    def state(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {}, {}

    def load(self, model: nn.Module, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """There is nothing to load."""


METHODS: dict[str, type[TruncatedBPTT] | type[OwnUpdates]] = {
    "truncated-bptt": TruncatedBPTT,
    "own-updates": OwnUpdates,
}


def _not_finite(model: nn.Module, update: Update) -> str:
    """What was not finite, and where the gradient is worst."""
    what = "gradient" if math.isfinite(update.nats) else "loss"
    worst, largest = "none", -1.0
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        norm = float(parameter.grad.norm())
        norm = norm if math.isfinite(norm) else math.inf
        if norm > largest:
            worst, largest = name, norm
    return f"the {what} is not finite; the largest gradient is that of {worst} (norm {largest:g})"
