"""Training: optimisers, schedules, update methods, exact resume, several processes.

The names below are loaded when they are first used, so that the command line can read
:class:`~unrolled.training.config.TrainingConfig` without importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrolled.training.config import TrainingConfig
    from unrolled.training.distributed import Workers
    from unrolled.training.live import Outcome
    from unrolled.training.methods import METHODS
    from unrolled.training.optimisers import OPTIMISERS
    from unrolled.training.run_directory import RunDirectory
    from unrolled.training.schedules import SCHEDULES
    from unrolled.training.trainer import Trainer

_PLACES = {
    "METHODS": "methods",
    "OPTIMISERS": "optimisers",
    "Outcome": "live",
    "RunDirectory": "run_directory",
    "SCHEDULES": "schedules",
    "Trainer": "trainer",
    "TrainingConfig": "config",
    "Workers": "distributed",
}

__all__ = [
    "METHODS",
    "OPTIMISERS",
    "Outcome",
    "RunDirectory",
    "SCHEDULES",
    "Trainer",
    "TrainingConfig",
    "Workers",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
