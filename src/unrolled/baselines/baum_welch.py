r"""Hidden Markov models of text without tags: Baum–Welch, the maximum of the likelihood by expectation.

Rabiner (1989, "A tutorial on hidden Markov models", sections III and V.B) for many sequences: with
:math:`\gamma_t(i) = p(s_t = i \mid w)` and :math:`\xi_t(i, j) = p(s_{t-1} = i, s_t = j \mid w)`,

.. math::
   \pi_i \propto \sum \gamma_1(i), \qquad a_{ij} \propto \sum_{t > 1} \xi_t(i, j), \qquad
   b_{iw} \propto \sum_{t: w_t = w} \gamma_t(i) .

These expected counts are the gradients of the log-likelihood by the logarithms of the parameters, which
:func:`unrolled.decoding.chain.log_partition` forms. No update lowers the likelihood.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.baselines.counts import token_array
from unrolled.decoding import chain
from unrolled.errors import ConfigError, DataError, RunError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

POSITIONS = 2**21  # numbers, positions times states, that are worked on at once
PARTS = ("start", "transitions", "emissions")


class HiddenStates:
    """A first-order hidden Markov model whose states are found without tags.

    Args:
        states: K, at least 1.
        iterations: the most updates of :meth:`fit`.
        tolerance: updates end when one gains less than this, in nats per token.
        seed: of the first guess.

    >>> text = [np.array([0, 1] * 10), np.array([1, 0, 1])]
    >>> model = HiddenStates(2, seed=3).fit(text, 2)
    >>> bool(model.log_likelihood(text) > -2.0)  # all that is left to chance is how each text begins
    True
    >>> model.predict(text[1]).tolist() in ([0, 1, 0], [1, 0, 1])
    True

    Raises:
        ConfigError: if an option is out of its range.
    """

    def __init__(
        self, states: int, *, iterations: int = 100, tolerance: float = 1e-5, seed: int = 0
    ) -> None:
        if states < 1:
            raise ConfigError(f"--model.states is at least 1, not {states}")
        if iterations < 0:
            raise ConfigError(f"--model.iterations is at least 0, not {iterations}")
        if not tolerance >= 0:
            raise ConfigError(f"--model.tolerance is at least 0, not {tolerance}")
        self.states = states
        self.iterations = iterations
        self.tolerance = tolerance
        self.seed = seed
        self.log_likelihoods: list[float] = []  # before each update of fit, and at its end
        self.start: Floats = np.zeros(0)
        self.transitions: Floats = np.zeros((0, 0))
        self.emissions: Floats = np.zeros((0, 0))

    def guess(self, vocabulary_size: int) -> Self:
        """Draws parameters for V tokens, every distribution with the same chance."""
        rng = np.random.default_rng(self.seed)
        k = self.states
        return self.set(
            rng.dirichlet(np.ones(k)),
            rng.dirichlet(np.ones(k), k),
            rng.dirichlet(np.ones(vocabulary_size), k),
        )

    def set(self, start: Floats, transitions: Floats, emissions: Floats) -> Self:
        """Sets the probabilities: start [K], transitions [K, K] (to j from i), emissions [K, V].

        Raises:
            ConfigError: the shapes do not fit, or a distribution does not sum to one.
        """
        parts = [np.array(part, np.float64) for part in (start, transitions, emissions)]
        k, shapes = self.states, [part.shape for part in parts]
        if shapes[:2] != [(k,), (k, k)] or len(shapes[2]) != 2 or shapes[2][0] != k:
            raise ConfigError(
                f"parameters of {k} states are [{k}], [{k}, {k}] and [{k}, V], not {shapes}"
            )
        if not all((part >= 0).all() and np.allclose(part.sum(-1), 1) for part in parts):
            raise ConfigError("the probabilities of a hidden Markov model sum to one in each row")
        self.start, self.transitions, self.emissions = parts
        return self

    def fit(self, texts: Sequence[Integers], vocabulary_size: int) -> Self:
        """Improves the parameters, those of :meth:`set` or else a guess, on texts of ids.

        Raises:
            DataError: if there are no tokens, or ids not below ``vocabulary_size``, or the parameters that
                were set make a text impossible.
        """
        arrays = [token_array(text, vocabulary_size) for text in texts]
        tokens = sum(map(len, arrays))
        if not tokens:
            raise DataError("there are no tokens to learn from; at least one is needed")
        if self.emissions.shape != (self.states, vocabulary_size):
            self.guess(vocabulary_size)
        self.log_likelihoods = []
        for update in range(self.iterations + 1):
            total, counts = self._expected(arrays)
            if not np.isfinite(total):
                raise DataError("the parameters make a text impossible; begin with none at zero")
            gain = total - self.log_likelihoods[-1] if update else np.inf
            self.log_likelihoods.append(total)
            if update == self.iterations or gain < self.tolerance * tokens:
                break
            old = (self.start, self.transitions, self.emissions)
            self.start, self.transitions, self.emissions = map(_normalised, counts, old)
        return self

    def log_likelihood(self, texts: Sequence[Integers]) -> float:
        """The summed natural log of the texts' probabilities."""
        self._fitted()
        arrays = [token_array(text, self.emissions.shape[1]) for text in texts]
        start, transitions, emissions = self._logs()
        total = 0.0
        for ids, lengths in self._batches(arrays):
            scores = emissions.t()[ids]
            found = chain.log_partition(
                scores, transitions, start, torch.zeros_like(start), lengths
            )
            total += float(found.sum())
        return total

    def predict(self, text: Integers) -> Integers:
        """The best path of states [T] of a text of ids [T]."""
        emissions, start, transitions = self._of_text(text)
        path, _ = chain.viterbi(
            emissions, transitions, start, torch.zeros(self.states), _length(text)
        )
        states: Integers = path[0].numpy()
        return states

    def probabilities(self, text: Integers) -> Floats:
        """The probability of each state at each token given the whole text: float64 [T, K]."""
        emissions, start, transitions = self._of_text(text)
        chances: Floats = chain.marginals(
            emissions, transitions, start, torch.zeros(self.states), _length(text)
        )[0].numpy()
        return chances

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The parameters as named arrays, for safetensors."""
        self._fitted()
        found = {name: getattr(self, name) for name in PARTS}
        return {"hidden": np.array([_checksum(found)], np.int64), **found}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The model that :meth:`arrays` came from.

        Raises:
            RunError: if arrays are missing, truncated, altered or of another kind of model.
        """
        if set(arrays) != {"hidden", *PARTS}:
            raise RunError("a saved hidden Markov model is foreign: other arrays are expected")
        found = {name: np.ascontiguousarray(arrays[name]) for name in PARTS}
        if np.asarray(arrays["hidden"]).tolist() != [_checksum(found)]:
            raise RunError("a saved hidden Markov model is damaged; train it again")
        return cls(len(found["start"])).set(**found)

    def _logs(self) -> tuple[Tensor, Tensor, Tensor]:
        with np.errstate(divide="ignore"):
            a, b, c = (torch.from_numpy(np.log(getattr(self, name))) for name in PARTS)
        return a, b, c

    def _batches(self, arrays: Sequence[Integers]) -> list[tuple[Tensor, Tensor]]:
        """Ids [B, T] and lengths [B] of texts of like length."""
        ordered = sorted(arrays, key=len)
        batches: list[tuple[Tensor, Tensor]] = []
        while ordered:
            longest = max(1, len(ordered[-1]))
            some = max(1, POSITIONS // (longest * self.states))
            chosen, ordered = ordered[-some:], ordered[:-some]
            ids = np.zeros((len(chosen), longest), np.int64)
            for row, text in enumerate(chosen):
                ids[row, : len(text)] = text
            lengths = torch.tensor([len(text) for text in chosen])
            batches.append((torch.from_numpy(ids), lengths))
        return batches

    def _expected(self, arrays: Sequence[Integers]) -> tuple[float, list[Floats]]:
        """The log-likelihood, and the expected counts in the shapes of the parameters."""
        start, transitions, emissions = self._logs()
        counts = [torch.zeros_like(part) for part in (start, transitions, emissions.t())]
        start.requires_grad_(), transitions.requires_grad_()
        end, total = torch.zeros(self.states), 0.0
        for ids, lengths in self._batches(arrays):
            scores = emissions.t()[ids].requires_grad_()
            found = chain.log_partition(scores, transitions, start, end, lengths).sum()
            total += float(found.detach())
            gradients = torch.autograd.grad(found, (start, transitions, scores))
            counts[0] += gradients[0]
            counts[1] += gradients[1]
            counts[2].index_add_(0, ids.flatten(), gradients[2].flatten(0, 1))
        start_count, transition_count, by_token = (count.numpy() for count in counts)
        return total, [start_count, transition_count, by_token.T]

    def _of_text(self, text: Integers) -> tuple[Tensor, Tensor, Tensor]:
        self._fitted()
        ids = torch.from_numpy(token_array(text, self.emissions.shape[1]))
        start, transitions, emissions = self._logs()
        return emissions.t()[ids][None], start, transitions

    def _fitted(self) -> None:
        if not len(self.start):
            raise RunError("this hidden Markov model has learned nothing yet; call fit first")


def _length(text: Integers) -> Tensor:
    return torch.tensor([len(text)])


def _normalised(counts: Floats, before: Floats) -> Floats:
    """Rows that sum to one; a state that is never visited keeps what it had."""
    total = counts.sum(-1, keepdims=True)
    return np.where(total > 0, counts / np.where(total > 0, total, 1.0), before)


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> int:
    checksum = 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        checksum = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(array.tobytes(), checksum)
    return checksum
