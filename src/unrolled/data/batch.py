"""What a model is given at once: frozen named fields, batch first. Masks are boolean, True where a
position is real and False where it is padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """Sequences of unequal length in one padded tensor.

    Attributes:
        values: ``[B, T, ...]``, anything after each sequence's end.
        lengths: ``[B]``, int64, from 0 to T.

    Raises:
        ValueError: the shapes do not fit, or a length is out of range.

    >>> Sequences(torch.zeros(2, 3), torch.tensor([3, 1])).mask.tolist()
    [[True, True, True], [True, False, False]]
    """

    values: Tensor
    lengths: Tensor

    def __post_init__(self) -> None:
        if self.values.dim() < 2 or self.lengths.shape != self.values.shape[:1]:
            given = f"{tuple(self.values.shape)} and {tuple(self.lengths.shape)}"
            raise ValueError(f"sequences are values [B, T, ...] and lengths [B], not {given}")
        if self.lengths.device.type == "cpu" and len(self.lengths):  # no synchronising elsewhere
            low, high = int(self.lengths.min()), int(self.lengths.max())
            if low < 0 or high > self.values.shape[1]:
                longest = self.values.shape[1]
                raise ValueError(f"lengths are from 0 to {longest} here, not {low} to {high}")

    @property
    def mask(self) -> Tensor:
        """``[B, T]``, boolean, True = real."""
        steps = torch.arange(self.values.shape[1], device=self.lengths.device)
        return steps < self.lengths[:, None]

    def to(self, device: torch.device | str) -> Sequences:
        """The same sequences on that device."""
        return Sequences(self.values.to(device), self.lengths.to(device))


@dataclass(frozen=True)
class LanguageBatch:
    """A window of a text in parallel tracks.

    Attributes:
        tokens: ``[B, T]``, int64: what is read.
        targets: ``[B, T]``, int64: ``targets[b, t]`` follows ``tokens[b, t]`` in the text.
        fresh: True if the carried state must start anew here; otherwise row b continues row b of
            the batch before.

    >>> text = torch.arange(5)[None]
    >>> LanguageBatch(tokens=text[:, :-1], targets=text[:, 1:], fresh=True).targets.tolist()
    [[1, 2, 3, 4]]
    """

    tokens: Tensor
    targets: Tensor
    fresh: bool

    def to(self, device: torch.device | str) -> LanguageBatch:
        """The same batch on that device."""
        return LanguageBatch(self.tokens.to(device), self.targets.to(device), self.fresh)
