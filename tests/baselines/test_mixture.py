"""Mixture weights by expectation-maximisation, and the mixture as a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unrolled.baselines import KneserNey, Markov, Mixture, fit_weights, mix
from unrolled.errors import ConfigError, DataError


def test_weights_are_the_summit_of_the_likelihood() -> None:
    rng = np.random.default_rng(0)
    tables = [np.log(rng.uniform(0.01, 1, 2000)) for _ in range(3)]
    weights = fit_weights(tables)
    assert weights.sum() == pytest.approx(1)
    best = mix(tables, weights).mean()
    for i, j in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)]:
        moved = weights.copy()
        moved[i] += 0.01
        moved[j] -= 0.01
        if moved.min() >= 0:
            assert mix(tables, moved).mean() < best


def test_a_source_is_recovered() -> None:
    rng = np.random.default_rng(1)
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.1, 0.8])
    ids = rng.choice(3, 50_000, p=0.3 * p + 0.7 * q)
    np.testing.assert_allclose(fit_weights([np.log(p[ids]), np.log(q[ids])]), [0.3, 0.7], atol=0.02)


def test_impossible_and_tiny_probabilities() -> None:
    never = np.array([-np.inf, -2000.0, 0.0])
    always = np.array([-1.0, -2001.0, -np.inf])
    weights = fit_weights([never, always])
    assert np.isfinite(weights).all()
    assert mix([never, always], [1.0, 0.0]).tolist() == never.tolist()
    assert np.isfinite(mix([never, always], weights)).all()
    with pytest.raises(DataError, match="token 1 has probability zero"):
        fit_weights([np.array([0.0, -np.inf]), np.array([0.0, -np.inf])])


def test_strange_input_is_refused() -> None:
    with pytest.raises(DataError, match="one log-probability per token"):
        fit_weights([np.zeros(2), np.zeros(3)])
    with pytest.raises(DataError, match="one log-probability per token"):
        fit_weights([])
    with pytest.raises(DataError, match="no tokens"):
        fit_weights([np.zeros(0)])
    with pytest.raises(DataError, match="NaN"):
        mix([np.array([np.nan])], [1.0])
    with pytest.raises(ConfigError, match="2 weights"):
        mix([np.zeros(1), np.zeros(1)], [1.0])
    with pytest.raises(ConfigError, match="sum to one"):
        mix([np.zeros(1), np.zeros(1)], [0.9, 0.9])


@pytest.mark.parametrize("weights", [[0.25, 0.75], [0.0, 1.0]])
def test_the_model_equals_the_mixed_arrays(weights: list[float]) -> None:
    ids = np.random.default_rng(0).integers(0, 5, 80)
    models = [KneserNey(3).fit(ids[:40], 5), Markov(1).fit(ids[:40], 5)]
    mixture = Mixture(models, weights)
    expected = mix([model.log_probabilities(ids) for model in models], weights)
    log_probs, state = mixture.step(None, mixture.start(1))
    for token, value in zip(ids, expected, strict=True):
        np.testing.assert_allclose(log_probs[0, token], value, rtol=1e-12)
        log_probs, state = mixture.step(torch.tensor([token]), state)
