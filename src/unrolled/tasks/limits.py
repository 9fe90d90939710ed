"""Ranges of options, refused by the flag that the user typed. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from unrolled.errors import ConfigError


def shares(options: Any, section: str, names: Iterable[str]) -> None:
    """Refuses options that are no share.

    Raises:
        ConfigError: one is not from 0 to below 1.
    """
    for name in names:
        value = getattr(options, name)
        if not 0 <= value < 1:
            flag = f"--{section}.{name.replace('_', '-')}"
            raise ConfigError(f"{flag} {value}: expected a share from 0 to below 1")


def held_out(data: Any) -> None:
    """Refuses shares to hold out of the training examples that are none, or leave nothing to learn from.

    Raises:
        ConfigError: one is out of range, or both together take all.
    """
    shares(data, "data", ("valid_share", "test_share"))
    parts = ((data.valid, data.valid_share), (data.test, data.test_share))
    if sum(share for path, share in parts if path is None) >= 1:
        raise ConfigError("--data.valid-share and --data.test-share leave nothing to learn from")


def at_least(options: Any, section: str, limits: Mapping[str, int]) -> None:
    """Refuses options below their limits.

    Raises:
        ConfigError: one is below, or no number.
    """
    for name, least in limits.items():
        value = getattr(options, name)
        if not value >= least:
            flag = f"--{section}.{name.replace('_', '-')}"
            raise ConfigError(f"{flag} {value}: expected {least} or more")
