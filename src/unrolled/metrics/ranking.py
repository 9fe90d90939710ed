r"""How well scores put the positive examples before the negative ones, whatever the threshold.

The ROC area is the probability that a positive example has a higher score than a negative one,
ties counting half (Hanley & McNeil 1982). Average precision is :math:`\sum_k (R_k - R_{k-1}) P_k` over the
distinct scores from the highest down, with recall and precision of all examples at or above each: the
area below the precision–recall curve without interpolation between its points, which would flatter
(Davis & Goadrich 2006). Both equal scikit-learn's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unrolled.metrics.significance import Floats, Measure


def roc_area(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The area below the ROC curve; not a number unless there are positive and negative examples.

    Args:
        truth: ``[N]`` whether each example is positive.
        scores: ``[N]``, higher for what is more likely positive.

    >>> roc_area([1, 0, 1, 0], [0.9, 0.8, 0.8, 0.1])
    0.875
    """
    return measure_ranking(truth, scores).metrics()["roc_area"]


def average_precision(truth: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The mean precision over the positive examples; not a number without any.

    >>> average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    0.8333333333333333
    """
    return measure_ranking(truth, scores).metrics()["average_precision"]


def measure_ranking(truth: npt.ArrayLike, *scores: npt.ArrayLike) -> Measure:
    """``roc_area`` and ``average_precision`` of one or more systems.

    Args:
        truth: ``[N]`` whether each example is positive.
        scores: of each system, ``[N]``.

    Raises:
        ValueError: unequal shapes, no examples, or a score that is not a number.

    >>> measure_ranking([1, 0], [0.2, 0.1]).metrics()
    {'roc_area': 1.0, 'average_precision': 1.0}
    """
    positive = np.asarray(truth).astype(np.bool_)
    orders: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    for given in scores:
        values = np.asarray(given, dtype=np.float64)
        if values.shape != positive.shape or values.ndim != 1 or not values.size:
            raise ValueError(
                f"shapes {positive.shape} and {values.shape}; expected [N], N at least 1"
            )
        if np.isnan(values).any():
            raise ValueError("a score is not a number; expected scores that can be ordered")
        order = np.argsort(-values, kind="stable")
        ends = np.flatnonzero(np.diff(values[order], append=np.nan) != 0)  # last of each tie
        orders.append((order, ends))

    def of(weights: Floats) -> Floats:
        return np.stack([_areas(weights, positive, *each) for each in orders], axis=1)

    names = ("roc_area", "average_precision")
    return Measure(names, np.ones(len(positive), dtype=np.int64), of)


def _areas(
    weights: Floats,
    positive: npt.NDArray[np.bool_],
    order: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
) -> Floats:
    """Both areas ``[S, 2]`` for weights ``[S, N]``, cut only after the last example of each tie."""
    drawn = weights[:, order]
    found = np.cumsum(drawn * positive[order], axis=1)[:, ends]  # [S, cuts]
    taken = np.cumsum(drawn, axis=1)[:, ends]
    new = np.diff(found, axis=1, prepend=0)
    wrong = taken - found
    new_wrong = np.diff(wrong, axis=1, prepend=0)
    positives, negatives = found[:, -1], wrong[:, -1]
    with np.errstate(invalid="ignore"):  # 0/0 without positives or negatives is meant
        roc = (new_wrong * (found - new / 2)).sum(axis=1) / (positives * negatives)
        precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
        average = (new * precision).sum(axis=1) / positives
    return np.stack([roc, average], axis=1)
