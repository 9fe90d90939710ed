r"""Heads: from hidden states to outputs and their loss.

The softmax head computes :math:`\hat y = \mathrm{softmax}(W_{yh} h + b_y)` (review, section 3) and the
summed cross-entropy. For large vocabularies the loss and its gradients are computed exactly in chunks of
rows (:func:`unrolled.kernels.linear_cross_entropy`), so that the [rows, V] matrix of probabilities never
exists as a whole.

The sigmoid head is for several labels at once, :math:`\hat y_k = \sigma(w_k^\top h + b_k)` with the summed
binary cross-entropy (review, section 4.1), the linear head for a number, :math:`\hat y = w^\top h + b`
with :math:`\frac12 (\hat y - y)^2`: the nats of a normal distribution of variance 1, but for a constant.
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

    def loss(self, h: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Loss:
        """Summed cross-entropy of h [..., input_size] against targets [...] (ids in 0..V-1).

        Args:
            label_smoothing: the share of each target that is spread over all V symbols.
        """
        rows, ids = h.reshape(-1, h.shape[-1]), targets.reshape(-1)
        if len(self.weight) < CHUNKED_FROM or torch.is_autocast_enabled(h.device.type):
            logits = kernels.linear(rows, self.weight, self.bias).float()
            total = F.cross_entropy(logits, ids, reduction="sum", label_smoothing=label_smoothing)
        else:
            given = (rows, self.weight, self.bias, ids)
            total = kernels.linear_cross_entropy(*given, label_smoothing)
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


class SigmoidHead(nn.Module):
    """Any number of K labels: a sigmoid for each, with summed binary cross-entropy.

    Args:
        input_size: the size of h. labels: K.

    >>> head = SigmoidHead(4, 3)
    >>> head.loss(torch.zeros(2, 4), torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])).count
    2
    """

    def __init__(self, input_size: int, labels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(labels, input_size))
        nn.init.uniform_(self.weight, -(input_size**-0.5), input_size**-0.5)
        self.bias = nn.Parameter(torch.zeros(labels))

    def forward(self, h: Tensor) -> Tensor:
        """Logarithms of each label's probability, [..., K], of h [..., input_size]."""
        return F.logsigmoid(kernels.linear(h, self.weight, self.bias))

    def loss(self, h: Tensor, targets: Tensor) -> Loss:
        """Nats of h [..., input_size] against targets [..., K] (0 or 1), summed over the labels too.

        The count is that of the examples: an example's labels together are one target.
        """
        logits = kernels.linear(h, self.weight, self.bias).float()
        nats = F.binary_cross_entropy_with_logits(logits, targets.float(), reduction="sum")
        return Loss(nats, targets[..., 0].numel())


class LinearHead(nn.Module):
    """A number, with half the summed squared error.

    Args:
        input_size: the size of h.

    >>> LinearHead(4)(torch.zeros(2, 4)).shape
    torch.Size([2])
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, input_size))
        nn.init.uniform_(self.weight, -(input_size**-0.5), input_size**-0.5)
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, h: Tensor) -> Tensor:
        """The numbers, [...], of h [..., input_size]."""
        return kernels.linear(h, self.weight, self.bias)[..., 0]

    def loss(self, h: Tensor, targets: Tensor) -> Loss:
        """Half the summed squared error of h [..., input_size] against targets [...]."""
        difference = self(h).float() - targets.float()
        return Loss(0.5 * difference.square().sum(), targets.numel())
