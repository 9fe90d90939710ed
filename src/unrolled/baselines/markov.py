r"""The Markov chain of order k: a table of what followed each run of k tokens.

.. math:: p(w \mid h) = \frac{c(hw) + a}{\sum_v c(hv) + a V}

Maximum likelihood with a = 0, Laplace's add-one with a = 1, Lidstone's add-a between. Its table grows
as V to the power of k, which is why the review (Lipton 2015, section 1.2) sets it against networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.baselines.counts import Integers, NGramCounts, TokenIds, token_array
from unrolled.errors import ConfigError, RunError


class MarkovState(NamedTuple):
    """The contexts of a batch: ``nodes`` [B, order], and how many tokens were read, ``length`` [B]."""

    nodes: Tensor
    length: Tensor


class Markov:
    """A Markov chain of any order over tokens.

    Args:
        order: k, the number of tokens a prediction looks back on; 0 predicts from frequency alone.
            The first k tokens of an array are predicted by the chains of order 0 to k - 1.
        smoothing: a, added to every count. With 0 (maximum likelihood) what was never seen is
            impossible: its log-probability is minus infinity. After a context never seen the
            distribution is uniform, whatever a is.

    >>> chain = Markov(1).fit(np.array([0, 1, 0, 1, 2]), 3)
    >>> np.exp(chain.log_probabilities(np.array([0, 1, 0]))).tolist()
    [0.4, 1.0, 0.5]

    Raises:
        ConfigError: if ``order`` or ``smoothing`` is negative.
    """

    def __init__(self, order: int, *, smoothing: float = 0.0) -> None:
        if order < 0:
            raise ConfigError(f"--model.order of a Markov chain is at least 0, not {order}")
        if not (smoothing >= 0 and math.isfinite(smoothing)):
            raise ConfigError(f"--model.smoothing is a finite number from 0 up, not {smoothing}")
        self.order = order
        self.smoothing = float(smoothing)
        self._counts: NGramCounts | None = None

    def fit(self, ids: TokenIds, vocabulary_size: int) -> Self:
        """Counts the runs of k + 1 tokens in ``ids`` [N], an integer array or a token stream.

        Raises:
            DataError: if there are no ids, or ids not below ``vocabulary_size``.
        """
        self._prepare(NGramCounts.of(ids, vocabulary_size, length=self.order + 1))
        return self

    @property
    def counts(self) -> NGramCounts:
        """The counts; RunError before :meth:`fit`."""
        if self._counts is None:
            raise RunError("this Markov chain has counted nothing yet; call fit first")
        return self._counts

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self.counts.vocabulary_size

    @property
    def table_entries(self) -> int:
        """The number of counts stored; a full table of order k would have V to the power k + 1."""
        return self.counts.entries

    def log_probabilities(self, ids: TokenIds) -> NDArray[np.float64]:
        """The natural log of p(id_t | ids before t) for every t: float64 [len(ids)]."""
        tokens = token_array(ids, self.vocabulary_size)
        probability = np.empty(len(tokens))
        for level, (contexts, nodes) in enumerate(self.counts.walk(tokens)):
            here = slice(level, level + 1) if level < self.order else slice(level, None)
            total = self._totals[level][contexts[here]]
            probability[here] = self._smooth(self._numbers[level][nodes[here]], total)
        with np.errstate(divide="ignore"):
            log_probs: NDArray[np.float64] = np.log(probability)
        return log_probs

    def start(self, batch_size: int) -> MarkovState:
        """The state of ``batch_size`` sequences of which nothing was read."""
        nodes = torch.full((batch_size, self.order), -1)
        return MarkovState(nodes, torch.zeros(batch_size, dtype=torch.int64))

    def step(self, tokens: Tensor | None, state: MarkovState) -> tuple[Tensor, MarkovState]:
        """Reads one token per sequence and predicts the next.

        Args:
            tokens: [B], or None to predict from the state alone, as at the very start.
            state: from :meth:`start` or the last step.

        Returns:
            The natural log of the next token's distribution, float64 [B, V], and the new state.
        """
        nodes: Integers = state.nodes.cpu().numpy()
        length: Integers = state.length.cpu().numpy()
        if tokens is not None:
            read = token_array(tokens.cpu().numpy(), self.vocabulary_size)
            nodes, length = self.counts.advance(nodes, read), length + 1
        depth = np.minimum(length, self.order)
        probability = np.empty((len(nodes), self.vocabulary_size))
        for level in np.unique(depth).tolist():
            rows = np.flatnonzero(depth == level)
            contexts = nodes[rows, level - 1] if level else np.zeros(len(rows), np.int64)
            probability[rows] = self._distribution(level, contexts)
        with np.errstate(divide="ignore"):
            np.log(probability, out=probability)
        device = state.nodes.device if tokens is None else tokens.device
        moved = MarkovState(torch.from_numpy(nodes).to(device), torch.from_numpy(length).to(device))
        return torch.from_numpy(probability).to(device), moved

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The counts and the smoothing as named arrays, for safetensors."""
        return {**self.counts.arrays(), "smoothing": np.array([self.smoothing])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The chain that :meth:`arrays` came from, with identical probabilities.

        Raises:
            RunError: if arrays are missing, truncated, altered or of another kind of model.
        """
        counts = NGramCounts.from_arrays(arrays, continuation=False, extra=("smoothing",))
        smoothing = np.asarray(arrays["smoothing"])
        if smoothing.shape != (1,) or not (smoothing[0] >= 0 and np.isfinite(smoothing[0])):
            raise RunError("array 'smoothing' of a Markov chain is damaged; train the model again")
        chain = cls(len(counts.keys) - 1, smoothing=float(smoothing[0]))
        chain._prepare(counts)
        return chain

    def _prepare(self, counts: NGramCounts) -> None:
        """Per level, counts and totals; index -1 (unseen) gives 0."""
        self._counts = counts
        self._numbers = [np.append(number, 0) for number in counts.counts]
        self._totals = [np.append(counts.totals(level), 0) for level in range(len(counts.keys))]

    def _smooth(self, number: Integers, total: Integers) -> NDArray[np.float64]:
        below = total + self.smoothing * self.vocabulary_size
        smooth = np.full(number.shape, 1 / self.vocabulary_size)  # stays after an unseen context
        np.divide(number + self.smoothing, below, out=smooth, where=below > 0)
        return smooth

    def _distribution(self, level: int, contexts: Integers) -> NDArray[np.float64]:
        number = np.zeros((len(contexts), self.vocabulary_size), np.int64)
        rows, following, nodes = self.counts.continuations(level, contexts)
        number[rows, following] = self._numbers[level][nodes]
        return self._smooth(number, self._totals[level][contexts][:, None])
