r"""Tags of the words of a sentence from their hidden states, each alone or all together.

With scores :math:`e^{(t)} = W h^{(t)} + b` the softmax head takes every tag alone,
:math:`p(y^{(t)} = k) = \mathrm{softmax}(e^{(t)})_k`, as in Graves & Schmidhuber 2005; the CRF head scores
whole paths (:mod:`unrolled.layers.crf`), as in Huang, Xu & Yu 2015 and Lample et al. 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled import kernels
from unrolled.decoding import chain
from unrolled.layers.crf import Allowed, LinearChainCRF
from unrolled.layers.heads import CHUNKED_FROM, Loss

MOST_SCORES = 1 << 22  # that are in memory at once when the best of many tags are looked for


class TagHead(nn.Module):
    """One tag out of K for each word.

    Args:
        input_size: the size of h. tags: K.
        crf: score paths with a conditional random field.
        allowed: the CRF's constraints: which tags may begin [K], follow each other [K, K], end [K].

    >>> head = TagHead(4, 3)
    >>> h, lengths = torch.zeros(2, 5, 4), torch.tensor([5, 2])
    >>> head.loss(h, torch.zeros(2, 5, dtype=torch.int64), lengths).count
    7
    >>> head.best(h, lengths).shape, head.probabilities(h, lengths).shape
    (torch.Size([2, 5]), torch.Size([2, 5, 3]))
    """

    def __init__(
        self,
        input_size: int,
        tags: int,
        *,
        crf: bool = False,
        allowed: Allowed | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tags, input_size))
        nn.init.uniform_(self.weight, -(input_size**-0.5), input_size**-0.5)
        self.bias = nn.Parameter(torch.zeros(tags))
        self.crf = LinearChainCRF(tags, allowed=allowed) if crf else None

    def forward(self, h: Tensor) -> Tensor:
        """The scores e [..., K] of h [..., input_size]."""
        return kernels.linear(h, self.weight, self.bias)

    def loss(self, h: Tensor, tags: Tensor, lengths: Tensor) -> Loss:
        """Nats of the tags [B, T] of sentences h [B, T, input_size], and how many there are but for -1."""
        if self.crf is not None:
            return self.crf.loss(self(h).float(), tags, lengths)
        ids = tags.reshape(-1)
        within = torch.arange(tags.shape[1], device=tags.device) < lengths.to(tags.device)[:, None]
        rows = ((ids >= 0) & within.reshape(-1)).nonzero()[:, 0]
        real, ids = h.reshape(-1, h.shape[-1])[rows], ids[rows]
        if len(self.weight) < CHUNKED_FROM or torch.is_autocast_enabled(h.device.type):
            return Loss(F.cross_entropy(self(real).float(), ids, reduction="sum"), len(rows))
        total = kernels.linear_cross_entropy(real, self.weight, self.bias, ids)
        return Loss(total, len(rows))

    def best(self, h: Tensor, lengths: Tensor) -> Tensor:
        """The most probable tags, int64 [B, T]; anything past each sentence's end."""
        if self.crf is not None:
            return self.crf.decode(self(h).float(), lengths)
        rows = h.reshape(-1, h.shape[-1])
        pieces = torch.split(rows, max(1, MOST_SCORES // len(self.weight)))
        return torch.cat([self(piece).argmax(-1) for piece in pieces]).view(h.shape[:-1])

    def probabilities(self, h: Tensor, lengths: Tensor) -> Tensor:
        """Of each tag of each word given the sentence, [B, T, K]."""
        scores = self(h).float()
        return scores.softmax(-1) if self.crf is None else self.crf.marginals(scores, lengths)

    def n_best(self, h: Tensor, lengths: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """The n most probable paths [B, n, T] and their probabilities [B, n], falling.

        Where a sentence has fewer than n paths, the rest has probability 0.
        """
        scores = self(h).float()
        if self.crf is not None:
            paths, nats = self.crf.n_best(scores, lengths, n)
            return paths, nats.exp()
        nats = scores.log_softmax(-1)
        tags = nats.shape[-1]
        free, zero = nats.new_zeros(tags, tags), nats.new_zeros(tags)
        paths, found = chain.n_best(nats, free, zero, zero, lengths, n)
        return paths, found.exp()


class TagHeads(nn.Module):
    """A head for each column of tags, over the same hidden states.

    Args:
        input_size: the size of h. tags: K of each column. crf, allowed: see :class:`TagHead`; the
            constraints one for each column.

    >>> heads = TagHeads(4, [3, 5])
    >>> h, lengths = torch.zeros(1, 2, 4), torch.tensor([2])
    >>> heads.loss(h, [torch.zeros(1, 2, dtype=torch.int64)] * 2, lengths).count
    2
    """

    def __init__(
        self,
        input_size: int,
        tags: Sequence[int],
        *,
        crf: bool = False,
        allowed: Sequence[Allowed | None] | None = None,
    ) -> None:
        super().__init__()
        masks = [None] * len(tags) if allowed is None else allowed
        self.columns = nn.ModuleList(
            TagHead(input_size, size, crf=crf, allowed=mask)
            for size, mask in zip(tags, masks, strict=True)
        )

    def __iter__(self) -> Iterator[TagHead]:
        for head in self.columns:
            assert isinstance(head, TagHead)
            yield head

    def loss(self, h: Tensor, tags: Sequence[Tensor], lengths: Tensor) -> Loss:
        """Nats summed over the columns; the count is that of the words."""
        losses = [head.loss(h, column, lengths) for head, column in zip(self, tags, strict=True)]
        return Loss(torch.stack([loss.sum for loss in losses]).sum(), losses[0].count)
