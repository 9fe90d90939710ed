"""Scores of texts equal those of sacrebleu; sums make intervals and tests quick."""

from __future__ import annotations

import builtins
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from unrolled.errors import ConfigError
from unrolled.metrics.bleu import bleu
from unrolled.metrics.significance import paired, resampled
from unrolled.metrics.summed import Summed
from unrolled.metrics.text import TextScores, measure_texts

sentences = st.lists(st.sampled_from(["Ab", "b", "cde", ",", "ü"]), max_size=8).map(" ".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(sentences, sentences, st.none() | sentences), min_size=1, max_size=4))
def test_each_is_sacrebleus(rows: list[tuple[str, str, str | None]]) -> None:
    outputs, first, second = (list(column) for column in zip(*rows, strict=True))
    references = [first, second]
    found = measure_texts(references, outputs, metrics=["bleu", "chrf", "ter"]).metrics()
    oracles = {"bleu": BLEU(tokenize="none", force=True), "chrf": CHRF(), "ter": TER()}
    for name, oracle in oracles.items():
        want = oracle.corpus_score(outputs, references).score
        assert found[name] == pytest.approx(want, rel=1e-9, abs=1e-9), name


def noisy(share: float, seed: int, *, size: int = 300) -> tuple[list[str], list[str]]:
    """Sentences of 15 words, and copies in which a share of the words is another."""
    rng = np.random.default_rng(seed)
    true = np.random.default_rng(0).integers(30, size=(size, 15))
    given = np.where(rng.random(true.shape) < share, rng.integers(30, size=true.shape), true)
    lines = [[" ".join(f"w{word}" for word in row) for row in each] for each in (true, given)]
    return lines[0], lines[1]


def test_draws_are_what_scoring_the_drawn_sentences_gives() -> None:
    references, outputs = noisy(0.3, 1, size=40)
    measure = measure_texts([references], outputs)
    rng = np.random.default_rng(5)
    for _ in range(3):
        drawn = rng.integers(40, size=40)
        weights = np.bincount(drawn, minlength=40).astype(float)[None]
        want = bleu([outputs[i] for i in drawn], [[references[i] for i in drawn]]).score
        assert float(measure.of(weights)[0, 0, 0]) == pytest.approx(want, rel=1e-12)


def test_swaps_are_what_scoring_the_swapped_outputs_gives() -> None:
    """All 2^6 swaps by hand against many random ones."""
    references, one = noisy(0.2, 1, size=6)
    two = noisy(0.5, 2, size=6)[1]
    summed = TextScores.of([references], one, two, metrics=["bleu"]).summed

    def apart(mask: int) -> float:
        a = [(two if mask >> i & 1 else one)[i] for i in range(6)]
        b = [(one if mask >> i & 1 else two)[i] for i in range(6)]
        return abs(bleu(a, [references]).score - bleu(b, [references]).score)

    observed = apart(0)
    share = sum(apart(mask) >= observed - 1e-9 for mask in range(64)) / 64
    assert summed.randomised(samples=20_000)["bleu"] == pytest.approx(share, abs=0.01)


def test_p_values_of_like_systems_are_even() -> None:
    """Where nothing differs, a p value below 0.1 comes in a tenth of the experiments."""
    rng = np.random.default_rng(0)
    few = 0
    for trial in range(200):
        rows = rng.normal(size=(2, 50, 1)) + 5
        summed = Summed(("sum",), rows, lambda sums: sums)
        few += summed.randomised(samples=200, seed=trial)["sum"] < 0.1
    assert 10 <= few <= 32


def test_randomisation_and_bootstrap_find_a_difference_and_none() -> None:
    references, good = noisy(0.2, 1)
    bad, like = noisy(0.3, 2)[1], noisy(0.2, 3)[1]
    for other, differs in ((bad, True), (like, False)):
        summed = TextScores.of([references], good, other, metrics=["bleu", "wer"]).summed
        measure = summed.measure()
        drawn = resampled(measure.of, measure.counts, samples=500, seed=0)
        scores = [measure.metrics(system)["bleu"] for system in (0, 1)]
        bootstrap = paired(scores[0] - scores[1], drawn[:, 0, 0] - drawn[:, 1, 0]).p_value
        swapped = summed.randomised(samples=500)
        assert (bootstrap < 0.05) is differs
        assert all((p_value < 0.05) is differs for p_value in swapped.values())
    same = TextScores.of([references], good, good, metrics=["bleu"]).summed
    assert same.randomised(samples=99) == {"bleu": 1.0}


def test_swaps_do_not_depend_on_how_many_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    references, one = noisy(0.2, 1, size=30)
    summed = TextScores.of([references], one, noisy(0.25, 2, size=30)[1], metrics=["bleu"]).summed
    whole = summed.randomised(samples=200)
    monkeypatch.setattr("unrolled.metrics.summed._HELD", 1000)
    assert summed.randomised(samples=200) == pytest.approx(whole, abs=0.1)
    with pytest.raises(ValueError, match="samples=0; expected at least 1"):
        summed.randomised(samples=0)


def test_thousands_of_draws_of_thousands_of_sentences_take_seconds() -> None:
    rows = np.random.default_rng(0).integers(1, 20, size=(2, 2500, 10))
    summed = Summed(("s",), rows, lambda sums: sums[..., :1] / sums[..., 1:2])
    start = time.perf_counter()
    measure = summed.measure()
    resampled(measure.of, measure.counts, samples=2000, seed=0)
    summed.randomised(samples=2000)
    assert time.perf_counter() - start < 10  # about 0.3 seconds of a free core


def test_single_sentences() -> None:
    summed = TextScores.of([["a b", "c"]], ["a b", "d"], metrics=["wer", "exact"]).summed
    assert summed.examples().tolist() == [[[0.0, 1.0], [1.0, 0.0]]]
    assert summed.names == ("wer", "exact")


@pytest.mark.parametrize(
    ("package", "left_out"),
    [("snowballstemmer", {"meteor"}), ("sacrebleu.metrics", {"chrf", "ter"})],
)
def test_without_a_package_its_scores_are_left_out_and_said_so(
    package: str, left_out: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def fake(name: str, *arguments: Any, **options: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", fake)
    scores = TextScores.of([["a b"]], ["a b"])
    missing = {"bleu", "meteor", "chrf", "ter", "wer", "exact"} - set(scores.summed.names)
    assert missing == left_out
    for name in left_out:
        assert any(note.startswith(f"{name} is left out: ") for note in scores.notes)
        with pytest.raises(ConfigError, match=r"pip install 'unrolled\[text\]'"):
            measure_texts([["a"]], ["a"], metrics=[name])  # type: ignore[list-item]


def test_unknown_metrics_and_languages_are_refused() -> None:
    with pytest.raises(ConfigError, match="metric 'blue': expected one of bleu, meteor, "):
        measure_texts([["a"]], ["a"], metrics=["blue"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="no stemmer for 'xx'"):
        TextScores.of([["a"]], ["a"], language="xx")
