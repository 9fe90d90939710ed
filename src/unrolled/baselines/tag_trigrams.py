r"""Trigrams of tags with deleted interpolation: the transitions of a hidden Markov model.

Brants (2000, "TnT: a statistical part-of-speech tagger", section 2.2):

.. math:: p(w \mid u, v) = \lambda_1 \hat p(w) + \lambda_2 \hat p(w \mid v) + \lambda_3 \hat p(w \mid u, v)

with relative frequencies. Each trigram of the text, left out of the counts, votes for the term that
predicts it best; the weights are the shares of the votes. A context that was never seen leaves its weight to
the shorter one, and half a count more of each tag keeps all of them possible.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DENSE = 2**21  # entries up to which all trigrams are kept in one table


class TagTrigrams:
    """p(w | u, v) over states 0 to ``size`` - 1 and the boundary, which is ``size``.

    Args:
        grams: u, v, w: int64 [N, 3], distinct, in order.
        counts: how often each was seen, int64 [N].
        size: the number of states; the ends of sentences are one more.

    >>> model = TagTrigrams(*TagTrigrams.count([np.array([0, 1, 0, 1])], 2), size=2)
    >>> p = np.exp(model(np.array([1]), np.array([0]), np.array([0, 1, 2])))
    >>> bool(p[0, 0, 1] > 0.7), round(float(p.sum()), 6)
    (True, 1.0)
    """

    def __init__(self, grams: Integers, counts: Integers, *, size: int) -> None:
        self.size = size
        self.grams = grams
        self.counts = counts
        base = size + 1
        u, v, w = grams.T
        self._trigrams = (u * base + v) * base + w  # increasing
        self._pairs, self._pair_counts = _sums(v * base + w, counts)
        self._contexts, self._context_counts = _sums(u * base + v, counts)
        self._single = np.bincount(w, counts, base)
        self._after = np.bincount(v, counts, base)  # of what a state was followed by
        self.weights = self._deleted_interpolation()
        self._frequency = (self._single + 0.5) / (self._single.sum() + 0.5 * base)

    @staticmethod
    def count(sentences: list[Integers], size: int) -> tuple[Integers, Integers]:
        """The trigrams of sentences of states, with two boundaries before and one after each."""
        edge = np.full(2, size)
        text = np.concatenate([np.concatenate([edge, s]) for s in sentences] + [edge])
        if not len(sentences):
            return np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
        grams = np.stack([text[:-2], text[1:-1], text[2:]], axis=1)
        inside = (grams[:, 1] != size) | (grams[:, 0] == size)
        inside &= ~((grams[:, 1] == size) & (grams[:, 2] == size))
        found, counts = np.unique(grams[inside], axis=0, return_counts=True)
        return found.astype(np.int64), counts.astype(np.int64)

    def __call__(self, u: Integers, v: Integers, w: Integers) -> Floats:
        """log p(w | u, v): float64 [U, V, W] of states u [U], v [V], w [W]."""
        if (self.size + 1) ** 3 <= DENSE:
            return self._table[u[:, None, None], v[:, None], w]
        return self._log_probs(u, v, w)

    @cached_property
    def _table(self) -> Floats:
        states = np.arange(self.size + 1)
        return self._log_probs(states, states, states)

    def _log_probs(self, u: Integers, v: Integers, w: Integers) -> Floats:
        base, (one, two, three) = self.size + 1, self.weights
        single = self._frequency[w]  # [W]
        after = self._after[v][:, None]  # [V, 1]
        pairs = _look(self._pairs, self._pair_counts, v[:, None] * base + w)
        double = np.where(after > 0, pairs / np.maximum(after, 1), single)  # [V, W]
        context = u[:, None] * base + v  # [U, V]
        total = _look(self._contexts, self._context_counts, context)[:, :, None]
        triples = _look(self._trigrams, self.counts, context[:, :, None] * base + w)
        triple = np.where(total > 0, triples / np.maximum(total, 1), double)
        log_probs: Floats = np.log(one * single + two * double + three * triple)
        return log_probs

    def _deleted_interpolation(self) -> Floats:
        """The weights of one, two and three tags; none is zero."""
        base = self.size + 1
        u, v, w = self.grams.T
        pairs = _look(self._pairs, self._pair_counts, v * base + w)
        contexts = _look(self._contexts, self._context_counts, u * base + v)
        cases = (
            (self._single[w], self._single.sum()),
            (pairs, self._after[v]),
            (self.counts, contexts),
        )
        found = [(some - 1) / np.maximum(of - 1, 1e-9) for some, of in cases]
        # Of equals, the longest context, as for a trigram whose like was never seen before.
        winner = 2 - np.argmax(np.stack(found[::-1]), axis=0)
        votes = np.bincount(winner, self.counts, 3) + 1.0
        weights: Floats = votes / votes.sum()
        return weights


def _sums(keys: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """The distinct keys, in order, and the sums of their counts."""
    unique, place = np.unique(keys, return_inverse=True)
    return unique, np.bincount(place, counts, len(unique)).astype(np.int64)


def _look(keys: Integers, counts: Integers, wanted: Integers) -> Integers:
    """The counts of wanted keys, 0 where there is none."""
    if not len(keys):
        return np.zeros(wanted.shape, np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, counts[place], 0)
