"""Learning-rate schedules: the factor on the learning rate as a function of the step.

With ``e`` the (fractional) number of epochs done and ``p`` the share of all steps done:

- constant: 1
- plateau: ``decay^n``, n the validations that were no better than the best before them
- zaremba: ``decay^max(0, floor(e) + 1 - decay_after)`` (Zaremba, Sutskever and Vinyals 2014, section 4)
- sutskever: ``1`` for e < 5, then ``2^-(1 + floor(2 (e - 5)))``: after five epochs the rate is halved
  every half epoch (Sutskever, Vinyals and Le 2014, section 3.4)
- cosine: ``(1 + cos(pi p)) / 2`` (Loshchilov and Hutter 2017, one period)

A warm-up multiplies each by ``min(1, (step + 1) / warmup_steps)``; the cosine starts after it.
"""

from __future__ import annotations

import math
from typing import Any

from unrolled.training.config import TrainingConfig


class Schedule:
    """The constant schedule, and the base of the others.

    Args:
        config: The training options.
        total_steps: Updates of the whole training, or None when no limit sets them.

    >>> Schedule(TrainingConfig(warmup_steps=4), total_steps=100).factor(1, epochs=0.01)
    0.5
    """

    def __init__(self, config: TrainingConfig, total_steps: int | None) -> None:
        self.config = config
        self.total_steps = total_steps

    def factor(self, step: int, epochs: float) -> float:
        """The factor for the update after ``step`` updates and ``epochs`` (fractional) epochs."""
        warmup = self.config.warmup_steps
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return rise * self.shape(step, epochs)

    def shape(self, step: int, epochs: float) -> float:
        """The factor without the warm-up."""
        return 1.0

    def observe(self, value: float) -> None:
        """Takes notice of a validation; lower is better."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold, as plain JSON values."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from what :meth:`state_dict` gave."""


class Plateau(Schedule):
    """Times ``decay`` after every validation that is no better than the best so far.

    >>> schedule = Plateau(TrainingConfig(schedule="plateau"), total_steps=None)
    >>> for nats in (2.0, 1.5, 1.6, 1.4, 1.4):
    ...     schedule.observe(nats)
    >>> schedule.factor(10, epochs=5.0)
    0.25
    """

    def __init__(self, config: TrainingConfig, total_steps: int | None) -> None:
        super().__init__(config, total_steps)
        self.scale = 1.0
        self.best: float | None = None

    def shape(self, step: int, epochs: float) -> float:
        return self.scale

    def observe(self, value: float) -> None:
        if self.best is None or value < self.best:
            self.best = value
        else:
            self.scale *= self.config.decay

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self.scale, "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scale = state.get("scale", 1.0)
        self.best = state.get("best")


class Zaremba(Schedule):
    """Full rate for ``decay_after`` epochs, then times ``decay`` every epoch.

    >>> schedule = Zaremba(TrainingConfig(schedule="zaremba"), total_steps=None)
    >>> [schedule.factor(0, epochs=e) for e in (3.9, 4.0, 5.2)]
    [1.0, 0.5, 0.25]
    """

    def shape(self, step: int, epochs: float) -> float:
        return float(self.config.decay ** max(0, math.floor(epochs) + 1 - self.config.decay_after))


class Sutskever(Schedule):
    """Full rate for five epochs, then halved every half epoch.

    >>> schedule = Sutskever(TrainingConfig(schedule="sutskever"), total_steps=None)
    >>> [schedule.factor(0, epochs=e) for e in (4.9, 5.0, 5.5, 6.0)]
    [1.0, 0.5, 0.25, 0.125]
    """

    def shape(self, step: int, epochs: float) -> float:
        return 1.0 if epochs < 5 else 2.0 ** -(1 + math.floor(2 * (epochs - 5)))


class Cosine(Schedule):
    """Half a cosine from the end of the warm-up to zero at the last step.

    >>> schedule = Cosine(TrainingConfig(), total_steps=100)
    >>> [round(schedule.factor(step, epochs=0.0), 3) for step in (0, 50, 99)]
    [1.0, 0.5, 0.0]
    """

    def shape(self, step: int, epochs: float) -> float:
        if self.total_steps is None:
            return 1.0
        warmup = self.config.warmup_steps
        share = max(0, step - warmup) / max(1, self.total_steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Schedule,
    "plateau": Plateau,
    "zaremba": Zaremba,
    "sutskever": Sutskever,
    "cosine": Cosine,
}
