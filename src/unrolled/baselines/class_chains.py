r"""A chain for each class, turned into a classifier by Bayes' rule.

.. math::
   p(y \mid w_1 \dots w_T) \propto p(y) \prod_{t=1}^{T+1} p(w_t \mid w_{t-k} \dots w_{t-1}, y)

with p(y) the share of class y among the examples, a boundary symbol before the sequence and as
:math:`w_{T+1}`, and the chain of each class a Markov chain with additive smoothing or a Kneser-Ney
model. With k = 0 this is the naive Bayes classifier of tokens. The review (Lipton 2015, section 1.2) asks
why not Markov models; this is the answer one can measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.baselines.counts import Integers
from unrolled.baselines.markov import Markov
from unrolled.baselines.ngram import KneserNey
from unrolled.errors import ConfigError, DataError, RunError

MOST_CLASSES = 1000


class ClassChains:
    """Chains that compete for a sequence.

    Args:
        order: k, the tokens of context, 0 or more.
        estimate: ``kneser-ney`` or ``additive``.
        smoothing: what ``additive`` adds to every count.

    >>> sequences = [np.array([0, 1, 0, 1]), np.array([1, 1, 1])]
    >>> chains = ClassChains(1, estimate="additive").fit(sequences, np.array([0, 1]), 2, vocabulary_size=2)
    >>> chains.log_probabilities([np.array([1, 1])]).argmax(1).tolist()
    [1]
    """

    def __init__(
        self,
        order: int,
        *,
        estimate: Literal["kneser-ney", "additive"] = "kneser-ney",
        smoothing: float = 1.0,
    ) -> None:
        self.order, self.estimate, self.smoothing = order, estimate, smoothing
        self.chains: list[Markov | KneserNey] = []
        self.priors: NDArray[np.float64] = np.zeros(0)

    def fit(
        self,
        sequences: Sequence[Integers],
        labels: Integers,
        classes: int,
        *,
        vocabulary_size: int,
    ) -> Self:
        """Counts, for each class, the sequences that bear its label.

        Raises:
            ConfigError: more classes than this baseline is meant for.
            DataError: a class without an example.
        """
        if classes > MOST_CLASSES:
            raise ConfigError(
                f"a chain for each of {classes:,} classes: expected at most {MOST_CLASSES:,}; "
                "choose the recurrent model"
            )
        number = np.bincount(labels, minlength=classes)
        if not number.all():
            raise DataError(f"class {int(number.argmin())} has no example to count")
        self.priors = number / number.sum()
        self.chains = []
        for label in range(classes):
            mine = np.flatnonzero(labels == label).tolist()
            text, _ = self._joined([sequences[i] for i in mine], vocabulary_size)
            chain: Markov | KneserNey
            if self.estimate == "additive":
                chain = Markov(self.order, smoothing=self.smoothing)
            else:
                chain = KneserNey(self.order + 1)
            self.chains.append(chain.fit(text, vocabulary_size + 1))
        return self

    def _joined(self, sequences: Sequence[Integers], boundary: int) -> tuple[Integers, Integers]:
        """The sequences as one text with k boundaries before and between them (one between if k = 0).

        The first boundary after a sequence is its end; the context of its first token is all k of them.

        Returns:
            The text, and where in it each sequence begins.
        """
        gap = np.full(max(self.order, 1), boundary)
        pieces = [gap[: self.order]]
        for sequence in sequences:
            pieces += [sequence, gap]
        lengths = np.array([len(sequence) + len(gap) for sequence in sequences], np.int64)
        return np.concatenate(pieces), self.order + np.cumsum(lengths) - lengths

    def log_probabilities(self, sequences: Sequence[Integers]) -> NDArray[np.float64]:
        """ln p(y | sequence) of each, [N, classes]."""
        if not self.chains:
            raise RunError("these chains have counted nothing yet; call fit first")
        boundary = self.chains[0].vocabulary_size - 1
        text, starts = self._joined(sequences, boundary)
        stops = starts + np.array([len(sequence) + 1 for sequence in sequences], np.int64)
        joint = np.empty((len(starts), len(self.chains)))
        for label, (chain, prior) in enumerate(zip(self.chains, self.priors, strict=True)):
            bounds = np.stack([starts, stops], 1).reshape(-1)
            nats = np.add.reduceat(np.append(chain.log_probabilities(text), 0.0), bounds)
            joint[:, label] = nats[::2] + np.log(prior)
        best = joint.max(1, keepdims=True)
        impossible = ~np.isfinite(best)  # every chain gives it probability 0
        joint = np.where(impossible, np.log(self.priors), joint - np.where(impossible, 0.0, best))
        log_probs: NDArray[np.float64] = joint - np.log(np.exp(joint).sum(1, keepdims=True))
        return log_probs

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as named arrays, for safetensors."""
        named: dict[str, NDArray[Any]] = {"priors": self.priors}
        for label, chain in enumerate(self.chains):
            named |= {f"{label}.{name}": array for name, array in chain.arrays().items()}
        return named

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The model that :meth:`arrays` came from, with identical probabilities.

        Raises:
            RunError: arrays are missing, truncated, altered or of another kind of model.
        """
        priors = np.asarray(arrays.get("priors", np.zeros(0)), np.float64)
        parts: list[dict[str, Any]] = [{} for _ in priors]
        for name, array in arrays.items():
            label, dot, own = name.partition(".")
            if dot and label.isdecimal() and int(label) < len(parts):
                parts[int(label)][own] = array
        if not parts or not all(parts):
            raise RunError("saved chains are damaged or foreign; train the model again")
        kind = Markov if "smoothing" in parts[0] else KneserNey
        chains = [kind.from_arrays(part) for part in parts]
        if isinstance(chains[0], Markov):
            model = cls(chains[0].order, estimate="additive", smoothing=chains[0].smoothing)
        else:
            model = cls(chains[0].order - 1)
        model.chains, model.priors = list(chains), priors
        return model
