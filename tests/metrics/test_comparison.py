"""Conclusions about two systems."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from unrolled.metrics.comparison import Kind, compare


def rows(values: Any) -> list[list[str]]:
    return [[str(value)] for value in values]


def noisy(right: float, seed: int, *, size: int = 400) -> list[list[str]]:
    return rows((np.random.default_rng(seed).random(size) > right).astype(int))


TRUTH = rows([0] * 400)


def test_the_better_system_is_named_whichever_comes_first() -> None:
    good, bad = noisy(0.9, 1), noisy(0.7, 2)
    assert compare("labels", TRUTH, good, bad).conclusion().startswith("A is better: accuracy 0.9")
    back = compare("labels", TRUTH, bad, good)
    assert back.conclusion().startswith("B is better: accuracy ")
    assert back.differences["accuracy"].high < 0
    assert back.mcnemar is not None
    assert back.mcnemar.exact < 0.001


def test_a_lower_error_is_better() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200)
    near, far = truth + rng.normal(size=(2, 200)) * [[0.1], [1.0]]
    found = compare("numbers", rows(truth), rows(near), rows(far))
    assert found.conclusion().startswith("A is better: mse")
    assert found.differences["mse"].difference < 0 < found.differences["r2"].difference
    assert found.mcnemar is None


def test_like_systems_are_not_told_apart() -> None:
    found = compare("labels", TRUTH, noisy(0.8, 1), noisy(0.8, 2))
    assert found.conclusion().startswith("No difference is shown: accuracy")
    assert not found.same
    same = compare("labels", TRUTH, noisy(0.8, 1), noisy(0.8, 1))
    assert same.conclusion().startswith("A and B gave the same answers")
    assert same.same
    assert same.differences["accuracy"].p_value == 1


def test_few_examples_tell_nothing() -> None:
    truth = [["B-X", "I-X"]]
    found = compare("spans", truth, truth, [["O", "O"]])
    assert found.conclusion().startswith("Too few examples (1) to tell: f1 1.0000 (A) and 0.0000")
    # Six examples that only A has right would be enough for McNemar, six draws are no bootstrap.
    nine = compare("labels", rows("a" * 9), rows("a" * 9), rows("b" * 9))
    assert nine.conclusion().startswith("Too few")


def test_labels_need_both_tests() -> None:
    # Only A right on five, nothing the other way: 2/32 for McNemar, rarely 0 in the bootstrap.
    b = rows([1] * 5 + [0] * 395)
    found = compare("labels", TRUTH, TRUTH, b)
    assert found.differences["accuracy"].p_value < 0.05
    assert found.mcnemar is not None
    assert found.mcnemar.exact == 0.0625
    assert found.conclusion().startswith("No difference is shown")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("labels", ["accuracy", "macro_f1"]),
        ("tags", ["accuracy", "sentence_accuracy"]),
        ("spans", ["f1", "precision", "recall", "accuracy", "sentence_accuracy"]),
        ("numbers", ["mse", "mae", "r2"]),
    ],
)
def test_the_json_has_everything(kind: Kind, names: list[str]) -> None:
    a, b = noisy(0.9, 1), noisy(0.7, 2)
    found = compare(kind, TRUTH, a, b, samples=100)
    text = found.to_json()
    assert "\n" not in text
    content = json.loads(text)
    assert list(content["metrics"]["a"]) == list(content["differences"]) == names
    assert list(content["intervals"]["b"]) == names
    assert set(content["differences"][names[0]]) == {"difference", "interval", "p_value"}
    assert (content["mcnemar"] is None) == (kind == "numbers")
    assert content["conclusion"] == found.conclusion()
    assert text == compare(kind, TRUTH, a, b, samples=100).to_json()
    assert text != compare(kind, TRUTH, a, b, samples=100, seed=1).to_json() or kind == "spans"


def test_what_is_not_finite_is_null_in_json() -> None:
    content = json.loads(compare("numbers", rows([1.5]), rows([1.0]), rows([2.0])).to_json())
    assert content["metrics"]["a"]["r2"] is None
    assert content["intervals"]["a"]["r2"] == [None, None]


def test_texts_are_told_apart_by_two_tests() -> None:
    truth = [[f"a b c d e{i}", f"a b c f{i}"] if i % 2 else [f"a b c d e{i}"] for i in range(60)]
    good = [[refs[0] if i % 3 else "a b x d e"] for i, refs in enumerate(truth)]
    bad = [["a b x d e"] for _ in truth]
    found = compare("text", truth, good, bad, metrics=["bleu", "wer"], samples=200)
    assert list(found.differences) == ["bleu", "wer"] == list(found.randomised)
    assert found.conclusion().startswith("A is better: bleu ")
    assert found.conclusion().endswith("p = 0.010, by randomisation 0.005.")
    assert found.mcnemar is None
    content = json.loads(found.to_json())
    assert content["differences"]["wer"]["p_randomised"] < 0.05
    assert content["notes"] == []
    lower = compare("text", truth, good, bad, metrics=["wer"], samples=200)
    assert lower.conclusion().startswith("A is better: wer 0.")
    # The bootstrap alone does not do.
    doubtful = dataclasses.replace(found, randomised={"bleu": 0.2, "wer": 0.2})
    assert doubtful.conclusion().startswith("No difference is shown: bleu")
