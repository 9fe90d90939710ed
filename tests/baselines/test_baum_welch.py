"""Baum–Welch against hmmlearn and against enumeration; the likelihood never falls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from unrolled.baselines import baum_welch
from unrolled.baselines.baum_welch import HiddenStates
from unrolled.errors import ConfigError, DataError, RunError


def texts(seed: int, size: int, number: int = 12) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, size, rng.integers(1, 9)) for _ in range(number)]


def test_the_likelihood_is_that_of_all_paths() -> None:
    model = HiddenStates(3, seed=4).guess(5)
    text = np.array([0, 4, 2, 2])
    total = sum(
        model.start[path[0]]
        * np.prod([model.transitions[i, j] for i, j in itertools.pairwise(path)])
        * np.prod([model.emissions[s, w] for s, w in zip(path, text, strict=True)])
        for path in itertools.product(range(3), repeat=4)
    )
    assert abs(model.log_likelihood([text]) - np.log(total)) < 1e-12
    assert abs(model.log_likelihood([text, text[:0], text]) - 2 * np.log(total)) < 1e-12


@pytest.mark.filterwarnings("ignore")  # hmmlearn's own, of newer numpy and scikit-learn
@pytest.mark.parametrize("states", [1, 2, 4])
def test_equals_hmmlearn(states: int) -> None:
    from hmmlearn.hmm import CategoricalHMM

    data = texts(1, 6, 20)
    model = HiddenStates(states, seed=2, iterations=15, tolerance=0.0).guess(6)
    oracle = CategoricalHMM(states, n_iter=15, tol=-np.inf, init_params="", n_features=6)
    oracle.startprob_, oracle.transmat_ = model.start.copy(), model.transitions.copy()
    oracle.emissionprob_ = model.emissions.copy()
    joined, lengths = np.concatenate(data)[:, None], [len(text) for text in data]
    assert abs(model.log_likelihood(data) - oracle.score(joined, lengths)) < 1e-9
    model.fit(data, 6)
    oracle.fit(joined, lengths)
    np.testing.assert_allclose(model.log_likelihoods[:15], oracle.monitor_.history, rtol=1e-10)
    np.testing.assert_allclose(model.start, oracle.startprob_, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(model.transitions, oracle.transmat_, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(model.emissions, oracle.emissionprob_, rtol=1e-8, atol=1e-12)
    chances = np.concatenate([model.probabilities(text) for text in data])
    np.testing.assert_allclose(chances, oracle.predict_proba(joined, lengths), atol=1e-9)
    paths = np.concatenate([model.predict(text) for text in data])
    assert np.array_equal(paths, oracle.predict(joined, lengths))


@pytest.mark.parametrize("seed", range(5))
def test_the_likelihood_never_falls(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baum_welch, "POSITIONS", 40)  # many batches
    model = HiddenStates(3, seed=seed, tolerance=0.0, iterations=40).fit(texts(seed, 5), 5)
    gains = np.diff(model.log_likelihoods)
    assert (gains >= -1e-10 * abs(model.log_likelihoods[0])).all()
    assert model.log_likelihoods[-1] == pytest.approx(model.log_likelihood(texts(seed, 5)))
    for part in (model.start, model.transitions, model.emissions):
        np.testing.assert_allclose(part.sum(-1), 1.0, rtol=1e-12)


def test_it_finds_states_that_take_turns() -> None:
    rng = np.random.default_rng(0)
    data = []
    for _ in range(20):
        first = rng.integers(0, 2)
        state = (np.arange(20) + first) % 2
        data.append(3 * state + rng.integers(0, 3, 20))  # words 0-2 and 3-5 alternate
    best = max(
        (HiddenStates(2, seed=seed).fit(data, 6) for seed in range(4)),
        key=lambda model: model.log_likelihoods[-1],
    )
    for text in data:
        states = best.predict(text)
        assert np.array_equal(states == states[0], (text < 3) == (text[0] < 3))


def test_zeros_stay_and_unvisited_states_keep_what_they_had() -> None:
    model = HiddenStates(2, iterations=3, tolerance=0.0)
    model.set(np.array([1.0, 0.0]), np.array([[1.0, 0.0], [0.5, 0.5]]), np.full((2, 2), 0.5))
    model.fit([np.array([0, 1, 1])], 2)
    assert model.start.tolist() == [1.0, 0.0]
    assert model.transitions.tolist() == [[1.0, 0.0], [0.5, 0.5]]
    np.testing.assert_allclose(model.emissions, [[1 / 3, 2 / 3], [0.5, 0.5]], rtol=1e-12)
    assert model.probabilities(np.zeros(0, np.int64)).shape == (0, 2)
    assert model.predict(np.zeros(0, np.int64)).shape == (0,)


def test_saved_equals_loaded(tmp_path) -> None:
    model = HiddenStates(3).fit(texts(0, 5), 5)
    save_file(model.arrays(), tmp_path / "model.safetensors")
    loaded = HiddenStates.from_arrays(load_file(tmp_path / "model.safetensors"))
    assert loaded.log_likelihood(texts(1, 5)) == model.log_likelihood(texts(1, 5))
    damaged = model.arrays()
    damaged["start"] = damaged["start"][::-1].copy()
    with pytest.raises(RunError, match="damaged"):
        HiddenStates.from_arrays(damaged)
    with pytest.raises(RunError, match="foreign"):
        HiddenStates.from_arrays({"start": np.ones(1)})


@pytest.mark.parametrize(
    ("options", "message"),
    [({"states": 0}, "states"), ({"iterations": -1}, "iterations"), ({"tolerance": -1.0}, "toler")],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HiddenStates(**({"states": 2} | options))


def test_what_cannot_be_learned_from() -> None:
    with pytest.raises(DataError, match="no tokens"):
        HiddenStates(2).fit([np.zeros(0, np.int64)], 3)
    with pytest.raises(DataError, match="outside the vocabulary"):
        HiddenStates(2).fit([np.array([3])], 3)
    with pytest.raises(RunError, match="call fit first"):
        HiddenStates(2).predict(np.array([0]))
    certain = HiddenStates(1).set(np.ones(1), np.ones((1, 1)), np.array([[1.0, 0.0]]))
    with pytest.raises(DataError, match="impossible"):
        certain.fit([np.array([1])], 2)
    with pytest.raises(ConfigError, match="sum to one"):
        HiddenStates(1).set(np.ones(1), np.ones((1, 1)), np.ones((1, 2)))
    with pytest.raises(ConfigError, match="parameters of 1 states"):
        HiddenStates(1).set(np.ones(2), np.ones((1, 1)), np.ones((1, 2)))
