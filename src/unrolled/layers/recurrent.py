r"""A recurrent layer of any cell: stacked, bidirectional, over ragged batches.

Layer l of direction d runs its cell over the outputs of the layer below,

.. math:: y_l^{(t)} = [\overrightarrow{F_l}(y_{l-1})^{(t)}; \overleftarrow{F_l}(y_{l-1})^{(t)}]

(Schuster & Paliwal 1997 for the two directions; review, section 3.4). Parameters carry torch's names
(``weight_ih_l0_reverse``), so weights move between this layer and torch.nn's in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, cast

from torch import Tensor, nn

from unrolled.cells import Cell, GatedCell, cell_named
from unrolled.layers.dropout import check_rate
from unrolled.layers.session import NO_SESSION, Session
from unrolled.layers.stack import StackOptions, run_stack


def _made(factory: Callable[..., Cell], size: int, hidden_size: int, options: Any) -> Cell:
    try:
        return factory(size, hidden_size, **options)
    except TypeError as error:
        for name in options:
            if f"unexpected keyword argument '{name}'" in str(error):
                known = ", ".join(list(signature(Recurrent).parameters)[4:-1])
                raise TypeError(
                    f"neither Recurrent nor its cell has an option {name!r}; the layer's are {known}"
                ) from error
        raise


class Recurrent(nn.Module):
    """A stack of recurrent layers.

    Args:
        cell: a name of :data:`unrolled.cells.CELLS`, or a callable ``(input_size, hidden_size) -> Cell``.
        input_size: I, the size of one input. hidden_size: H, the units of each layer and direction.
        num_layers: the number of layers, each fed by the one below.
        bidirectional: run every layer in both directions too; outputs are concatenated.
        batch_first: inputs and outputs are [B, T, ...] instead of [T, B, ...].
        dropout: on the output of every layer but the last, as in torch.nn.
        variational: draw that dropout's mask once per sequence.
        residual: from the second layer on, add each layer's input to its output.
        zoneout: the share of units that keep their previous value (Krueger et al. 2017), one number
            or one for each field of the cell's state.
        cell_options: passed to the cell.

    >>> import torch
    >>> layer = Recurrent("lstm", 3, 5, num_layers=2, batch_first=True, peepholes=True)
    >>> output, state = layer(torch.zeros(2, 7, 3), lengths=torch.tensor([7, 4]))
    >>> output.shape, state[1].c.shape
    (torch.Size([2, 7, 5]), torch.Size([2, 5]))
    """

    def __init__(
        self,
        cell: str | Callable[..., Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        batch_first: bool = False,
        dropout: float = 0.0,
        variational: bool = False,
        residual: bool = False,
        zoneout: float | Sequence[float] = 0.0,
        **cell_options: Any,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, {num_layers} given")
        factory = cell_named(cell) if isinstance(cell, str) else cell
        self.cell = cell if isinstance(cell, str) else getattr(cell, "__name__", repr(cell))
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bidirectional, self.batch_first = bidirectional, batch_first
        self._cells = nn.ModuleList()  # templates: their parameters are this layer's
        self._names: list[dict[str, str]] = []  # per cell: its parameter's name -> the layer's
        size = input_size
        for index in range(num_layers):
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                made = _made(factory, size, hidden_size, cell_options)
                self._adopt(made, f"_l{index}{suffix}")
            size = made.output_size * (1 + bidirectional)
        self.output_size = size
        self.options = StackOptions(
            dropout=check_rate("dropout", dropout),
            variational=variational,
            residual=residual,
            zoneout=self._zoneout_rates(zoneout),
        )

    def _adopt(self, cell: Cell, suffix: str) -> None:
        """Takes over a cell's parameters under the layer's names; the cell stays as a template."""
        names = {}
        for name, parameter in list(cell.named_parameters()):
            names[name] = name.replace(".", "_") + suffix
            self.register_parameter(names[name], parameter)
        for module in cell.modules():
            module._parameters.clear()
        self._cells.append(cell)
        self._names.append(names)

    def _zoneout_rates(self, zoneout: float | Sequence[float]) -> tuple[float, ...]:
        fields = len(self.initial_state(1)[0])
        rates = (zoneout,) * fields if isinstance(zoneout, (int, float)) else tuple(zoneout)
        if len(rates) != fields:
            raise ValueError(f"zoneout needs one rate or {fields} (a state's fields), got {rates}")
        if not any(check_rate("zoneout", rate) for rate in rates):
            return ()
        if not isinstance(self._cells[0], GatedCell):
            raise ValueError(f"zoneout works on gated cells, not {type(self._cells[0]).__name__}")
        return rates

    def cells(self) -> list[Cell]:
        """The cells, bound to this layer's parameters: by layer, forward before reverse."""
        templates = cast(list[Cell], self._cells)
        return [
            cell.bind({own: getattr(self, name) for own, name in names.items()})
            for cell, names in zip(templates, self._names, strict=True)
        ]

    def reset_parameters(self) -> None:
        """Initialises every cell's parameters anew."""
        for cell in self.cells():
            if isinstance(cell, GatedCell):
                cell.reset_parameters()

    def initial_state(self, batch_size: int) -> tuple[Any, ...]:
        """The state before the first step: a tuple of cell states, by layer and direction."""
        return tuple(cell.initial_state(batch_size) for cell in self.cells())

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | None = None,
        *,
        feedback: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Runs the layers over a batch of sequences.

        Args:
            x: the inputs, [T, B, I] ([B, T, I] if ``batch_first``).
            state: what an earlier call returned; None for the initial state.
            lengths: the true length of each sequence, [B] integers in 0..T; None if all are T.
            feedback: what a Jordan cell feeds back into each step instead of its last output: in teacher
                forcing the target of the step before, [T, B, O] like the output.

        Returns:
            The outputs [T, B, O] ([B, T, O]), zero past each length, and the final state.

        Raises:
            ValueError: if a shape does not fit; the message has both.
        """
        return self.run(x, state, lengths, feedback=feedback, training=self.training)

    def run(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | None = None,
        *,
        feedback: Tensor | None = None,
        training: bool,
    ) -> tuple[Tensor, Any]:
        """:meth:`forward` with dropout and zoneout in training (True) or at their expectation (False)."""
        if feedback is not None and self.num_layers > 1:
            raise ValueError(
                "feedback= works on one layer: what would be fed back into the others?"
            )
        if x.dim() != 3 or x.shape[-1] != self.input_size:
            layout = "[B, T, I]" if self.batch_first else "[T, B, I]"
            raise ValueError(
                f"input of shape {list(x.shape)} given, {layout} with I = {self.input_size} expected"
            )
        if self.batch_first:
            x = x.transpose(0, 1)
            feedback = None if feedback is None else feedback.transpose(0, 1)
        output, state = run_stack(
            self.cells(),
            x,
            state,
            lengths=lengths,
            feedback=feedback,
            directions=1 + self.bidirectional,
            options=self.options,
            training=training,
        )
        return (output.transpose(0, 1) if self.batch_first else output), state

    def session(self, batch_size: int = 1) -> Session:
        """A session: ``step(x [B, I]) -> output [B, O]``, without dropout.

        Raises:
            ValueError: if the layer is bidirectional.
        """
        if self.bidirectional:
            raise ValueError(NO_SESSION)
        cells = self.cells()

        def step(x: Tensor, state: Any) -> tuple[Tensor, Any]:
            output, state = run_stack(
                cells, x[None], state, directions=1, options=self.options, training=False
            )
            return output[0], state

        return Session(step, self.initial_state, batch_size)

    def __repr__(self) -> str:
        parts = [repr(self.cell), str(self.input_size), str(self.hidden_size)]
        parts += [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        parts += [
            f"{name}=True" for name in ("bidirectional", "batch_first") if getattr(self, name)
        ]
        return f"Recurrent({', '.join(parts)})"
