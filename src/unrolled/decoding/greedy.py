"""Greedy decoding: of every sentence, the likeliest token of each step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.decoding.hypotheses import (
    Hypothesis,
    check_distributions,
    check_end,
    first_tokens,
    step_limits,
)
from unrolled.decoding.sample import StepModel
from unrolled.decoding.top import likeliest
from unrolled.errors import ConfigError
from unrolled.state import batch_size, select


@torch.no_grad()
def greedy(
    model: StepModel,
    state: Any,
    *,
    start: int | Tensor | None,
    end: int,
    min_length: int = 0,
    max_length: int = 200,
    limits: Tensor | None = None,
) -> list[Hypothesis]:
    """An output of each sentence; of equally likely tokens, the one of the lowest id.

    The same as a :func:`~unrolled.decoding.beam` of size 1, but quicker. The score is the log-probability.

    Args:
        model: anything with ``step``.
        state: a started state of B sentences, one row each; not changed.
        start: the first token to read: an id, ids [B], or None to read nothing.
        end: the id that ends an output.
        min_length: tokens before the end, at least.
        max_length: tokens to draw, at most, the end among them.
        limits: the most tokens to draw for each sentence [B], int64, instead of ``max_length``.

    Raises:
        ConfigError: an argument is out of range, or does not fit the model or the state.
        RunError: the model's log-probabilities are NaN, infinite or all minus infinity.

    >>> from unrolled.baselines import KneserNey
    >>> model = KneserNey(2).fit(np.array([0, 1, 2] * 9), 3)
    >>> greedy(model, model.start(1), start=0, end=2)[0].tokens
    (1,)
    """
    if min_length < 0 or max_length < max(1, min_length):
        raise ConfigError(
            "an output's minimum length is at least 0 and its maximum at least 1 and not below that, "
            f"not {min_length} and {max_length}"
        )
    sentences = batch_size(state)
    caps = step_limits(limits, max_length, sentences)
    drawn = np.full((sentences, int(caps.max(initial=0))), -1)  # -1 after the last token
    gains, sums = np.zeros(drawn.shape), np.zeros(sentences)
    alive = np.arange(sentences)
    tokens = first_tokens(start, state)
    for t in range(drawn.shape[1]):
        log_probs, state = model.step(tokens, state)
        check_end(end, log_probs)
        allowed = log_probs
        if t < min_length:
            allowed = log_probs.clone()
            allowed[:, end] = -torch.inf
        values, chosen = likeliest(allowed)
        possible = np.isfinite(values)
        if not possible.all():
            check_distributions(log_probs)
        rows = alive[possible]
        drawn[rows, t], gains[rows, t] = chosen[possible], values[possible]
        sums[rows] += values[possible]
        going = possible & (chosen != end) & (t + 1 < caps[alive])
        alive = alive[going]
        if not len(alive):
            break
        if not going.all():
            state = select(state, torch.from_numpy(np.flatnonzero(going)).to(log_probs.device))
        tokens = torch.from_numpy(chosen[going]).to(log_probs.device)
    found = []
    for row, values, total in zip(drawn, gains, sums.tolist(), strict=True):
        ids = row[row >= 0].tolist()
        finished = ids[-1:] == [end]
        output = tuple(ids[:-1] if finished else ids)
        steps = tuple(values[: len(ids)].tolist())
        found.append(Hypothesis(output, total, total, finished, steps))
    return found
