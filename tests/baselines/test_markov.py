"""Markov chains against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unrolled.baselines import BASELINES, Markov
from unrolled.errors import ConfigError, RunError

TEXT = np.array([0, 1, 0, 1, 2, 0, 1, 1])


def test_maximum_likelihood() -> None:
    chain = Markov(2).fit(TEXT, 4)
    probabilities = np.exp(chain.log_probabilities(np.array([0, 1, 0, 1, 3, 3, 0])))
    # frequency of 0; 01 of 0; then after 01: {0, 2, 1}, after 10: {1}; unseen; after unseen: uniform
    np.testing.assert_allclose(probabilities, [3 / 8, 1, 1 / 3, 1, 0, 1 / 4, 1 / 4])


def test_add_k() -> None:
    chain = Markov(1, smoothing=0.5).fit(TEXT, 4)
    probabilities = np.exp(chain.log_probabilities(np.array([3, 0, 1, 3])))
    np.testing.assert_allclose(probabilities, [0.5 / 10, 0.5 / 2, 3.5 / 5, 0.5 / 5])


def test_the_table_keeps_only_what_was_seen() -> None:
    assert Markov(0).fit(TEXT, 4).table_entries == 3
    assert Markov(1).fit(TEXT, 4).table_entries == 3 + 5


def test_rows_at_different_depths_share_a_step() -> None:
    chain = Markov(2).fit(TEXT, 4)
    _, begun = chain.step(torch.tensor([0]), chain.start(1))
    joined = type(begun)(*(torch.cat([a, b]) for a, b in zip(chain.start(1), begun, strict=True)))
    log_probs, _ = chain.step(None, joined)
    np.testing.assert_allclose(log_probs.exp(), [[3 / 8, 4 / 8, 1 / 8, 0], [0, 1, 0, 0]])


def test_arrays_give_the_same_chain() -> None:
    chain = Markov(3, smoothing=0.1).fit(TEXT, 4)
    again = Markov.from_arrays(chain.arrays())
    assert (again.order, again.smoothing) == (3, 0.1)
    assert (again.log_probabilities(TEXT) == chain.log_probabilities(TEXT)).all()


def test_damaged_and_foreign_arrays_are_refused() -> None:
    arrays = Markov(1).fit(TEXT, 4).arrays()
    with pytest.raises(RunError, match="smoothing"):
        Markov.from_arrays({name: array for name, array in arrays.items() if name != "smoothing"})
    with pytest.raises(RunError, match="smoothing"):
        Markov.from_arrays({**arrays, "smoothing": np.array([-1.0])})
    cut = {name: arrays[name][:-1] for name in ("keys.2", "counts.2")}
    with pytest.raises(RunError, match="checksum"):
        Markov.from_arrays({**arrays, **cut})
    with pytest.raises(RunError):
        Markov.from_arrays(BASELINES["kneser-ney"](2).fit(TEXT, 4).arrays())


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="order"):
        Markov(-1)
    with pytest.raises(ConfigError, match="smoothing"):
        Markov(1, smoothing=float("nan"))
    with pytest.raises(RunError, match="call fit first"):
        Markov(1).step(None, Markov(1).start(1))
