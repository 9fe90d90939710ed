r"""How sure a score is, and whether two systems differ.

The bootstrap (Efron & Tibshirani 1993, chapter 13) draws N examples with replacement from the N there
are, many times; the middle 95 % of a statistic over the draws is its interval. A draw is a row of
weights ``w`` (how often each example came), so a score that is a ratio of sums (accuracy, F1, errors),
:math:`\sum_n w_n a_n / \sum_n w_n b_n`, costs two products of matrices for all draws. Examples that are
alike in all that counts are one *kind*; drawing how often each kind comes, a multinomial, is the same
and quicker.

For two systems on the same examples both scores come from the same draw, and the difference is what
is looked at (Koehn 2004, "Statistical significance tests for machine translation evaluation"). Where
an answer is right or wrong, McNemar's test (1947) needs no draws: of the ``n`` examples on which only
one system is right, equally good systems get ``Binomial(n, 1/2)`` each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From weights ``[S, P]`` of S draws over P kinds of examples to ``[S]`` values (or ``[S, …]``)."""

_HELD = 1_000_000  # weights held at once: 8 MB


@dataclass(frozen=True)
class Paired:
    """What two systems differ by.

    Attributes:
        difference: the first system's score minus the second's.
        low: lower end of its interval.
        high: upper end.
        p_value: two-sided: twice the share of draws in which the difference is not of its sign, at most 1.
    """

    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two systems that were right or wrong on the same examples.

    Attributes:
        only_first: examples on which only the first system is right.
        only_second: examples on which only the second is.
        exact: two-sided p value of the binomial.
        corrected: p value of chi-square with one degree of freedom, with the correction for continuity
            (Edwards 1948); close to ``exact`` from about 25 examples that differ.
    """

    only_first: int
    only_second: int
    exact: float
    corrected: float


@dataclass(frozen=True)
class Measure:
    """Scores of one or more systems on the same examples, as functions of how often each example counts.

    The ``measure_…`` functions of this room make it; tasks put :meth:`metrics` and :meth:`intervals`
    into an :class:`~unrolled.metrics.evaluation.Evaluation`.

    Attributes:
        names: the M scores, the chief one first.
        counts: ``[P]`` how many examples there are of each kind.
        of: from weights ``[S, P]`` to scores ``[S, systems, M]``.

    >>> right = np.array([1.0, 0.0])[:, None, None]  # one kind is right, one wrong; 1 system, 1 score
    >>> measure = Measure(("accuracy",), np.array([30, 10]), ratio(right, np.ones_like(right)))
    >>> measure.metrics()
    {'accuracy': 0.75}
    >>> measure.intervals()
    {'accuracy': (0.6, 0.875)}
    """

    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    of: Statistic

    @property
    def examples(self) -> int:
        """How many examples there are of all kinds."""
        return int(self.counts.sum())

    def metrics(self, system: int = 0) -> dict[str, float]:
        """Each score of a system on the examples as they are."""
        values = self.of(self.counts.astype(np.float64)[None])[0, system]
        return dict(zip(self.names, values.tolist(), strict=True))

    def intervals(
        self, system: int = 0, *, samples: int = 1000, confidence: float = 0.95, seed: int = 0
    ) -> dict[str, tuple[float, float]]:
        """The percentile interval of each score of a system; not-a-number if no draw has the score."""
        drawn = resampled(self.of, self.counts, samples=samples, seed=seed)[:, system]
        ends = (percentiles(column, confidence) for column in drawn.T)
        return dict(zip(self.names, ends, strict=True))


def ratio(numerators: npt.ArrayLike, denominators: npt.ArrayLike) -> Statistic:
    """The statistic ``Σ w a / Σ w b``; 0 where the denominator is 0.

    Args:
        numerators: ``[P]`` or ``[P, …]``: what each example adds above the line.
        denominators: the same shape: what it adds below.

    >>> ratio([1, 0], [1, 1])(np.array([[1.0, 1.0], [2.0, 0.0]]))
    array([0.5, 1. ])
    """
    above = np.asarray(numerators, dtype=np.float64)
    below = np.asarray(denominators, dtype=np.float64)
    if above.shape != below.shape:
        raise ValueError(f"shapes {above.shape} and {below.shape} differ; expected the same")
    return lambda weights: divided(
        np.tensordot(weights, above, axes=1), np.tensordot(weights, below, axes=1)
    )


def divided(above: Floats, below: Floats) -> Floats:
    """``above / below``, and 0 where ``below`` is 0, as for the F1 of a label that never occurs."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def kinds(rows: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.int64]]:
    """The distinct rows ``[P, C]`` of ``[N, C]`` and how many there are of each.

    >>> found, counts = kinds(np.array([[1, 0], [1, 1], [1, 0]]))
    >>> found.tolist(), counts.tolist()
    ([[1, 0], [1, 1]], [2, 1])
    """
    found, counts = np.unique(rows, axis=0, return_counts=True)
    return found, counts.astype(np.int64)


def bootstrap(
    statistic: Statistic,
    examples: int | npt.ArrayLike,
    *,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile interval of any statistic of a sample (Efron & Tibshirani 1993, chapter 13).

    Args:
        statistic: from weights ``[S, P]`` to ``[S]``; :func:`ratio` makes the usual ones.
        examples: their number N, or ``[P]`` how many there are of each kind.
        samples: how many samples are drawn.
        confidence: the probability that the interval is to have, within (0, 1).
        seed: the same seed gives the same interval.

    Returns:
        The lower and the upper end. Draws without the statistic (not-a-number) are left out.

    Raises:
        ValueError: no examples, or a parameter out of range.

    >>> bootstrap(ratio([1, 1, 1, 0] * 25, [1] * 100), 100)
    (0.66, 0.83)
    """
    drawn = resampled(statistic, _counted(examples), samples=samples, seed=seed)
    return percentiles(drawn, confidence)


def paired_bootstrap(
    first: Statistic,
    second: Statistic,
    examples: int | npt.ArrayLike,
    *,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Paired:
    """Whether two systems differ on the same examples (Koehn 2004); arguments as of :func:`bootstrap`.

    >>> better, worse = ratio([1] * 90 + [0] * 10, [1] * 100), ratio([1] * 80 + [0] * 20, [1] * 100)
    >>> found = paired_bootstrap(better, worse, 100)
    >>> round(found.difference, 6), found.low > 0, found.p_value < 0.05
    (0.1, True, True)
    """
    counts = _counted(examples)
    whole = counts.astype(np.float64)[None]

    def difference(weights: Floats) -> Floats:
        return first(weights) - second(weights)

    drawn = resampled(difference, counts, samples=samples, seed=seed)
    return paired(float(difference(whole)[0]), drawn, confidence)


def paired(difference: float, drawn: Floats, confidence: float = 0.95) -> Paired:
    """The interval and p value of a difference from its values ``[S]`` in the draws.

    The draw that is the sample itself is counted as one more, so that no p value is 0.
    """
    values = drawn[np.isfinite(drawn)]
    below, above = int((values <= 0).sum()), int((values >= 0).sum())
    p_value = min(1.0, 2 * (min(below, above) + 1) / (len(values) + 1))
    return Paired(difference, *percentiles(drawn, confidence), p_value)


def mcnemar(first: npt.ArrayLike, second: npt.ArrayLike) -> McNemar:
    """McNemar's test (1947, "Note on the sampling error of the difference between correlated proportions").

    Args:
        first: ``[N]`` whether the first system is right on each example.
        second: ``[N]`` the same of the second.

    Raises:
        ValueError: unequal lengths.

    >>> mcnemar([1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0]).exact
    0.03125
    """
    one, two = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if one.shape != two.shape or one.ndim != 1:
        raise ValueError(f"shapes {one.shape} and {two.shape}; expected [N] twice")
    only_first, only_second = int((one & ~two).sum()), int((two & ~one).sum())
    n = only_first + only_second
    excess = max(0, abs(only_first - only_second) - 1)
    corrected = math.erfc(math.sqrt(excess**2 / n / 2)) if n else 1.0
    return McNemar(only_first, only_second, _binomial(min(only_first, only_second), n), corrected)


def _binomial(least: int, n: int) -> float:
    """``min(1, 2 P(X <= least))`` for X of ``Binomial(n, 1/2)``; many terms by their ratios."""
    if 2 * least >= n:
        return 1.0
    if n <= 1000:
        ways = sum(math.comb(n, k) for k in range(least + 1))
        return min(1.0, float(Fraction(2 * ways, 2**n)))
    log_term = math.lgamma(n + 1) - math.lgamma(least + 1) - math.lgamma(n - least + 1)
    total, term = 0.0, 1.0
    for k in range(least, -1, -1):
        total += term
        term *= k / (n - k + 1)
        if term < 1e-18 * total:
            break
    return min(1.0, 2 * total * math.exp(log_term - n * math.log(2)))


def resampled(
    statistic: Statistic, counts: npt.NDArray[np.int64], *, samples: int, seed: int
) -> Floats:
    """The statistic ``[S, …]`` of each of S samples drawn with replacement.

    Args:
        statistic: from weights ``[S, P]`` to ``[S, …]``.
        counts: ``[P]`` how many examples there are of each kind.
        samples: S.
        seed: of the draws: two statistics with one seed see the same samples.
    """
    if samples < 1:
        raise ValueError(f"samples={samples}; expected at least 1")
    weights = _draws(counts, samples, np.random.default_rng(seed))
    return np.concatenate([statistic(chunk) for chunk in weights])


def percentiles(drawn: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """The lower and upper end that leave out equally many of the values ``[S]`` on both sides."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}; expected within (0, 1)")
    values = np.sort(drawn[~np.isnan(drawn)])
    if not values.size:
        return math.nan, math.nan
    tail = math.floor((1 - confidence) / 2 * (values.size - 1))
    return float(values[tail]), float(values[values.size - 1 - tail])


def _counted(examples: int | npt.ArrayLike) -> npt.NDArray[np.int64]:
    """How many examples there are of each kind; each is a kind of its own if only N is given."""
    counts = np.ones(examples) if isinstance(examples, int) else np.asarray(examples)
    if counts.ndim != 1 or not counts.sum() > 0 or (counts < 0).any():
        raise ValueError("no examples; expected at least one, and no negative counts")
    return counts.astype(np.int64)


def _draws(
    counts: npt.NDArray[np.int64], samples: int, rng: np.random.Generator
) -> Iterator[Floats]:
    """Weights ``[s, P]``, a bounded number at a time."""
    total, size = int(counts.sum()), len(counts)
    if not total:
        raise ValueError("no examples were given; expected at least one")
    few = total >= 4 * size  # a binomial for each kind costs about as much as four examples drawn
    owner = np.arange(0) if few else np.repeat(np.arange(size), counts)
    rows = max(1, _HELD // size)
    for start in range(0, samples, rows):
        height = min(rows, samples - start)
        if few:
            yield rng.multinomial(total, counts / total, size=height).astype(np.float64)
            continue
        weights = np.empty((height, size))
        for row in weights:
            row[:] = np.bincount(owner[rng.integers(total, size=total)], minlength=size)
        yield weights
