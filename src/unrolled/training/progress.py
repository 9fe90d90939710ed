"""The progress of a training on standard error: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, TextIO

_LOG = logging.getLogger("unrolled.training")

LINE_EVERY = 10.0  # seconds
_BAR_EVERY = 0.1


class Progress:
    """Steps, loss in nats, tokens per second, remaining time and the last validation.

    Args:
        total: Steps of the whole training, or None when unknown.
        quiet: Say nothing (other ranks, tests).

    >>> progress = Progress(total=100, quiet=True)
    >>> progress.update(1, nats=2.5, tokens=640)
    >>> progress.text(1)
    'step 1/100, 2.500 nats'
    """

    def __init__(self, total: int | None, *, quiet: bool = False) -> None:
        self.total = total
        self.quiet = quiet
        self.validation = ""
        self._nats: float | None = None
        self._tokens = 0
        self._marks: deque[tuple[float, int, int]] = deque(maxlen=64)  # time, step, tokens
        self._shown = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def start(self) -> None:
        """Shows the bar, if standard error is a terminal."""
        if self.quiet or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            BarColumn(bar_width=20),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
            refresh_per_second=4,
            transient=True,  # the log lines above it stay
        )
        self._task = self._bar.add_task("", total=self.total)
        self._bar.start()

    def update(self, step: int, *, nats: float, tokens: int) -> None:
        """After a step: the mean loss of its ``tokens`` targets was ``nats``."""
        self._nats = nats if self._nats is None else 0.98 * self._nats + 0.02 * nats
        self._tokens += tokens
        now = time.monotonic()
        if self.quiet or now - self._shown < (_BAR_EVERY if self._bar else LINE_EVERY):
            return
        self._shown = now
        self._marks.append((now, step, self._tokens))
        if self._bar:
            self._bar.update(self._task, completed=step, description=self.text(step))
        else:
            _LOG.info(self.text(step))

    def validated(self, step: int, metrics: Mapping[str, float]) -> None:
        """After a validation."""
        told = [f"{name} {value:.4g}" for name, value in metrics.items()]
        self.validation = told[0] if told else ""
        if not self.quiet:
            _LOG.info("step %d, validation: %s", step, ", ".join(told))

    def text(self, step: int) -> str:
        """One line of where training is."""
        total = "" if self.total is None else f"/{self.total}"
        parts = [f"step {step}{total}"]
        if self._nats is not None:
            parts.append(f"{self._nats:.3f} nats")
        if len(self._marks) > 1:
            (then, old_step, old_tokens), (now, _, tokens) = self._marks[0], self._marks[-1]
            elapsed = max(now - then, 1e-9)
            parts.append(f"{(tokens - old_tokens) / elapsed:,.0f} tokens/s")
            if self.total is not None and step > old_step:
                parts.append(f"{clock((self.total - step) * elapsed / (step - old_step))} left")
        if self.validation:
            parts.append(f"validation {self.validation}")
        return ", ".join(parts)

    def handler(self, stream: TextIO) -> logging.Handler:
        """Where log lines go: above the bar on a terminal, else to the stream."""
        handler = _AboveBar(self, stream)
        handler.setFormatter(logging.Formatter("%(message)s"))
        return handler

    def close(self) -> None:
        """Ends the bar."""
        if self._bar:
            self._bar.stop()
            self._bar = None


class _AboveBar(logging.StreamHandler[TextIO]):
    def __init__(self, progress: Progress, stream: TextIO) -> None:
        super().__init__(stream)
        self.progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        if self.progress._bar:
            self.progress._bar.console.print(self.format(record), markup=False, highlight=False)
        else:
            super().emit(record)


def clock(seconds: float) -> str:
    """Seconds as ``1:05`` or ``2:03:09``.

    >>> clock(65.4)
    '1:05'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
