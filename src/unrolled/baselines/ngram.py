r"""The n-gram language model with interpolated, modified Kneser–Ney smoothing.

Chen & Goodman (1999, "An empirical study of smoothing techniques for language modeling", Computer
Speech & Language 13, sections 2.7 and 3): with c the raw count at the highest order and the
continuation count of Kneser & Ney (1995) below it,

.. math::
    p_k(w \mid h) = \frac{c(hw) - D_k(c(hw))}{\sum_v c(hv)} + \gamma_k(h) \, p_{k-1}(w \mid h'),
    \qquad \gamma_k(h) = \frac{D_1 N_1(h \cdot) + D_2 N_2(h \cdot) + D_{3+} N_{3+}(h \cdot)}
                              {\sum_v c(hv)},

h' being h without its oldest token, N_r(h·) the number of continuations of h counted r times, and

.. math::
    Y = \frac{n_1}{n_1 + 2 n_2}, \quad D_1 = 1 - 2Y \frac{n_2}{n_1}, \quad
    D_2 = 2 - 3Y \frac{n_3}{n_2}, \quad D_{3+} = 3 - 4Y \frac{n_4}{n_3}

with n_r the number of n-grams of that order counted r times. Below the lowest order is the uniform
distribution, so nothing is impossible; after an unseen context γ = 1 and only p_{k-1} speaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.baselines.counts import Integers, NGramCounts, TokenIds, token_array
from unrolled.errors import ConfigError, RunError

FALLBACK = (0.5, 1.0, 1.5)  # what KenLM's --discount_fallback takes where counts allow no estimate


class NGramState(NamedTuple):
    """The contexts of a batch: ``nodes`` [B, order - 1], column k for the last k + 1 tokens."""

    nodes: Tensor


class KneserNey:
    """An n-gram model of any order, smoothed after Kneser & Ney as Chen & Goodman modified it.

    Args:
        order: n, at least 1: a token is predicted from the n - 1 tokens before it (fewer at the
            start of an array).

    >>> model = KneserNey(2).fit(np.array([0, 1, 0, 1, 2]), 3)
    >>> np.exp(model.log_probabilities(np.array([0, 1]))).round(3).tolist()
    [0.417, 0.646]

    Raises:
        ConfigError: if ``order`` is below 1.
    """

    def __init__(self, order: int) -> None:
        if order < 1:
            raise ConfigError(f"--model.order of a Kneser-Ney model is at least 1, not {order}")
        self.order = order
        self._counts: NGramCounts | None = None

    def fit(self, ids: TokenIds, vocabulary_size: int) -> Self:
        """Counts the n-grams of ``ids`` [N], an integer array or a token stream (read into memory).

        Raises:
            DataError: if there are no ids, or ids not below ``vocabulary_size``.
        """
        self._prepare(NGramCounts.of(ids, vocabulary_size, length=self.order, continuation=True))
        return self

    @property
    def counts(self) -> NGramCounts:
        """The counts; RunError before :meth:`fit`."""
        if self._counts is None:
            raise RunError("this Kneser-Ney model has counted nothing yet; call fit first")
        return self._counts

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self.counts.vocabulary_size

    @property
    def table_entries(self) -> int:
        """The number of n-grams stored, of all lengths."""
        return self.counts.entries

    def log_probabilities(self, ids: TokenIds) -> NDArray[np.float64]:
        """The natural log of p(id_t | ids before t) for every t: float64 [len(ids)].

        The context before the array is empty, so the first tokens have a shorter history.
        """
        tokens = token_array(ids, self.vocabulary_size)
        probability = np.full(len(tokens), 1.0 / self.vocabulary_size)
        for level, (contexts, nodes) in enumerate(self.counts.walk(tokens)):
            probability *= self._lower[level][contexts]
            probability += self._discounted[level][nodes]
        log_probs: NDArray[np.float64] = np.log(probability)
        return log_probs

    def start(self, batch_size: int) -> NGramState:
        """The state of ``batch_size`` sequences of which nothing was read."""
        return NGramState(torch.full((batch_size, self.order - 1), -1))

    def step(self, tokens: Tensor | None, state: NGramState) -> tuple[Tensor, NGramState]:
        """Reads one token per sequence and predicts the next.

        Args:
            tokens: [B], or None to predict from the state alone, as at the very start.
            state: from :meth:`start` or the last step.

        Returns:
            The natural log of the next token's distribution, float64 [B, V], and the new state.
        """
        nodes: Integers = state.nodes.cpu().numpy()
        if tokens is not None:
            nodes = self.counts.advance(
                nodes, token_array(tokens.cpu().numpy(), len(self._unigram))
            )
        probability = np.repeat(self._unigram[None], len(nodes), axis=0)  # [B, V]
        for level in range(1, self.order):
            contexts = nodes[:, level - 1]
            probability *= self._lower[level][contexts][:, None]
            rows, following, ngrams = self.counts.continuations(level, contexts)
            probability[rows, following] += self._discounted[level][ngrams]
        device = state.nodes.device if tokens is None else tokens.device
        log_probs = torch.from_numpy(np.log(probability, out=probability)).to(device)
        return log_probs, NGramState(torch.from_numpy(nodes).to(device))

    def after(self, ids: TokenIds) -> Integers:
        """The nodes [order - 1] of an :class:`NGramState` after ids [N], of which the last few count."""
        nodes: Integers = np.full((1, self.order - 1), -1)
        for token in token_array(ids, self.vocabulary_size)[-self.order :]:
            nodes = self.counts.advance(nodes, token[None])
        last: Integers = nodes[0]
        return last

    def extend(self, tokens: Integers, nodes: Integers) -> tuple[NDArray[np.float64], Integers]:
        """Reads one given token per sequence; cheaper than :meth:`step`, which predicts all tokens.

        Args:
            tokens: [B], ids below V.
            nodes: [B, order - 1], those of an :class:`NGramState`.

        Returns:
            The natural log of p(token | context), float64 [B], and the new nodes.
        """
        probability = self._unigram[tokens]
        moved = np.empty_like(nodes)
        contexts = np.zeros(len(tokens), np.int64)
        for level in range(self.order):
            found = self.counts.find(level + 1, contexts, tokens)
            if level:
                probability *= self._lower[level][contexts]
                probability += self._discounted[level][found]
            if level < self.order - 1:
                contexts, moved[:, level] = nodes[:, level], found
        return np.log(probability, out=probability), moved

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The counts as named arrays, for safetensors."""
        return dict(self.counts.arrays())

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The model that :meth:`arrays` came from, with identical probabilities.

        Raises:
            RunError: if arrays are missing, truncated, altered or of another kind of model.
        """
        counts = NGramCounts.from_arrays(arrays, continuation=True)
        model = cls(len(counts.keys))
        model._prepare(counts)
        return model

    def _prepare(self, counts: NGramCounts) -> None:
        """Per level the two terms of the recursion; index -1 (unseen) gives 0 and 1."""
        self._counts = counts
        self.discounts = np.array([discounts(level) for level in counts.counts])  # [order, 3]
        self._discounted, self._lower = [], []
        for level, number in enumerate(counts.counts):
            total = counts.totals(level)
            off = np.concatenate([[0.0], self.discounts[level]])[np.minimum(number, 3)]
            kept = np.zeros(len(total))
            for r in (1, 2, 3):
                chosen = np.minimum(number, 3) == r
                kept += self.discounts[level, r - 1] * counts.sums(level, chosen.astype(np.int64))
            seen = total > 0
            lower = np.ones(len(total) + 1)
            lower[:-1][seen] = kept[seen] / total[seen]
            self._lower.append(lower)
            parents = counts.keys[level] // counts.vocabulary_size
            self._discounted.append(np.append((number - off) / total[parents], 0.0))
        self._unigram = np.full(counts.vocabulary_size, self._lower[0][0] / counts.vocabulary_size)
        self._unigram[counts.keys[0]] += self._discounted[0][:-1]


def discounts(counts: Integers) -> tuple[float, float, float]:
    """D1, D2 and D3+ of one order from its counts (Chen & Goodman 1999, section 3).

    Where a count of counts n1 to n4 is zero, or an estimate is not in (0, r], as with few types or
    tiny texts, all three are replaced by 0.5, 1 and 1.5.

    >>> discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4]))
    (0.5, 1.25, 1.0)
    """
    n1, n2, n3, n4 = (int((counts == r).sum()) for r in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    d1, d2, d3 = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
    if not (0 < d1 <= 1 and 0 < d2 <= 2 and 0 < d3 <= 3):
        return FALLBACK
    return d1, d2, d3
