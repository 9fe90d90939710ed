r"""Chains of the second order: the best tags of a sentence, and the probability of each, with a beam.

A tag depends on the two before it, so that a state is a pair of tags (Brants 2000, "TnT", section 2.4):

.. math::
   \delta_t(v, w) = \max_u \left[ \delta_{t-1}(u, v) + \log p(w \mid u, v) \right] + e_t(w)

and the same with sums of probabilities, forwards and backwards, for the posterior. Each position
brings its own candidates: few where a word is known. The beam drops tags whose best pair is
further below the best of the position than its width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
# log p(w | u, v), [U, V, W], of tags u [U], v [V] and w [W]
Follow = Callable[[Integers, Integers, Integers], Floats]


class Candidates(NamedTuple):
    """What may stand at a position: tags [C], at least one, and the logarithms of what each is given
    by the word, [C]."""

    tags: Integers
    scores: Floats


def best_tags(
    positions: Iterable[Candidates], follow: Follow, *, boundary: int, beam: float = np.inf
) -> Integers:
    """The best path through the candidates (Viterbi 1967).

    Args:
        positions: the candidates of each token, in order.
        follow: the transitions. They see two ``boundary`` tags before the sentence, one after it.
        boundary: the tag that stands outside the sentence.
        beam: in nats; infinity makes the search exact.

    Returns:
        Tags [T], int64.

    >>> even = Candidates(np.array([0, 1]), np.zeros(2))
    >>> def turns(u, v, w):  # a tag likes to differ from the one before
    ...     return np.where(v[:, None] == w, -1.0, 0.0) + np.zeros((len(u), 1, 1))
    >>> best_tags([Candidates(np.array([1]), np.zeros(1)), even, even], turns, boundary=2).tolist()
    [1, 0, 1]
    """
    outside = np.array([boundary])
    first, second, delta = outside, outside, np.zeros((1, 1))
    steps: list[tuple[Integers, NDArray[np.int32]]] = []
    for tags, scores in positions:
        ways = delta[:, :, None] + follow(first, second, tags)
        back = ways.argmax(0).astype(np.int32)  # [V, W]
        delta = ways.max(0) + scores
        tops = delta.max(0)
        keep = tops >= tops.max() - beam
        if not keep.all():
            tags, delta, back = tags[keep], delta[:, keep], back[:, keep]
        first, second = second, tags
        steps.append((tags, back))
    path = np.zeros(len(steps), np.int64)
    ends = delta + follow(first, second, outside)[:, :, 0]
    v, w = np.unravel_index(int(ends.argmax()), ends.shape)
    for t in range(len(steps) - 1, -1, -1):
        tags, back = steps[t]
        path[t] = tags[w]
        v, w = back[v, w], v
    return path


def posteriors(
    positions: Iterable[Candidates], follow: Follow, *, boundary: int, beam: float = np.inf
) -> list[tuple[Integers, Floats]]:
    """The probability of each candidate given the whole sentence.

    Arguments are those of :func:`best_tags`; the beam is of probabilities.

    Returns:
        For each token, the tags that the beam kept and their probabilities, which sum to one.

    >>> sure = Candidates(np.array([3]), np.zeros(1))
    >>> posteriors([sure], lambda u, v, w: np.zeros((1, 1, 1)), boundary=9)
    [(array([3]), array([1.]))]
    """
    outside = np.array([boundary])
    first, second, alpha = outside, outside, np.ones((1, 1))
    steps: list[tuple[Integers, Floats, Floats]] = []  # tags [W], emissions [W], alpha [V, W]
    floor = np.exp(-beam)
    for tags, scores in positions:
        emitted = np.exp(scores - scores.max())
        alpha = np.einsum("uv,uvw->vw", alpha, np.exp(follow(first, second, tags))) * emitted
        tops = alpha.max(0)
        keep = tops >= tops.max() * floor
        if not keep.all():
            tags, emitted, alpha = tags[keep], emitted[keep], alpha[:, keep]
        alpha = alpha / tops.max()
        first, second = second, tags
        steps.append((tags, emitted, alpha))
    beta = np.exp(follow(first, second, outside))[:, :, 0]  # [V, W]
    found = []
    for t in range(len(steps) - 1, -1, -1):
        tags, emitted, alpha = steps[t]
        chance = (alpha * beta).sum(0)
        found.append((tags, chance / chance.sum()))
        first = steps[t - 2][0] if t > 1 else outside
        second = steps[t - 1][0] if t else outside
        beta = np.einsum("uvw,vw->uv", np.exp(follow(first, second, tags)), emitted * beta)
        beta /= beta.max()
    return found[::-1]
