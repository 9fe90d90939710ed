"""Dropout whose mask is drawn once per sequence (Gal & Ghahramani 2016): of a layer's inputs, of what its
recurrent products multiply, of whole embeddings.

Randomness enters as tensors: :func:`variational_mask` draws, the layer multiplies.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def check_rate(name: str, rate: float) -> float:
    """``rate`` if it is a dropout rate, in [0, 1); ValueError otherwise."""
    if not 0 <= rate < 1:
        raise ValueError(f"{name} must be in [0, 1), {rate} given")
    return rate


def variational_mask(x: Tensor, rate: float, *, time: int) -> Tensor:
    """A scaled 0/1 mask that is constant along dimension ``time`` of x [.., T, ..]."""
    shape = list(x.shape)
    shape[time] = 1
    return torch.empty(shape, device=x.device, dtype=x.dtype).bernoulli_(1 - rate) / (1 - rate)


def recurrent_mask(x: Tensor, size: int, rate: float) -> Tensor:
    """A scaled 0/1 mask [B, size] for the recurrent products of a call on x [T, B, I]."""
    shape = (x.shape[1], size)
    return torch.empty(shape, device=x.device, dtype=x.dtype).bernoulli_(1 - rate) / (1 - rate)


class VariationalDropout(nn.Module):
    """Zeroes the same units at every time step of a sequence, in training.

    Args:
        rate: the share of units dropped, in [0, 1).
        time: the dimension of time, 1 for [B, T, H].

    >>> dropout = VariationalDropout(0.5)
    >>> y = dropout(torch.ones(2, 3, 8))
    >>> bool((y[:, 0] == y[:, 2]).all())
    True
    """

    def __init__(self, rate: float, time: int = 1) -> None:
        super().__init__()
        self.rate, self.time = check_rate("rate", rate), time

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, H] with units dropped; x itself in evaluation."""
        if not self.training or self.rate == 0:
            return x
        return x * variational_mask(x, self.rate, time=self.time)

    def extra_repr(self) -> str:
        """For ``print(model)``."""
        return f"rate={self.rate}"


def embed(tokens: Tensor, weight: Tensor, *, rate: float = 0.0, training: bool = False) -> Tensor:
    """Rows ``tokens`` [...] of ``weight`` [V, E]; in training whole symbols are dropped.

    Gal & Ghahramani 2016, section 4.
    """
    if training and rate > 0:
        keep = torch.empty(len(weight), 1, device=weight.device, dtype=weight.dtype)
        scale = keep.bernoulli_(1 - rate) / (1 - rate)  # [V, 1]
        return F.embedding(tokens, weight) * F.embedding(tokens, scale)
    return F.embedding(tokens, weight)
