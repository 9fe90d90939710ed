r"""Vectors of words by counting: shifted positive pointwise mutual information, and its truncated SVD.

From the co-occurrences X, with k negatives and the exponent 3/4 (Levy, Goldberg & Dagan 2015, "Improving
distributional similarity with lessons learned from word embeddings", sections 2.1, 2.2, 3.2 and 3.3):

.. math::
   M_{wc} &= \max\Bigl(0, \log \frac{X_{wc}}{X_{w\cdot}\, P_{3/4}(c)} - \log k\Bigr), \qquad
   P_{3/4}(c) = \frac{X_{\cdot c}^{3/4}}{\sum_{c'} X_{\cdot c'}^{3/4}} \\
   M &\approx U \Sigma V^\top, \qquad W = U \Sigma^{p}

with p = 1/2. The SVD is that of a random block Krylov space (Musco & Musco 2015, "Randomized block Krylov
methods for stronger and faster approximate singular value decomposition", algorithm 2): Q spans
:math:`M\Omega, (M M^\top) M\Omega, \dots`; then :math:`Q^\top M` is small. Singular values of
texts lie close together; to take the last block alone would blur the vectors by its random start.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from unrolled.data.cooccurrence import Cooccurrences
from unrolled.data.windows import SMOOTHING

_BLOCK = 32  # random vectors
_DEPTH = 7  # the space has so many times the dimensions asked for
_FEWEST = 10  # blocks


def ppmi(entries: Cooccurrences, *, negative: float = 1.0) -> Tensor:
    """M above: a sparse tensor ``[V, V]``, float32.

    Args:
        entries: X.
        negative: k, at least 1.

    >>> numbers = np.array([0, 1])
    >>> entries = Cooccurrences(2, numbers, numbers[::-1].copy(), np.array([2.0, 2.0], dtype="f4"))
    >>> ppmi(entries).to_dense().tolist()
    [[0.0, 0.6931471824645996], [0.6931471824645996, 0.0]]
    """
    values = entries.values.astype(np.float64)
    totals = np.bincount(entries.rows, weights=values, minlength=entries.size)
    smoothed = np.bincount(entries.columns, weights=values, minlength=entries.size) ** SMOOTHING
    share = smoothed / smoothed.sum()
    information = np.log(values / (totals[entries.rows] * share[entries.columns]))
    information -= np.log(negative)
    kept = information > 0
    places = np.stack([entries.rows[kept], entries.columns[kept]])
    return torch.sparse_coo_tensor(
        torch.from_numpy(places),
        torch.from_numpy(information[kept]).float(),
        (entries.size, entries.size),
        is_coalesced=True,
        check_invariants=False,
    )


def truncated_svd(matrix: Tensor, size: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """The first left singular vectors ``[V, size]`` of a sparse matrix, and their values, falling.

    The signs are such that the largest entry of each vector is positive. Where the matrix has a
    smaller rank, what is left is zero.

    >>> vectors, values = truncated_svd(torch.diag(torch.tensor([1.0, 3.0])).to_sparse(), 1, seed=0)
    >>> vectors.round(decimals=3).tolist(), values.round(decimals=3).tolist()
    ([[0.0], [1.0]], [3.0])
    """
    count = min(_BLOCK, matrix.shape[0])
    generator = Generator().manual_seed(seed)
    start = torch.randn(matrix.shape[1], count, generator=generator)
    transposed = matrix.t()
    block, _ = torch.linalg.qr(torch.sparse.mm(matrix, start))
    basis = block
    dimensions = min(max(_DEPTH * size, _FEWEST * _BLOCK), matrix.shape[0])
    while basis.shape[1] < dimensions:
        block = block[:, : dimensions - basis.shape[1]]
        block = torch.sparse.mm(matrix, torch.sparse.mm(transposed, block))
        block = block - basis @ (basis.T @ block)
        block, _ = torch.linalg.qr(block)
        basis = torch.cat([basis, block], dim=1)
    basis, _ = torch.linalg.qr(basis)
    small = torch.sparse.mm(transposed, basis).T  # Q^T M [count, V]
    left, values, _ = torch.linalg.svd(small, full_matrices=False)
    found = torch.zeros(matrix.shape[0], size)
    strengths = torch.zeros(size)
    kept = min(size, len(values))
    found[:, :kept], strengths[:kept] = (basis @ left)[:, :kept], values[:kept]
    largest = found.gather(0, found.abs().argmax(dim=0, keepdim=True))
    return found * torch.where(largest < 0, -1.0, 1.0), strengths


class PpmiSvd:
    """Vectors of words without training.

    Args:
        size: E.
        negative: k above.
        power: p above; 0 leaves the singular values out, 1 takes them whole.
        seed: of the random vectors of the SVD.

    >>> numbers = np.array([0, 1])
    >>> entries = Cooccurrences(2, numbers, numbers[::-1].copy(), np.array([2.0, 2.0], dtype="f4"))
    >>> PpmiSvd(1).fit(entries).shape
    (2, 1)
    """

    def __init__(
        self, size: int, *, negative: float = 1.0, power: float = 0.5, seed: int = 0
    ) -> None:
        self.size, self.negative, self.power, self.seed = size, negative, power, seed

    def fit(self, entries: Cooccurrences) -> NDArray[np.float32]:
        """The vectors ``[V, E]`` of all words; zeros for those that stood near none by more than chance."""
        matrix = ppmi(entries, negative=self.negative)
        vectors, values = truncated_svd(matrix, self.size, seed=self.seed)
        weights = torch.where(values > 0, values**self.power, 0.0)
        return np.asarray((vectors * weights).numpy())
