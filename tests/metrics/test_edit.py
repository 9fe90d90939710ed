"""Edit distances are the table's, error rates jiwer's."""

from __future__ import annotations

import time

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.metrics.edit import (
    character_error_rate,
    edit_counts,
    edit_distance,
    exact_match,
    measure_edits,
    word_error_rate,
)


def table(one: str, other: str) -> int:
    """The recurrence as it is written."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        before, row = row, [i]
        for j, b in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1]


@settings(max_examples=500, deadline=None)
@given(st.text("abc", max_size=12), st.text("abcd", max_size=90))
def test_the_bits_are_the_table(one: str, other: str) -> None:
    assert edit_distance(one, other) == table(one, other) == edit_distance(other, one)
    assert edit_distance(list(one), list(other)) == edit_distance(one, other)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.text("ab  c", max_size=9)] * 2), min_size=1, max_size=4))
def test_rates_are_jiwers(pairs: list[tuple[str, str]]) -> None:
    pairs = [
        (output, f"a {reference}") for output, reference in pairs
    ]  # it refuses empty references
    outputs, references = (list(side) for side in zip(*pairs, strict=True))
    assert word_error_rate(outputs, [references]) == pytest.approx(jiwer.wer(references, outputs))
    ours = character_error_rate(outputs, [references])
    parted = ([" ".join(each.split()) for each in side] for side in (references, outputs))
    assert ours == pytest.approx(jiwer.cer(*parted))


def test_the_nearest_reference_counts() -> None:
    # Both are one edit away; the longer one makes the lower rate.
    assert edit_counts(["a b"], [["a"], ["a b c"], ["x y z"]]).tolist() == [[1, 3]]
    assert word_error_rate(["k ae t", "d ao g"], [["k ae t", "d"], ["x", None]]) == 2 / 4
    assert exact_match(["k ae t", "d ao g"], [["x", "d ao g"], ["k ae t", None]]) == 1


def test_empty_references() -> None:
    assert word_error_rate([""], [[""]]) == 0
    assert word_error_rate(["a b"], [[""]]) == 1
    assert word_error_rate(["", "a"], [["", "a"]]) == 0
    assert word_error_rate(["a b c"], [["x"]]) == 3  # not bounded by 1


def test_tokens_may_be_of_any_kind() -> None:
    assert word_error_rate([[1, 2, 3]], [[[1, 3]]]) == 0.5
    assert edit_distance([("a", 1)], [("a", 2)]) == 1
    assert character_error_rate([["ab", "c"]], [["ab c"]]) == 0


def test_two_systems_have_intervals_together() -> None:
    references = [["a b", "c d"] * 30]
    good, bad = ["a b", "c d"] * 30, ["a b", "c x"] * 30
    measure = measure_edits(references, good, bad, rate="per")
    assert measure.metrics(0) == {"per": 0.0, "exact": 1.0}
    assert measure.metrics(1) == {"per": 0.25, "exact": 0.5}
    low, high = measure.intervals(1)["per"]
    assert 0.15 < low < 0.25 < high < 0.35


def test_long_sequences_are_quick() -> None:
    one, other = "ab" * 10_000, "ba" * 10_000
    start = time.perf_counter()
    assert edit_distance(one, other) == 2
    assert time.perf_counter() - start < 5
