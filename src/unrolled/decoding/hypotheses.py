"""Outputs as decoders build them: a tree of tokens, the best hypotheses kept, and what they check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.errors import ConfigError, RunError
from unrolled.state import batch_size

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Hypothesis:
    """An output.

    Args:
        tokens: its ids, without the end.
        log_prob: the natural log of its probability; with the end, if it finished.
        score: what it is ranked by.
        finished: it ended by itself; False if it was cut off.
        steps: the log-probability of each token, the end's last.

    >>> Hypothesis((4, 7), log_prob=-1.5, score=-1.5, finished=True, steps=(-0.5, -0.75, -0.25)).tokens
    (4, 7)
    """

    tokens: tuple[int, ...]
    log_prob: float
    score: float
    finished: bool
    steps: tuple[float, ...]


class Tree:
    """Prefixes that share their beginnings: every node is a token, and knows the one before it.

    >>> tree = Tree()
    >>> first = tree.add(np.array([-1]), np.array([5]), np.array([-0.5]))
    >>> tree.paths(tree.add(first, np.array([6]), np.array([-1.0])))
    [((5, 6), (-0.5, -1.0))]
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Integers, Integers, Floats]] = []
        self._size = 0

    def add(self, parents: Integers, tokens: Integers, log_probs: Floats) -> Integers:
        """New nodes, numbered, in the shape of their parents; -1 is the root."""
        self._parts.append((parents.ravel(), tokens.ravel(), log_probs.ravel()))
        first = self._size
        self._size += parents.size
        return np.arange(first, self._size).reshape(parents.shape)

    def paths(self, nodes: Integers) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
        """Tokens and log-probabilities from the root to each of the nodes [N]."""
        if not self._parts:
            return [((), ())] * len(nodes)
        parents, tokens, log_probs = (
            np.concatenate(part) for part in zip(*self._parts, strict=True)
        )
        columns, reached = [], nodes
        while (reached >= 0).any():
            columns.append(reached)
            reached = np.where(reached >= 0, parents[reached], -1)
        if not columns:
            return [((), ())] * len(nodes)
        table = np.stack(columns[::-1], axis=1)  # [N, longest], -1 before a path's beginning
        return [
            (tuple(tokens[path].tolist()), tuple(log_probs[path].tolist()))
            for path in (row[row >= 0] for row in table)
        ]


class Kept:
    """The n best hypotheses of each of B sentences: those that finished, then those cut off."""

    def __init__(self, sentences: int, n_best: int) -> None:
        self._scores = np.full((sentences, n_best), -np.inf)
        self._sums = np.full((sentences, n_best), -np.inf)
        self._nodes = np.full((sentences, n_best), -1)
        self._cut: dict[int, tuple[Floats, Floats, Integers]] = {}

    def worst(self, sentences: Integers) -> Floats:
        """The lowest score kept of each; minus infinity while there is room."""
        worst: Floats = self._scores[sentences, -1]
        return worst

    def offer(self, sentences: Integers, scores: Floats, sums: Floats, nodes: Integers) -> None:
        """Finished hypotheses [S, K] of different sentences; minus infinity where there is none."""
        have = self._scores.shape[1]
        merged = np.concatenate([self._scores[sentences], scores], axis=1)
        order = np.argsort(-merged, axis=1, kind="stable")[:, :have]
        self._scores[sentences] = np.take_along_axis(merged, order, axis=1)
        for mine, new in ((self._sums, sums), (self._nodes, nodes)):
            both = np.concatenate([mine[sentences], new], axis=1)
            mine[sentences] = np.take_along_axis(both, order, axis=1)

    def fill(self, sentence: int, scores: Floats, sums: Floats, nodes: Integers) -> None:
        """Prefixes [K] of a sentence that take the places which finished hypotheses leave."""
        room = int((self._scores[sentence] == -np.inf).sum())
        order = np.argsort(-scores, kind="stable")[:room]
        self._cut[sentence] = (scores[order], sums[order], nodes[order])

    def hypotheses(self, tree: Tree) -> list[list[Hypothesis]]:
        """All of them, by sentence."""
        found: list[list[Hypothesis]] = []
        owners, scores, sums, nodes, whole = [], [], [], [], []
        for sentence, row in enumerate(self._scores):
            have = row > -np.inf
            owners += [sentence] * int(have.sum())
            scores += row[have].tolist()
            sums += self._sums[sentence, have].tolist()
            nodes += self._nodes[sentence, have].tolist()
            whole += [True] * int(have.sum())
            if sentence in self._cut:
                more_scores, more_sums, more_nodes = self._cut[sentence]
                owners += [sentence] * len(more_nodes)
                scores += more_scores.tolist()
                sums += more_sums.tolist()
                nodes += more_nodes.tolist()
                whole += [False] * len(more_nodes)
            found.append([])
        paths = tree.paths(np.array(nodes, np.int64))
        for owner, score, total, (tokens, steps), finished in zip(
            owners, scores, sums, paths, whole, strict=True
        ):
            output = tokens[:-1] if finished else tokens
            found[owner].append(Hypothesis(output, total, score, finished, steps))
        return found


def first_tokens(start: int | Tensor | None, state: Any) -> Tensor | None:
    """What the first step reads for each row of a state: ids [B], or None.

    Raises:
        ConfigError: if the ids given are not [B].
    """
    rows = batch_size(state)
    if start is None:
        return None
    if not isinstance(start, Tensor):
        return torch.full((rows,), start, device=device_of(state))
    if start.shape != (rows,) or start.dtype != torch.int64:
        raise ConfigError(
            f"first tokens are ids, int64 [{rows}] here, not {start.dtype} {list(start.shape)}"
        )
    return start


def device_of(state: Any) -> torch.device | None:
    """Where the first part of a state is that says so; an object says it by an attribute ``device``."""
    if isinstance(state, tuple):
        return next((device for part in state if (device := device_of(part)) is not None), None)
    found: torch.device | None = getattr(state, "device", None)
    return found


def step_limits(limits: Tensor | None, max_length: int, sentences: int) -> Integers:
    """How many tokens may be drawn for each sentence [B].

    Raises:
        ConfigError: if the limits given are not [B], or one is below 1.
    """
    if limits is None:
        return np.full(sentences, max_length)
    if limits.shape != (sentences,) or limits.dtype != torch.int64:
        raise ConfigError(
            f"limits of length are int64 [{sentences}] here, not {limits.dtype} {list(limits.shape)}"
        )
    caps: Integers = limits.cpu().numpy()
    if (caps < 1).any():
        raise ConfigError(f"a limit is at least 1 token, not {caps.min()}")
    return caps


def check_end(end: int, log_probs: Tensor) -> None:
    """ConfigError unless the end is one of the tokens of log-probabilities [B, V]."""
    if not 0 <= end < log_probs.shape[1]:
        raise ConfigError(
            f"the model has the tokens 0 to {log_probs.shape[1] - 1}, and the end is to be {end}"
        )


def check_distributions(log_probs: Tensor) -> None:
    """RunError unless the likeliest token of every row [B, V] has a finite log-probability."""
    if not torch.isfinite(log_probs.amax(dim=-1)).all():
        raise RunError(
            "the model's log-probabilities are NaN or infinite, so no token can be chosen; "
            "use an earlier checkpoint or train again with a lower learning rate"
        )
