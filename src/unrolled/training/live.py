"""The moving parts of a training, and where it is: what a checkpoint captures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

from unrolled.training.average import Average
from unrolled.training.distributed import Workers
from unrolled.training.methods import Method
from unrolled.training.schedules import Schedule

STOPPED = ("SIGINT", "SIGTERM")
"""The reasons that leave a training to be gone on with."""


class Source(Protocol):
    """Training data: one epoch of batches per iteration, going on from its place.

    The place moves on before a batch is handed out, and to the next epoch when an iteration ends.
    """

    def __iter__(self) -> Iterator[Any]:
        """The batches that remain of the epoch."""

    def __len__(self) -> int:
        """Batches in a whole epoch."""

    def state_dict(self) -> dict[str, Any]:
        """The place, as plain JSON values, the same in every process."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a place."""


@dataclass
class Position:
    """Where training is; plain values, all of them in the checkpoint.

    Attributes:
        step: Updates done.
        epoch: Epochs done.
        updates: Updates done in this epoch.
        seconds: Time spent, across resumes.
        validated: Step of the last validation, or -1.
        best: Best value of the monitored metric, or None.
        best_step: Its step.
        stale: Validations since then.
        nats, count, norm: Summed loss, targets and largest gradient norm since the last record.
        rate: Learning rate of the last update.
        recorded: Seconds at the last record.
    """

    step: int = 0
    epoch: int = 0
    updates: int = 0
    seconds: float = 0.0
    validated: int = -1
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    nats: float = 0.0
    count: int = 0
    norm: float = 0.0
    rate: float = 0.0
    recorded: float = 0.0


@dataclass
class Live:
    """The moving parts of a training.

    Attributes:
        model: The whole model (without DistributedDataParallel).
        carried: The recurrent state after the last batch, of this process's rows.
        plan: What must not change across a resume: names of the method and the optimiser.
    """

    model: nn.Module
    method: Method
    schedule: Schedule
    average: Average | None
    source: Source
    workers: Workers
    seed: int
    plan: dict[str, str]
    carried: Any = None
    position: Position = field(default_factory=Position)


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        steps: Updates done.
        epochs: Whole epochs done.
        reason: ``max-epochs``, ``max-steps``, ``max-minutes``, ``patience``; or ``SIGINT``,
            ``SIGTERM``: then the training is saved, not finished.
        best: Best value of the monitored metric, or None without a validation.
    """

    steps: int
    epochs: int
    reason: str
    best: float | None

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended it, so that the same call goes on with it."""
        return self.reason in STOPPED
