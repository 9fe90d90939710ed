"""Reranking, and the line search of error rate training against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from unrolled.decoding.error_rate_training import _Lists, corners, tune
from unrolled.decoding.rerank import NBest
from unrolled.errors import ConfigError, DataError
from unrolled.metrics.bleu import bleu, bleu_counts, bleu_scores

WORDS = ["a", "b", "c", "d"]


def drawn(seed: int, *, lists: int = 12, features: int = 3, whole: bool = False) -> NBest:
    """Random candidates; whole-numbered features make ties and corners that fall together."""
    chance = np.random.default_rng(seed)
    sizes = chance.integers(0, 7, lists)
    sizes[0] = 5
    total = int(sizes.sum())
    texts = tuple(" ".join(chance.choice(WORDS, chance.integers(3, 8))) for _ in range(total))
    values = chance.standard_normal((total, features)) * [1, 50, 2 if whole else 0.01][:features]
    values = np.round(values) if whole else values
    names = tuple("fgh"[:features])
    return NBest(texts, names, values, np.cumsum([0, *sizes]), (None,) * lists)


def references(seed: int, lists: NBest) -> list[str]:
    chance = np.random.default_rng(seed + 100)
    return [" ".join(chance.choice(WORDS, 6)) for _ in range(len(lists))]


def counted(lists: NBest, seed: int) -> np.ndarray:
    true = references(seed, lists)
    return bleu_counts(lists.texts, [[true[each] for each in lists.lists]])


def chosen_score(lists: NBest, counts: np.ndarray, weights: np.ndarray) -> float:
    """By the definition: a loop over the lists."""
    total = np.zeros(counts.shape[1])
    for begin, stop in itertools.pairwise(lists.offsets):
        scores = [float(row @ weights) for row in lists.features[begin:stop]]
        if scores:
            total += counts[begin + scores.index(max(scores))]
    return float(bleu_scores(total))


def test_the_best_of_each_list() -> None:
    lists = drawn(0)
    weights = np.array([1.0, -0.02, 3.0])
    got = lists.best(weights)
    assert len(got) == len(lists)
    for index, (begin, stop) in enumerate(itertools.pairwise(lists.offsets)):
        if begin == stop:
            assert got[index] == ""
        else:
            scores = lists.features[begin:stop] @ weights
            assert got[index] == lists.texts[begin + scores.argmax()]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_corners_are_those_of_the_upper_envelope(seed: int, whole: bool) -> None:
    chance = np.random.default_rng(seed)
    slopes, intercepts = chance.standard_normal((2, 9, 6)) * 3
    if whole:
        slopes, intercepts = slopes.round(), intercepts.round()
    real = np.arange(6) < chance.integers(1, 7, 9)[:, None]
    found = corners(slopes, intercepts, real)
    for n in range(9):
        mine = found.lists == n
        at, after = found.at[mine], found.after[mine]
        assert (np.diff(at) >= 0).all()
        assert found.before[mine].tolist() == [found.first[n], *after][:-1]
        edges = np.concatenate([[-1e4], at, [1e4]])
        for line, gamma in zip([found.first[n], *after], (edges[1:] + edges[:-1]) / 2, strict=True):
            values = np.where(real[n], intercepts[n] + gamma * slopes[n], -np.inf)
            assert values[line] >= values.max() - 1e-9 * max(1, abs(gamma))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_the_line_search_is_exact(seed: int, whole: bool) -> None:
    """No gamma is better than the one found: every interval between crossings of any lines is tried."""
    lists = drawn(seed, whole=whole)
    counts = counted(lists, seed)
    padded = _Lists(lists, counts, bleu_scores)
    chance = np.random.default_rng(seed)
    weights, direction = chance.standard_normal((2, len(padded.used)))
    gamma, promised = padded.best_step(weights, direction)
    raw = weights / padded.spread, direction / padded.spread
    slopes, intercepts = lists.features @ raw[1], lists.features @ raw[0]
    crossings = {-1e6, 1e6}
    for begin, stop in itertools.pairwise(lists.offsets):
        for i, j in itertools.combinations(range(begin, stop), 2):
            if abs(slopes[i] - slopes[j]) > 1e-12:
                crossings.add((intercepts[j] - intercepts[i]) / (slopes[i] - slopes[j]))
    places = sorted(crossings)
    tried = [
        chosen_score(lists, counts, raw[0] + (a + b) / 2 * raw[1])
        for a, b in itertools.pairwise(places)
        if b - a > 1e-9
    ]
    assert chosen_score(lists, counts, raw[0] + gamma * raw[1]) == pytest.approx(promised)
    assert promised == pytest.approx(max(tried), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_tuning_finds_what_a_grid_finds(seed: int) -> None:
    """Two features: all mixtures of them are an angle, which can be searched finely."""
    lists = drawn(seed, features=2, lists=25)
    counts = counted(lists, seed)
    found = tune(lists, counts, bleu_scores)
    spread = lists.features.std(axis=0)
    angles = np.linspace(0, 2 * math.pi, 500)
    grid = max(
        chosen_score(lists, counts, np.array([math.cos(a), math.sin(a)]) / spread) for a in angles
    )
    assert found.score >= grid - 1e-9
    assert np.abs(found.weights).sum() == pytest.approx(1)
    true = references(seed, lists)
    kept = np.diff(lists.offsets) > 0
    outputs = [text for text, filled in zip(lists.best(found.weights), kept, strict=True) if filled]
    whole = bleu(outputs, [[text for text, filled in zip(true, kept, strict=True) if filled]])
    assert found.score == pytest.approx(whole.score)


def test_tuning_is_deterministic_and_starts_where_it_is_told() -> None:
    lists = drawn(1, lists=30)
    counts = counted(lists, 1)
    one, two = (tune(lists, counts, bleu_scores, seed=3) for _ in range(2))
    assert one.weights.tolist() == two.weights.tolist()
    again = tune(lists, counts, bleu_scores, restarts=0, initial=one.weights)
    assert again.score >= one.score - 1e-6


def test_constant_features_get_no_weight() -> None:
    lists = drawn(2)
    constant = lists.lists * 7.0  # differs between lists only
    more = lists.with_feature("constant", constant.tolist())
    counts = counted(lists, 2)
    found = tune(more, counts, bleu_scores)
    assert found.weights[-1] == 0
    assert found.score == pytest.approx(tune(lists, counts, bleu_scores).score)
    alone = NBest(lists.texts, ("c",), constant[:, None], lists.offsets, lists.sources)
    with pytest.raises(DataError, match=r"no feature differs between the candidates .*\(c\)"):
        tune(alone, counts, bleu_scores)


def test_what_cannot_be_tuned_is_refused() -> None:
    empty = NBest((), (), np.zeros((0, 0)), np.zeros(3, int), (None, None))
    with pytest.raises(DataError, match="the lists have no candidates"):
        tune(empty, np.zeros((0, 10)), bleu_scores)
    bare = NBest(("a",), (), np.zeros((1, 0)), np.array([0, 1]), (None,))
    with pytest.raises(DataError, match="the lists have no features"):
        tune(bare, np.zeros((1, 10)), bleu_scores)
    with pytest.raises(ConfigError, match="-1 restarts given"):
        tune(drawn(0), np.zeros((1, 10)), bleu_scores, restarts=-1)
    assert empty.best([]) == ["", ""]
    assert bare.best([]) == ["a"]


def test_features_and_weights_by_name() -> None:
    lists = drawn(3)
    assert lists.weights({"h": 3, "f": 1, "g": 2, "old": 0.0}).tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="no weight for 'g'; the features are f, g, h, the weights"):
        lists.weights({"f": 1, "h": 1})
    said = r"no feature 'lm'; .*give the same --score, --reverse and --features as"
    with pytest.raises(DataError, match=said):
        lists.weights({"f": 1, "g": 1, "h": 1, "lm": 0.5})
    with pytest.raises(ConfigError, match="a feature 'g' already"):
        lists.with_feature("g", [0.0] * len(lists.texts))
    with pytest.raises(DataError, match="is -inf; features are finite"):
        lists.with_feature("x", [-math.inf] * len(lists.texts))
    assert lists.with_sources(["s"] * len(lists)).sources == ("s",) * len(lists)
    with pytest.raises(DataError, match="2 sources for 12 lists"):
        lists.with_sources(["s", "t"])


def test_weights_that_are_all_zero_are_no_start() -> None:
    lists = NBest(("a", "b"), ("f", "g"), np.array([[1.0, 3], [2, 1]]), np.array([0, 2]), (None,))
    found = tune(lists, [[1], [1]], lambda sums: sums[:, 0], initial=[0, 0], restarts=0)
    assert np.abs(found.weights).sum() == pytest.approx(1)
    assert found.score == 1
