r"""Forced scoring: the log-probabilities of given outputs.

.. math:: \log p(Y \mid X) = \sum_t \log p(y_t \mid y_1 \dots y_{t-1}, X)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.decoding.hypotheses import device_of, first_tokens
from unrolled.decoding.sample import StepModel
from unrolled.errors import ConfigError, RunError
from unrolled.state import batch_size, select


@torch.no_grad()
def score_targets(
    model: StepModel,
    state: Any,
    targets: Sequence[Sequence[int]],
    *,
    start: int | Tensor | None,
    end: int | None,
) -> list[tuple[float, ...]]:
    """The natural log of the probability of each token of each output.

    Args:
        model: anything with ``step``.
        state: a started state of B sentences, one row each; not changed. Several outputs of one sentence
            need its row several times: ``unrolled.state.select(state, rows)``.
        targets: B outputs, without their ends; they may be empty.
        start: the first token to read: an id, ids [B], or None to read nothing.
        end: the id that ends an output, which is scored last; None scores no end.

    Returns:
        For each output as many numbers as it has tokens, and one more for the end. Minus infinity
        where the model thinks a token impossible.

    Raises:
        ConfigError: the targets are not B, or a token is none of the model's.
        RunError: the model's log-probabilities are NaN.

    >>> from unrolled.baselines import Markov
    >>> chain = Markov(1).fit(np.array([0, 1, 0, 1, 2]), 3)
    >>> np.exp(score_targets(chain, chain.start(1), [[1]], start=0, end=2)).round(2).tolist()
    [[1.0, 0.5]]
    """
    sentences = batch_size(state)
    if len(targets) != sentences:
        raise ConfigError(
            f"{len(targets)} outputs to score and a state of {sentences} sentences given; "
            "one output for each is expected"
        )
    closing = [] if end is None else [end]
    outputs = [[*target, *closing] for target in targets]
    lengths = np.array([len(output) for output in outputs], np.int64)
    order = np.argsort(-lengths, kind="stable")  # the longest first, so that those that go on lead
    ids = np.zeros((sentences, int(lengths.max(initial=0))), np.int64)
    for row, place in zip(ids, order.tolist(), strict=True):
        row[: lengths[place]] = outputs[place]
    tokens = first_tokens(start, state)
    if (order != np.arange(sentences)).any():
        rows = torch.from_numpy(order).to(device_of(state))
        tokens, state = None if tokens is None else tokens[rows], select(state, rows)
    columns: list[Tensor] = []
    have = sentences
    for t in range(ids.shape[1]):
        going = int((lengths > t).sum())
        if going < have:
            kept = torch.arange(going, device=device_of(state))
            tokens, state = None if tokens is None else tokens[:going], select(state, kept)
            have = going
        log_probs, state = model.step(tokens, state)
        if t == 0:
            _check_tokens(ids, log_probs.shape[1])
        tokens = torch.from_numpy(ids[:going, t]).to(log_probs.device)
        columns.append(log_probs.gather(1, tokens[:, None])[:, 0].double())
    scores = np.zeros(ids.shape)
    for t, column in enumerate(columns):
        scores[: len(column), t] = column.cpu().numpy()
    if np.isnan(scores).any():
        raise RunError(
            "the model's log-probabilities are NaN, so outputs cannot be scored; "
            "use an earlier checkpoint or train again with a lower learning rate"
        )
    found: list[tuple[float, ...]] = [()] * sentences
    for place, steps in zip(order.tolist(), scores, strict=True):
        found[place] = tuple(steps[: lengths[place]].tolist())
    return found


def _check_tokens(ids: NDArray[np.int64], size: int) -> None:
    if not 0 <= int(ids.min()) <= int(ids.max()) < size:
        wrong = int(ids.min()) if ids.min() < 0 else int(ids.max())
        raise ConfigError(f"the model has the tokens 0 to {size - 1}, and {wrong} is to be scored")
