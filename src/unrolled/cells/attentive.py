r"""Cells that look at a memory in every step: decoders with attention.

With F a gated cell of any kind and :math:`c = \mathrm{attend}(q)` the mean of a memory under a query's
weights (:mod:`unrolled.cells.scores`):

.. math::
   \text{bahdanau: } & c^{(t)} = \mathrm{attend}(h^{(t-1)}), \;
       s^{(t)} = F([x^{(t)}; c^{(t)}], s^{(t-1)}), \; y^{(t)} = [h^{(t)}; c^{(t)}] \\
   \text{conditional: } & \tilde s = F_1(x^{(t)}, s^{(t-1)}), \; c^{(t)} = \mathrm{attend}(\tilde h), \;
       s^{(t)} = F_2(c^{(t)}, \tilde s), \; y^{(t)} = [h^{(t)}; c^{(t)}] \\
   \text{luong: } & s^{(t)} = F([x^{(t)}; y^{(t-1)}], s^{(t-1)}), \; c^{(t)} = \mathrm{attend}(h^{(t)}), \;
       y^{(t)} = \tanh(W [h^{(t)}; c^{(t)}])

(Bahdanau, Cho & Bengio 2015, section 3.1; the conditional GRU of nematus: Sennrich et al. 2017, "Nematus",
section 2; Luong, Pham & Manning 2015, section 3, with input feeding.) The memory is the context of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn

from unrolled.cells.cell import Cell, GatedCell
from unrolled.cells.deferred import Multiply, Product, collect
from unrolled.cells.scores import Attend, Attention, Memory


class AttentiveState(NamedTuple):
    """``cell``: the gated cell's state; ``y`` [R, O]: the last output; ``weights`` [R, S]: its attention."""

    cell: Any
    y: Tensor
    weights: Tensor


class _Run(NamedTuple):
    """What the steps of one run share: the memory to attend to, and products collected over steps."""

    attend: Attend
    products: dict[str, Product]


class AttentiveCell(Cell):
    """What these cells share. Subclasses define ``advance`` and their cells.

    Args:
        input_size: I. hidden_size: H.
        memory_size: C, of each place of the memory.
        cell: ``(input_size, hidden_size) -> GatedCell``.
        score, attention_size: see :class:`unrolled.cells.scores.Attention`.
    """

    _repeated: ClassVar[dict[str, str]] = {}  # weights of a class's own steps, and their biases

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        memory_size: int,
        cell: Callable[..., Cell],
        score: str = "additive",
        attention_size: int = 0,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.memory_size = input_size, hidden_size, memory_size
        self.attention = Attention(hidden_size, memory_size, score=score, size=attention_size)
        self.output_size = hidden_size + memory_size
        self._build(cell)

    def _build(self, cell: Callable[..., Cell]) -> None:
        raise TypeError(f"{type(self).__name__} builds no cell")

    def gated(self) -> list[GatedCell]:
        """The gated cells, in the order in which a step runs them."""
        return [child for child in self.children() if isinstance(child, GatedCell)]

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> AttentiveState:
        """Zeros, with no place looked at."""
        inner = self.gated()[0].initial_state(batch_size, device=device, dtype=dtype)
        zeros = inner[0].new_zeros(batch_size, self.output_size)
        return AttentiveState(inner, zeros, zeros.new_zeros(batch_size, 0))

    def begin(self, context: Any, product: Multiply = collect) -> tuple[Cell, Any]:
        """The cell and context for a run of many steps over a :class:`Memory`.

        Args:
            product: makes what multiplies by a weight in every step.
        """
        if isinstance(context, _Run):
            return self, context
        if not isinstance(context, Memory):
            raise ValueError(f"{type(self).__name__} needs a memory: kernels.run(…, context=…)")
        products: dict[str, Product] = {}
        parameters = dict(self.named_parameters())
        reads = self.gated()[0]
        products["input"] = product(reads.weight_ih, reads.bias_ih if reads.bias else None)
        for name, child in self.named_children():
            if isinstance(child, GatedCell) and child.recurrent_gates:
                bias = child.bias_hh if child.bias else None
                products[name] = product(child.weight_hh, bias)
        for name in self._repeated:
            weight, bias_name = parameters[name], self._repeated[name]
            products[name] = product(weight, parameters.get(bias_name) if bias_name else None)
        return self, _Run(self.attention.over(context, product), products)

    def forward(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """One step from x [R, I] and a :class:`Memory` (or what :meth:`begin` made of it)."""
        run = self._run(context)
        return self.advance(run.products["input"](x), state, run)

    def _following(self, name: str, projected: Tensor, state: Any, run: _Run) -> Any:
        """The next state of the gated cell called ``name``."""
        cell = cast(GatedCell, self._modules[name])
        return cell.advance_with(projected, state, run.products.get(name))

    def _run(self, context: Any) -> _Run:
        return context if isinstance(context, _Run) else cast(_Run, self.begin(context)[1])


class Bahdanau(AttentiveCell):
    """The first equation above: looks with the last state, before it reads.

    >>> from unrolled.cells import GRU
    >>> cell = Bahdanau(3, 4, memory_size=6, cell=GRU)
    >>> memory = cell.attention.remember(torch.zeros(2, 5, 6))
    >>> y, state = cell(torch.zeros(2, 3), cell.initial_state(2), memory)
    >>> y.shape, state.weights.shape
    (torch.Size([2, 10]), torch.Size([2, 5]))
    """

    _repeated: ClassVar[dict[str, str]] = {"weight_context": ""}

    def _build(self, cell: Callable[..., Cell]) -> None:
        self.inner = cell(self.input_size, self.hidden_size)
        self.weight_context = _rows(self.inner, self.memory_size)

    def project_input(self, x: Tensor) -> Tensor:
        """The input's part of the gates, without the context's."""
        return self.inner.project_input(x)

    def advance(self, projected: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """One step from the projected input."""
        run = self._run(context)
        c, weights = run.attend(state.cell[0])
        projected = projected + run.products["weight_context"](c)
        inner = self._following("inner", projected, state.cell, run)
        y = torch.cat([inner[0], c], -1)
        return y, AttentiveState(inner, y, weights)


class Conditional(AttentiveCell):
    """The second equation above: reads, looks, and takes in what it saw.

    >>> from unrolled.cells import GRU
    >>> Conditional(3, 4, memory_size=6, cell=GRU).output_size
    10
    """

    _repeated: ClassVar[dict[str, str]] = {"second.weight_ih": "second.bias_ih"}

    def _build(self, cell: Callable[..., Cell]) -> None:
        self.first = cell(self.input_size, self.hidden_size)
        self.second = cell(self.memory_size, self.hidden_size)

    def project_input(self, x: Tensor) -> Tensor:
        """The input's part of the first cell's gates."""
        return self.first.project_input(x)

    def advance(self, projected: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """One step from the projected input."""
        run = self._run(context)
        between = self._following("first", projected, state.cell, run)
        c, weights = run.attend(between[0])
        inner = self._following("second", run.products["second.weight_ih"](c), between, run)
        y = torch.cat([inner[0], c], -1)
        return y, AttentiveState(inner, y, weights)


class Luong(AttentiveCell):
    """The third equation above: reads with what it said last, then looks.

    >>> from unrolled.cells import LSTM
    >>> Luong(3, 4, memory_size=6, cell=LSTM, score="general").output_size
    4
    """

    _repeated: ClassVar[dict[str, str]] = {"weight_fed": "", "weight_output": ""}

    def _build(self, cell: Callable[..., Cell]) -> None:
        self.output_size = self.hidden_size
        self.inner = cell(self.input_size, self.hidden_size)
        self.weight_fed = _rows(self.inner, self.hidden_size)
        both = self.hidden_size + self.memory_size
        self.weight_output = nn.Parameter(torch.empty(self.hidden_size, both))
        nn.init.xavier_uniform_(self.weight_output)

    def project_input(self, x: Tensor) -> Tensor:
        """The input's part of the gates, without the last output's."""
        return self.inner.project_input(x)

    def advance(self, projected: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """One step from the projected input."""
        run = self._run(context)
        projected = projected + run.products["weight_fed"](state.y)
        inner = self._following("inner", projected, state.cell, run)
        c, weights = run.attend(inner[0])
        y = torch.tanh(run.products["weight_output"](torch.cat([inner[0], c], -1)))
        return y, AttentiveState(inner, y, weights)


def _rows(cell: Cell, size: int) -> nn.Parameter:
    """Further columns [gates · H, size] of a gated cell's input weight."""
    if not isinstance(cell, GatedCell):
        raise ValueError(f"attention needs a gated cell, not {type(cell).__name__}")
    return nn.Parameter(torch.empty(len(cell.weight_ih), size).normal_(0, (2 / size) ** 0.5))


ATTENTIVE: dict[str, type[AttentiveCell]] = {
    "bahdanau": Bahdanau,
    "conditional": Conditional,
    "luong": Luong,
}
