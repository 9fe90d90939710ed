"""Spans against conlleval's rules written out, and scores of tags."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from unrolled.metrics.classification import Score, micro
from unrolled.metrics.tagging import (
    Span,
    looks_like_spans,
    measure_spans,
    measure_tags,
    sentence_accuracy,
    span_scores,
    spans,
    token_accuracy,
    unknown_accuracy,
)

# conlleval, rule by rule: the tags before and now between which a chunk ends or starts whatever the types.
ENDS = {("B", "B"), ("B", "S"), ("B", "O"), ("I", "B"), ("I", "S"), ("I", "O")}
ENDS |= {(before, now) for before in "ES" for now in "BIESO"}
STARTS = {(before, now) for before in "BIESO" for now in "BS"}
STARTS |= {("E", "E"), ("E", "I"), ("S", "E"), ("S", "I"), ("O", "E"), ("O", "I")}


def split_tag(tag: str) -> tuple[str, str]:
    found = re.fullmatch(r"([^-]*)-(.*)", tag)
    return (found[1], found[2]) if found else (tag, "")


def end_of_chunk(before: str, now: str, type_before: str, type_now: str) -> bool:
    return (before, now) in ENDS or (before != "O" and type_before != type_now)


def start_of_chunk(before: str, now: str, type_before: str, type_now: str) -> bool:
    return (before, now) in STARTS or (now != "O" and type_before != type_now)


def conlleval(truth: list[list[str]], predicted: list[list[str]]) -> dict[str, Counter[str]]:
    """The program's one pass over the words, a blank line after each sentence."""
    correct: Counter[str] = Counter()
    found_correct: Counter[str] = Counter()
    found_guessed: Counter[str] = Counter()
    last_correct, last_correct_type = "O", ""
    last_guessed, last_guessed_type = "O", ""
    in_correct = False
    lines = [
        pair
        for true, guess in zip(truth, predicted, strict=True)
        for pair in [*zip(true, guess, strict=True), ("O", "O")]
    ]
    for true, guess in lines:
        now_correct, correct_type = split_tag(true)
        now_guessed, guessed_type = split_tag(guess)
        of_truth = (last_correct, now_correct, last_correct_type, correct_type)
        of_guess = (last_guessed, now_guessed, last_guessed_type, guessed_type)
        if in_correct:
            if (
                end_of_chunk(*of_truth)
                and end_of_chunk(*of_guess)
                and last_guessed_type == last_correct_type
            ):
                in_correct = False
                correct[last_correct_type] += 1
            elif end_of_chunk(*of_truth) != end_of_chunk(*of_guess) or guessed_type != correct_type:
                in_correct = False
        if start_of_chunk(*of_truth) and start_of_chunk(*of_guess) and guessed_type == correct_type:
            in_correct = True
        found_correct[correct_type] += start_of_chunk(*of_truth)
        found_guessed[guessed_type] += start_of_chunk(*of_guess)
        last_correct, last_correct_type = now_correct, correct_type
        last_guessed, last_guessed_type = now_guessed, guessed_type
    return {"correct": +correct, "predicted": +found_guessed, "actual": +found_correct}


SCHEMES = {
    "well formed or not": ["O", "B-X", "I-X", "B-Y", "I-Y"],
    "begin, inside, end, single": [f"{p}-{t}" for p in "BIES" for t in "XY"] + ["O"],
    "without types": ["O", "B", "I", "E", "S"],
    "mixed": ["O", "B", "I", "B-X", "I-X", "E-X", "S-Y", "I-", "B-a-b", "I-a-b"],
}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_spans_are_those_of_conlleval(scheme: list[str]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3000):
        lengths = rng.integers(1, 9, size=rng.integers(1, 4))
        truth = [rng.choice(scheme, size=n).tolist() for n in lengths]
        predicted = [
            [tag if rng.random() < 0.7 else str(rng.choice(scheme)) for tag in tags]
            for tags in truth
        ]
        expected = conlleval(truth, predicted)
        scores = span_scores(truth, predicted)
        assert {label: s.correct for label, s in scores.items() if s.correct} == expected["correct"]
        assert {label: s.actual for label, s in scores.items() if s.actual} == expected["actual"]
        given = {label: s.predicted for label, s in scores.items() if s.predicted}
        assert given == expected["predicted"]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", []),
        ("O", []),
        ("B-X I-X", [("X", 0, 2)]),
        ("B-X B-X", [("X", 0, 1), ("X", 1, 2)]),
        ("O I-X I-X", [("X", 1, 3)]),  # IOB1
        ("I-X B-X", [("X", 0, 1), ("X", 1, 2)]),
        ("B-X I-Y", [("X", 0, 1), ("Y", 1, 2)]),
        ("B-X O I-X", [("X", 0, 1), ("X", 2, 3)]),
        ("B-X E-X E-X", [("X", 0, 2), ("X", 2, 3)]),
        ("S-X I-X E-X", [("X", 0, 1), ("X", 1, 3)]),
        ("B-X S-X", [("X", 0, 1), ("X", 1, 2)]),
        ("B-X L-X U-X", [("X", 0, 2), ("X", 2, 3)]),  # BILOU
        ("NN VB", []),
        ("B-a-b I-a-b", [("a-b", 0, 2)]),
    ],
)
def test_spans_by_hand(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert spans(tags.split()) == [Span(*each) for each in expected]


def test_every_word_of_a_span_is_in_one_span_only() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        tags = rng.choice([*SCHEMES["mixed"], "Q-X", "NN", ""], size=rng.integers(0, 12)).tolist()
        found = spans(tags)
        assert all(a.stop <= b.start for a, b in pairwise(found))
        assert all(0 <= span.start < span.stop <= len(tags) for span in found)


TRUTH = [["B-PER", "I-PER", "O", "B-LOC"], ["O"], ["B-PER"]]
PREDICTED = [["B-PER", "I-PER", "O", "B-PER"], ["O"], ["I-PER"]]


def test_scores_of_spans() -> None:
    scores = span_scores(TRUTH, PREDICTED)
    assert scores == {"LOC": Score(0, 0, 1), "PER": Score(2, 3, 2)}
    total = micro(scores.values())
    found = measure_spans(TRUTH, PREDICTED).metrics()
    assert found["f1"] == pytest.approx(total.f1) == pytest.approx(2 / 3)
    assert (found["precision"], found["recall"]) == pytest.approx((total.precision, total.recall))
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["sentence_accuracy"] == pytest.approx(1 / 3)


def test_scores_of_tags() -> None:
    unknown = [[False, False, True, True], [False], [True]]
    measure = measure_tags([*TRUTH, []], [*PREDICTED, []], unknown=[*unknown, []])
    assert measure.examples == 3  # a sentence without words is none
    assert measure.metrics() == pytest.approx(
        {"accuracy": 4 / 6, "sentence_accuracy": 1 / 3, "unknown_accuracy": 1 / 3}
    )
    assert token_accuracy(TRUTH, PREDICTED) == pytest.approx(4 / 6)
    assert sentence_accuracy(TRUTH, PREDICTED) == pytest.approx(1 / 3)
    assert unknown_accuracy(TRUTH, PREDICTED, unknown) == pytest.approx(1 / 3)
    none = [[False] * len(tags) for tags in TRUTH]
    assert math.isnan(unknown_accuracy(TRUTH, PREDICTED, none))
    assert all(
        map(math.isnan, measure_tags(TRUTH, TRUTH, unknown=none).intervals()["unknown_accuracy"])
    )


def test_draws_are_of_whole_sentences() -> None:
    """The F1 of a draw is that of its sentences written out; both systems see the same draw."""
    rng = np.random.default_rng(0)
    scheme = SCHEMES["well formed or not"]
    truth, one, two = ([rng.choice(scheme, size=4).tolist() for _ in range(40)] for _ in range(3))
    measure = measure_spans(truth, one, two)
    for system, guess in enumerate((one, two)):
        assert measure.metrics(system)["f1"] == pytest.approx(
            micro(span_scores(truth, guess).values()).f1
        )
    low, high = measure.intervals(1)["f1"]
    assert low < measure.metrics(1)["f1"] < high
    # Words of a sentence that are right together are no independent evidence.
    right = [["N"] * 20] * 100
    wrong = [["N"] * 20] * 50 + [["V"] * 20] * 50
    low, high = measure_tags(right, wrong).intervals()["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 10, rel=0.15)


def test_spans_are_recognised() -> None:
    assert looks_like_spans(["O", "I-MISC"])
    assert not looks_like_spans(["O", "B", "B-", "NN-B-X", "PART"])


def test_unequal_lengths_are_refused_with_the_sentence() -> None:
    with pytest.raises(ValueError, match="sentence 1: 1 and 2 words"):
        measure_tags([["a"], ["b"]], [["a"], ["b", "c"]])
    with pytest.raises(ValueError, match="2 and 1 sentences"):
        span_scores([["a"], ["b"]], [["a"]])
    with pytest.raises(ValueError, match="no words"):
        measure_spans([[]], [[]])
