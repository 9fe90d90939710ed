"""The likeliest continuations: what a full stable sort finds, however it is searched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unrolled.decoding.top import continuations, likeliest

SHAPES = [  # sentences, prefixes, tokens, wanted
    (1, 1, 1, 2),
    (2, 3, 2, 6),
    (2, 3, 2, 20),
    (3, 5, 70, 10),
    (1, 5, 8000, 10),
    (4, 5, 8001, 10),
    (40, 1, 1000, 10),
    (3, 20, 1063, 40),
    (2, 40, 1500, 80),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ties", [0, 4, 1], ids=["different", "ties", "all the same"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equals_a_stable_sort(
    shape: tuple[int, int, int, int], ties: int, dtype: torch.dtype
) -> None:
    groups, width, size, count = shape
    table = torch.log_softmax(torch.randn(groups * width, size), dim=1)
    scores = -np.random.default_rng(0).random((groups, width))
    if ties:
        table, scores = (table * ties / 8).round() / ties, np.round(scores * ties) / ties
    table = table.to(dtype)
    if width > 2:
        scores[-1, 1:] = -np.inf
        table[0, 1:] = -np.inf
    found = continuations(scores, table, count)
    every = (table.double().numpy() + scores.reshape(-1, 1)).reshape(groups, -1)
    order = np.argsort(-every, axis=1, kind="stable")[:, :count]
    assert found.finite
    assert found.sums.shape == (groups, min(count, width * size))
    possible = found.sums > -np.inf
    assert np.array_equal(found.sums, np.take_along_axis(every, order, axis=1))
    rows = order // size + np.arange(groups)[:, None] * width
    assert np.array_equal(found.rows[possible], rows[possible])
    assert np.array_equal(found.tokens[possible], (order % size)[possible])
    gains = table.double().numpy()[found.rows, found.tokens]
    assert np.array_equal(found.gains, gains)


def test_views_are_read_in_place() -> None:
    wide = torch.log_softmax(torch.randn(10, 2, 9000), dim=2)
    scores = np.zeros((2, 5))
    strange, plain = wide[:, 1, 300:8700], wide[:, 1, 300:8700].contiguous()
    for mine, theirs in zip(
        continuations(scores, strange, 9), continuations(scores, plain, 9), strict=True
    ):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("size", [30, 4000])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_strange_rows_are_noticed(size: int, wrong: float) -> None:
    for place in (0, size - 1, slice(None)):
        table = torch.log_softmax(torch.randn(10, size), dim=1)
        table[7, place] = wrong
        hidden = wrong == -np.inf and place != slice(None)
        assert continuations(np.zeros((2, 5)), table, 10).finite == hidden


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_likeliest_is_the_first_of_equals(dtype: torch.dtype) -> None:
    table = (torch.randn(50, 33) * 2).round().to(dtype)
    values, places = likeliest(table)
    assert values.dtype == np.float64
    for row, value, place in zip(table.tolist(), values, places, strict=True):
        assert value == max(row)
        assert place == row.index(max(row))
    table[3, 5] = np.nan
    assert np.isnan(likeliest(table)[0]).nonzero()[0].tolist() == [3]
