"""SIGINT and SIGTERM during training: the first asks for an orderly end, a second ends at once."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

_LOG = logging.getLogger("unrolled.training")
_WATCHED = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Within the block, remembers that the process was asked to stop.

    Outside the main thread, where Python allows no handlers, it watches nothing.

    >>> with Signals() as signals:
    ...     os.kill(os.getpid(), signal.SIGTERM)
    ...     signals.received
    'SIGTERM'
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._since = 0.0
        # torchrun passes on the Ctrl-C that the terminal has already sent to every process.
        self._echo = 1.0 if int(os.environ.get("WORLD_SIZE", "1")) > 1 else 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in _WATCHED:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            if time.monotonic() - self._since < self._echo:
                return
            self._restore()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._since = time.monotonic()
        self.received = signal.Signals(number).name
        _LOG.warning("%s: finishing this step and saving; once more stops at once", self.received)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
