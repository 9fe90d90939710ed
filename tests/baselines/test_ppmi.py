"""PPMI against its definition, the truncated SVD against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unrolled.baselines.ppmi import PpmiSvd, ppmi, truncated_svd
from unrolled.data.cooccurrence import Cooccurrences


def entries_of(table: np.ndarray) -> Cooccurrences:
    rows, columns = np.nonzero(table)
    return Cooccurrences(len(table), rows, columns, table[rows, columns].astype(np.float32))


def counted(size: int) -> np.ndarray:
    rng = np.random.default_rng(size)
    table = rng.poisson(0.6, (size, size)) * rng.integers(1, 9, (size, size))
    return (table + table.T).astype(np.float64)


@pytest.mark.parametrize("negative", [1.0, 5.0])
def test_ppmi_is_the_paper_s(negative: float) -> None:
    table = counted(12)
    smoothed = table.sum(axis=0) ** 0.75
    with np.errstate(divide="ignore"):
        chance = table.sum(axis=1)[:, None] * (smoothed / smoothed.sum())
        expected = np.maximum(0, np.log(table / chance) - np.log(negative))
    found = ppmi(entries_of(table), negative=negative).to_dense().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_svd_equals_numpy_s() -> None:
    matrix = ppmi(entries_of(counted(150)))
    vectors, values = truncated_svd(matrix, 20, seed=0)
    left, expected, _ = np.linalg.svd(matrix.to_dense().numpy().astype(np.float64))
    np.testing.assert_allclose(values, expected[:20], rtol=1e-4)
    cosines = np.abs((vectors.numpy() * left[:, :20]).sum(axis=0))
    assert (cosines > 0.999).all()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(20), atol=1e-5)


def test_seed_matters_little_and_repeats() -> None:
    matrix = ppmi(entries_of(counted(150)))
    one, again, other = (truncated_svd(matrix, 8, seed=seed) for seed in (0, 0, 1))
    assert one[0].equal(again[0])
    np.testing.assert_allclose(one[1], other[1], rtol=1e-4)
    assert float((one[0] - other[0]).abs().max()) < 1e-2


def test_a_size_above_the_rank_is_filled_with_zeros() -> None:
    vectors = PpmiSvd(10).fit(entries_of(np.array([[0, 2.0, 0], [2, 0, 0], [0, 0, 1]])))
    assert vectors.shape == (3, 10)
    assert np.isfinite(vectors).all()
    assert not vectors[:, 3:].any()


def test_words_in_like_company_are_alike() -> None:
    table = np.zeros((6, 6))
    for word, company in ((0, (4,)), (1, (4,)), (2, (5,)), (3, (5,))):
        table[word, company] = table[company, word] = 3
    found = torch.from_numpy(PpmiSvd(4).fit(entries_of(table)))
    similar = torch.cosine_similarity(found[:, None], found[None], dim=2)
    assert similar[0, 1] > 0.99
    assert similar[0, 2] < 0.01
