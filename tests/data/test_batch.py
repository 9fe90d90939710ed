"""Batches: masks and checks."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.batch import LanguageBatch, Sequences


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
