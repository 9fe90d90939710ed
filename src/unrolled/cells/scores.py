r"""Attention over what an encoder left: how well each place fits a query, and the weighted mean of them.

.. math::
   e_s = \mathrm{score}(q, m_s), \quad
   \alpha = \mathrm{softmax}(e_1 \dots e_S), \quad
   c = \sum_s \alpha_s m_s

with the scores

.. math::
   \text{additive: } v^\top \tanh(W q + U m_s + b), \quad
   \text{general: } q^\top U m_s, \quad
   \text{dot: } q^\top m_s

(Bahdanau, Cho & Bengio 2015, appendix A.1.2; Luong, Pham & Manning 2015, section 3.1). What depends on the
memory alone, U m_s + b, is computed once: the *keys*.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from unrolled.cells.deferred import Multiply, Pass, Product, collect, transformed

SCORES = ("additive", "general", "dot")


class Memory(NamedTuple):
    """What is attended to: ``values`` [N, S, C], ``keys`` [N, S, A], ``mask`` [N, S], True = real.

    Queries may be R = N · K rows, those of one sequence beside one another (beams).
    """

    values: Tensor
    keys: Tensor
    mask: Tensor

    def select(self, rows: Tensor) -> Memory:
        """The memory of these sequences."""
        return Memory(self.values[rows], self.keys[rows], self.mask[rows])


class Attention(nn.Module):
    """A score and the mean that it weights.

    Args:
        query_size: Q. value_size: C, of each place of the memory.
        score: ``"additive"``, ``"general"`` or ``"dot"`` (which needs Q = C).
        size: A, the hidden units of the additive score; 0 takes Q.

    >>> attention = Attention(4, 6)
    >>> memory = attention.remember(torch.zeros(2, 3, 6), torch.tensor([3, 1]))
    >>> context, weights = attention(torch.zeros(2, 4), memory)
    >>> weights.tolist()[1]
    [1.0, 0.0, 0.0]
    """

    def __init__(
        self, query_size: int, value_size: int, *, score: str = "additive", size: int = 0
    ) -> None:
        super().__init__()
        if score not in SCORES:
            raise ValueError(f"no score {score!r}; choose {', '.join(SCORES)}")
        if score == "dot" and query_size != value_size:
            raise ValueError(
                f"the score dot needs a memory of the query's size: {value_size} and {query_size} "
                "given; choose general"
            )
        self.query_size, self.value_size, self.score = query_size, value_size, score
        size = (size or query_size) if score == "additive" else query_size
        if score != "dot":
            self.weight_key = nn.Parameter(torch.empty(size, value_size))
            nn.init.kaiming_normal_(self.weight_key)
        if score == "additive":
            self.weight_query = nn.Parameter(torch.empty(size, query_size))
            nn.init.kaiming_normal_(self.weight_query)
            self.bias = nn.Parameter(torch.zeros(size))
            self.weight_score = nn.Parameter(torch.empty(size).normal_(0, 1 / math.sqrt(size)))

    def remember(self, values: Tensor, lengths: Tensor | None = None) -> Memory:
        """The memory of values [N, S, C] whose first ``lengths`` [N] places are real; None: all.

        Raises:
            ValueError: a sequence has no place to attend to.
        """
        steps = torch.arange(values.shape[1], device=values.device)
        count = steps.new_full(values.shape[:1], len(steps)) if lengths is None else lengths
        mask = steps < count.to(values.device)[:, None]
        if not transformed() and len(values) and not bool(mask.any(1).all()):
            raise ValueError("a sequence has nothing to attend to; give it an end token at least")
        keys = values
        if self.score != "dot":
            keys = values @ self.weight_key.t()
        if self.score == "additive":
            keys = keys + self.bias
        return Memory(values, keys, mask)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """The context [R, C] of queries [R, Q] and the weights [R, S]."""
        return self.over(memory)(query)

    def over(self, memory: Memory, product: Multiply = collect) -> Attend:
        """Attention to one memory in many steps, whose products with a weight ``product`` makes."""
        return Attend(self, memory, product)


class Attend:
    """Attention to one memory, step after step; the gradients of memory and weights are formed once."""

    def __init__(self, attention: Attention, memory: Memory, product: Multiply) -> None:
        self._memory, self._score = memory, attention.score
        self._query: Product | None = None
        self._steps: _Steps | None = None
        additive = attention.score == "additive"
        if additive:
            self._query = product(attention.weight_query, None)
            self._weight = attention.weight_score
        if torch.is_grad_enabled() and additive and not transformed():
            self._steps = _Steps()
            hold: Any = _Hold.apply
            values, keys, weight = hold(
                memory.values, memory.keys, attention.weight_score, self._steps
            )
            self._memory, self._weight = Memory(values, keys, memory.mask), weight
        self._hidden = None if bool(memory.mask.all()) else ~memory.mask

    def __call__(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """The context [R, C] and the weights [R, S] of queries [R, Q]."""
        memory, rows = self._memory, len(query)
        projected = query if self._query is None else self._query(query)
        if self._steps is not None and rows == len(memory.values):
            step: Any = _Additive.apply
            found = step(
                projected, memory.values, memory.keys, self._weight, self._hidden, self._steps
            )
            return cast(tuple[Tensor, Tensor], found)
        sequences = len(memory.values)
        grouped = projected.view(
            sequences, rows // max(1, sequences), projected.shape[-1]
        )  # [N, K, A]
        if self._score == "additive":
            energies = torch.tanh(memory.keys[:, None] + grouped[:, :, None]) @ self._weight
        else:
            energies = grouped @ memory.keys.transpose(1, 2)
        weights = _softmax(energies, None if self._hidden is None else self._hidden[:, None])
        context = weights @ memory.values
        return context.view(rows, -1), weights.view(rows, -1)


def _softmax(energies: Tensor, hidden: Tensor | None) -> Tensor:
    return torch.softmax(
        energies if hidden is None else energies.masked_fill(hidden, -math.inf), -1
    )


class _Steps(Pass):
    """What the steps leave behind for the memory's gradients."""

    def reset(self) -> None:
        self.weights: list[Tensor] = []
        self.d_contexts: list[Tensor] = []
        self.d_keys: Tensor | None = None
        self.d_score: Tensor | None = None


class _Hold(torch.autograd.Function):
    """Hands memory and score out; its backward runs after that of every step."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, keys: Tensor, weight: Tensor, steps: _Steps) -> Any:
        ctx.steps = steps
        ctx.set_materialize_grads(False)
        return values.view_as(values), keys.view_as(keys), weight.view_as(weight)

    @staticmethod
    def backward(
        ctx: Any, d_values: Tensor | None, d_keys: Tensor | None, d_weight: Tensor | None
    ) -> Any:
        steps: _Steps = ctx.steps
        steps.enter()
        if steps.weights:
            weights, deltas = (torch.stack(each, 1) for each in (steps.weights, steps.d_contexts))
            product = weights.transpose(1, 2) @ deltas  # [N, S, T] [N, T, C]
            d_values = product if d_values is None else d_values + product
            d_keys = steps.d_keys if d_keys is None else d_keys + cast(Tensor, steps.d_keys)
            d_weight = steps.d_score if d_weight is None else d_weight + cast(Tensor, steps.d_score)
            steps.reset()
        return d_values, d_keys, d_weight, None


class _Additive(torch.autograd.Function):
    """One step of additive attention, one query for each sequence."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        values: Tensor,
        keys: Tensor,
        weight: Tensor,
        hidden: Tensor | None,
        steps: _Steps,
    ) -> Any:
        units = (keys + query[:, None]).tanh_()  # [N, S, A]
        weights = _softmax(units @ weight, hidden)
        ctx.save_for_backward(units, weights, values, weight, query, keys)
        ctx.steps, ctx.hidden = steps, hidden
        return torch.bmm(weights[:, None], values)[:, 0], weights

    @staticmethod
    def backward(ctx: Any, d_context: Tensor, d_weights: Tensor) -> Any:
        units, weights, values, weight, query, keys = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            units = torch.tanh(keys + query[:, None])
            weights = _softmax(units @ weight, ctx.hidden)
        d_weights = d_weights + torch.bmm(values, d_context[:, :, None])[:, :, 0]
        d_energies = weights * (d_weights - (weights * d_weights).sum(1, keepdim=True))  # [N, S]
        d_units = torch.addcmul(weight, units * units, weight, value=-1)  # v (1 - tanh²)
        d_units = d_units * d_energies[:, :, None]
        d_score = units.flatten(0, 1).t() @ d_energies.flatten()
        d_query = d_units.sum(1)
        if torch.is_grad_enabled():
            return d_query, weights[:, :, None] * d_context[:, None], d_units, d_score, None, None
        steps: _Steps = ctx.steps
        steps.enter()
        steps.weights.append(weights)
        steps.d_contexts.append(d_context)
        steps.d_keys = d_units if steps.d_keys is None else steps.d_keys.add_(d_units)
        steps.d_score = d_score if steps.d_score is None else steps.d_score.add_(d_score)
        return d_query, None, None, None, None, None
