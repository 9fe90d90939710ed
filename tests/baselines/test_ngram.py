"""Kneser-Ney against a slow dictionary implementation, hand-worked numbers, and its own step."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from unrolled import state as states
from unrolled.baselines import KneserNey, Markov
from unrolled.baselines.ngram import FALLBACK, discounts
from unrolled.errors import ConfigError, DataError, RunError

Predict = Callable[[tuple[int, ...], int], float]


def reference(ids: list[int], size: int, order: int) -> Predict:
    """Chen & Goodman's definition with one dictionary per order and no cleverness."""
    raw = [Counter(zip(*(ids[i:] for i in range(k)), strict=False)) for k in range(1, order + 1)]
    adjusted: list[dict[tuple[int, ...], int]] = []
    for k in range(1, order + 1):
        if k == order:
            adjusted.append(dict(raw[k - 1]))
            continue
        left: dict[tuple[int, ...], set[int | str]] = defaultdict(set)
        for t in range(len(ids) - k + 1):
            left[tuple(ids[t : t + k])].add(ids[t - 1] if t else "start")
        adjusted.append({gram: len(seen) for gram, seen in left.items()})
    cuts = []
    for table in adjusted:
        n = [sum(c == r for c in table.values()) for r in range(5)]
        if 0 in n[1:]:
            cuts.append(FALLBACK)
            continue
        y = n[1] / (n[1] + 2 * n[2])
        cut = tuple(r - (r + 1) * y * n[r + 1] / n[r] for r in (1, 2, 3))
        cuts.append(cut if all(0 < d <= r for r, d in enumerate(cut, 1)) else FALLBACK)

    def predict(history: tuple[int, ...], token: int) -> float:
        lower = 1 / size if not history else predict(history[1:], token)
        table, cut = adjusted[len(history)], cuts[len(history)]
        after = {g[-1]: c for g, c in table.items() if g[:-1] == history}
        total = sum(after.values())
        if not total:
            return lower
        left_over = sum(cut[min(c, 3) - 1] for c in after.values()) / total
        count = after.get(token, 0)
        kept = (count - cut[min(count, 3) - 1]) / total if count else 0.0
        return kept + left_over * lower

    return predict


def random_ids(seed: int, n: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, size + 1)
    return rng.choice(size, n, p=weights / weights.sum())


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
@pytest.mark.parametrize(("n", "size"), [(1, 1), (3, 5), (60, 2), (300, 7), (200, 40)])
def test_equals_the_dictionary_reference(order: int, n: int, size: int) -> None:
    train, test = random_ids(order, n, size), random_ids(order + 100, 40, size)
    predict = reference(train.tolist(), size, order)
    slow = [predict(tuple(test[max(0, t - order + 1) : t]), int(test[t])) for t in range(len(test))]
    fast = KneserNey(order).fit(train, size).log_probabilities(test)
    np.testing.assert_allclose(np.exp(fast), slow, rtol=1e-12)


def test_the_random_trials_use_both_estimated_and_fallback_discounts() -> None:
    estimated = KneserNey(3).fit(random_ids(3, 300, 7), 7).discounts
    assert tuple(estimated[1]) != FALLBACK
    assert tuple(estimated[0]) == FALLBACK  # seven types have no four counts of counts


def test_hand_worked_bigram() -> None:
    # 0 1 0 1 2: bigrams 01 twice, 10 and 12 once; predecessors of 0: {start, 1}, of 1: {0}, of 2: {1}.
    model = KneserNey(2).fit(np.array([0, 1, 0, 1, 2]), 3)
    uniform = (1 + 0.5 + 0.5) / 4 / 3  # all of the unigram's discount, spread over three tokens
    unigram = [(2 - 1) / 4 + uniform, 0.5 / 4 + uniform, 0.5 / 4 + uniform]
    after_1 = [0.5 / 2, 0.0, 0.5 / 2]
    first, state = model.step(None, model.start(1))
    np.testing.assert_allclose(first.exp()[0], unigram)
    second, state = model.step(torch.tensor([1]), state)
    np.testing.assert_allclose(second.exp()[0], np.array(after_1) + 0.5 * np.array(unigram))
    third, _ = model.step(torch.tensor([2]), state)  # 2 was never followed by anything
    np.testing.assert_allclose(third.exp()[0], unigram)


def test_discounts_of_chen_and_goodman() -> None:
    counts = np.repeat([1, 2, 3, 4, 9], [40, 12, 6, 4, 5])
    y = 40 / 64
    expected = (1 - 2 * y * 12 / 40, 2 - 3 * y * 6 / 12, 3 - 4 * y * 4 / 6)
    assert discounts(counts) == pytest.approx(expected)
    assert discounts(np.array([1, 1, 2, 3])) == FALLBACK  # nothing counted four times
    assert discounts(np.repeat([1, 2, 3, 4], [4, 1, 9, 9])) == FALLBACK  # D2 would be negative


@pytest.mark.parametrize("model", [KneserNey(4), Markov(3), Markov(2, smoothing=0.3), Markov(0)])
def test_step_gives_distributions_and_equals_log_probabilities(model: KneserNey | Markov) -> None:
    model.fit(random_ids(0, 200, 12), 13)
    rows = np.stack([random_ids(seed, 30, 13) for seed in (1, 2, 3)])
    log_probs, state = model.step(None, model.start(3))
    chosen = []
    for t in range(rows.shape[1]):
        assert log_probs.shape == (3, 13)
        np.testing.assert_allclose(log_probs.exp().sum(1), 1, rtol=1e-12)
        tokens = torch.from_numpy(rows[:, t])
        chosen.append(log_probs.gather(1, tokens[:, None])[:, 0])
        log_probs, state = model.step(tokens, state)
    whole = np.stack([model.log_probabilities(row) for row in rows])
    np.testing.assert_allclose(torch.stack(chosen, 1), whole, rtol=1e-12)


def test_rows_of_a_state_are_independent() -> None:
    model = KneserNey(4).fit(random_ids(0, 200, 6), 6)
    state = model.start(2)
    for pair in ([1, 0], [0, 2], [3, 0]):
        both, state = model.step(torch.tensor(pair), state)
    swapped, _ = model.step(None, states.select(state, torch.tensor([1, 0, 1])))
    torch.testing.assert_close(swapped, both[[1, 0, 1]])
    fresh = states.where(torch.tensor([True, False]), model.start(2), state)
    torch.testing.assert_close(model.step(None, fresh)[0][1], both[1])
    torch.testing.assert_close(model.step(None, fresh)[0][:1], model.step(None, model.start(1))[0])


def test_saved_arrays_give_the_same_model(tmp_path: Path) -> None:
    model = KneserNey(4).fit(random_ids(0, 500, 9), 9)
    save_file(model.arrays(), tmp_path / "model.safetensors")
    again = KneserNey.from_arrays(load_file(tmp_path / "model.safetensors"))
    as_tensors = {name: torch.from_numpy(array) for name, array in model.arrays().items()}
    assert KneserNey.from_arrays(as_tensors).table_entries == model.table_entries
    ids = random_ids(1, 100, 9)
    assert (again.log_probabilities(ids) == model.log_probabilities(ids)).all()
    assert (again.order, again.vocabulary_size) == (4, 9)
    assert again.table_entries == model.table_entries == sum(map(len, model.counts.keys))


@pytest.mark.parametrize("name", ["ngrams", "keys.1", "counts.1", "keys.3", "counts.3"])
def test_damaged_arrays_are_refused(name: str) -> None:
    arrays = KneserNey(3).fit(random_ids(0, 500, 9), 9).arrays()
    changes = [lambda a: a[:-1], lambda a: a[::-1], lambda a: a - 1, lambda a: a.astype(np.int32)]
    for change in changes:
        with pytest.raises(RunError):
            KneserNey.from_arrays({**arrays, name: change(arrays[name])})
    with pytest.raises(RunError, match=name):
        KneserNey.from_arrays({key: array for key, array in arrays.items() if key != name})


def test_truncated_levels_and_foreign_arrays_are_refused() -> None:
    arrays = KneserNey(3).fit(random_ids(0, 500, 9), 9).arrays()
    for level in (1, 2, 3):
        cut = {f"{part}.{level}": arrays[f"{part}.{level}"][:-1] for part in ("keys", "counts")}
        with pytest.raises(RunError):
            KneserNey.from_arrays({**arrays, **cut})
    with pytest.raises(RunError, match=r"keys\.4"):
        KneserNey.from_arrays({**arrays, "keys.4": arrays["keys.3"]})
    with pytest.raises(RunError, match="this kind of model"):
        KneserNey.from_arrays(Markov(2).fit(random_ids(0, 50, 9), 9).arrays())
    with pytest.raises(RunError):
        KneserNey.from_arrays({"weight": np.zeros(3)})


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ConfigError, match="order"):
        KneserNey(0)
    with pytest.raises(DataError, match="no tokens"):
        KneserNey(2).fit(np.array([], np.int64), 5)
    with pytest.raises(DataError, match="token id 5 "):
        KneserNey(2).fit(np.array([0, 5]), 5)
    with pytest.raises(DataError, match="token id -1 "):
        KneserNey(2).fit(np.array([0, 1]), 5).log_probabilities(np.array([0, -1]))
    with pytest.raises(DataError, match="integers"):
        KneserNey(2).fit(np.array([0.0, 1.0]), 5)
    with pytest.raises(RunError, match="call fit first"):
        KneserNey(2).log_probabilities(np.array([0]))
    assert KneserNey(2).fit(np.array([0, 1]), 5).log_probabilities(np.array([], int)).shape == (0,)


def test_any_object_with_length_and_slices_is_counted() -> None:
    class Stream:
        def __init__(self, ids: np.ndarray) -> None:
            self.ids = ids

        def __len__(self) -> int:
            return len(self.ids)

        def __getitem__(self, part: slice) -> np.ndarray:
            return self.ids[part]

    ids = random_ids(0, 100, 5)
    small = Stream(ids.astype(np.uint8))
    expected = KneserNey(3).fit(ids, 5).log_probabilities(ids)
    assert (KneserNey(3).fit(small, 5).log_probabilities(small) == expected).all()


@pytest.mark.parametrize("order", [1, 2, 4])
def test_extending_by_given_tokens_equals_scoring_them(order: int) -> None:
    rng = np.random.default_rng(0)
    model = KneserNey(order).fit(rng.integers(0, 9, 3000), 10)  # 9 is never seen
    ids = rng.integers(0, 10, (3, 40))
    nodes = model.start(3).nodes.numpy()
    scores = np.empty(ids.shape)
    for t in range(40):
        scores[:, t], nodes = model.extend(ids[:, t], nodes)
    for row in range(3):
        assert scores[row] == pytest.approx(model.log_probabilities(ids[row]))
        assert np.array_equal(nodes[row], model.after(ids[row]))
