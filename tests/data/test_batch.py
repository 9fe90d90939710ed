"""Batches: masks and checks."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.batch import LabelBatch, LanguageBatch, Sequences, TokensBatch


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=5))
def test_the_mask_is_true_where_a_position_is_real(lengths: list[int]) -> None:
    mask = Sequences(torch.zeros(len(lengths), 7, 2), torch.tensor(lengths)).mask
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[t < length for t in range(7)] for length in lengths]


@pytest.mark.parametrize(
    ("shape", "lengths", "message"),
    [
        ((2, 3), [1], "lengths"),
        ((3,), [1, 1, 1], "values"),
        ((2, 3), [1, 4], "from 0 to 3"),
        ((2, 3), [-1, 2], "from 0 to 3"),
    ],
)
def test_what_does_not_fit_is_refused(
    shape: tuple[int, ...], lengths: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Sequences(torch.zeros(shape), torch.tensor(lengths))


def test_batches_move_and_do_not_change() -> None:
    batch = LanguageBatch(torch.zeros(1, 2), torch.ones(1, 2), fresh=True)
    moved = batch.to("meta")
    assert (moved.tokens.device.type, moved.targets.device.type, moved.fresh) == (
        *("meta", "meta"),
        True,
    )
    ragged = Sequences(torch.zeros(1, 2), torch.tensor([1])).to("meta")
    assert ragged.values.device.type == ragged.lengths.device.type == "meta"
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.fresh = False  # type: ignore[misc]


def sentences(*, characters: bool) -> TokensBatch:
    words = Sequences(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([3, 1]))
    tags = (torch.zeros(2, 3, dtype=torch.int64), torch.full((2, 3), -1))
    if not characters:
        return TokensBatch(words, None, None, tags)
    spelt = Sequences(torch.zeros(2, 5, dtype=torch.int64), torch.tensor([5, 2]))
    return TokensBatch(words, spelt, torch.zeros(2, 3, dtype=torch.int64), tags)


@pytest.mark.parametrize("characters", [True, False])
def test_sentences_move_whole(characters: bool) -> None:
    moved = sentences(characters=characters).to("meta")
    assert moved.words.values.device.type == moved.words.lengths.device.type == "meta"
    assert [column.device.type for column in moved.tags] == ["meta", "meta"]
    assert (moved.characters is not None) == (moved.spelling is not None) == characters
    if moved.characters is not None and moved.spelling is not None:
        assert moved.characters.values.device.type == moved.spelling.device.type == "meta"


def test_labelled_sequences_move_whole() -> None:
    vectors = Sequences(torch.zeros(2, 3, 4), torch.tensor([3, 2]))
    targets = torch.tensor([0, 1])
    for batch, lengths in (
        (LabelBatch(sentences(characters=True), None, targets), [3, 1]),
        (LabelBatch(None, vectors, targets), [3, 2]),
        (LabelBatch(None, vectors, None), [3, 2]),
    ):
        assert batch.lengths.tolist() == lengths
        moved = batch.to("meta")
        assert moved.lengths.device.type == "meta"
        assert (moved.tokens is None) == (batch.tokens is None)
        assert (moved.vectors is None) == (batch.vectors is None)
        assert (moved.targets is None) == (batch.targets is None)
        assert moved.targets is None or moved.targets.device.type == "meta"


def test_labelled_sequences_are_of_one_kind() -> None:
    vectors = Sequences(torch.zeros(1, 2, 3), torch.tensor([2]))
    for tokens, other in ((None, None), (sentences(characters=False), vectors)):
        with pytest.raises(ValueError, match="either tokens or vectors"):
            LabelBatch(tokens, other, None)
