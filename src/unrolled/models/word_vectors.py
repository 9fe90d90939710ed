r"""Vectors of words, learnt by updates written out by hand: no autograd, no loop over words, sparse rows.

Each word w has a vector :math:`v_w` and, as a context, another, :math:`u_w`. With k negatives for each pair,
drawn from P, and :math:`\sigma(x) = 1/(1 + e^{-x})`:

- *Skip-gram* (Mikolov et al. 2013, "Distributed representations of words and phrases and their
  compositionality", equation 4) over the pairs (w, c) of windows:

  .. math:: L = -\log \sigma(u_c \cdot v_w) - k \, E_{n \sim P} \log \sigma(-u_n \cdot v_w)

- *CBOW* (Mikolov et al. 2013, "Efficient estimation of word representations in vector space"): the same with
  the word as c and, instead of :math:`v_w`, the mean h of the vectors around it. Its gradient is divided by
  their number, as the mean asks for (Irsoy, Benton & Stratos 2021, "Corrected CBOW performs as well as
  skip-gram").

- *GloVe* (Pennington, Socher & Manning 2014, equations 8 and 9) over the co-occurrences X:

  .. math:: L = \sum_{ij} f(X_{ij}) (v_i \cdot u_j + b_i + d_j - \log X_{ij})^2, \quad
            f(x) = \min(1, (x / x_{max})^\alpha)

All pairs of a block of words, and the negatives that they share, are one product S of their vectors. For
skip-gram, with the pairs' mask m and weights w (m for pairs, k/K times the number of a word's pairs for each
of K negatives):

.. math:: G = w \odot \sigma(S) - m, \qquad
          \partial L / \partial v = G u, \qquad \partial L / \partial u = G^\top v

The mean over K shared negatives is as unbiased as k drawn for each pair alone; a negative may be the
context itself. The gradients of a word in a batch are added up and make one step: :func:`descend`,
:func:`adagrad`.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from unrolled.data.cooccurrence import EntryBatch
from unrolled.data.windows import WindowBatch
from unrolled.training.methods import Update

BOUND = 10.0
_LEAST = 1e-12


class WordVectors(nn.Module):
    """What the models share: two tables of vectors, ``words`` and ``contexts``.

    ``options`` names the model's own options, ``usual_rate`` its learning rate, ``falling`` whether
    the schedule lowers it.
    """

    options: ClassVar[tuple[str, ...]] = ("size", "negative")
    usual_rate: ClassVar[float] = 0.1
    falling: ClassVar[bool] = True
    words: Tensor
    contexts: Tensor

    def __init__(self, vocabulary_size: int, *, size: int, seed: int) -> None:
        super().__init__()
        generator = Generator().manual_seed(seed)
        start = (torch.rand(vocabulary_size, size, generator=generator) - 0.5) / size
        self.register_buffer("words", start)
        self.register_buffer("contexts", torch.zeros(vocabulary_size, size))

    def vectors(self) -> Tensor:
        """``[V, E]`` what is kept of the model."""
        return self.words


class SkipGram(WordVectors):
    """Skip-gram with negative sampling.

    Args:
        vocabulary_size: V.
        size: E.
        negative: k.
        seed: of the first vectors.

    >>> pairs = torch.tensor([[[True, False, True]]])  # a block of one word, 2, between 1 and 3
    >>> batch = WindowBatch(torch.tensor([[1, 2, 3]]), pairs, torch.tensor([[4]]), count=1)
    >>> model = SkipGram(5, size=2, negative=1, seed=0)
    >>> round(model.make_update(batch, rate=0.1).nats / math.log(2), 3)  # 2 pairs, as many negatives
    4.0
    """

    def __init__(self, vocabulary_size: int, *, size: int, negative: int, seed: int) -> None:
        super().__init__(vocabulary_size, size=size, seed=seed)
        self.negative = negative

    def make_update(self, batch: WindowBatch, rate: float) -> Update:
        """One step of all words of a batch; the nats are summed over its pairs."""
        centres = batch.centres
        others = torch.cat([batch.words, batch.negatives], dim=1)  # [N, C], C = L + 2 R + K
        v, u = F.embedding(centres, self.words), F.embedding(others, self.contexts)
        m = batch.pairs.to(v.dtype)  # [N, L, L + 2 R]
        around = m.shape[2]
        share = m.sum(dim=2, keepdim=True) * (self.negative / batch.negatives.shape[1])
        p = torch.bmm(v, u.transpose(1, 2)).sigmoid_()  # [N, L, C]
        near, far = p[:, :, :around], p[:, :, around:]
        nats = -(m * near.clamp_min(_LEAST).log()).sum()
        nats -= (share * (1 - far).clamp_min(_LEAST).log()).sum()
        near.mul_(m).sub_(m)
        far.mul_(share)  # p is G now
        norms = (
            descend(self.words, centres, torch.bmm(p, u), rate),
            descend(self.contexts, others, torch.bmm(p.transpose(1, 2), v), rate),
        )
        return Update(float(nats), batch.count, math.hypot(*norms))


class CBOW(WordVectors):
    """Continuous bag of words with negative sampling; arguments as of :class:`SkipGram`.

    >>> CBOW(5, size=2, negative=1, seed=0).vectors().shape
    torch.Size([5, 2])
    """

    def __init__(self, vocabulary_size: int, *, size: int, negative: int, seed: int) -> None:
        super().__init__(vocabulary_size, size=size, seed=seed)
        self.negative = negative

    def make_update(self, batch: WindowBatch, rate: float) -> Update:
        """One step of all words of a batch; the nats are summed over its words."""
        m = batch.pairs.to(self.words.dtype)  # [N, L, L + 2 R]
        number = m.sum(dim=2, keepdim=True)
        mean, real = m / number.clamp_min(1), (number > 0).to(m.dtype)
        v = F.embedding(batch.words, self.words)
        h = torch.bmm(mean, v)  # [N, L, E]
        u = F.embedding(batch.centres, self.contexts)
        n = F.embedding(batch.negatives, self.contexts)  # [N, K, E]
        near = (h * u).sum(dim=2, keepdim=True).sigmoid_()  # [N, L, 1]
        far = torch.bmm(h, n.transpose(1, 2)).sigmoid_()  # [N, L, K]
        share = real * (self.negative / n.shape[1])
        nats = -(real * near.clamp_min(_LEAST).log()).sum()
        nats -= (share * (1 - far).clamp_min(_LEAST).log()).sum()
        near.mul_(real).sub_(real)
        far.mul_(share)
        of_mean = near * u + torch.bmm(far, n)
        others = torch.cat([batch.centres, batch.negatives], dim=1)
        of_others = torch.cat([near * h, torch.bmm(far.transpose(1, 2), h)], dim=1)
        of_words = torch.bmm(mean.transpose(1, 2), of_mean)
        norms = (
            descend(self.words, batch.words, of_words, rate),
            descend(self.contexts, others, of_others, rate),
        )
        return Update(float(nats), batch.count, math.hypot(*norms))


class GloVe(WordVectors):
    """GloVe; its vectors are the sums of a word's two (section 4.2 of the paper).

    The last column of each table is the bias. AdaGrad counts each number for itself, from 1 on, as the
    paper's program does.

    >>> GloVe(5, size=2, x_max=10.0, alpha=0.75, seed=0).vectors().shape
    torch.Size([5, 2])
    """

    options = ("size", "x_max", "alpha")
    usual_rate = 0.2
    falling = False
    word_sums: Tensor
    context_sums: Tensor

    def __init__(
        self, vocabulary_size: int, *, size: int, x_max: float, alpha: float, seed: int
    ) -> None:
        super().__init__(vocabulary_size, size=size + 1, seed=seed)
        generator = Generator().manual_seed(seed + 1)
        self.contexts = (torch.rand(self.words.shape, generator=generator) - 0.5) / (size + 1)
        self.register_buffer("word_sums", torch.ones_like(self.words))
        self.register_buffer("context_sums", torch.ones_like(self.words))
        self.x_max, self.alpha = x_max, alpha

    def make_update(self, batch: EntryBatch, rate: float) -> Update:
        """One step of all words of a batch; instead of nats, half the weighted squared errors, summed."""
        v, u = F.embedding(batch.rows, self.words), F.embedding(batch.columns, self.contexts)
        bias = v[:, -1] + u[:, -1]
        v[:, -1], u[:, -1] = 1.0, 1.0  # the bias of one side goes with a one of the other
        error = (v[:, :-1] * u[:, :-1]).sum(dim=1) + bias - batch.values.log()
        weighted = (batch.values / self.x_max).clamp_max(1.0) ** self.alpha * error
        loss = 0.5 * (weighted * error).sum()
        norms = (
            adagrad(self.words, self.word_sums, batch.rows, weighted[:, None] * u, rate),
            adagrad(self.contexts, self.context_sums, batch.columns, weighted[:, None] * v, rate),
        )
        return Update(float(loss), len(batch.values), math.hypot(*norms))

    def vectors(self) -> Tensor:
        """``[V, E]``"""
        return (self.words + self.contexts)[:, :-1]


WORD_VECTORS: dict[str, type[SkipGram] | type[CBOW] | type[GloVe]] = {
    "skip-gram": SkipGram,
    "cbow": CBOW,
    "glove": GloVe,
}


def descend(table: Tensor, rows: Tensor, gradients: Tensor, rate: float) -> float:
    r"""One bounded step down the gradient for some rows of a table, in place.

    .. math:: x_r \leftarrow x_r - \eta \, g_r / (1 + \lVert g_r \rVert / c)

    with the sum g of all gradients of the row and c = :data:`BOUND`. Word2vec makes the steps of a word one
    after the other, each from where the last has led. Added up, the many steps of a frequent word would
    lead far beyond; here a batch moves no vector by more than η c.

    Args:
        table: ``[V, E]``.
        rows: ``[...]`` int64, as often as they come.
        gradients: ``[..., E]``.
        rate: η.

    Returns:
        The norm of the whole gradient.

    >>> table = torch.zeros(3, 1)
    >>> descend(table, torch.tensor([2, 2]), torch.tensor([[4.0], [6.0]]), rate=0.5)
    10.0
    >>> table.flatten().tolist()
    [0.0, 0.0, -2.5]
    """
    distinct, total = _summed(rows, gradients)
    norms = torch.linalg.vector_norm(total, dim=1)
    total.mul_((-rate / (1 + norms / BOUND))[:, None])
    table.index_add_(0, distinct, total)  # with an alpha torch takes row after row
    return float(torch.linalg.vector_norm(norms))


def adagrad(table: Tensor, sums: Tensor, rows: Tensor, gradients: Tensor, rate: float) -> float:
    r"""One step of AdaGrad (Duchi, Hazan & Singer 2011) for some rows of a table and of its sums, in place.

    .. math:: s_r \leftarrow s_r + g_r^2, \qquad x_r \leftarrow x_r - \eta\, g_r / \sqrt{s_r}

    Arguments and result as of :func:`descend`, with ``sums`` ``[V, E]``, above zero.

    >>> table, sums = torch.zeros(2, 1), torch.full((2, 1), 9.0)
    >>> adagrad(table, sums, torch.tensor([1, 1]), torch.tensor([[1.0], [3.0]]), rate=0.5)
    4.0
    >>> table.flatten().tolist(), sums.flatten().tolist()
    ([0.0, -0.4000000059604645], [9.0, 25.0])
    """
    distinct, total = _summed(rows, gradients)
    sums.index_add_(0, distinct, total.square())
    norm = float(torch.linalg.vector_norm(total))
    table.index_add_(0, distinct, total.div_(sums.index_select(0, distinct).sqrt()).mul_(-rate))
    return norm


def _summed(rows: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct rows ``[D]`` and the sums ``[D, E]`` of their gradients."""
    distinct, place = torch.unique(rows.flatten(), return_inverse=True)
    total = gradients.new_zeros(len(distinct), gradients.shape[-1])
    return distinct, total.index_add_(0, place, gradients.flatten(0, -2))
