r"""How well distances between words agree with people's judgements, and how many analogies come out right.

Spearman's rho is Pearson's correlation of the ranks, tied values sharing the mean of their ranks. In a
bootstrap sample, in which pair n comes :math:`w_n` times, the rank of a value is

.. math:: r_n = \sum_{m:\, x_m < x_n} w_m + \tfrac12 \Bigl(1 + \sum_{m:\, x_m = x_n} w_m\Bigr)

so that all samples are ranked at once. A sample in which one side has a single value has no rho.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unrolled.metrics.significance import Floats, Measure


def spearman(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Spearman's rho of two lists of numbers; not a number where one of them has a single value.

    >>> round(spearman([1, 2, 3, 4], [0.1, 0.3, 0.2, 0.9]), 6)
    0.8
    """
    return measure_similarity(truth, scores).metrics()["spearman"]


def measure_similarity(truth: npt.ArrayLike, scores: npt.ArrayLike) -> Measure:
    """Spearman's rho as a measure, with an interval by drawing pairs anew.

    Args:
        truth: ``[N]`` the judgements.
        scores: ``[N]``, finite, higher for what is more alike.

    Raises:
        ValueError: unequal lengths, no pair, or values that are not finite.

    >>> low, high = measure_similarity(range(40), range(40)).intervals()["spearman"]
    >>> round(low, 9), round(high, 9)
    (1.0, 1.0)
    """
    one, two = (np.asarray(values, dtype=np.float64) for values in (truth, scores))
    if one.shape != two.shape or one.ndim != 1 or not one.size:
        raise ValueError(f"shapes {one.shape} and {two.shape}; expected [N] twice, N at least 1")
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        raise ValueError("values that are not finite have no rank; leave their pairs out")

    def rho(weights: Floats) -> Floats:
        return _correlation(weights, _ranks(weights, one), _ranks(weights, two))[:, None, None]

    return Measure(("spearman",), np.ones(len(one), dtype=np.int64), rho)


def measure_analogies(right: npt.ArrayLike, sections: Sequence[str]) -> Measure:
    """The share of right answers: of all, of semantic and syntactic questions, and of each section.

    Sections whose names begin with ``gram`` are syntactic, as in the questions of Mikolov et al. 2013.
    A share of no question is not reported. The names: ``accuracy``, ``semantic``, ``syntactic``,
    ``accuracy:SECTION``.

    Args:
        right: ``[N]`` whether each answer is right.
        sections: the section of each question.

    Raises:
        ValueError: unequal lengths, or no question.

    >>> measure = measure_analogies([1, 0, 1], ["capital", "capital", "gram3"])
    >>> {name: round(value, 3) for name, value in measure.metrics().items()}
    {'accuracy': 0.667, 'semantic': 0.5, 'syntactic': 1.0, 'accuracy:capital': 0.5, 'accuracy:gram3': 1.0}
    """
    correct = np.asarray(right, dtype=np.float64)
    if correct.shape != (len(sections),) or not len(sections):
        raise ValueError(f"{correct.shape} answers, {len(sections)} sections; expected as many")
    syntactic = np.array([section.startswith("gram") for section in sections])
    groups = {"accuracy": np.ones(len(sections), dtype=bool)}
    groups |= {"semantic": ~syntactic, "syntactic": syntactic}
    names = np.array(sections, dtype=object)
    groups |= {f"accuracy:{name}": names == name for name in dict.fromkeys(sections) if name}
    groups = {name: members for name, members in groups.items() if members.any()}
    members = np.stack(list(groups.values()), axis=1).astype(np.float64)  # [N, M]

    def shares(weights: Floats) -> Floats:
        drawn = weights @ members
        found = np.full(drawn.shape, np.nan)  # of a section that a sample does not have
        np.divide((weights * correct) @ members, drawn, out=found, where=drawn > 0)
        return found[:, None, :]

    return Measure(tuple(groups), np.ones(len(sections), dtype=np.int64), shares)


def _ranks(weights: Floats, values: Floats) -> Floats:
    """``[S, N]`` the rank of each value in each sample."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    held = np.add.reduceat(weights[:, order], first, axis=1)  # [S, groups]
    ranks = np.cumsum(held, axis=1) - held + (held + 1) / 2
    return np.asarray(ranks[:, group])


def _correlation(weights: Floats, one: Floats, two: Floats) -> Floats:
    """``[S]`` Pearson's correlation of each row, its columns counted by their weights."""
    total = weights.sum(axis=1, keepdims=True)
    first, second = (x - (weights * x).sum(axis=1, keepdims=True) / total for x in (one, two))
    spreads = (weights * first**2).sum(axis=1) * (weights * second**2).sum(axis=1)
    shared = (weights * first * second).sum(axis=1)
    found = np.full(len(weights), np.nan)
    np.divide(shared, np.sqrt(spreads), out=found, where=spreads > 0)
    return found
