"""Drop-in replacements of torch.nn.RNN, LSTM and GRU.

The same names, arguments, results and ``state_dict``; besides, ``lengths=`` for ragged batches without
sorting or packing, and :meth:`session` for streams. :mod:`unrolled.kernels` chooses what runs them: on a
CPU in float32 the native engine, elsewhere torch's own fused layers, under torch.func the loop.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from unrolled import kernels
from unrolled.cells import GRU as GRUCell
from unrolled.cells import LSTM as LSTMCell
from unrolled.cells import Cell, Elman, HiddenState, LSTMState
from unrolled.cells.cell import Prepared
from unrolled.layers import compiled
from unrolled.layers.session import NO_SESSION, Session, stack_session
from unrolled.layers.stack import StackOptions, check_lengths, run_stack


class _DropIn(nn.RNNBase):
    """What the three have in common; torch.nn's class comes after this one in the order of resolution."""

    def cells(self) -> list[Cell]:
        """The cells, bound to this layer's parameters: by layer, forward before reverse."""
        cells = []
        kept = self.__dict__.setdefault(
            "_prepared", Prepared()
        )  # for the engine; templates are shared
        for index in range(self.num_layers):
            size = self.input_size if index == 0 else self._output_size()
            for suffix in ("", "_reverse")[: 1 + self.bidirectional]:
                template = self._cell(size)
                ending = f"_l{index}{suffix}"
                names = [name for name, _ in template.named_parameters()]
                bound = template.bind({name: getattr(self, name + ending) for name in names})
                bound.__dict__["_prepared"] = kept.setdefault(ending, Prepared())
                cells.append(bound)
        return cells

    def _described(self, x: Tensor, hx: Any) -> list[Any] | None:
        """The cells for a graph's operator; None if it cannot take this call."""
        told = compiled.descriptions(self, self.training)
        given = [] if hx is None else list(hx) if isinstance(hx, tuple) else [hx]
        if told is None or not compiled.takes(x, [*given, *cast(list[Tensor], self._flat_weights)]):
            return None
        found = []
        for index, description in enumerate(told):
            layer, reverse = divmod(index, 1 + self.bidirectional)
            ending = f"_l{layer}_reverse" if reverse else f"_l{layer}"
            names = (*description.matrices, *description.vectors)
            parameters = {name: getattr(self, name + ending) for name in names}
            state = LSTMState if self.mode == "LSTM" else HiddenState
            found.append(compiled.DescribedCell(description, state, parameters, 0))
        return found

    def _cell(self, input_size: int) -> Cell:
        if torch.compiler.is_dynamo_compiling():
            _keep_templates(self)
            return cast(Cell, cast(Any, self)._prepared["templates"][input_size])
        return _template(self.mode, input_size, self.hidden_size, self.proj_size, self.bias)

    def _output_size(self) -> int:
        return (self.proj_size or self.hidden_size) * (1 + self.bidirectional)

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> Any:
        """As torch.nn's forward, with ``lengths`` [B]: the true length of each sequence, each in 0..T.

        With lengths, outputs are zero past each end, the final state is that of each sequence's last
        step, and the reverse direction starts there. Not together with a PackedSequence.
        """
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError("a PackedSequence has its lengths already; leave out lengths=")
            if self._runs_fused(input.data[:, None], None):
                return super().forward(input, hx)
            padded, batch_lengths = pad_packed_sequence(input, self.batch_first)
            output, final = self._stacked(padded, hx, batch_lengths)
            in_order = input.sorted_indices is None
            packed = pack_padded_sequence(
                output, batch_lengths, self.batch_first, enforce_sorted=in_order
            )
            return packed, final
        if input.dim() == 3:
            steps, batch = input.shape[self.batch_first], input.shape[not self.batch_first]
            lengths = check_lengths(lengths, steps=steps, batch=batch)
        elif lengths is not None:
            raise ValueError("lengths= needs a batch, [T, B, I] or [B, T, I]")
        if torch.compiler.is_compiling():
            cells = self._described(input, hx)
            if cells is None and lengths is None:
                return super().forward(input, hx)
            return self._stacked(input, hx, lengths, cells)
        if not self._runs_fused(input, lengths):
            return self._stacked(input, hx, lengths)
        if lengths is None:
            return super().forward(input, hx)
        packed = pack_padded_sequence(input, lengths.cpu(), self.batch_first, enforce_sorted=False)
        output, final = super().forward(packed, hx)
        output, _ = pad_packed_sequence(output, self.batch_first, total_length=steps)
        return output, final

    def _runs_fused(self, x: Tensor, lengths: Tensor | None) -> bool:
        """Whether torch's own layer runs x, [T, B, I] or its like."""
        x = x[:, None] if x.dim() == 2 else x
        x = x.transpose(0, 1) if self.batch_first and x.dim() == 3 else x
        if kernels.forced() == "engine":
            return False  # the stack asks for it, or is refused it, with a state
        if x.is_cpu and kernels.forced() == "auto" and x.dtype is torch.float32 and kernels.isa():
            return False  # the engine's, or the loop's: not worth asking twice
        return kernels.choose(self.cells()[0], x, (), lengths=lengths) == "fused"

    def _stacked(
        self, x: Tensor, hx: Any, lengths: Tensor | None, cells: list[Any] | None = None
    ) -> tuple[Tensor, Any]:
        """The same through :mod:`unrolled.kernels`, with torch's layout of states."""
        batched = x.dim() == 3
        if not batched:
            x = x.unsqueeze(self.batch_first ^ 1)
            hx = None if hx is None else _each(hx, lambda part: part.unsqueeze(1))
        x = x.transpose(0, 1) if self.batch_first else x
        cells = self.cells() if cells is None else cells
        if x.shape[-1] != self.input_size:
            given = list(x.shape)
            raise ValueError(
                f"input of shape {given} given, its last size must be {self.input_size}"
            )
        if hx is None:
            states = [cell.initial_state(x.shape[1]) for cell in cells]
        else:
            parts = hx if isinstance(hx, tuple) else (hx,)
            if any(part.shape[0] != len(cells) for part in parts):
                shapes = [list(part.shape) for part in parts]
                raise ValueError(
                    f"hx of shapes {shapes} given, a first size of {len(cells)} expected"
                )
            states = [
                cast(Any, cell).State(*(part[i] for part in parts)) for i, cell in enumerate(cells)
            ]
        output, final = run_stack(
            cells,
            x,
            states,
            lengths=lengths,
            directions=1 + self.bidirectional,
            options=StackOptions(dropout=self.dropout),
            training=self.training,
        )
        output = output.transpose(0, 1) if self.batch_first else output
        if len(final) == 1:
            stacked = tuple(part[None] for part in final[0])
        else:
            stacked = tuple(torch.stack(part) for part in zip(*final, strict=True))
        result: Any = stacked if self.mode == "LSTM" else stacked[0]
        if not batched:
            output = output.squeeze(self.batch_first ^ 1)
            result = _each(result, lambda part: part.squeeze(1))
        return output, result

    def session(self, batch_size: int = 1) -> Session:
        """A session: ``step(x [B, I]) -> output [B, O]``, without dropout.

        Raises:
            ValueError: if the layer is bidirectional.
        """
        if self.bidirectional:
            raise ValueError(NO_SESSION)
        cells = self.cells()

        def initial(batch: int) -> Any:
            return tuple(cell.initial_state(batch) for cell in cells)

        def step(x: Tensor, state: Any) -> tuple[Tensor, Any]:
            options = StackOptions()
            output, state = run_stack(
                cells, x[None], state, directions=1, options=options, training=False
            )
            return output[0], state

        return stack_session(cells, batch_size, step, initial)


@lru_cache(maxsize=256)
def _template(mode: str, input_size: int, hidden_size: int, proj_size: int, bias: bool) -> Cell:
    """The cell that one of torch's layers repeats, without parameters of its own."""
    options: dict[str, Any] = {"bias": bias, "device": "meta"}
    if mode == "LSTM":
        return LSTMCell(input_size, hidden_size, projection_size=proj_size, **options)
    if mode == "GRU":
        return GRUCell(input_size, hidden_size, **options)
    activation = cast(Any, {"RNN_TANH": "tanh", "RNN_RELU": "relu"}[mode])
    return Elman(input_size, hidden_size, activation=activation, **options)


def _keep_templates(layer: _DropIn) -> bool:
    """Makes a layer's templates for the compiler, which cannot; it calls this and keeps the result."""
    sizes = (layer.input_size, layer._output_size())
    kept = layer.__dict__.setdefault("_prepared", Prepared())
    kept["templates"] = {size: layer._cell(size) for size in sizes}
    return True


_keep_templates._dynamo_marked_constant = True  # type: ignore[attr-defined]  # see layers.compiled


def _each(hx: Any, function: Any) -> Any:
    return tuple(map(function, hx)) if isinstance(hx, tuple) else function(hx)


class RNN(_DropIn, nn.RNN):
    """torch.nn.RNN with ``lengths=`` and sessions.

    >>> output, h = RNN(3, 4)(torch.zeros(5, 2, 3), lengths=[5, 2])
    >>> output.shape
    torch.Size([5, 2, 4])
    """


class LSTM(_DropIn, nn.LSTM):
    """torch.nn.LSTM with ``lengths=`` and sessions.

    >>> layer = LSTM(3, 4, batch_first=True)
    >>> layer.load_state_dict(nn.LSTM(3, 4).state_dict())
    <All keys matched successfully>
    """


class GRU(_DropIn, nn.GRU):
    """torch.nn.GRU with ``lengths=`` and sessions.

    >>> GRU(3, 4).session(batch_size=2).step(torch.zeros(2, 3)).shape
    torch.Size([2, 4])
    """
