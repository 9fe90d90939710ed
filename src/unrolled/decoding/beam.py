r"""Beam search: the likeliest outputs of step-protocol models, for many sentences at once.

Of every sentence, the ``size`` likeliest prefixes go on together. In a step each grows by every token.
An end among the ``size`` likeliest of these candidates finishes its hypothesis; the ``size``
likeliest that do not end are the next prefixes. Finished hypotheses are ranked by (Wu et al. 2016,
"Google's neural machine translation system", equation 14)

.. math::
   s(Y, X) &= \frac{\log p(Y \mid X)}{lp(Y)} + cp(X, Y), \qquad
   lp(Y) = \frac{(5 + |Y|)^\alpha}{(5 + 1)^\alpha} \;\text{or}\; |Y|^\alpha \\
   cp(X, Y) &= \beta \sum_i \log \min\Bigl(\sum_j p_{ij}, 1\Bigr)

where :math:`|Y|` counts all tokens drawn, the end too, and p_ij is the attention of step j to source
position i.

A sentence is done when ``size`` hypotheses have finished and no prefix, were it to end now, would be among
the n best of them (so that a beam of 1 is greedy decoding, and a model that is sure is not cut short by
endings that are all but impossible), at its limit of length, or when nothing can change its n best: a prefix
of log-probability l ≤ 0 cannot end above l / lp(limit), as log-probabilities and cp are at most 0 and lp
grows with the length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from unrolled.decoding.hypotheses import (
    Floats,
    Hypothesis,
    Integers,
    Kept,
    Tree,
    check_distributions,
    check_end,
    first_tokens,
    step_limits,
)
from unrolled.decoding.sample import StepModel
from unrolled.decoding.top import Booleans, Continuations, continuations
from unrolled.errors import ConfigError
from unrolled.state import batch_size, select


@dataclass(frozen=True)
class BeamOptions:
    """How to search and to rank.

    Args:
        size: prefixes kept for each sentence.
        n_best: hypotheses to return for each sentence, at most ``size``.
        length_penalty: alpha, from 0 (none) up: how much a longer output is favoured.
        length_form: "wu" for ((5 + length) / 6)^alpha, "mean" for length^alpha: with alpha 1 the mean.
        coverage_penalty: beta, from 0 (none) up; needs a model with ``attention``.
        min_length: tokens before the end, at least.
        max_length: tokens to draw, at most, the end among them.
        no_repeat_ngram: no sequence of so many tokens occurs twice in an output; 0 allows all.

    >>> BeamOptions(size=2, n_best=3)
    Traceback (most recent call last):
    unrolled.errors.ConfigError: the 3 best outputs of a beam of size 2 given; at most 2 can be kept
    """

    size: int = 5
    n_best: int = 1
    length_penalty: float = 0.6
    length_form: Literal["wu", "mean"] = "wu"
    coverage_penalty: float = 0.0
    min_length: int = 0
    max_length: int = 200
    no_repeat_ngram: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("size of a beam", self.size, 1),
            ("number of best outputs", self.n_best, 1),
            ("minimum length of an output", self.min_length, 0),
            ("maximum length of an output", self.max_length, 1),
            ("length of n-grams not to repeat", self.no_repeat_ngram, 0),
        ):
            if value < least:
                raise ConfigError(f"the {name} is at least {least}, not {value}")
        if self.n_best > self.size:
            raise ConfigError(
                f"the {self.n_best} best outputs of a beam of size {self.size} given; "
                f"at most {self.size} can be kept"
            )
        if self.min_length > self.max_length:
            raise ConfigError(
                f"the minimum length {self.min_length} is above the maximum {self.max_length}"
            )
        if self.length_form not in ("wu", "mean"):
            raise ConfigError(f"the length form is 'wu' or 'mean', not {self.length_form!r}")
        penalties = {"length": self.length_penalty, "coverage": self.coverage_penalty}
        for name, weight in penalties.items():
            if not 0 <= weight < np.inf:
                raise ConfigError(f"the {name} penalty is a finite number from 0 up, not {weight}")

    def lengths(self, length: Any) -> Any:
        """lp of a length, or of an array of them; none is below 1."""
        length = np.maximum(length, 1)
        if self.length_form == "wu":
            return ((5.0 + length) / 6.0) ** self.length_penalty
        return length**self.length_penalty


DEFAULTS = BeamOptions()


@torch.no_grad()
def beam(
    model: StepModel,
    state: Any,
    *,
    start: int | Tensor | None,
    end: int,
    options: BeamOptions = DEFAULTS,
    limits: Tensor | None = None,
    source_lengths: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """The best outputs of each sentence, best first.

    Equal scores keep the order in which they were found; equal candidates that of their prefixes, then
    of token ids. How sentences are batched changes nothing but the model's own rounding.

    Args:
        model: anything with ``step``. Its log-probabilities are at most 0. With a coverage penalty,
            ``model.attention(state)`` gives the attention [R, S] of the step that led to the state.
        state: a started state of B sentences, one row each; not changed. The first step is taken with
            these rows, later ones with ``size`` rows for each unfinished sentence, in a row.
        start: the first token to read: an id, ids [B], or None to read nothing.
        end: the id that ends an output.
        limits: the most tokens to draw for each sentence [B], int64, instead of ``max_length``.
        source_lengths: real source positions of each sentence [B], for the coverage penalty; else all S.

    Returns:
        For each sentence at least one and at most ``n_best`` hypotheses. Those that were cut off at the
        limit fill up the end of the list where fewer finished. Where none did, and every token is
        impossible or not allowed, it is the prefixes up to there.

    Raises:
        ConfigError: an argument does not fit the model or the state.
        RunError: the model's log-probabilities are NaN, infinite or all minus infinity.

    >>> from unrolled.baselines import KneserNey
    >>> model = KneserNey(2).fit(np.array([0, 1, 2] * 9), 3)
    >>> beam(model, model.start(1), start=0, end=2)[0][0].tokens
    (1,)
    """
    sentences = batch_size(state)
    if not sentences:
        return []
    attention = getattr(model, "attention", None)
    if options.coverage_penalty and not callable(attention):
        raise ConfigError(
            "the coverage penalty needs a model with attention, and this one has none; set it to 0"
        )
    caps = step_limits(limits, options.max_length, sentences)
    search = _Search(options, end, caps, source_lengths)
    tokens = first_tokens(start, state)
    while True:
        log_probs, state = model.step(tokens, state)
        weights = None
        if options.coverage_penalty and attention is not None:
            weights = attention(state)
        moved = search.advance(log_probs, weights)
        if moved is None:
            return search.kept.hypotheses(search.tree)
        rows, following = moved
        device, have = log_probs.device, len(log_probs)
        if search.steps == 1 < options.size:
            whole = torch.arange(have, device=device)
            state = select(state, whole.repeat_interleave(options.size))
            have *= options.size
            rows = rows * options.size + np.arange(len(rows)) % options.size
        if len(rows) != have or (rows != np.arange(have)).any():
            state = select(state, torch.from_numpy(rows).to(device))
        tokens = torch.from_numpy(following).to(device)


class _Search:
    """The prefixes of the unfinished sentences: S of them, K each, the likeliest first."""

    def __init__(
        self, options: BeamOptions, end: int, caps: Integers, source_lengths: Tensor | None
    ) -> None:
        sentences = len(caps)
        self.options, self.end, self.steps = options, end, 0
        self.tree, self.kept = Tree(), Kept(sentences, options.n_best)
        self.sentences = np.arange(sentences)  # which these are, [S]
        self.caps, self.longest = caps, options.lengths(caps)  # limits and their lp, [S]
        self.finished = np.zeros(sentences, np.int64)  # how many hypotheses, [S]
        # The prefixes' nodes in the tree and log-probabilities, minus infinity where there is no prefix;
        # [S, K], and before the first step [S, 1].
        self.nodes, self.scores = np.full((sentences, 1), -1), np.zeros((sentences, 1))
        self.history = np.zeros((sentences, 0), np.int64)  # their tokens [S * K, t], if asked for
        self.coverage = np.zeros((sentences, 1))  # their summed attention [S * K, positions]
        self.real: Booleans | None = None  # which positions are, [S, positions]
        self.source_lengths = source_lengths

    def advance(
        self, log_probs: Tensor, weights: Tensor | None
    ) -> tuple[Integers, Integers] | None:
        """Reads a step's log-probabilities [S * K, V] and attention [S * K, positions].

        Returns:
            The rows that the next step continues and the tokens it reads, or None if all is done.
        """
        size, count = self.options.size, len(self.nodes)
        found = self._candidates(log_probs)
        covered = self._covered(weights)
        ends = found.tokens == self.end
        parents = self.nodes.ravel()[found.rows]
        self.steps += 1

        ended = ends[:, :size] & (found.sums[:, :size] > -np.inf)
        if ended.any():
            self._finish(ended, found, parents, covered)
        on = np.argsort(ends, axis=1, kind="stable")[:, :size]
        if count > 1:
            on += np.arange(0, ends.size, ends.shape[1])[:, None]
        scores = found.sums.ravel()[on]
        scores[ends.ravel()[on]] = -np.inf
        if on.shape[1] < size:  # fewer tokens than prefixes
            missing = ((0, 0), (0, size - on.shape[1]))
            on = np.pad(on, missing)
            scores = np.pad(scores, missing, constant_values=-np.inf)
        if scores.min() == -np.inf:  # these rows repeat that of the best prefix
            on = np.where(scores == -np.inf, on[:, :1], on)
        rows, tokens = found.rows.ravel()[on], found.tokens.ravel()[on]
        nodes = self.tree.add(parents.ravel()[on], tokens, found.gains.ravel()[on])
        best = scores[:, 0]
        worst = self.kept.worst(self.sentences)
        done = (self.steps >= self.caps) | (best == -np.inf) | (best / self.longest <= worst)
        done |= (self.finished >= size) & (best / self.options.lengths(self.steps) <= worst)
        if done.any():
            self._cut(done, scores, nodes, rows, covered)
            if done.all():
                return None
        return self._move(~done, rows, tokens, scores, nodes, covered)

    def _candidates(self, log_probs: Tensor) -> Continuations:
        """The likeliest continuations that are allowed."""
        options = self.options
        check_end(self.end, log_probs)
        allowed = log_probs
        if self.steps < options.min_length:
            allowed = log_probs.clone()
            allowed[:, self.end] = -torch.inf
        if 0 < options.no_repeat_ngram <= self.steps:
            where = repeated(self.history, options.no_repeat_ngram)
            if len(where[0]):
                allowed = log_probs.clone() if allowed is log_probs else allowed
                allowed[tuple(torch.from_numpy(i).to(allowed.device) for i in where)] = -torch.inf
        found = continuations(self.scores, allowed, 2 * options.size)
        if not found.finite:
            check_distributions(log_probs)
        return found

    def _covered(self, weights: Tensor | None) -> Floats:
        if weights is None:
            return self.coverage
        attention: Floats = weights.double().cpu().numpy()
        if self.real is None:
            count, positions = attention.shape
            self.coverage = np.zeros((count, positions))
            self.real = np.ones((count, positions), np.bool_)
            if self.source_lengths is not None:
                lengths = self.source_lengths.cpu().numpy()
                self.real = np.arange(positions) < lengths[:, None]
        return self.coverage + attention

    def _score(
        self, sums: Floats, coverage: Floats, rows: Integers, sentence: Integers, length: int
    ) -> Floats:
        """The score of hypotheses [N] with the coverage of these rows, of these places among S."""
        score: Floats = sums / self.options.lengths(length)
        if self.real is not None:
            logs = np.log(np.clip(coverage[rows], np.finfo(np.float32).tiny, 1.0))
            logs = np.where(self.real[sentence], logs, 0.0).sum(-1)
            score = score + self.options.coverage_penalty * logs
        return score

    def _finish(
        self, ended: Booleans, found: Continuations, parents: Integers, covered: Floats
    ) -> None:
        """Offers the candidates [S, K] that have ended."""
        self.finished += ended.sum(1)
        sentence, rank = np.nonzero(ended)
        sums, rows = found.sums[sentence, rank], found.rows[sentence, rank]
        nodes = np.full(ended.shape, -1)
        scores, totals = np.full(ended.shape, -np.inf), np.full(ended.shape, -np.inf)
        ends, gains = np.full(len(sums), self.end), found.gains[sentence, rank]
        nodes[ended] = self.tree.add(parents[sentence, rank], ends, gains)
        totals[ended] = sums
        scores[ended] = self._score(sums, covered, rows, sentence, self.steps)
        self.kept.offer(self.sentences, scores, totals, nodes)

    def _cut(
        self, done: Booleans, scores: Floats, nodes: Integers, rows: Integers, covered: Floats
    ) -> None:
        """Keeps prefixes of sentences that are done with too few finished hypotheses."""
        width = self.nodes.shape[1]
        for place in np.flatnonzero(done & (self.kept.worst(self.sentences) == -np.inf)):
            if scores[place, 0] > -np.inf:
                sums, ids, reached = scores[place], nodes[place], rows[place]
                coverage, length = covered, self.steps
            elif not self.finished[place]:  # nothing can follow
                sums, ids = self.scores[place], self.nodes[place]
                reached = np.arange(place * width, (place + 1) * width)
                coverage, length = self.coverage, self.steps - 1
            else:
                continue
            live = sums > -np.inf
            where = np.full(int(live.sum()), place)
            score = self._score(sums[live], coverage, reached[live], where, length)
            self.kept.fill(int(self.sentences[place]), score, sums[live], ids[live])

    def _move(
        self,
        going: Booleans,
        rows: Integers,
        tokens: Integers,
        scores: Floats,
        nodes: Integers,
        covered: Floats,
    ) -> tuple[Integers, Integers]:
        """Makes the chosen candidates of the sentences that go on the new prefixes."""
        if not going.all():
            rows, tokens = rows[going], tokens[going]
            scores, nodes = scores[going], nodes[going]
            self.sentences, self.finished = self.sentences[going], self.finished[going]
            self.caps, self.longest = self.caps[going], self.longest[going]
            self.real = None if self.real is None else self.real[going]
        self.scores, self.nodes = scores, nodes
        rows, tokens = rows.ravel(), tokens.ravel()
        if self.real is not None:
            self.coverage = covered[rows]
        if self.options.no_repeat_ngram:
            self.history = np.concatenate([self.history[rows], tokens[:, None]], axis=1)
        return rows, tokens


def repeated(history: Integers, length: int) -> tuple[Integers, Integers]:
    """Rows and tokens that would repeat an n-gram of this length of the rows' history [R, t].

    >>> repeated(np.array([[7, 8, 9, 7]]), 2)
    (array([0]), array([8]))
    """
    following = history[:, length - 1 :]
    if length == 1:
        same = np.ones(following.shape, np.bool_)
    else:
        windows = np.lib.stride_tricks.sliding_window_view(history, length - 1, axis=1)
        same = (windows[:, :-1] == windows[:, -1:]).all(2)
    rows, places = np.nonzero(same)
    return rows, following[rows, places]
