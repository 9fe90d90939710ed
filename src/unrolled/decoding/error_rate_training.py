r"""Weights of a log-linear model that maximise a corpus score such as BLEU (Och 2003, "Minimum error rate
training in statistical machine translation").

Along a direction d from weights w each candidate's score is a line in :math:`\gamma`,

.. math:: s_\gamma(y) = w^\top f(y) + \gamma\, d^\top f(y),

so that the chosen candidate of a list changes only where the upper envelope of its lines has a corner. The
corners of all lists in order cut the axis into intervals on which the sums that make up the corpus score are
constant, and from one interval to the next they change by the difference of two candidates: the best
:math:`\gamma` is found exactly (section 4, "the line optimization"). Directions are the axes and random ones;
the search starts from each feature alone, from all alike, and from random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unrolled.decoding.rerank import Floats, Integers, NBest
from unrolled.errors import ConfigError, DataError

Score = Callable[[Floats], Floats]  # of sums [M, K], the scores [M], the more the better

ROUNDS = 30  # at most, from one start
LEAST_GAIN = 1e-6  # of a score; less is not worth a step


class Corners(NamedTuple):
    """Where the best candidates of N lists change along a line.

    Attributes:
        first: the best of each list at minus infinity, [N].
        at: each corner's gamma, [M].
        before, after: the best on either side of it, [M].
        lists: whose it is, [M].
    """

    first: Integers
    at: Floats
    before: Integers
    after: Integers
    lists: Integers


class Tuned(NamedTuple):
    """Weights and the score that they reach.

    Attributes:
        weights: [F]; their magnitudes sum to 1. 0 for a feature that is the same throughout each list.
        score: of the candidates that they choose.
    """

    weights: Floats
    score: float


def corners(slopes: Floats, intercepts: Floats, real: NDArray[np.bool_]) -> Corners:
    """The corners of the upper envelopes of N sets of up to C lines.

    All envelopes are followed together, from their flattest line on to the next line that crosses them.

    Args:
        slopes, intercepts: [N, C]. real: [N, C]: which of them are lines; at least one of each set.

    Returns:
        The corners of each set in order, those of all sets of one rank together; places are in 0..C-1.

    >>> corners(np.array([[-1.0, 0, 1]]), np.array([[0.0, 1, 0]]), np.ones((1, 3), bool)).at.tolist()
    [-1.0, 1.0]
    """
    steep = np.where(real, slopes, -np.inf)
    lowest = np.where(real, slopes, np.inf).min(axis=1, keepdims=True)
    first = np.where(steep == lowest, intercepts, -np.inf).argmax(axis=1)
    rows, now = np.arange(len(slopes)), first
    reached = np.full(len(slopes), -np.inf)
    found: list[tuple[Floats, Integers, Integers, Integers]] = []
    with np.errstate(divide="ignore", invalid="ignore"):
        while len(rows):
            line = np.arange(len(rows))
            rise = steep - steep[line, now][:, None]
            cross = (intercepts[line, now][:, None] - intercepts) / rise
            cross = np.where(rise > 0, cross, np.inf)
            at = cross.min(axis=1)
            after = np.where(cross == at[:, None], steep, -np.inf).argmax(axis=1)
            on = np.isfinite(at)
            reached = np.maximum(at, reached)[on]  # rounding must not turn back
            found.append((reached, now[on], after[on], rows[on]))
            rows, now, steep, intercepts = rows[on], after[on], steep[on], intercepts[on]
    at, before, after, lists = (np.concatenate(part) for part in zip(*found, strict=True))
    return Corners(first, at, before, after, lists)


class _Lists:
    """The lists as padded arrays, features scaled to one spread."""

    def __init__(self, lists: NBest, counts: ArrayLike, score: Score) -> None:
        self.score = score
        self.counts = np.asarray(counts)
        lengths = np.diff(lists.offsets)
        filled = np.flatnonzero(lengths)
        width = int(lengths.max())
        self.real = np.arange(width) < lengths[filled][:, None]  # [N, C]
        self.places = np.where(self.real, lists.offsets[filled][:, None] + np.arange(width), 0)
        mean = np.stack([f[self.places].sum(1, where=self.real) for f in lists.features.T], axis=-1)
        mean /= lengths[filled][:, None]
        spread = np.sqrt(
            np.square(lists.features - np.repeat(mean, lengths[filled], axis=0)).mean(0)
        )
        size = np.abs(lists.features).max(axis=0)
        self.used = np.flatnonzero(spread > 1e-12 * size)
        self.spread = spread[self.used]
        # In the units of its spread, and of each list the mean taken away, which changes no choice.
        centred = lists.features[:, self.used][self.places] - mean[:, self.used][:, None]
        self.features = centred / self.spread  # [N, C, F']

    def line(self, weights: Floats, direction: Floats) -> tuple[Floats, Floats]:
        """Slopes and intercepts [N, C] along a direction."""
        return self.features @ direction, self.features @ weights

    def value(self, weights: Floats) -> float:
        """The score of what weights choose."""
        scores = np.where(self.real, self.features @ weights, -np.inf)
        places = self.places[np.arange(len(scores)), scores.argmax(axis=1)]
        return float(self.score(self.counts[places].sum(axis=0, dtype=np.float64)[None])[0])

    def best_step(self, weights: Floats, direction: Floats) -> tuple[float, float]:
        """The gamma of the best interval, its middle, and the score there."""
        slopes, intercepts = self.line(weights, direction)
        found = corners(slopes, intercepts, self.real)
        order = np.argsort(found.at, kind="stable")
        at, lists = found.at[order], found.lists[order]
        first = self.counts[self.places[np.arange(len(slopes)), found.first]]
        change = self.counts[self.places[lists, found.after[order]]].astype(np.float64)
        change -= self.counts[self.places[lists, found.before[order]]]
        sums = np.concatenate([first.sum(0, dtype=np.float64)[None], change]).cumsum(axis=0)
        if not len(at):
            return 0.0, float(self.score(sums)[0])
        edges = np.concatenate([[at[0] - 2.0], at, [at[-1] + 2.0]])
        middles = (edges[:-1] + edges[1:]) / 2
        scores = self.score(sums)
        # Corners that fall together leave nothing between them.
        scores = np.where((edges[:-1] < middles) & (middles < edges[1:]), scores, -np.inf)
        ties = np.flatnonzero(scores == scores.max())
        place = ties[np.diff(edges)[ties].argmax()]
        return float(middles[place]), float(scores[place])


def tune(
    lists: NBest,
    counts: ArrayLike,
    score: Score,
    *,
    restarts: int = 8,
    seed: int = 0,
    initial: ArrayLike | None = None,
) -> Tuned:
    """The weights whose choices have the best corpus score.

    Args:
        lists: the candidates.
        counts: what each candidate adds to the sums that the score is made of, [C, K], such as
            :func:`unrolled.metrics.bleu.bleu_counts` gives.
        score: of such sums, [M, K] → [M], such as :func:`unrolled.metrics.bleu.bleu_scores`.
        restarts: random weights to start from, beside each feature alone and all alike.
        seed: equal seeds find equal weights.
        initial: weights [F] to start from, too, unless all of those that matter are zero.

    Raises:
        ConfigError: fewer restarts than 0.
        DataError: no candidates, no features, or no list whose candidates differ in any.

    >>> lists = NBest(("a", "b"), ("good", "bad"), np.array([[1.0, 3], [2, 1]]), np.array([0, 2]), (None,))
    >>> tune(lists, [[0], [1]], lambda sums: sums[:, 0]).score
    1.0
    """
    if restarts < 0:
        raise ConfigError(f"{restarts} restarts given; expected 0 or more")
    if not lists.texts or not lists.names:
        what = "candidates" if not lists.texts else "features"
        raise DataError(f"the lists have no {what}; there is nothing to tune")
    padded = _Lists(lists, counts, score)
    if not len(padded.used):
        raise DataError(
            f"no feature differs between the candidates of any list ({', '.join(lists.names)}); "
            "there is nothing to tune"
        )
    chance = np.random.default_rng(seed)
    best, weights = -np.inf, np.zeros(len(padded.used))
    for start in _starts(padded, restarts, chance, initial):
        found, value = _climb(padded, start, chance)
        if value > best + LEAST_GAIN:
            best, weights = value, found
    whole = np.zeros(len(lists.names))
    whole[padded.used] = weights / padded.spread
    whole /= np.abs(whole).sum()
    sums = padded.counts[lists.chosen(whole)[np.diff(lists.offsets) > 0]].sum(0, dtype=np.float64)
    return Tuned(whole, float(score(sums[None])[0]))


def _starts(
    padded: _Lists, restarts: int, chance: np.random.Generator, initial: ArrayLike | None
) -> Iterator[Floats]:
    size = len(padded.used)
    if initial is not None:
        given = np.asarray(initial, dtype=np.float64)[padded.used]
        if given.any():
            yield given * padded.spread
    yield np.ones(size)
    if size > 1:
        yield from np.eye(size)
    for _ in range(restarts):
        yield chance.uniform(-1, 1, size)


def _climb(padded: _Lists, weights: Floats, chance: np.random.Generator) -> tuple[Floats, float]:
    """From weights along the axes and as many random directions, as long as that helps."""
    size = len(weights)
    value = padded.value(weights)
    for _ in range(ROUNDS):
        before = value
        for direction in [*np.eye(size), *chance.standard_normal((size, size))]:
            gamma, promised = padded.best_step(weights, direction)
            if promised <= value + LEAST_GAIN:
                continue
            moved = weights + gamma * direction
            length = np.abs(moved).max()
            if not length:
                continue
            moved = moved / length
            reached = padded.value(moved)  # ties and rounding may leave less than was promised
            if reached > value + LEAST_GAIN:
                weights, value = moved, reached
        if value <= before + LEAST_GAIN:
            break
    return weights, value
