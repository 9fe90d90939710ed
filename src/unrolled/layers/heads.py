r"""Heads: from hidden states to outputs and their loss.

The softmax head computes :math:`\hat y = \mathrm{softmax}(W_{yh} h + b_y)` (review, section 3) and the
summed cross-entropy. For large vocabularies the loss and its gradients are computed exactly in chunks of
rows, so that the [rows, V] matrix of probabilities never exists as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

CHUNKED_FROM = 2048  # vocabulary size from which chunks pay
CHUNK_ROWS = 256


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
        return F.log_softmax(F.linear(h, self.weight, self.bias), -1)

    def loss(self, h: Tensor, targets: Tensor) -> Loss:
        """Summed cross-entropy of h [..., input_size] against targets [...] (ids in 0..V-1)."""
        rows, ids = h.reshape(-1, h.shape[-1]), targets.reshape(-1)
        if len(self.weight) < CHUNKED_FROM or torch.is_autocast_enabled(h.device.type):
            logits = F.linear(rows, self.weight, self.bias).float()
            return Loss(F.cross_entropy(logits, ids, reduction="sum"), ids.numel())
        total = _linear_cross_entropy(rows, self.weight, self.bias, ids)
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


class _Chunk(NamedTuple):
    loss: Tensor
    gradient: Tensor  # with respect to the logits


class _LinearCrossEntropy(torch.autograd.Function):
    """Cross-entropy of a linear layer; gradients are formed chunk by chunk in the forward pass."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        wanted = any(ctx.needs_input_grad[:3])
        total = h.new_zeros(())
        dh = torch.empty_like(h) if wanted else None
        dweight = torch.zeros_like(weight) if wanted else None
        dbias = torch.zeros_like(bias) if wanted else None
        for start in range(0, len(h), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            chunk = _chunk(F.linear(h[part], weight, bias), targets[part])
            total += chunk.loss
            if dh is not None and dweight is not None and dbias is not None:
                torch.mm(chunk.gradient, weight, out=dh[part])
                dweight.addmm_(chunk.gradient.t(), h[part])
                dbias += chunk.gradient.sum(0)
        if wanted:
            ctx.save_for_backward(dh, dweight, dbias)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        return *(saved * grad for saved in ctx.saved_tensors), None


def _linear_cross_entropy(h: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    apply: Callable[..., Tensor] = _LinearCrossEntropy.apply
    return apply(h, weight, bias, targets)


def _chunk(logits: Tensor, targets: Tensor) -> _Chunk:
    """The loss of one chunk, and softmax minus one-hot in the logits' own memory."""
    log_norm = torch.logsumexp(logits, -1, keepdim=True)
    picked = targets[:, None]
    loss = (log_norm - logits.gather(1, picked)).sum()
    gradient = logits.sub_(log_norm).exp_()
    gradient.scatter_add_(1, picked, torch.full_like(log_norm, -1.0))
    return _Chunk(loss, gradient)
