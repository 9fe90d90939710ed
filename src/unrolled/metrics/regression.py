r"""How near numbers came: the mean squared error, the mean absolute error, and
:math:`R^2 = 1 - \sum (y - \hat y)^2 / \sum (y - \bar y)^2`, the share of the variance that is explained.
Predicting the mean has :math:`R^2 = 0`; what is worse is below."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unrolled.metrics.significance import Floats, Measure


def mean_squared_error(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """The mean of ``(y - ŷ)²``.

    >>> mean_squared_error([1, 2], [1, 4])
    2.0
    """
    return measure_numbers(truth, predicted).metrics()["mse"]


def mean_absolute_error(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """The mean of ``|y - ŷ|``.

    >>> mean_absolute_error([1, 2], [1, 4])
    1.0
    """
    return measure_numbers(truth, predicted).metrics()["mae"]


def r_squared(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """The share of the variance that is explained.

    Where the truth is constant: 1 if every prediction is exact, else 0. Not a number for one example.

    >>> r_squared([1, 2, 3], [1, 2, 3]), r_squared([1, 2, 3], [2, 2, 2])
    (1.0, 0.0)
    """
    return measure_numbers(truth, predicted).metrics()["r2"]


def measure_numbers(truth: npt.ArrayLike, *predicted: npt.ArrayLike) -> Measure:
    """``mse``, ``mae`` and ``r2`` of one or more systems.

    Args:
        truth: ``[N]`` numbers, one for each example.
        predicted: of each system, ``[N]``.

    Raises:
        ValueError: unequal shapes, or no examples.

    >>> measure_numbers([1, 2, 3], [1, 2, 5]).metrics()
    {'mse': 1.3333333333333333, 'mae': 0.6666666666666666, 'r2': -1.0}
    """
    true = np.asarray(truth, dtype=np.float64)
    systems = [np.asarray(guess, dtype=np.float64) for guess in predicted]
    for guess in systems:
        if guess.shape != true.shape or true.ndim != 1 or not len(true):
            raise ValueError(f"shapes {true.shape} and {guess.shape}; expected [N], N at least 1")
    centred = true - true.mean()  # variances by sums of squares lose nothing then
    moments = np.stack([centred, centred**2], axis=1)
    errors = np.stack([true - guess for guess in systems], axis=1)
    with np.errstate(over="ignore"):  # an infinite error is one
        sums = np.concatenate([moments, errors**2, np.abs(errors)], axis=1)
    exact, constant = errors == 0, (true == true[0]).all()

    def of(weights: Floats) -> Floats:
        n = weights.sum(axis=1)[:, None]
        first, second, *rest = np.split(weights @ sums, (1, 2, 2 + len(systems)), axis=1)
        squared, absolute = rest
        total = np.zeros_like(n) if constant else second - first**2 / n
        # One number drawn again and again has a variance of rounding errors only.
        varies = total > 1e-12 * np.maximum(second, first**2 / n)
        perfect = weights @ ~exact == 0
        r2 = np.where(varies, 1 - squared / np.where(varies, total, 1), perfect * 1.0)
        r2 = np.where(n > 1, r2, np.nan)
        return np.stack([squared / n, absolute / n, r2], axis=2)

    return Measure(("mse", "mae", "r2"), np.ones(len(true), dtype=np.int64), of)
