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

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cells import Cell, GatedCell, cell_named
from unrolled.layers import compiled
from unrolled.layers.dropout import check_rate
from unrolled.layers.session import NO_SESSION, Session, stack_session
from unrolled.layers.stack import StackOptions, run_stack
from unrolled.state import detach, leaves, map_state, rebuild


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
        recurrent_dropout: on what the cell's recurrent products multiply, one mask for all steps of a
            call (Gal & Ghahramani 2016).
        weight_dropout: on the entries of the recurrent matrices, one mask for each call (DropConnect;
            Merity, Keskar & Socher 2018).
        learned_initial_state: the state before the first step is a parameter, ``initial_h_l0`` and so on.
        recompute: where a gradient will be asked for, keep only the states between pieces of the sequence
            and compute the rest again: True for about sqrt(T) pieces, or the number of steps of one.
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
        recurrent_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        learned_initial_state: bool = False,
        recompute: int | bool = False,
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
        self._initial_names: list[list[str]] = []  # per cell: its state's fields, where learned
        size = input_size
        for index in range(num_layers):
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                made = _made(factory, size, hidden_size, cell_options)
                self._adopt(made, f"_l{index}{suffix}")
            size = made.output_size * (1 + bidirectional)
        self.output_size = size
        if recompute < 0:
            raise ValueError(f"recompute is True, False or steps of a piece, {recompute} given")
        self.options = StackOptions(
            dropout=check_rate("dropout", dropout),
            variational=variational,
            residual=residual,
            zoneout=self._zoneout_rates(zoneout),
            recurrent_dropout=self._recurrent_rate("recurrent_dropout", recurrent_dropout),
            recompute=recompute,
        )
        self.weight_dropout = self._recurrent_rate("weight_dropout", weight_dropout)
        if learned_initial_state:
            self._learn_initial_state()

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

    def _recurrent_rate(self, option: str, rate: float) -> float:
        """``rate`` if the cell has something recurrent for that option to drop."""
        cell = cast(Cell, self._cells[0])
        has = cell.recurrent_size if option == "recurrent_dropout" else cell.recurrent_weights
        if check_rate(option, rate) and not has:
            what = "product" if option == "recurrent_dropout" else "matrix"
            raise ValueError(f"{self.cell} has no recurrent {what}, so {option} must stay 0")
        return rate

    def _learn_initial_state(self) -> None:
        """Registers ``initial_<field>_l<index>[_reverse]`` for every cell, at the cell's own start."""
        directions = ("", "_reverse")[: 1 + self.bidirectional]
        suffixes = [f"_l{index}{way}" for index in range(self.num_layers) for way in directions]
        states = self.initial_state(1)
        if not all(hasattr(state, "_fields") for state in states) or not all(
            isinstance(part, Tensor) for state in states for part in state
        ):
            raise ValueError(f"the state of {self.cell} is no NamedTuple of tensors to learn")
        for suffix, state in zip(suffixes, states, strict=True):
            self._initial_names.append([f"initial_{field}{suffix}" for field in state._fields])
            for name, part in zip(self._initial_names[-1], state, strict=True):
                self.register_parameter(name, nn.Parameter(part[0].clone()))

    def cells(self) -> list[Cell]:
        """The cells, bound to this layer's parameters: by layer, forward before reverse."""
        return self._bound(weight_dropout=0.0)

    def _bound(self, weight_dropout: float) -> list[Cell]:
        return [
            cell.bind(
                {own: self._value(cell, own, name, weight_dropout) for own, name in names.items()}
            )
            for cell, names in zip(cast(list[Cell], self._cells), self._names, strict=True)
        ]

    def _value(self, cell: Cell, own: str, name: str, weight_dropout: float) -> Tensor:
        """The parameter that the cell calls ``own`` and this layer ``name``."""
        parameter = cast(Tensor, getattr(self, name))
        dropped = weight_dropout and own in cell.recurrent_weights
        return F.dropout(parameter, weight_dropout) if dropped else parameter

    def reset_parameters(self) -> None:
        """Initialises every cell's parameters anew."""
        for index, cell in enumerate(self.cells()):
            if callable(reset := getattr(cell, "reset_parameters", None)):
                reset()
            if self._initial_names:
                names = self._initial_names[index]
                with torch.no_grad():
                    for name, part in zip(names, cell.initial_state(1), strict=True):
                        getattr(self, name).copy_(part[0])

    def initial_state(self, batch_size: int) -> tuple[Any, ...]:
        """The state before the first step: a tuple of cell states, by layer and direction."""
        cells = self.cells()
        if not self._initial_names:
            return tuple(cell.initial_state(batch_size) for cell in cells)
        learned = [[getattr(self, name) for name in names] for names in self._initial_names]
        return tuple(
            rebuild(
                cell.initial_state(1, device="meta"),
                [part.expand(batch_size, *part.shape).contiguous() for part in parts],
            )
            for cell, parts in zip(cells, learned, strict=True)
        )

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | None = None,
        *,
        feedback: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Runs the layers over a batch of sequences.

        Args:
            x: the inputs, [T, B, I] ([B, T, I] if ``batch_first``).
            state: what an earlier call returned; None for the initial state.
            lengths: the true length of each sequence, [B] integers in 0..T; None if all are T.
            feedback: what a Jordan cell feeds back into each step instead of its last output: in teacher
                forcing the target of the step before, [T, B, O] like the output.
            resets: booleans [T, B] ([B, T]): True where a new sequence begins with that step. Memory is
                cut between it and the step before, in both directions: what is computed is what the
                pieces would give, run each from the initial state.

        Returns:
            The outputs [T, B, O] ([B, T, O]), zero past each length, and the final state.

        Raises:
            ValueError: if a shape does not fit; the message has both.
        """
        return self.run(x, state, lengths, feedback=feedback, resets=resets, training=self.training)

    def run(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | None = None,
        *,
        feedback: Tensor | None = None,
        resets: Tensor | None = None,
        training: bool,
    ) -> tuple[Tensor, Any]:
        """:meth:`forward` with dropout and zoneout in training (True) or at their expectation (False)."""
        output, state = self._run(x, state, lengths, feedback, resets, training=training)
        return (output.transpose(0, 1) if self.batch_first else output), state

    def states(
        self,
        x: Tensor,
        state: Any = None,
        lengths: Tensor | None = None,
        *,
        feedback: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Any, ...]:
        """The states after every step, with gradients, by the loop; arguments as :meth:`forward`'s.

        Returns:
            A tuple of cell states of [T, B, n] ([B, T, n] if ``batch_first``), by layer and direction.
            Past a sequence's end they stand still; in the reverse direction that is the state before its
            first step.

        >>> import torch
        >>> states = Recurrent("lstm", 3, 5, num_layers=2).states(torch.zeros(7, 2, 3))
        >>> states[1].c.shape
        torch.Size([7, 2, 5])
        """
        found: list[Any] = []
        self._run(x, state, lengths, feedback, resets, training=self.training, record=found)
        if not self.batch_first:
            return tuple(found)
        return tuple(map_state(lambda part: part.transpose(0, 1), each) for each in found)

    def _run(
        self,
        x: Tensor,
        state: Any,
        lengths: Tensor | None,
        feedback: Tensor | None,
        resets: Tensor | None,
        *,
        training: bool,
        record: list[Any] | None = None,
    ) -> tuple[Tensor, Any]:
        """:func:`run_stack` on checked arguments; the output stays [T, B, O]."""
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
            resets = None if resets is None else torch.as_tensor(resets).transpose(0, 1)
        plain = feedback is None and resets is None and record is None
        found = None
        if torch.compiler.is_compiling() and plain:
            found = self._described(x, state, training)
        return run_stack(
            self._bound(self.weight_dropout if training else 0.0) if found is None else found,
            x,
            state,
            lengths=lengths,
            feedback=feedback,
            resets=resets,
            initial=self.initial_state(x.shape[1]) if self._initial_names else None,
            directions=1 + self.bidirectional,
            options=self.options,
            training=training,
            record=record,
        )

    def _described(self, x: Tensor, state: Any, training: bool) -> list[Any] | None:
        """The cells for a graph's operator; None if it cannot take this call."""
        told = compiled.descriptions(self, training)
        given = [] if state is None else leaves(state)
        if told is None or not compiled.takes(x, given):
            return None
        found: list[Any] = []
        rate = self.weight_dropout if training else 0.0
        cells = cast(Any, self._cells)
        for cell, names, description in zip(cells, self._names, told, strict=True):
            parameters = {own: self._value(cell, own, name, rate) for own, name in names.items()}
            if not compiled.takes(x, list(parameters.values())):
                return None
            found.append(
                compiled.DescribedCell(description, cell.State, parameters, cell.recurrent_size)
            )
        return found

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

        def initial(batch: int) -> Any:
            return detach(self.initial_state(batch))

        plain = not (self.options.residual or self.options.zoneout)
        return stack_session(cells, batch_size, step, initial, plain=plain)

    def __repr__(self) -> str:
        parts = [repr(self.cell), str(self.input_size), str(self.hidden_size)]
        parts += [f"num_layers={self.num_layers}"] if self.num_layers > 1 else []
        parts += [
            f"{name}=True" for name in ("bidirectional", "batch_first") if getattr(self, name)
        ]
        return f"Recurrent({', '.join(parts)})"
