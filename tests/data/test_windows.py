"""Windows of words: which pairs there are, what is drawn, and that the place is kept."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.cooccurrence import Cooccurrences, EntryLoader
from unrolled.data.stream import TokenStream
from unrolled.data.windows import Sentences, WindowBatch, WindowLoader, kept_shares
from unrolled.errors import DataError, RunError

END = 1
SENTENCES = st.lists(st.lists(st.integers(2, 6), max_size=9), min_size=1, max_size=8)


def text_of(sentences: list[list[int]]) -> Sentences:
    ids = np.array([word for sentence in sentences for word in (*sentence, END)])
    return Sentences(TokenStream(ids, vocabulary_size=7), end=END)


def loader(text: Sentences, **options: int | float) -> WindowLoader:
    usual = {"window": 3, "batch_size": 1000, "subsample": 0, "seed": 0}
    return WindowLoader(text, **(usual | options))  # type: ignore[arg-type]


def pairs_of(batch: WindowBatch) -> Counter[tuple[int, int]]:
    centres = batch.centres
    blocks, places, around = batch.pairs.nonzero(as_tuple=True)
    firsts = centres[blocks, places].tolist()
    return Counter(zip(firsts, batch.words[blocks, around].tolist(), strict=True))


def pairs_within(sentences: list[list[int]], reach: int) -> Counter[tuple[int, int]]:
    """The same by a loop over words."""
    found: Counter[tuple[int, int]] = Counter()
    for sentence in sentences:
        for i, word in enumerate(sentence):
            for j, other in enumerate(sentence):
                if 0 < abs(i - j) <= reach:
                    found[word, other] += 1
    return found


@given(SENTENCES.filter(lambda given: any(len(sentence) > 1 for sentence in given)))
def test_pairs_are_those_within_sentences(sentences: list[list[int]]) -> None:
    [batch] = loader(text_of(sentences), window=1)
    assert pairs_of(batch) == pairs_within(sentences, 1)
    [batch] = loader(text_of(sentences), window=4)
    found, widest = pairs_of(batch), pairs_within(sentences, 4)
    assert found <= widest
    assert found >= pairs_within(sentences, 1)
    assert batch.count == sum(map(len, sentences))


def test_reach_is_uniform() -> None:
    text = text_of([[2, 3, 4, 5, 6] * 4000])
    [batch] = loader(text, window=4, batch_size=20_000)
    sides = np.bincount(batch.pairs.sum(dim=2).flatten().numpy())
    assert all(4700 < sides[2 * reach] < 5300 for reach in (1, 2, 3, 4))


def test_subsampling_drops_frequent_words_and_windows_reach_over_them() -> None:
    sentence = [2, 3] + [2] * 30
    text = text_of([sentence] * 3000)
    batch_size = len(text)
    [batch] = loader(text, subsample=0.01, window=1, batch_size=batch_size)
    kept = Counter(batch.centres.flatten().tolist())
    shares = kept_shares(text.counts, 0.01)
    assert kept[3] == pytest.approx(3000 * shares[3], rel=0.1)
    assert kept[2] == pytest.approx(93_000 * shares[2], rel=0.1)
    assert kept[2] < 12_000
    assert batch.count == batch_size
    # Between two words that were kept many were dropped; nearly all still have a neighbour.
    assert (batch.pairs.sum(dim=2) > 0).sum() > 0.9 * (kept[2] + kept[3])


def test_negatives_follow_counts_to_three_quarters() -> None:
    text = text_of([[2] * 8 + [3]] * 8000)
    [batch] = loader(text, batch_size=len(text))
    drawn = np.bincount(batch.negatives.flatten().numpy(), minlength=7)
    assert set(np.flatnonzero(drawn)) == {2, 3}
    assert drawn[2] / drawn[3] == pytest.approx(8**0.75, rel=0.05)


def same(one: WindowBatch, other: WindowBatch) -> bool:
    names = ("words", "pairs", "negatives")
    return all(getattr(one, name).equal(getattr(other, name)) for name in names)


def test_place_is_kept_exactly() -> None:
    text = text_of([[2, 3, 4, 5]] * 40)
    options = {"batch_size": 30, "subsample": 0.1}
    whole = loader(text, **options)
    batches = [batch for _ in range(3) for batch in whole]
    assert len(batches) == 3 * len(whole)
    for taken in (0, 4, 6, 7, 13):
        first, second = loader(text, **options), loader(text, **options)
        epochs, rest = divmod(taken, len(first))
        for _ in range(epochs):
            list(first)
        iterator = iter(first)
        for _ in range(rest):
            next(iterator)
        second.load_state_dict(first.state_dict())
        left = list(second)
        assert same(left[0], batches[taken])
    assert not same(batches[0], batches[len(whole)])
    with pytest.raises(RunError, match="no place"):
        whole.load_state_dict({"epoch": 0, "position": 1000})


def test_each_epoch_reads_each_word_once() -> None:
    text = text_of([[2, 3], [4, 5, 6]] * 11)
    source = loader(text, batch_size=16, window=2)
    for _ in range(3):
        words = Counter(
            word
            for batch in source
            for word in batch.centres[batch.centres > 0].tolist()  # padding is 0
        )
        assert words == dict.fromkeys(range(2, 7), 11)


def test_text_without_pairs_is_refused() -> None:
    with pytest.raises(DataError, match="two words"):
        text_of([[2], [], [3]])


def test_a_batch_may_lose_all_its_words() -> None:
    text = text_of([[2] * 50_000])
    batches = list(loader(text, subsample=1e-9, batch_size=40))
    assert len(batches) == 1250
    assert any(not batch.pairs.any() for batch in batches)


@given(SENTENCES.filter(lambda given: any(len(sentence) > 1 for sentence in given)))
def test_counts_equal_a_loop(sentences: list[list[int]]) -> None:
    for weighting in ("inverse", "linear"):
        found = Cooccurrences.count(text_of(sentences), window=3, weighting=weighting)
        expected = np.zeros((7, 7))
        for reach in (1, 2, 3):
            weight = {1: 1 - 1 / 2, 2: 1 / 2 - 1 / 3, 3: 1 / 3}[reach]
            weight = weight if weighting == "inverse" else 1 / 3
            for (one, other), count in pairs_within(sentences, reach).items():
                expected[one, other] += weight * count
        table = np.zeros((7, 7))
        table[found.rows, found.columns] = found.values
        np.testing.assert_allclose(table, expected, rtol=1e-6)
        assert (found.values > 0).all()


def test_counting_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    text = text_of([rng.integers(2, 7, 12).tolist() for _ in range(30)])
    whole = Cooccurrences.count(text, window=4, weighting="inverse")
    monkeypatch.setattr("unrolled.data.cooccurrence._CHUNK", 7)
    pieces = Cooccurrences.count(text, window=4, weighting="inverse")
    np.testing.assert_array_equal(whole.rows, pieces.rows)
    np.testing.assert_allclose(whole.values, pieces.values, rtol=1e-6)


def test_entries_come_once_an_epoch_and_the_place_is_kept() -> None:
    numbers = np.arange(10)
    entries = Cooccurrences(10, numbers, numbers, numbers.astype(np.float32))
    source = EntryLoader(entries, batch_size=4, seed=3)
    epochs = [[row for batch in source for row in batch.rows.tolist()] for _ in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1]
    again = EntryLoader(entries, batch_size=4, seed=3)
    again.load_state_dict({"epoch": 1, "position": 2})
    assert [row for batch in again for row in batch.rows.tolist()] == epochs[1][8:]
