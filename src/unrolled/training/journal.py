"""What training reports: ``metrics.jsonl``, ``train.log``, TensorBoard's scalars, standard error."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from unrolled.data.atomic import explained
from unrolled.errors import ConfigError
from unrolled.training.live import Position
from unrolled.training.progress import Progress
from unrolled.training.run_directory import RunDirectory

WALL_CLOCK = ("seconds", "tokens_per_second")
"""Fields of ``metrics.jsonl`` that differ between equal trainings."""

_LOG = logging.getLogger("unrolled")


class Journal:
    """The reports of one training, within a ``with`` block; only rank 0 reports.

    Args:
        run: The run directory.
        progress: The bar or the lines on standard error.
        tensorboard: Whether to write scalars to ``tensorboard/`` in the run directory.

    Raises:
        ConfigError: TensorBoard is asked for and not installed.
    """

    def __init__(self, run: RunDirectory, progress: Progress, *, tensorboard: bool) -> None:
        self.run = run
        self.progress = progress
        self._handlers: list[logging.Handler] = []
        self._level = _LOG.level
        self._writer: Any = _summary_writer() if tensorboard and run.writer else None
        self._board: Any = None

    def __enter__(self) -> Journal:
        if self.run.writer:
            with explained(self.run.path / "train.log"):
                to_file = logging.FileHandler(self.run.path / "train.log", encoding="utf-8")
            to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            self._handlers = [to_file]
            if not _LOG.hasHandlers():
                self._handlers.append(self.progress.handler(sys.stderr))
            for handler in self._handlers:
                _LOG.addHandler(handler)
            if _LOG.getEffectiveLevel() > logging.INFO:
                _LOG.setLevel(logging.INFO)
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.close()
        for handler in self._handlers:
            _LOG.removeHandler(handler)
            handler.close()
        _LOG.setLevel(self._level)
        if self._board is not None:
            self._board.close()

    def record(self, split: str, step: int, values: Mapping[str, float | int]) -> None:
        """Adds one line to ``metrics.jsonl`` and the same to TensorBoard; NaN becomes null."""
        plain = {name: _json(value) for name, value in values.items()}
        self.run.append_metrics({"split": split, "step": step, **plain})
        if self._writer is not None:
            if self._board is None:  # forget what a killed process wrote from here on
                self._board = self._writer(str(self.run.path / "tensorboard"), purge_step=step)
            for name, value in values.items():
                self._board.add_scalar(f"{split}/{name}", value, step)

    def record_updates(self, position: Position) -> None:
        """A line about the updates since the last one, if there were any; begins a new count."""
        if not position.count:
            return
        elapsed = max(position.seconds - position.recorded, 1e-9)
        values = {
            "epoch": position.epoch,
            "nats": position.nats / position.count,
            "tokens": position.count,
            "learning_rate": position.rate,
            "gradient_norm": position.norm,
            "seconds": round(position.seconds, 3),
            "tokens_per_second": round(position.count / elapsed, 1),
        }
        self.record("train", position.step, values)
        position.nats, position.count, position.norm = 0.0, 0, 0.0
        position.recorded = position.seconds


def _json(value: float | int) -> float | int | None:
    return value if math.isfinite(value) else None


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "--training.tensorboard: TensorBoard is not installed; "
            "pip install 'unrolled[tensorboard]'"
        ) from None
    return SummaryWriter
