r"""Scores of replies: how likely the true ones are, how like them the model's are, and how varied.

``nats`` and ``perplexity`` are of the symbols of the true replies, their ends among them, each given all
that was truly said before; ``bleu`` and ``exact`` compare the model's replies with the true ones. A reply
may be good and share no word with the one that was given (Liu et al. 2016, "How NOT to evaluate your
dialogue system"), so they are little evidence by themselves. ``distinct_1`` and ``distinct_2`` (Li et al.
2016, "A diversity-promoting objective function for neural conversation models", section 5) are the shares of
different words and pairs of words among all those of the model's replies; who always says the same has
values near 0.

The intervals resample dialogues. A resampled set has some dialogues twice, which makes its replies less
varied for no reason of the model's; of ``distinct`` the draws are therefore moved so that their mean is
the value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unrolled.metrics.bleu import bleu_counts, bleu_scores
from unrolled.metrics.edit import exact_counts
from unrolled.metrics.significance import Statistic, bootstrap, percentiles, ratio, resampled

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Intervals = dict[str, tuple[float, float]]
Scores = tuple[dict[str, float], Intervals]

_SAMPLES = 1000


def likelihood(nats: Sequence[Floats]) -> Scores:
    """``nats`` and ``perplexity`` with their intervals, of at least one symbol.

    Args:
        nats: of each dialogue those of its replies' symbols.
    """
    sums = np.array([values.sum() for values in nats])
    counts = np.array([len(values) for values in nats], dtype=np.float64)
    mean = float(sums.sum() / counts.sum())
    low, high = bootstrap(ratio(sums, counts), len(sums), samples=_SAMPLES)
    metrics = {"nats": mean, "perplexity": _exp(mean)}
    return metrics, {"nats": (low, high), "perplexity": (_exp(low), _exp(high))}


def likeness(owners: Sequence[int], references: Sequence[str], outputs: Sequence[str]) -> Scores:
    """``bleu``, ``exact``, ``distinct_1`` and ``distinct_2`` with their intervals, of at least one reply.

    Args:
        owners: the dialogue of each reply, numbered from 0.
        references: what was truly said. outputs: what the model said. Words apart by white space.
    """
    groups = np.unique(np.asarray(owners), return_inverse=True)[1]
    dialogues = int(groups.max()) + 1

    def summed(rows: NDArray[np.generic]) -> Floats:
        found = np.zeros((dialogues, rows.shape[1]))
        np.add.at(found, groups, rows)
        return found

    counts = summed(bleu_counts(outputs, [references]))
    right = summed(exact_counts(outputs, [references]))[:, 0]
    replies = np.bincount(groups).astype(np.float64)
    statistics: dict[str, Statistic] = {
        "bleu": lambda weights: bleu_scores(weights @ counts),
        "exact": ratio(right, replies),
    }
    whole = np.ones((1, dialogues))
    metrics = {name: float(of(whole)[0]) for name, of in statistics.items()}
    intervals = {
        name: bootstrap(of, dialogues, samples=_SAMPLES) for name, of in statistics.items()
    }
    for length in (1, 2):
        name = f"distinct_{length}"
        metrics[name], intervals[name] = _distinct(groups, outputs, length, dialogues)
    return metrics, intervals


def _distinct(
    groups: Integers, outputs: Sequence[str], length: int, dialogues: int
) -> tuple[float, tuple[float, float]]:
    numbers: dict[tuple[str, ...], int] = {}
    grams: list[int] = []
    owners: list[int] = []
    for group, text in zip(groups.tolist(), outputs, strict=True):
        words = text.split()
        for gram in zip(*(words[k:] for k in range(length)), strict=False):
            grams.append(numbers.setdefault(gram, len(numbers)))
            owners.append(group)
    ids, places = np.array(grams, dtype=np.int64), np.array(owners, dtype=np.int64)
    sizes = np.bincount(places, minlength=dialogues).astype(np.float64)

    def share(weights: Floats) -> Floats:
        there = np.zeros(len(numbers), dtype=np.bool_)
        found = np.empty(len(weights))
        for row, each in enumerate(weights):
            there[:] = False
            there[ids[each[places] > 0]] = True
            found[row] = there.sum()
        return found / np.maximum(weights @ sizes, 1)

    value = float(share(np.ones((1, dialogues)))[0])
    drawn = resampled(share, np.ones(dialogues, dtype=np.int64), samples=_SAMPLES, seed=0)
    low, high = percentiles(drawn - drawn.mean() + value)
    return value, (max(low, 0.0), min(high, 1.0))


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
