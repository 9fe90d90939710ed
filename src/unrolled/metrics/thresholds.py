r"""The threshold that maximises F1 (Lipton, Elkan & Narayanaswamy 2014, "Optimal thresholding of
classifiers to maximize F1 measure", arXiv:1402.1892).

For probabilities :math:`p` that are calibrated, the best decision calls positive exactly the examples with

.. math::
   p \ge F^* / 2, \qquad F^* = \max_k \frac{2 \sum_{i \le k} p_{(i)}}{k + \sum_i p_i},

with :math:`p_{(1)} \ge p_{(2)} \ge \dots`: half of the best F1 that can be had. So the threshold is at most
one half, and depends on the whole data set. Their warning: a classifier that knows nothing (the same
probability for every example, the base rate ``b``) is best off calling *everything* positive, with an F1
of ``2b/(1+b)``; a rare label tuned for F1, alone or within macro F1, may end so. The field
``all_positive`` says when it did.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Threshold:
    """The best cut through a sample for F1.

    Attributes:
        threshold: call positive what has at least this score; infinite if no example is positive.
        f1: the F1 there, F*.
        positives: how many examples it calls positive.
        examples: how many there are.
        all_positive: the warning: the best is to call every example positive, so the scores add nothing.
        f1_all_positive: the F1 of calling every example positive, ``2b/(1+b)`` for base rate b.

    >>> Threshold(0.3, 0.6, 4, 4, all_positive=True, f1_all_positive=0.6).half_f1
    0.3
    """

    threshold: float
    f1: float
    positives: int
    examples: int
    all_positive: bool
    f1_all_positive: float

    @property
    def half_f1(self) -> float:
        """F*/2, where the threshold lies if the scores are calibrated probabilities."""
        return self.f1 / 2


def best_threshold(truth: npt.ArrayLike, scores: npt.ArrayLike) -> Threshold:
    """The threshold with the highest F1 on labelled examples, exactly, by sorting; of equals the highest.

    Choose it on validation data: on the test data it is fitted to what it is measured with.

    Args:
        truth: ``[N]`` whether each example is positive.
        scores: ``[N]``, higher for what is more likely positive; any scale.

    Raises:
        ValueError: unequal shapes, no examples, or a score that is not a number.

    >>> found = best_threshold([1, 1, 0, 1, 0], [0.9, 0.8, 0.6, 0.4, 0.1])
    >>> found.threshold, round(found.f1, 4), found.all_positive
    (0.4, 0.8571, False)
    >>> best_threshold([1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25])  # knows nothing
    Threshold(threshold=0.25, f1=0.4, positives=4, examples=4, all_positive=True, f1_all_positive=0.4)
    """
    positive = np.asarray(truth).astype(np.bool_)
    values = np.asarray(scores, dtype=np.float64)
    if positive.shape != values.shape:
        raise ValueError(f"shapes {positive.shape} and {values.shape}; expected [N] twice")
    return _best(values, positive.astype(np.float64))


def calibrated_threshold(probabilities: npt.ArrayLike) -> Threshold:
    """The threshold with the highest expected F1 if the probabilities are true, without any labels.

    ``f1`` is the ratio of expected counts, F* of the formula above.

    Raises:
        ValueError: no probabilities, or some outside [0, 1].

    >>> found = calibrated_threshold([0.9, 0.5, 0.3, 0.1])
    >>> round(found.f1, 4), round(found.half_f1, 4), found.threshold
    (0.7368, 0.3684, 0.5)
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("probabilities must be within [0, 1]")
    return _best(values, values)


def _best(scores: npt.NDArray[np.float64], mass: npt.NDArray[np.float64]) -> Threshold:
    """The best cut where each example is positive by the amount ``mass``, within [0, 1]."""
    if scores.ndim != 1 or not scores.size or np.isnan(scores).any():
        raise ValueError("expected [N] scores, N at least 1, none of them not-a-number")
    order = np.argsort(-scores, kind="stable")
    ordered, n = scores[order], len(scores)
    ends = np.flatnonzero(np.diff(ordered, append=np.nan) != 0)  # cuts fall between distinct scores
    found = np.cumsum(mass[order])[ends]
    f1 = 2 * found / (ends + 1 + found[-1])
    best = int(np.argmax(f1))  # of equals the first: the highest threshold
    if f1[best] == 0:
        return Threshold(float("inf"), 0.0, 0, n, all_positive=False, f1_all_positive=0.0)
    positives = int(ends[best]) + 1
    return Threshold(
        threshold=float(ordered[ends[best]]),
        f1=float(f1[best]),
        positives=positives,
        examples=n,
        all_positive=positives == n,
        f1_all_positive=float(f1[-1]),
    )
