"""Ensembles: averages on paper, and what does not go together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from step_models import END, Boxed, Drawn, Fixed

from unrolled.baselines import KneserNey, Markov, Mixture
from unrolled.decoding import BeamOptions, Ensemble, beam
from unrolled.errors import ConfigError

P = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
Q = torch.tensor([0.1, 0.9, 0.0], dtype=torch.float64)


def distribution(mode: Any, *tables: torch.Tensor) -> torch.Tensor:
    both = Ensemble([Fixed(table.log()) for table in tables], mode=mode)
    return both.step(None, both.start(1))[0].exp()[0]


def test_averages_on_paper() -> None:
    assert distribution("linear", P, Q).tolist() == pytest.approx([0.3, 0.6, 0.1])
    assert distribution("linear", P, P, Q).tolist() == pytest.approx([1.1 / 3, 0.5, 0.4 / 3])
    geometric = [math.sqrt(0.05), math.sqrt(0.27), 0.0]
    expected = [part / sum(geometric) for part in geometric]
    assert distribution("log", P, Q).tolist() == pytest.approx(expected)
    assert torch.equal(distribution("log", P), P.log().exp())


def test_the_linear_average_is_an_even_mixture() -> None:
    ids = np.random.default_rng(0).integers(0, 5, 300)
    models = [KneserNey(3).fit(ids, 5), Markov(1, smoothing=1.0).fit(ids, 5)]
    both, mixed = Ensemble(models), Mixture(models, [0.5, 0.5])
    a, b = both.start(2), mixed.start(2)
    for read in (None, torch.tensor([1, 2]), torch.tensor([0, 4])):
        mine, a = both.step(read, a)
        theirs, b = mixed.step(read, b)
        torch.testing.assert_close(mine, theirs)


def test_dtypes_meet_in_the_widest() -> None:
    both = Ensemble([Fixed(P.log().float()), Fixed(Q.log())])
    log_probs, _ = both.step(None, both.start(2))
    assert log_probs.dtype == torch.float64
    assert log_probs.shape == (2, 3)


def test_a_member_twice_is_the_member() -> None:
    """States of both kinds, moved about together by a beam."""
    model = Drawn(5, seed=8, lengths=[3, 2])
    twice = Ensemble([model, Boxed(model)])
    options = BeamOptions(size=3, n_best=3, max_length=6)
    for mine, theirs in zip(
        beam(twice, twice.start(2), start=1, end=END, options=options),
        beam(model, model.start(2), start=1, end=END, options=options),
        strict=True,
    ):
        assert [h.tokens for h in mine] == [h.tokens for h in theirs]
        assert [h.score for h in mine] == pytest.approx([h.score for h in theirs], abs=1e-5)


def test_attention_is_averaged_where_all_have_it() -> None:
    one, two = Drawn(4, seed=0, lengths=[2, 3]), Drawn(4, seed=1, lengths=[2, 3])
    both = Ensemble([one, two])
    _, state = both.step(torch.tensor([1, 1]), both.start(2))
    expected = (one.attention(state[0]) + two.attention(state[1])) / 2
    torch.testing.assert_close(both.attention(state), expected)
    options = BeamOptions(coverage_penalty=0.2, max_length=5)
    assert len(beam(both, both.start(2), start=1, end=END, options=options)) == 2
    mixed = Ensemble([one, Fixed(torch.zeros(4))])
    with pytest.raises(ConfigError, match="attention"):
        beam(mixed, mixed.start(2), start=1, end=END, options=options)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="no models"):
        Ensemble([])
    with pytest.raises(ConfigError, match="'linear' or 'log', not 'sum'"):
        Ensemble([Drawn(3)], mode="sum")  # type: ignore[arg-type]
    different = Ensemble([Drawn(3), Drawn(4)])
    with pytest.raises(ConfigError, match="vocabularies of 3, 4 tokens"):
        different.step(None, different.start(1))
    ids = np.array([0, 1, 2])
    with pytest.raises(ConfigError, match="vocabularies of 3, 4 tokens"):
        Ensemble([Markov(0).fit(ids, 3), Markov(0).fit(ids, 4)])
    two = Ensemble([Drawn(3), Drawn(3)])
    with pytest.raises(ConfigError, match="2 models needs as many states, not 1"):
        two.step(None, two.start(1)[:1])
