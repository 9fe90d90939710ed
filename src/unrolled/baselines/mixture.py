r"""Linear interpolation of language models, with weights learnt on held-out text.

.. math:: p(w \mid h) = \sum_j \lambda_j \, p_j(w \mid h), \qquad
    \lambda_j \leftarrow \frac{1}{N} \sum_t
    \frac{\lambda_j \, p_j(w_t \mid h_t)}{\sum_i \lambda_i \, p_i(w_t \mid h_t)}

The weights are those of Jelinek & Mercer (1980), found by expectation-maximisation (Dempster, Laird &
Rubin 1977), which climbs a concave likelihood: from equal weights there is one summit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from unrolled.decoding import StepModel
from unrolled.errors import ConfigError, DataError


def fit_weights(
    log_probs: Sequence[ArrayLike], *, tolerance: float = 1e-6, max_rounds: int = 10_000
) -> NDArray[np.float64]:
    """The weights that make held-out tokens likeliest, by expectation-maximisation.

    Args:
        log_probs: for each of M models, the natural log-probabilities of the same N tokens.
        tolerance: stop when no weight moved by more than this in a round.
        max_rounds: stop after so many rounds.

    Returns:
        Non-negative weights [M] that sum to one.

    Raises:
        DataError: if lengths differ, there are no tokens, a log-probability is NaN or positive
            infinity, or a token is impossible under every model.

    >>> fit_weights([np.log([0.8, 0.8, 0.1]), np.log([0.2, 0.2, 0.9])]).round(3).tolist()
    [0.639, 0.361]
    """
    table = _table(log_probs)
    if not table.shape[1]:
        raise DataError("there are no tokens to fit mixture weights on; at least one is needed")
    best = table.max(axis=0)
    if (best == -np.inf).any():
        token = int(np.argmax(best == -np.inf))
        raise DataError(
            f"token {token} has probability zero under every model of the mixture; "
            "add a smoothed model"
        )
    relative = np.exp(table - best)  # [M, N]; one factor per token cancels in the update
    weights = np.full(len(table), 1 / len(table))
    for _ in range(max_rounds):
        moved = weights * (relative @ (1 / (weights @ relative))) / table.shape[1]
        moved /= moved.sum()
        change = np.abs(moved - weights).max()
        weights = moved
        if change <= tolerance:
            break
    return weights


def mix(log_probs: Sequence[ArrayLike], weights: ArrayLike) -> NDArray[np.float64]:
    """The natural log of the mixture's probability of every token: float64 [N].

    Args:
        log_probs: for each of M models, the natural log-probabilities of the same N tokens.
        weights: [M], non-negative, summing to one.

    >>> np.exp(mix([np.log([0.5]), np.log([0.1])], [0.75, 0.25])).round(3).tolist()
    [0.4]
    """
    table = _table(log_probs)
    checked = _weights(weights, len(table))
    best = table.max(axis=0)
    shift = np.where(best == -np.inf, 0.0, best)
    with np.errstate(divide="ignore"):
        mixed: NDArray[np.float64] = np.log(checked @ np.exp(table - shift)) + shift
    return mixed


class Mixture:
    """Several models of one vocabulary as one, under the step protocol.

    Args:
        models: each with ``start`` and ``step``.
        weights: [M], non-negative, summing to one; :func:`fit_weights` finds them.

    Its state is the tuple of the models' states; log-probabilities are of the widest dtype among them.

    >>> from unrolled.baselines.markov import Markov
    >>> chains = [Markov(order, smoothing=1.0).fit(np.array([0, 1, 1]), 2) for order in (0, 1)]
    >>> mixture = Mixture(chains, [0.5, 0.5])
    >>> mixture.step(None, mixture.start(1))[0].exp()
    tensor([[0.4000, 0.6000]], dtype=torch.float64)
    """

    def __init__(self, models: Sequence[StepModel], weights: ArrayLike) -> None:
        self.models = tuple(models)
        self.weights = _weights(weights, len(self.models))

    def start(self, batch_size: int) -> tuple[Any, ...]:
        """The states of all models for ``batch_size`` sequences of which nothing was read."""
        return tuple(model.start(batch_size) for model in self.models)

    def step(self, tokens: Tensor | None, state: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        """Reads tokens [B] (None at the very start); log-probabilities [B, V] and the new state."""
        steps = [model.step(tokens, part) for model, part in zip(self.models, state, strict=True)]
        mixed: Tensor | None = None
        for (log_probs, _), weight in zip(steps, self.weights, strict=True):
            if weight > 0:
                term = log_probs + float(np.log(weight))
                mixed = term if mixed is None else torch.logaddexp(*_promoted(mixed, term))
        assert mixed is not None  # the weights sum to one
        return mixed, tuple(after for _, after in steps)


def _promoted(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.to(dtype), b.to(dtype)


def _table(log_probs: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """[M, N], checked."""
    rows = [np.asarray(row, np.float64) for row in log_probs]
    if not rows or any(row.ndim != 1 or row.shape != rows[0].shape for row in rows):
        shapes = [list(row.shape) for row in rows]
        raise DataError(f"a mixture needs one log-probability per token and model, not {shapes}")
    table = np.stack(rows)
    if np.isnan(table).any() or (table == np.inf).any():
        raise DataError("log-probabilities to mix are NaN or infinite; check the models")
    return table


def _weights(weights: ArrayLike, models: int) -> NDArray[np.float64]:
    checked = np.asarray(weights, np.float64)
    if checked.shape != (models,) or models == 0:
        raise ConfigError(
            f"a mixture of {models} models needs {models} weights, not {checked.size}"
        )
    if not (checked >= 0).all() or abs(checked.sum() - 1) > 1e-6:
        raise ConfigError(
            f"mixture weights are non-negative and sum to one, unlike {checked.tolist()}"
        )
    return checked
