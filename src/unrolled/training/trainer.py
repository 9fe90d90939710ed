"""The training loop: updates, validations, checkpoints, and exact continuation after any interruption."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import torch
from torch import nn

from unrolled.errors import ConfigError, DataError, TrainingError
from unrolled.training.average import Average
from unrolled.training.config import TrainingConfig
from unrolled.training.distributed import Workers
from unrolled.training.journal import Journal
from unrolled.training.live import STOPPED, Live, Outcome, Source
from unrolled.training.methods import METHODS
from unrolled.training.progress import Progress, clock
from unrolled.training.resume import keep_best, resume, save
from unrolled.training.run_directory import RunDirectory
from unrolled.training.schedules import SCHEDULES
from unrolled.training.signals import Signals
from unrolled.training.validation import measure

_LOG = logging.getLogger("unrolled.training")

RECORD_EVERY = 100  # steps between the training lines of metrics.jsonl
_REASONS = ("", "max-minutes", *STOPPED)


class Trainer:
    """Trains a model in a run directory, going on from the last checkpoint there.

    Args:
        model: ``model(batch, state) -> (outputs, state)`` and ``model.loss(outputs, batch)``, an
            object with the summed loss ``sum`` and the number of targets ``count``.
        source: The batches, each with ``to(device)``; under torchrun this process's rows of them.
        config: The training options.
        run: An open run directory.
        validate: The metrics of the model it is given, in evaluation mode without gradients; called
            in rank 0 only. None keeps the last weights.
        monitor: The metric that decides what is best; lower is better.
        seed: Seed of dropout and the like.
        device: ``auto``, ``cpu``, ``cuda`` or a torch device.
        precision: ``32`` or ``bf16-mixed``.
        method: A name in ``METHODS``.

    Raises:
        ConfigError: an unknown method or precision, or CUDA where there is none.
        DataError: the source has no batches.
    """

    def __init__(
        self,
        model: nn.Module,
        source: Source,
        *,
        config: TrainingConfig,
        run: RunDirectory,
        validate: Callable[[nn.Module], Mapping[str, float]] | None,
        monitor: str = "nats",
        seed: int = 0,
        device: str | torch.device = "cpu",
        precision: str = "32",
        method: str = "truncated-bptt",
    ) -> None:
        if precision not in ("32", "bf16-mixed"):
            raise ConfigError(f"--precision {precision}: expected 32 or bf16-mixed")
        if method not in METHODS:
            raise ConfigError(f"method {method!r}: expected one of {', '.join(METHODS)}")
        if len(source) == 0:
            raise DataError("the training data gives no batch; expected at least one")
        needs = [
            n
            for n, on in (
                ("patience", config.patience),
                ("schedule plateau", config.schedule == "plateau"),
            )
            if on
        ]
        if validate is None and needs:
            raise ConfigError(
                f"--training.{needs[0]} needs a validation part to look at; hold one out"
            )
        self.config, self.run, self.validate, self.monitor = config, run, validate, monitor
        self.updates_per_epoch = -(-len(source) // config.accumulate)
        workers = Workers.join(device)
        self.network = workers.wrap(model)
        self.live = Live(
            model=model,
            method=METHODS[method](model, config, workers, precision=precision),
            schedule=SCHEDULES[config.schedule](config, self.total_steps),
            average=Average(model, config.average) if config.average else None,
            source=source,
            workers=workers,
            seed=seed,
            plan={"method": method, "optimiser": config.optimiser},
        )

    @property
    def total_steps(self) -> int | None:
        """The updates of the whole training, None when neither epochs nor steps are limited."""
        limits = [self.config.max_steps, self.config.max_epochs * self.updates_per_epoch]
        return min((limit for limit in limits if limit), default=None)

    def fit(self) -> Outcome:
        """Trains to the end, or to a signal; afterwards the model holds the weights to keep.

        Several processes part at its end: what comes after is each one's own.

        Those are the weights with the best validation, averaged if ``average`` is on. After a
        signal the checkpoint is written and the model is left as it was.

        Raises:
            TrainingError: a loss, gradient or validation is not finite.
            RunError: the checkpoint cannot be read, or the directory not be written.
        """
        config = self.config
        progress = Progress(self.total_steps, quiet=not self.run.writer)
        self.journal = Journal(self.run, progress, tensorboard=config.tensorboard)
        with self.journal, Signals() as signals:
            self.live.model.train()
            resumed = resume(self.live, self.run)
            position = self.live.position
            self._saved = (position.step, position.validated) if resumed else None
            self._clock = time.monotonic() - position.seconds
            batches = iter(self.live.source)
            while not (reason := self._reason(signals)):
                group = list(islice(batches, config.accumulate))
                if group:
                    self._update(group)
                elif not position.updates:
                    raise DataError("the training data gave no batch in a whole epoch")
                if epoch_ended := len(group) < config.accumulate:
                    position.epoch, position.updates = position.epoch + 1, 0
                    batches = iter(self.live.source)
                improved = self._validation_is_due(bool(group), epoch_ended) and self._validate()
                if improved or (group and position.step % config.checkpoint_every == 0):
                    self._save()
            outcome = self._conclude(reason, signals)
        self.live.workers.leave()
        return outcome

    # ------------------------------------------------------------------------ one by one

    def _reason(self, signals: Signals) -> str:
        """Why training is over, the same in every process; empty while it is not."""
        position, config = self.live.position, self.config
        position.seconds = time.monotonic() - self._clock
        code = int(0 < 60 * config.max_minutes <= position.seconds)
        if code := self.live.workers.agree(max(code, _REASONS.index(signals.received or ""))):
            return _REASONS[code]
        limits = {
            "max-steps": 0 < config.max_steps <= position.step,
            "max-epochs": 0 < config.max_epochs <= position.epoch,
            "patience": 0 < config.patience <= position.stale,
        }
        return next((reason for reason, reached in limits.items() if reached), "")

    def _update(self, group: list[Any]) -> None:
        """One update from a group of batches."""
        live, position = self.live, self.live.position
        epochs = position.epoch + position.updates / self.updates_per_epoch
        position.rate = self.config.learning_rate * live.schedule.factor(position.step, epochs)
        live.method.set_learning_rate(position.rate)
        batches = [batch.to(live.workers.device) for batch in group]
        try:
            live.carried = live.method.update(self.network, batches, live.carried)
        except TrainingError as error:
            raise self._with_advice(error) from None
        if live.average is not None:
            live.average.update()
        last = live.method.last
        position.step += 1
        position.updates += 1
        position.nats += last.nats
        position.count += last.count
        position.norm = max(position.norm, last.norm)
        self.journal.progress.update(
            position.step, nats=last.nats / max(1, last.count), tokens=last.count
        )
        if position.step % RECORD_EVERY == 0:
            self._record_updates()

    def _record_updates(self) -> None:
        self.live.position.seconds = time.monotonic() - self._clock
        self.journal.record_updates(self.live.position)

    def _validation_is_due(self, updated: bool, epoch_ended: bool) -> bool:
        every = self.config.validate_every
        due = updated and self.live.position.step % every == 0 if every else epoch_ended
        return due and self.validate is not None

    def _validate(self) -> bool:
        """Validates the weights that would be kept; whether they are the best so far."""
        assert self.validate is not None
        live, position = self.live, self.live.position
        self._record_updates()
        metrics = measure(live, self.validate)
        if self.monitor not in metrics:
            raise ValueError(f"validate gave {', '.join(metrics)}; expected also {self.monitor}")
        value = metrics[self.monitor]
        position.validated, position.seconds = position.step, time.monotonic() - self._clock
        seconds = round(position.seconds, 3)
        self.journal.record(
            "valid", position.step, {"epoch": position.epoch, **metrics, "seconds": seconds}
        )
        self.journal.progress.validated(position.step, metrics)
        if not math.isfinite(value):
            raise self._with_advice(TrainingError(f"the validation's {self.monitor} is {value}"))
        live.schedule.observe(value)
        improved = position.best is None or value < position.best
        if improved:
            position.best, position.best_step = value, position.step
        position.stale = 0 if improved else position.stale + 1
        return improved

    def _save(self) -> None:
        """Writes a checkpoint of this very moment."""
        position = self.live.position
        position.seconds = time.monotonic() - self._clock
        try:
            save(self.live, self.run, keep=self.config.keep)
        except TrainingError as error:
            raise self._with_advice(error) from None
        self._saved = (position.step, position.validated)

    def _conclude(self, reason: str, signals: Signals) -> Outcome:
        """Saves, and after a whole training puts the weights to keep into the model."""
        live, position = self.live, self.live.position
        stopped = reason in STOPPED
        if not stopped:
            self._record_updates()
            if self.validate is not None and position.validated != position.step:
                self._validate()
        if self._saved != (position.step, position.validated):
            self._save()
        if code := live.workers.agree(_REASONS.index(signals.received or "")):
            reason, stopped = _REASONS[code], True  # it may have come during the last validation
        if not stopped:
            keep_best(live, self.run)
        ending = "stopped and saved" if stopped else "finished"
        took = clock(position.seconds)
        _LOG.info("%s: %d steps in %s (%s)", ending, position.step, took, reason)
        return Outcome(position.step, position.epoch, reason, position.best)

    def _with_advice(self, error: TrainingError) -> TrainingError:
        steps = self.run.checkpoints.steps()
        kept = f"; {self.run.checkpoints.path(steps[-1])} is kept" if steps else ""
        clipping = f" or --training.gradient-clip (it is {self.config.gradient_clip:g})"
        if self.live.plan["method"] == "own-updates":
            clipping = ""
        return TrainingError(
            f"step {self.live.position.step}: {error}; try a lower --training.learning-rate (it is "
            f"{self.config.learning_rate:g}){clipping}{kept}"
        )
