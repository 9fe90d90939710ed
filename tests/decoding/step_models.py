"""Step-protocol models for tests: their distributions are drawn from what they have read."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from unrolled.decoding import BeamOptions, Hypothesis
from unrolled.state import select

END = 0


class Drawn:
    """Random distributions, the same for the same sentence and prefix, whatever stands beside it.

    The state: each row's sentence and a number of its prefix. ``lengths`` [B] of sources give attention.
    """

    def __init__(self, size: int, *, seed: int = 0, lengths: list[int] | None = None) -> None:
        self.size, self.seed, self.lengths = size, seed, lengths
        self.rows: list[int] = []  # of each step

    def start(self, batch_size: int) -> tuple[Tensor, Tensor]:
        return torch.arange(batch_size), torch.zeros(batch_size, dtype=torch.int64)

    def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        sentences, codes = state
        self.rows.append(len(codes))
        if tokens is not None:
            assert not (tokens == END).any()  # nothing follows an end
            codes = codes * (self.size + 1) + tokens + 1
        return self.table(sentences, codes), (sentences, codes)

    def table(self, sentences: Tensor, codes: Tensor) -> Tensor:
        return torch.stack(
            [self.row(*pair) for pair in zip(sentences.tolist(), codes.tolist(), strict=True)]
        )

    def row(self, sentence: int, code: int) -> Tensor:
        return torch.log_softmax(
            1.5 * torch.randn(self.size, generator=self.chance(sentence, code)), 0
        )

    def attention(self, state: Any) -> Tensor:
        assert self.lengths is not None
        rows = torch.zeros(len(state[0]), max(self.lengths))
        for row, sentence, code in zip(rows, state[0].tolist(), state[1].tolist(), strict=True):
            chance = self.chance(sentence, code + 10**9)
            length = self.lengths[sentence]
            row[:length] = torch.softmax(2 * torch.randn(length, generator=chance), 0)
        return rows

    def chance(self, sentence: int, code: int) -> torch.Generator:
        return torch.Generator().manual_seed(hash((self.seed, sentence, code)) % 2**63)


class Fixed:
    """The same log-probabilities [V] at every step, for every row."""

    def __init__(self, log_probs: Tensor) -> None:
        self.log_probs = log_probs

    def start(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, 1)

    def step(self, tokens: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_probs.expand(len(state), -1), state


class Rows:
    """A state that is an object around a tuple of tensors; it notes what is selected."""

    def __init__(self, inner: Any, log: list[list[int]]) -> None:
        self.inner, self.log = inner, log

    def __len__(self) -> int:
        return len(self.inner[0])

    def select(self, rows: Tensor) -> Self:
        assert rows.dtype == torch.int64
        self.log.append(rows.tolist())
        return type(self)(select(self.inner, rows), self.log)


class Boxed:
    """A model whose states are :class:`Rows` of another's."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.log: list[list[int]] = []

    def start(self, batch_size: int) -> Rows:
        return Rows(self.model.start(batch_size), self.log)

    def step(self, tokens: Tensor | None, state: Rows) -> tuple[Tensor, Rows]:
        log_probs, inner = self.model.step(tokens, state.inner)
        return log_probs, Rows(inner, self.log)


def plain_beam(
    model: Drawn, sentence: int, options: BeamOptions, *, limit: int, start: int | None
) -> list[Hypothesis]:
    """One sentence, one prefix after the other, never stopped by a bound: the oracle of beam search."""
    live: list[tuple[tuple[int, ...], tuple[float, ...], list[Tensor]]] = [((), (), [])]
    finished: list[Hypothesis] = []

    def normalised(steps: tuple[float, ...]) -> float:
        length = max(len(steps), 1)
        base = (5 + length) / 6 if options.length_form == "wu" else length
        return sum_in_order(steps) / base**options.length_penalty

    def hypothesis(prefix: Any, *, ended: bool) -> Hypothesis:
        tokens, steps, seen = prefix
        total, score = sum_in_order(steps), normalised(steps)
        if options.coverage_penalty:
            covered = torch.stack(seen).double().sum(0)[: model.lengths[sentence]]
            score += options.coverage_penalty * float(covered.clamp_max(1).log().sum())
        return Hypothesis(tokens[:-1] if ended else tokens, total, score, ended, steps)

    for t in range(limit):
        grown = []
        for tokens, steps, seen in live:
            state = (torch.tensor([sentence]), torch.tensor([0]))
            log_probs = None
            for token in (start, *tokens):
                read = None if token is None else torch.tensor([token])
                log_probs, state = model.step(read, state)
            at = [] if model.lengths is None else [model.attention(state)[0]]
            for token, gain in enumerate(log_probs[0].double().tolist()):
                longer = (*tokens, token)
                n = options.no_repeat_ngram
                grams = [longer[i : i + n] for i in range(len(longer) - n + 1)] if n else []
                if len(set(grams)) < len(grams) or (token == END and t < options.min_length):
                    continue
                grown.append((longer, (*steps, gain), seen + at))
        totals = [sum_in_order(steps) for _, steps, _ in grown]
        ranked = [grown[i] for i in sorted(range(len(grown)), key=lambda i: -totals[i])]
        ended = [prefix for prefix in ranked[: options.size] if prefix[0][-1] == END]
        finished += [hypothesis(prefix, ended=True) for prefix in ended]
        following = [prefix for prefix in ranked if prefix[0][-1] != END][: options.size]
        if not following and not finished:
            break
        live = following
        if not live:
            break
        if len(finished) >= options.size:
            nth = sorted((found.score for found in finished), reverse=True)[options.n_best - 1]
            if normalised(live[0][1]) <= nth:
                break
    finished.sort(key=lambda found: -found.score)
    cut = [] if len(finished) >= options.size else [hypothesis(p, ended=False) for p in live]
    cut.sort(key=lambda found: -found.score)
    return (finished + cut)[: options.n_best]


def sum_in_order(steps: tuple[float, ...]) -> float:
    total = 0.0
    for gain in steps:
        total += gain
    return total
