r"""Heads: from hidden states to outputs and their loss.

The softmax head computes :math:`\hat y = \mathrm{softmax}(W_{yh} h + b_y)` (review, section 3) and the
summed cross-entropy. For large vocabularies the loss and its gradients are computed exactly in chunks of
rows (:func:`unrolled.kernels.linear_cross_entropy`), so that the [rows, V] matrix of probabilities never
exists as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled import kernels

CHUNKED_FROM = 2048  # vocabulary size from which chunks pay


@dataclass(frozen=True)
class Loss:
    """A summed loss in nats and the number of targets it sums over."""

    sum: Tensor
    count: int

    @property
    def mean(self) -> Tensor:
        """Nats per target."""
        return self.sum / max(self.count, 1)


class SoftmaxHead(nn.Module):
    """Softmax over V symbols with summed cross-entropy.

    Args:
        input_size: the size of h. vocabulary_size: V.
        weight: a parameter [V, input_size] to share (tied embeddings); None for one of its own.

    >>> head = SoftmaxHead(4, 10)
    >>> head.loss(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)).count
    6
    """

    def __init__(
        self, input_size: int, vocabulary_size: int, *, weight: nn.Parameter | None = None
    ) -> None:
        super().__init__()
        if weight is None:
            weight = nn.Parameter(torch.empty(vocabulary_size, input_size))
            nn.init.uniform_(weight, -(input_size**-0.5), input_size**-0.5)
        self.weight = weight
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, h: Tensor) -> Tensor:
        """Logarithms of the probabilities, [..., V], of h [..., input_size]."""
        return F.log_softmax(kernels.linear(h, self.weight, self.bias), -1)

    def loss(self, h: Tensor, targets: Tensor) -> Loss:
        """Summed cross-entropy of h [..., input_size] against targets [...] (ids in 0..V-1)."""
        rows, ids = h.reshape(-1, h.shape[-1]), targets.reshape(-1)
        if len(self.weight) < CHUNKED_FROM or torch.is_autocast_enabled(h.device.type):
            logits = kernels.linear(rows, self.weight, self.bias).float()
            return Loss(F.cross_entropy(logits, ids, reduction="sum"), ids.numel())
        total = kernels.linear_cross_entropy(rows, self.weight, self.bias, ids)
        return Loss(total, ids.numel())


class IdentityHead(nn.Module):
    """For cells that own their output layer (Jordan): h already holds the probabilities."""

    def forward(self, h: Tensor) -> Tensor:
        """Their logarithms."""
        h = h.float() if h.dtype in (torch.float16, torch.bfloat16) else h
        return h.clamp_min(torch.finfo(h.dtype).tiny).log()

    def loss(self, h: Tensor, targets: Tensor) -> Loss:
        """Summed cross-entropy of probabilities h [..., V] against targets [...]."""
        log_probs, ids = self(h).reshape(-1, h.shape[-1]), targets.reshape(-1)
        return Loss(F.nll_loss(log_probs, ids, reduction="sum"), ids.numel())
