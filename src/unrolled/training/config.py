"""The options under ``[training]``. This file imports no torch, so that ``--help`` is quick."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from unrolled.errors import ConfigError

OptimiserName = Literal["sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw"]
LIMITS = ("max_epochs", "max_steps", "max_minutes", "patience")  # what ends a training; 0 is off
ScheduleName = Literal["constant", "plateau", "zaremba", "sutskever", "cosine"]

USUAL_RATE: dict[str, float] = {
    "sgd": 0.1,
    "adagrad": 1e-2,
    "adadelta": 1.0,
    "rmsprop": 1e-3,
    "adam": 2e-3,
    "adamw": 2e-3,
}


class FittedAtOnce:
    """Base of the options of models that are counted or solved: they have no training."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
        optimiser: The rule that turns gradients into steps, torch.optim's.
        learning_rate: The learning rate before the schedule's factor. 0 takes the optimiser's usual:
            2e-3 for adam and adamw, 1e-3 rmsprop, 1e-2 adagrad, 1 adadelta, 0.1 sgd.
        momentum: Momentum of sgd and rmsprop, at least 0 and below 1.
        nesterov: Whether the momentum of sgd is Nesterov's.
        weight_decay: Weight decay in torch's meaning: decoupled in adamw, an L2 penalty elsewhere.
        gradient_clip: Largest norm of the whole gradient; longer ones are scaled down. 0 is off.
        schedule: How the learning rate falls: constant; plateau (times decay whenever a validation
            is no better than the best); zaremba (times decay every epoch after decay_after);
            sutskever (halved every half epoch after the fifth); cosine (to zero at the end that
            max_epochs or max_steps sets).
        warmup_steps: Steps over which the learning rate first rises linearly. 0 is off.
        decay: Factor of the schedules plateau and zaremba, above 0 and at most 1.
        decay_after: Epochs before the decay of zaremba starts.
        max_epochs: Passes over the training data. 0 sets no limit.
        max_steps: Updates. 0 sets no limit.
        max_minutes: Minutes of training, counted across resumes. 0 sets no limit. The schedules
            do not look at the clock.
        patience: Validations without improvement before training stops. 0 is off.
        average: Decay of the exponential moving average of the weights, below 1. When it is on,
            the averaged weights are validated and kept. 0 is off.
        accumulate: Batches whose gradients are added up for one update.
        batch_size: Sequences, or parallel tracks of a stream, in a batch of all processes together.
        window: Time steps in a batch cut from a stream: the reach of truncated BPTT.
        checkpoint_every: Updates between checkpoints; a better validation also writes one.
        validate_every: Updates between validations. 0 validates after every epoch.
        keep: Newest checkpoints kept, besides the best.
        tensorboard: Whether to write scalars for TensorBoard (needs the extra tensorboard).

    >>> TrainingConfig(max_epochs=3).optimiser
    'adam'
    """

    optimiser: OptimiserName = "adam"
    learning_rate: float = 0.0
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    schedule: ScheduleName = "cosine"
    warmup_steps: int = 0
    decay: float = 0.5
    decay_after: int = 4
    max_epochs: int = 10
    max_steps: int = 0
    max_minutes: float = 0.0
    patience: int = 0
    average: float = 0.0
    accumulate: int = 1
    batch_size: int = 64
    window: int = 128
    checkpoint_every: int = 500
    validate_every: int = 0
    keep: int = 1
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.learning_rate == 0 and self.optimiser in USUAL_RATE:
            object.__setattr__(self, "learning_rate", USUAL_RATE[self.optimiser])
        for name in ("learning_rate", "decay"):
            self._require(name, getattr(self, name) > 0, "a number above 0")
        for name in ("accumulate", "batch_size", "window", "checkpoint_every", "keep"):
            self._require(name, getattr(self, name) >= 1, "a whole number of at least 1")
        for name in ("warmup_steps", "decay_after", "max_epochs", "max_steps", "patience"):
            self._require(name, getattr(self, name) >= 0, "a whole number of at least 0")
        self._require("validate_every", self.validate_every >= 0, "a whole number of at least 0")
        for name in ("weight_decay", "gradient_clip", "max_minutes"):
            self._require(name, getattr(self, name) >= 0, "a number of at least 0")
        for name in ("momentum", "average"):
            self._require(name, 0 <= getattr(self, name) < 1, "a number from 0 to below 1")
        self._require("decay", self.decay <= 1, "a number above 0 and at most 1")
        if self.nesterov and (self.optimiser != "sgd" or self.momentum == 0):
            raise ConfigError(
                "--training.nesterov needs --training.optimiser sgd and --training.momentum above 0"
            )
        if not (self.max_epochs or self.max_steps or self.max_minutes or self.patience):
            raise ConfigError(
                "--training.max-epochs 0 without --training.max-steps, --training.max-minutes or "
                "--training.patience would never end; give one of them"
            )
        if self.schedule == "cosine" and not (self.max_epochs or self.max_steps):
            raise ConfigError(
                "--training.schedule cosine must know its end; give --training.max-epochs or "
                "--training.max-steps, or choose another schedule"
            )

    def _require(self, name: str, fine: bool, expected: str) -> None:
        value: Any = getattr(self, name)
        if not (fine and math.isfinite(value)):
            flag = name.replace("_", "-")
            raise ConfigError(f"--training.{flag} {value}: expected {expected}")
