r"""Outputs drawn from a step-protocol model, each with chances of its own.

At step t of an output, a number u between 0 and 1 chooses the first token at which the sum of probabilities
exceeds it (inverse transform sampling; Devroye 1986, section II.2):

.. math:: y_t = \min \{ w : \sum_{v \le w} p(v \mid y_{<t}, X) > u \}

The numbers come from a generator for each output. So an output depends on its own seed and input only, not on
what is drawn beside it: how inputs are batched changes nothing but the model's own rounding.
:func:`unrolled.decoding.sample.stream` draws a batch with one generator, and is for text without end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.decoding.beam import repeated
from unrolled.decoding.hypotheses import (
    Hypothesis,
    Integers,
    check_distributions,
    check_end,
    first_tokens,
    step_limits,
)
from unrolled.decoding.sample import StepModel, filter_log_probs
from unrolled.errors import ConfigError
from unrolled.state import batch_size, select


@dataclass(frozen=True)
class DrawOptions:
    """How outputs are drawn; temperature, top_k and top_p as :func:`filter_log_probs` has them.

    Args:
        min_length: tokens before the end, at least.
        max_length: tokens to draw, at most, the end among them.
        no_repeat_ngram: no sequence of so many tokens occurs twice in an output; 0 allows all.
        never: tokens that are not drawn, such as one for what is unknown.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_length: int = 0
    max_length: int = 200
    no_repeat_ngram: int = 0
    never: tuple[int, ...] = ()


PLAIN = DrawOptions()


def generators(
    seed: int, numbers: Sequence[int], copies: int = 1
) -> list[list[np.random.Generator]]:
    """The chances of so many outputs of each of the sentences with these numbers.

    >>> [[one], [same]] = generators(0, [7, 7])
    >>> one.random() == same.random()
    True
    """
    return [
        [np.random.default_rng([seed, number, copy]) for copy in range(copies)]
        for number in numbers
    ]


@torch.no_grad()
def draw(
    model: StepModel,
    state: Any,
    generators: Sequence[Sequence[np.random.Generator]],
    *,
    start: int | Tensor | None,
    end: int,
    options: DrawOptions = PLAIN,
    limits: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """As many outputs of each sentence as it has generators, in their order.

    Args:
        model: anything with ``step``.
        state: a started state of B sentences, one row each; not changed.
        generators: for each sentence equally many, at least one, each the chances of one output.
        start: the first token to read: an id, ids [B], or None to read nothing.
        end: the id that ends an output.
        limits: the most tokens to draw for each sentence [B], int64, instead of ``max_length``.

    Returns:
        For each sentence its hypotheses. Log-probabilities are the model's own, before temperature and
        the like; the score is the same.

    Raises:
        ConfigError: an argument is out of range, or does not fit the model or the state.
        RunError: the model's log-probabilities are NaN, infinite or all minus infinity.

    >>> from unrolled.baselines import KneserNey
    >>> model = KneserNey(2).fit(np.array([0, 1, 2] * 9), 3)
    >>> chances = [[np.random.default_rng(0), np.random.default_rng(1)]]
    >>> [h.tokens for h in draw(model, model.start(1), chances, start=0, end=2)[0]]
    [(1,), (1,)]
    """
    sentences = batch_size(state)
    if not sentences:
        return []
    copies = len(generators[0]) if generators else 0
    if len(generators) != sentences or not copies or {len(g) for g in generators} != {copies}:
        raise ConfigError(
            f"{sentences} sentences need equally many generators each, at least one, not "
            f"{[len(g) for g in generators]}"
        )
    if not 0 <= options.min_length <= options.max_length:
        raise ConfigError(
            f"the minimum length {options.min_length} is below 0 or above the maximum "
            f"{options.max_length}"
        )
    caps = np.repeat(step_limits(limits, options.max_length, sentences), copies)
    drawing = _Drawing(caps, [g for row in generators for g in row], end, options)
    tokens = first_tokens(start, state)
    log_probs, state = model.step(tokens, state)
    if copies > 1:
        rows = torch.arange(sentences, device=log_probs.device).repeat_interleave(copies)
        log_probs, state = log_probs[rows], select(state, rows)
    while True:
        going = drawing.advance(log_probs)
        if not len(going):
            break
        if len(going) < len(log_probs):
            state = select(state, torch.from_numpy(going).to(log_probs.device))
        tokens = torch.from_numpy(drawing.last).to(log_probs.device)
        log_probs, state = model.step(tokens, state)
    found = drawing.hypotheses()
    return [found[i : i + copies] for i in range(0, len(found), copies)]


class _Drawing:
    """The outputs [R] so far, of which those ``alive`` go on."""

    def __init__(
        self,
        caps: Integers,
        generators: Sequence[np.random.Generator],
        end: int,
        options: DrawOptions,
    ) -> None:
        self.caps, self.generators, self.end, self.options = caps, generators, end, options
        self.alive = np.arange(len(caps))
        self.last = np.empty(0, np.int64)  # the tokens of those that go on
        self.history = np.zeros((len(caps), 0), np.int64)  # tokens of those that go on, [A, t]
        self.tokens: list[list[int]] = [[] for _ in generators]
        self.gains: list[list[float]] = [[] for _ in generators]

    def advance(self, log_probs: Tensor) -> Integers:
        """Draws a token for each living output by log-probabilities [A, V]; which of the rows go on."""
        allowed, possible = self._allowed(log_probs)
        drawn = np.full(len(self.alive), self.end)
        rows = np.flatnonzero(possible)
        if len(rows):
            drawn[rows] = self._drawn(allowed[torch.from_numpy(rows).to(allowed.device)], rows)
        places = torch.from_numpy(drawn).to(log_probs.device)
        gains = log_probs.gather(1, places[:, None])[:, 0].double().cpu().numpy()
        for row in rows.tolist():
            output = self.alive[row]
            self.tokens[output].append(int(drawn[row]))
            self.gains[output].append(float(gains[row]))
        steps = self.history.shape[1] + 1
        going = np.flatnonzero(possible & (drawn != self.end) & (steps < self.caps[self.alive]))
        self.alive, self.last = self.alive[going], drawn[going]
        self.history = np.concatenate([self.history[going], self.last[:, None]], axis=1)
        return going

    def _allowed(self, log_probs: Tensor) -> tuple[Tensor, Any]:
        """The log-probabilities of what may follow, and for which rows anything may."""
        check_end(self.end, log_probs)
        check_distributions(log_probs)
        options, steps = self.options, self.history.shape[1]
        allowed = log_probs.to(torch.float64, copy=True)
        allowed[:, list(options.never)] = -torch.inf
        if steps < options.min_length:
            allowed[:, self.end] = -torch.inf
        if 0 < options.no_repeat_ngram <= steps:
            rows, tokens = repeated(self.history, options.no_repeat_ngram)
            device = allowed.device
            places = torch.from_numpy(rows).to(device), torch.from_numpy(tokens).to(device)
            allowed[places] = -torch.inf
        return allowed, (allowed.amax(1) > -torch.inf).cpu().numpy()

    def _drawn(self, allowed: Tensor, rows: Integers) -> Integers:
        """Tokens of these rows of the living, by the cumulated probabilities."""
        options = self.options
        kept = filter_log_probs(
            allowed, temperature=options.temperature, top_k=options.top_k, top_p=options.top_p
        )
        chances = [self.generators[output].random() for output in self.alive[rows]]
        sums = kept.exp().cumsum(1)
        top = sums[:, -1:]
        points = torch.tensor(chances, dtype=sums.dtype, device=sums.device)[:, None] * top
        points = torch.minimum(points, torch.nextafter(top, torch.zeros_like(top)))
        found: Integers = torch.searchsorted(sums, points, right=True)[:, 0].cpu().numpy()
        return found

    def hypotheses(self) -> list[Hypothesis]:
        found = []
        for tokens, gains in zip(self.tokens, self.gains, strict=True):
            finished = tokens[-1:] == [self.end]
            output = tuple(tokens[:-1] if finished else tokens)
            total = float(sum(gains))
            found.append(Hypothesis(output, total, total, finished, tuple(gains)))
        return found
