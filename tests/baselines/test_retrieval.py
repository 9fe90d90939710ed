"""Retrieval against cosines of dense vectors, ties, queries without a known word, saving."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.baselines import Retrieval
from unrolled.baselines.retrieval import EPSILON
from unrolled.errors import DataError, RunError

PAIRS = [
    (f.split(), e.split())
    for f, e in [
        ("how are you ?", "fine ."),
        ("how are you today ?", "fine ."),
        ("who are you ?", "a program ."),
        ("what is that ?", "I do not know ."),
        ("what is that ?", "a bird ."),
        ("what is that ?", "a bird ."),
        ("", "hello ?"),
    ]
]
WORDS = st.lists(st.sampled_from("abcde"), max_size=5)


def cosine(a: Sequence[str], b: Sequence[str], sources: Sequence[Sequence[str]]) -> float:
    """The equation, word by word."""

    def vector(tokens: Sequence[str]) -> dict[str, float]:
        having = {w: sum(w in source for source in sources) for w in tokens}
        return {
            w: (1 + math.log(c)) * (math.log((len(sources) + 1) / (having[w] + 1)) + EPSILON)
            for w, c in Counter(tokens).items()
        }

    x, y = vector(a), vector(b)
    norms = math.hypot(*x.values()) * math.hypot(*y.values())
    return sum(x[w] * y.get(w, 0) for w in x) / norms if norms else 0.0


@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(st.sampled_from("abcdefg"), max_size=5))
def test_scores_are_cosines_and_the_nearest_is_first(
    sources: list[list[str]], query: list[str]
) -> None:
    model = Retrieval().fit([(source, [str(n)]) for n, source in enumerate(sources)])
    found = model.answer(query, 10)
    assert sorted(answer.pair for answer in found) == list(range(len(sources)))
    for answer in found:
        assert answer.tokens == [str(answer.pair)]
        expected = cosine(query, sources[answer.pair], sources)
        assert answer.score == pytest.approx(expected, abs=1e-9)
    scores = [round(answer.score, 12) for answer in found]
    assert scores == sorted(scores, reverse=True)


def test_every_source_finds_itself() -> None:
    model = Retrieval().fit(PAIRS)
    for source in (source for source, _ in PAIRS if source):
        best = model.answer(source)[0]
        assert best.score == pytest.approx(1)
        assert PAIRS[best.pair][0] == source


def test_of_equally_near_sources_the_usual_answer_and_then_the_first() -> None:
    model = Retrieval().fit(PAIRS)
    found = model.answer("what is that ?".split(), 9)  # noqa: SIM905
    assert [answer.tokens[:2] for answer in found[:2]] == [["a", "bird"], ["I", "do"]]
    assert found[0].pair == 4
    assert len({tuple(answer.tokens) for answer in found}) == len(found) == 5
    for nothing in ([], ["zzz"]):
        best = model.answer(nothing)[0]
        assert (best.tokens, best.score) == (["fine", "."], 0.0)
    assert model.translate(["zzz"]) == ["fine", "."]
    assert model.answer(["zzz"], 0) == []


def test_saving() -> None:
    model = Retrieval().fit([*PAIRS, (["x"], [])])
    again = Retrieval.from_arrays(model.arrays())
    assert again.table_entries == model.table_entries
    for query in (["what", "?"], ["x"], [], ["who", "who", "zzz"]):
        assert again.answer(query, 5) == model.answer(query, 5)
    arrays = model.arrays()
    arrays["texts"] = arrays["texts"][::-1].copy()
    with pytest.raises(RunError, match="saved retrieval is damaged"):
        Retrieval.from_arrays(arrays)


def test_refusals_and_empty_sources() -> None:
    with pytest.raises(DataError, match="no pairs to remember"):
        Retrieval().fit([])
    for call in (lambda m: m.answer(["a"]), Retrieval.arrays):
        with pytest.raises(RunError, match="fit first"):
            call(Retrieval())
    model = Retrieval().fit([([], ["only"])])
    assert model.answer(["a"])[0].tokens == ["only"]
    assert Retrieval.from_arrays(model.arrays()).answer([])[0].tokens == ["only"]


def test_many_pairs_are_answered_quickly() -> None:
    rng = np.random.default_rng(0)
    words = (rng.zipf(1.3, (20_000, 8)) % 5000).astype(str).tolist()
    model = Retrieval().fit([(source, source[:2]) for source in words])
    assert all(model.answer(source)[0].score == pytest.approx(1) for source in words[:50])
