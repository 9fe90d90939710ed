r"""Regression on bags of n-grams: which runs of words or letters a text holds and how often, not where.

With x the counts of a text's n-grams, z = W x + b and examples i = 1 … N, training minimises

.. math::
   \frac{1}{N} \sum_i \ell(z_i, y_i) + \frac{1}{2 C N} \lVert W \rVert^2

by L-BFGS, with :math:`\ell` the cross-entropy of softmax(z) for one label, the summed binary cross-entropies
of sigmoid(z) for several, and half the squared error for a number (ridge regression). The bias is free.
This is the honest rival of a network that reads a text in order (Wang & Manning 2012, "Baselines and
bigrams"); C and the scaling are those of scikit-learn's ``LogisticRegression``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigError, RunError, TrainingError

Kind = Literal["label", "labels", "number"]

MOST_WEIGHTS = 50_000_000  # L-BFGS holds some 25 float64 arrays of that many numbers at once
EDGE = "\n"  # stands before the first letter of a text and after the last


def ngrams(tokens: Sequence[str], longest: int, *, letters: bool = False) -> Iterator[str]:
    """The n-grams of a text, n from 1 to ``longest``.

    Args:
        tokens: its words, or its letters.
        letters: join without a space, and mark the edges of the text.

    >>> list(ngrams(["to", "be"], 2))
    ['to', 'be', 'to be']
    """
    gap = "" if letters else " "
    for length in range(1, longest + 1):
        row = [EDGE, *tokens, EDGE] if letters and length > 1 else tokens
        for start in range(len(row) - length + 1):
            yield gap.join(row[start : start + length])


@dataclass(frozen=True)
class Bags:
    """N bags of features, one after the other.

    Attributes:
        features: [M], int64: the features of all bags. values: [M], float64: what each is worth.
        offsets: [N + 1], int64: bag i holds ``features[offsets[i] : offsets[i + 1]]``.

    >>> bags = Bags.of([["a", "b", "a"], ["x"]], Vocabulary(["a", "b"]))
    >>> bags.features.tolist(), bags.values.tolist(), bags.offsets.tolist()
    ([0, 1], [2.0, 1.0], [0, 2, 2])
    """

    features: NDArray[np.int64]
    values: NDArray[np.float64]
    offsets: NDArray[np.int64]

    @classmethod
    def of(
        cls, texts: Iterable[Iterable[str]], vocabulary: Vocabulary, *, presence: bool = False
    ) -> Bags:
        """The bags of texts given as their n-grams; those the vocabulary lacks are left out.

        Args:
            presence: count every n-gram of a text once.
        """
        features, values, ends = [], [], [0]
        for text in texts:
            ids = vocabulary.encode(text)
            found, number = np.unique(ids[ids > 0] - 1, return_counts=True)  # 0 is <unk>
            features.append(found)
            values.append(np.ones(len(found)) if presence else number.astype(np.float64))
            ends.append(ends[-1] + len(found))
        return cls(
            np.concatenate([np.zeros(0, np.int64), *features]),
            np.concatenate([np.zeros(0), *values]),
            np.array(ends),
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1


class BagOfWords:
    """A linear model of bags.

    Args:
        features: D. outputs: K labels; 1 for a number.
        kind: one ``label``, several ``labels``, or a ``number``.

    Raises:
        ConfigError: so many weights would not fit into memory.

    >>> bags = Bags.of([["good"], ["bad"], ["good", "fun"], ["bad"]], Vocabulary(["good", "bad", "fun"]))
    >>> model = BagOfWords(3, 2, kind="label").fit(bags, np.array([1, 0, 1, 0]), strength=1.0)
    >>> model.scores(bags).argmax(1).tolist()
    [1, 0, 1, 0]
    """

    def __init__(self, features: int, outputs: int, *, kind: Kind) -> None:
        if features * outputs > MOST_WEIGHTS:
            raise ConfigError(
                f"{features:,} n-grams for each of {outputs:,} labels are {features * outputs:,} "
                f"weights, more than {MOST_WEIGHTS:,}; raise --data.min-count, or give a lower "
                "--model.max-features or --model.ngrams"
            )
        self.kind: Kind = kind
        self.weight = torch.zeros(features, outputs, dtype=torch.float64)
        self.bias = torch.zeros(outputs, dtype=torch.float64)

    def fit(
        self, bags: Bags, targets: NDArray[Any], *, strength: float, iterations: int = 1000
    ) -> Self:
        """Learns from bags and their targets, starting from the weights there are.

        Args:
            targets: [N] numbers of the labels, or [N, K] of 0 and 1, or [N] numbers.
            strength: C, above 0; a larger one trusts the examples more.
            iterations: of L-BFGS, at most.

        Raises:
            TrainingError: the loss is not finite.
        """
        rows, columns = _rows(bags), _columns(bags, len(self.weight))
        truth = torch.as_tensor(targets)
        truth = truth if self.kind == "label" else truth.double().reshape(len(bags), -1)
        penalty = 1 / (strength * len(bags))
        weight, bias = self.weight.requires_grad_(), self.bias.requires_grad_()
        optimiser = torch.optim.LBFGS(
            [weight, bias],
            max_iter=iterations,
            max_eval=2 * iterations,
            tolerance_grad=1e-5,
            tolerance_change=1e-10,
            history_size=10,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            with torch.no_grad():
                z = _product(rows, weight) + bias
                loss, slope = self._loss(z, truth)
                weight.grad = _product(columns, slope).add_(weight, alpha=penalty)
                bias.grad = slope.sum(0)
                return loss + 0.5 * penalty * weight.square().sum()

        optimiser.step(closure)  # type: ignore[no-untyped-call]
        self.weight, self.bias = weight.detach(), bias.detach()
        if not bool(torch.isfinite(self.weight).all()):
            raise TrainingError(
                "the weights of the bag of words are not finite; lower its strength"
            )
        return self

    def _loss(self, z: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of z [N, K] and its derivative."""
        count = len(z)
        if self.kind == "label":
            log_probs = z.log_softmax(1)
            slope = log_probs.exp()
            slope[torch.arange(count), truth] -= 1
            return -log_probs.gather(1, truth[:, None]).sum() / count, slope / count
        if self.kind == "labels":
            nats = F.binary_cross_entropy_with_logits(z, truth, reduction="sum")
            return nats / count, (z.sigmoid() - truth) / count
        slope = z - truth
        return 0.5 * slope.square().sum() / count, slope / count

    def scores(self, bags: Bags) -> NDArray[np.float64]:
        """z of every bag, [N, K]."""
        found: NDArray[np.float64] = (_product(_rows(bags), self.weight) + self.bias).numpy()
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The weights as named arrays, for safetensors."""
        return {"weight": self.weight.numpy(), "bias": self.bias.numpy()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], *, kind: Kind) -> Self:
        """The model that :meth:`arrays` came from, with identical scores.

        Raises:
            RunError: arrays are missing or do not fit each other.
        """
        if set(arrays) != {"weight", "bias"}:
            raise RunError("no weights of a bag of words; train the model again")
        weight, bias = (np.asarray(arrays[name]) for name in ("weight", "bias"))
        if weight.ndim != 2 or bias.shape != weight.shape[1:] or weight.dtype != np.float64:
            raise RunError("the weights of a bag of words are damaged; train the model again")
        model = cls(*weight.shape, kind=kind)
        model.weight, model.bias = torch.from_numpy(weight), torch.from_numpy(bias)
        return model


_Sparse = tuple[Tensor, Tensor, Tensor]  # which, values, offsets


def _product(sparse: _Sparse, dense: Tensor) -> Tensor:
    """A sparse matrix [N, D] times a dense one [D, K]: a weighted sum of rows for each bag."""
    which, values, offsets = sparse
    if not len(which):
        return dense.new_zeros(len(offsets) - 1, dense.shape[1])
    return F.embedding_bag(
        which, dense, offsets, mode="sum", per_sample_weights=values, include_last_offset=True
    )


def _rows(bags: Bags) -> _Sparse:
    return tuple(map(torch.from_numpy, (bags.features, bags.values, bags.offsets)))  # type: ignore[return-value]


def _columns(bags: Bags, features: int) -> _Sparse:
    """The transpose: for each feature the bags that hold it."""
    order = np.argsort(bags.features, kind="stable")
    owners = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))[order]
    number = np.bincount(bags.features, minlength=features)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(number)])
    return tuple(map(torch.from_numpy, (owners, bags.values[order], offsets)))  # type: ignore[return-value]
