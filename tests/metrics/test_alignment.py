"""Alignments have the most pairs, stage by stage, and the fewest chunks: against every alignment there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.metrics import alignment
from unrolled.metrics.alignment import Alignment, align

Stage = Callable[[str, str], int | None]
Pairs = frozenset[tuple[int, int]]

letters = st.sampled_from(["a1", "a2", "b1", "b2", "c1"])
sentences = st.lists(letters, max_size=6)
meanings = st.dictionaries(letters, st.frozensets(st.integers(0, 3), max_size=2))


def every(output: list[str], reference: list[str], stage: Stage, i: int = 0) -> Iterator[Pairs]:
    """All sets of pairs of words that some stage pairs, each word at most once."""
    if i == len(output):
        yield frozenset()
        return
    for rest in every(output, reference, stage, i + 1):
        yield rest
        taken = {j for _, j in rest}
        for j, word in enumerate(reference):
            if j not in taken and stage(output[i], word) is not None:
                yield rest | {(i, j)}


def quality(pairs: Pairs, output: list[str], reference: list[str], stage: Stage) -> tuple[int, ...]:
    """Equal words, then stems, then synonyms, then as few chunks as can be: the higher, the better."""
    stages = [stage(output[i], reference[j]) for i, j in pairs]
    chunks = sum((i - 1, j - 1) not in pairs for i, j in pairs)
    return (*map(stages.count, range(3)), -chunks)


@settings(max_examples=400, deadline=None)
@given(sentences, sentences, st.booleans(), st.none() | meanings)
def test_no_alignment_is_better(
    output: list[str], reference: list[str], stems: bool, table: dict[str, frozenset[int]] | None
) -> None:
    senses = table or {}

    def stage(one: str, other: str) -> int | None:
        if one == other:
            return 0
        if stems and one[0] == other[0]:
            return 1
        return 2 if senses.get(one, frozenset()) & senses.get(other, frozenset()) else None

    found = align(
        *(output, reference),
        stem=(lambda word: str(word)[0]) if stems else None,
        senses=(lambda word: senses.get(str(word), ())) if table is not None else None,
    )
    assert found.exact
    pairs = frozenset(found.pairs)
    assert len(pairs) == len({i for i, _ in pairs}) == len({j for _, j in pairs})
    ours = quality(pairs, output, reference, stage)
    assert -ours[-1] == found.chunks
    best = max(quality(each, output, reference, stage) for each in every(output, reference, stage))
    assert ours == best


@settings(max_examples=100, deadline=None)
@given(sentences, sentences)
def test_a_beam_has_as_many_pairs_of_equals_and_never_fewer_chunks(
    output: list[str], reference: list[str]
) -> None:
    exact = align(output, reference)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alignment, "WIDTH", 0)
        patch.setattr(alignment, "BEAM", 1)
        cut = align(output, reference)
    assert len(cut.pairs) == len(exact.pairs)
    assert cut.chunks >= exact.chunks
    assert not cut.exact or not output


def test_stages_have_precedence() -> None:
    # Going on with the stem would make one chunk; equal words come first, and make two.
    found = align(["runs", "fast", "run"], ["run", "fast"], stem=lambda word: str(word).strip("s"))
    assert found.pairs == ((1, 1), (2, 0))
    assert found.chunks == 2


def test_a_stem_takes_no_equal_word_away() -> None:
    found = align(["cats", "cat"], ["cat", "dog"], stem=lambda word: str(word).strip("s"))
    assert found.pairs == ((1, 0),)


def test_repeated_words_are_laid_into_the_longest_runs() -> None:
    output = ["the", "man", "and", "the", "dog", "and", "the", "cat"]
    reference = ["the", "cat", "and", "the", "dog", "and", "the", "man"]
    assert align(output, reference).chunks == 3  # the man | and the dog and | the cat
    assert align(output, output) == Alignment(tuple((i, i) for i in range(8)), 1, True)
    assert align(output, []) == align([], output) == Alignment((), 0, True)


def test_hard_and_long_sentences_end() -> None:
    start = time.perf_counter()
    same = align(["a"] * 500, ["a"] * 500)
    assert (len(same.pairs), same.chunks, same.exact) == (500, 1, False)
    words = [f"w{i}" for i in range(5000)]
    assert align(words, words[::-1]).chunks == 5000
    assert align(words, words[1:]).exact
    distinct = align(words, [f"v{i}" for i in range(5000)], senses=lambda word: (str(word)[1:],))
    assert (len(distinct.pairs), distinct.chunks) == (5000, 1)
    assert time.perf_counter() - start < 20
