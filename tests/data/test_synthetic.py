"""Sequences made by a rule, checked against definitions written down independently."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.synthetic import (
    REBER_SYMBOLS,
    continual_reber,
    delayed_recall,
    embedded_reber,
    temporal_xor,
)

SEEDS = st.integers(0, 2**32)

# The Reber grammar as a regular expression, read off the figure of Cleeremans et al. (1989): the
# upper way is T S* then (S | X into the lower loop), the lower T* V then (V | P to the upper exit).
_LOWER = "T*V(?:PXT*V)*"
_REBER = f"B(?:TS*X(?:S|X{_LOWER}(?:V|PS))|P{_LOWER}(?:V|PS))E"
EMBEDDED = re.compile(f"B(?:T{_REBER}T|P{_REBER}P)E")

# The same as a list of edges between named nodes, for walking.
EDGES = """
start B fork | fork T upper | fork P lower | upper S upper | upper X exit-upper
lower T lower | lower V exit-lower | exit-upper X lower | exit-upper S last
exit-lower P exit-upper | exit-lower V last | last E done
"""


def walk(symbols: str) -> list[set[str]]:
    """What may follow after each symbol of a stream of embedded strings; fails if it is illegal."""
    arcs: dict[str, dict[str, str]] = {}
    for edge in re.split(r"[|\n]", EDGES):
        if edge.strip():
            source, symbol, target = edge.split()
            arcs.setdefault(source, {})[symbol] = target
    allowed: list[set[str]] = []
    outer, opened, inner = "start", "", ""
    for symbol in symbols:
        if outer == "start":
            assert symbol == "B"
            outer, expected = "open", {"T", "P"}
        elif outer == "open":
            assert symbol in "TP"
            outer, opened, inner, expected = "inside", symbol, "start", {"B"}
        elif outer == "inside":
            inner = arcs[inner][symbol]
            expected = set(arcs.get(inner, ()))
            if inner == "done":
                outer, expected = "close", {opened}
        elif outer == "close":
            assert symbol == opened
            outer, expected = "end", {"E"}
        else:
            assert symbol == "E"
            outer, expected = "start", {"B"}
        allowed.append(expected)
    return allowed


def names(row: np.ndarray) -> set[str]:
    return {REBER_SYMBOLS[i] for i in row.nonzero()[0]}


@settings(deadline=None, max_examples=100)
@given(SEEDS)
def test_embedded_strings_are_legal(seed: int) -> None:
    text = embedded_reber(np.random.default_rng(seed))
    string = str(text)
    assert EMBEDDED.fullmatch(string)
    assert string[1] == string[-2]
    assert text.symbols.dtype == np.int64
    assert text.successors.shape == (len(string), 7)
    assert text.successors.dtype == np.bool_
    assert [names(row) for row in text.successors[:-1]] == walk(string)[:-1]
    assert not text.successors[-1].any()


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.integers(0, 500))
def test_continual_text_is_legal_strings_end_to_end(seed: int, length: int) -> None:
    text = continual_reber(length, np.random.default_rng(seed))
    string = str(text)
    assert len(string) == len(text.symbols) == length
    assert text.successors.shape == (length, 7)
    allowed = walk(string)
    assert [names(row) for row in text.successors] == allowed
    for t in range(length - 1):
        assert text.successors[t, text.symbols[t + 1]]
    rest = string
    while match := EMBEDDED.match(rest):
        rest = rest[match.end() :]
    assert len(rest) < 200
    assert rest == "" or rest[0] == "B"


def test_every_branch_is_even_and_every_start_is_fixed_by_the_seed() -> None:
    text = continual_reber(100_000, np.random.default_rng(4))
    branches = text.successors.sum(axis=1)[:-1] == 2
    for pair in ("TP", "SX", "TV", "PV"):
        places = [REBER_SYMBOLS.index(symbol) for symbol in pair]
        at = branches & text.successors[:-1, places].all(axis=1)
        followers = text.symbols[1:][at]
        assert abs(float(np.mean(followers == places[0])) - 0.5) < 0.02
    again = continual_reber(100_000, np.random.default_rng(4))
    assert (text.symbols == again.symbols).all()
    lengths = [len(embedded_reber(np.random.default_rng(s)).symbols) for s in range(2000)]
    assert min(lengths) == 9
    assert 11 < np.mean(lengths) < 13


def test_successors_are_copies() -> None:
    rng = np.random.default_rng(0)
    continual_reber(50, rng).successors[:] = False
    embedded_reber(rng).successors[:] = False
    assert continual_reber(50, rng).successors.any(axis=1).all()


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.integers(0, 300))
def test_each_third_bit_is_the_exclusive_or(seed: int, segments: int) -> None:
    bits = temporal_xor(segments, np.random.default_rng(seed))
    assert bits.shape == (3 * segments,)
    for first, second, third in bits.reshape(segments, 3).tolist():
        assert third == (first != second)


def test_single_bits_are_even_and_unpredictable_from_one() -> None:
    bits = temporal_xor(20_000, np.random.default_rng(1)).reshape(-1, 3)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.02
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(bits[:, a], bits[:, b])[0, 1]) < 0.03


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.integers(0, 60), st.integers(0, 20), st.integers(1, 9))
def test_recall_is_the_input_of_before(seed: int, length: int, delay: int, symbols: int) -> None:
    recall = delayed_recall(length, delay, symbols, np.random.default_rng(seed))
    assert recall.inputs.shape == recall.targets.shape == recall.known.shape == (length,)
    for t in range(length):
        assert recall.known[t] == (t >= delay)
        assert 0 <= recall.targets[t] < symbols
        if t >= delay:
            assert recall.targets[t] == recall.inputs[t - delay]


def test_sizes_are_checked() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="segments is at least 0"):
        temporal_xor(-1, rng)
    with pytest.raises(ValueError, match="delay is at least 0"):
        delayed_recall(3, -1, 2, rng)
    with pytest.raises(ValueError, match="symbols is at least 1"):
        delayed_recall(3, 1, 0, rng)
    with pytest.raises(ValueError, match="length is at least 0"):
        continual_reber(-1, rng)
