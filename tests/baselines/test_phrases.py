"""Phrase pairs against the definition, tried on every two runs of words."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.baselines.phrases import Link, grow_diag_final, numbered, phrase_pairs

SIZES = st.tuples(st.integers(0, 5), st.integers(0, 5))


@st.composite
def aligned(draw: st.DrawFn) -> tuple[int, int, list[Link]]:
    source, target = draw(SIZES)
    cells = [(i, j) for i in range(source) for j in range(target)]
    return source, target, sorted(draw(st.sets(st.sampled_from(cells)))) if cells else []


def by_definition(
    source: int, target: int, links: list[Link], longest: int
) -> set[tuple[int, ...]]:
    found: set[tuple[int, ...]] = set()
    for i in range(source):
        for n in range(1, min(longest, source - i) + 1):
            for j in range(target):
                for m in range(1, min(longest, target - j) + 1):
                    inside = [(i <= a < i + n, j <= b < j + m) for a, b in links]
                    if all(x == y for x, y in inside) and any(x for x, _ in inside):
                        found.add((i, n, j, m))
    return found


@given(st.lists(aligned(), max_size=4), st.integers(1, 6))
@settings(max_examples=200)
def test_pairs_of_runs_are_those_that_no_link_leaves(
    sentences: list[tuple[int, int, list[Link]]], longest: int
) -> None:
    sources, targets, links = ([s[k] for s in sentences] for k in range(3))
    runs = phrase_pairs(sources, targets, links, longest=longest)  # type: ignore[arg-type]
    found = list(zip(*(part.tolist() for part in runs), strict=True))
    expected = set()
    i0 = j0 = 0
    for source, target, these in sentences:
        for i, n, j, m in by_definition(source, target, these, longest):
            expected.add((i + i0, n, j + j0, m))
        i0, j0 = i0 + source, j0 + target
    assert len(found) == len(set(found))
    assert set(found) == expected


@given(st.data())
def test_the_joined_alignment_lies_between_intersection_and_union(data: st.DataObject) -> None:
    source, target = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    forward = data.draw(st.lists(st.integers(-1, source - 1), min_size=target, max_size=target))
    backward = data.draw(st.lists(st.integers(-1, target - 1), min_size=source, max_size=source))
    one = {(i, j) for j, i in enumerate(forward) if i >= 0}
    two = {(i, j) for i, j in enumerate(backward) if j >= 0}
    found = grow_diag_final(forward, backward)
    assert found == sorted(set(found))
    assert one & two <= set(found) <= one | two
    for side in (0, 1):  # no word loses all its links
        assert {link[side] for link in found} == {link[side] for link in one | two}


def test_growing_takes_neighbours_before_the_rest() -> None:
    # In both: (0, 0). Of the others (1, 1) touches it; (1, 3) would bring in the word 3, and does in the end.
    assert grow_diag_final([0, 1, -1, 1], [0, 3]) == [(0, 0), (1, 1), (1, 3)]
    # (1, 0) touches (0, 0), but both its words have links already.
    assert grow_diag_final([0, 1], [0, 1]) == [(0, 0), (1, 1)]
    assert grow_diag_final([1, 1], [0, 1]) == [(0, 0), (1, 1)]
    assert grow_diag_final([], []) == []


@given(st.lists(st.integers(0, 2), max_size=12), st.integers(1, 4))
def test_equal_runs_have_equal_numbers(tokens: list[int], longest: int) -> None:
    levels = numbered(np.array(tokens, np.int64), 3, longest=longest)
    seen: dict[tuple[int, ...], int] = {}
    for length, level in enumerate(levels, start=1):
        for start, number in enumerate(level.tolist()):
            run = tuple(tokens[start : start + length])
            if len(run) < length:
                assert number == -1
            else:
                assert seen.setdefault(run, number) == number
    assert sorted(seen.values()) == list(range(len(seen)))
