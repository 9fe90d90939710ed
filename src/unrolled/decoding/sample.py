r"""Sampling from a model token by token, the inputs being its own outputs.

A step protocol model gives :math:`\log p(w \mid h)`; it is reshaped, in this order, by temperature
:math:`p^{1/\tau}` (0: the likeliest token), by top-k (Fan, Lewis & Dauphin 2018) and by
top-p, the nucleus (Holtzman et al. 2020, section 3.1): the likeliest tokens whose mass first reaches p.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from unrolled.decoding.hypotheses import check_end
from unrolled.errors import ConfigError, RunError
from unrolled.state import batch_size, select


class StepModel(Protocol):
    """A model that predicts token by token: the step protocol.

    ``start(batch_size)`` is the state before any token. ``step(tokens, state)`` reads one token [B]
    per sequence (None: nothing, at the very start) and gives the next token's log-probabilities
    [B, V] and the new state.
    """

    def start(self, batch_size: int, /) -> Any: ...

    def step(self, tokens: Tensor | None, state: Any, /) -> tuple[Tensor, Any]: ...


def filter_log_probs(
    log_probs: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> Tensor:
    """Reshapes distributions before sampling; what is cut becomes minus infinity, the rest sums to one.

    Args:
        log_probs: [B, V], natural logs, not necessarily normalised.
        temperature: from 0 (the likeliest token only) over 1 (as it is) up.
        top_k: keep the k likeliest tokens, at least 1; None keeps all.
        top_p: keep the likeliest tokens up to the one with which their mass reaches this, in (0, 1];
            at least one is kept; None keeps all.

    Returns:
        Normalised log-probabilities [B, V].

    Raises:
        ConfigError: if an option is out of its range.
        RunError: if a row has no finite distribution (NaN, or all tokens impossible).

    >>> filter_log_probs(torch.tensor([[0.5, 0.3, 0.2]]).log(), top_k=2).exp()
    tensor([[0.6250, 0.3750, 0.0000]])
    """
    _check(temperature, top_k, top_p)
    top = log_probs.amax(dim=-1, keepdim=True)
    if not torch.isfinite(top).all():
        raise RunError(
            "the model's log-probabilities are NaN or infinite, so nothing can be drawn; "
            "use an earlier checkpoint or train again with a lower learning rate"
        )
    if temperature == 0 or top_k == 1:
        best = log_probs.argmax(dim=-1, keepdim=True)
        return torch.full_like(log_probs, -math.inf).scatter(-1, best, 0.0)
    bounds = torch.finfo(log_probs.dtype)
    temperature = min(max(temperature, bounds.tiny), bounds.max)
    kept = torch.log_softmax((log_probs - top) / temperature, dim=-1)
    if top_k is not None and top_k < kept.shape[-1]:
        values, places = kept.topk(top_k, dim=-1)
        kept = torch.full_like(kept, -math.inf).scatter(-1, places, values)
        kept = torch.log_softmax(kept, dim=-1)
    if top_p is not None and top_p < 1:
        values, places = kept.sort(dim=-1, descending=True, stable=True)
        mass = values.exp()
        above = mass.cumsum(dim=-1) - mass  # of the tokens likelier than this one
        tail = above >= top_p
        tail[..., 0] = False  # however small top_p is
        values = values.masked_fill(tail, -math.inf)
        kept = torch.log_softmax(torch.empty_like(kept).scatter(-1, places, values), dim=-1)
    return kept


def sample(
    model: StepModel,
    *,
    prompt: Tensor,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: Generator | None = None,
    state: Any = None,
    copies: int = 1,
    end: int | None = None,
) -> Tensor:
    """Draws a continuation of every prompt.

    Args:
        model: anything with ``start`` and ``step``.
        prompt: token ids [B, P], int64; P may be 0 when ``state`` is None.
        length: how many tokens to draw, from 0 up.
        temperature, top_k, top_p: see :func:`filter_log_probs`.
        generator: the source of chance, on the device of the log-probabilities; None is torch's own.
        state: continue from this state of B sequences (the prompt is read after it).
        copies: continuations per prompt; each prompt is read only once.
        end: a continuation stops when this id is drawn; None stops at the length only.

    Returns:
        The drawn token ids without the prompt: [B · copies, length], the copies of a prompt in a row.
        With ``end``, at most as long, and filled up with ends.

    Raises:
        ConfigError: if an option is out of its range or the prompt cannot be read.

    >>> from unrolled.baselines import Markov
    >>> import numpy as np
    >>> chain = Markov(1).fit(np.array([0, 1, 2, 0]), 3)
    >>> sample(chain, prompt=torch.tensor([[0]]), length=4)
    tensor([[1, 2, 0, 1]])
    """
    drawn = list(
        stream(
            model,
            prompt=prompt,
            length=length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generator=generator,
            state=state,
            copies=copies,
            end=end,
        )
    )
    if not drawn:
        return prompt.new_empty((len(prompt) * copies, 0))
    return torch.stack(drawn, dim=1)


def stream(
    model: StepModel,
    *,
    prompt: Tensor,
    length: int | None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: Generator | None = None,
    state: Any = None,
    copies: int = 1,
    end: int | None = None,
) -> Iterator[Tensor]:
    """As :func:`sample`, one step at a time: yields the next tokens [B · copies] as they are drawn.

    ``length`` None goes on for ever, or until all have drawn ``end``; those that have, stay at it.
    Options are checked at the call, not at the first token.
    """
    _check(temperature, top_k, top_p)
    if prompt.dim() != 2 or prompt.is_floating_point():
        raise ConfigError(
            f"a prompt is a tensor of ids [batch, tokens], not {prompt.dtype} {list(prompt.shape)}"
        )
    if length is not None and length < 0:
        raise ConfigError(f"the length to draw is at least 0, not {length}")
    if copies < 1:
        raise ConfigError(f"the number of copies of a prompt is at least 1, not {copies}")
    if state is not None:
        if not prompt.shape[1]:
            raise ConfigError(
                "continuing from a state needs a prompt of at least one token: the last one drawn"
            )
        if batch_size(state) != len(prompt):
            raise ConfigError(
                f"the state has {batch_size(state)} sequences, the prompt {len(prompt)}"
            )
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    return _draw(model, prompt, length, options, generator, state, copies, end)


@torch.no_grad()
def _draw(
    model: StepModel,
    prompt: Tensor,
    length: int | None,
    options: dict[str, Any],
    generator: Generator | None,
    state: Any,
    copies: int,
    end: int | None,
) -> Iterator[Tensor]:
    if length == 0:
        return
    state = model.start(len(prompt)) if state is None else state
    if not prompt.shape[1]:
        log_probs, state = model.step(None, state)
    for tokens in prompt.unbind(dim=1):
        log_probs, state = model.step(tokens, state)
    if copies > 1:
        rows = torch.arange(len(prompt), device=log_probs.device).repeat_interleave(copies)
        log_probs, state = log_probs[rows], select(state, rows)
    if end is not None:
        check_end(end, log_probs)
        total = len(log_probs)
        alive = torch.arange(total, device=log_probs.device)
    drawn = 0
    while True:
        chances = filter_log_probs(log_probs, **options).exp()
        tokens = torch.multinomial(chances, 1, generator=generator).squeeze(1)
        yield tokens if end is None else tokens.new_full((total,), end).scatter(0, alive, tokens)
        drawn += 1
        if drawn == length:
            return
        if end is not None:
            going = (tokens != end).nonzero().flatten()
            if not len(going):
                return
            if len(going) < len(tokens):
                alive, tokens, state = alive[going], tokens[going], select(state, going)
        log_probs, state = model.step(tokens, state)


def _check(temperature: float, top_k: int | None, top_p: float | None) -> None:
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ConfigError(f"temperature is a finite number from 0 up, not {temperature}")
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top-k is at least 1, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ConfigError(f"top-p is above 0 and at most 1, not {top_p}")
