r"""What happens in one time step: the protocol of a cell, and gated cells, of which almost all are.

A cell maps an input and a state to an output and the next state,
:math:`(y^{(t)}, s^{(t)}) = F(x^{(t)}, s^{(t-1)})`. It never loops over time; :mod:`unrolled.kernels` does.

A *gated cell* computes for each of its gates n the incoming activation

.. math:: a_n = W_{in} x^{(t)} + b_{in} + W_{hn} h^{(t-1)} + b_{hn}

(rows of ``weight_ih``, ``bias_ih``, ``weight_hh``, ``bias_hh``, stacked in the order of ``gates``, as
torch.nn does) and its ``step`` turns those and the previous state into the next state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HiddenState(NamedTuple):
    """The state of a cell that keeps its output alone: ``h`` [B, H]."""

    h: Tensor


class Prepared(dict[Any, Any]):
    """What executors keep for a cell; a copy, or what is pickled, is empty."""

    def __deepcopy__(self, memo: Any) -> Prepared:
        return Prepared()

    def __copy__(self) -> Prepared:
        return Prepared()

    def __reduce__(self) -> Any:
        return Prepared, ()


class Cell(nn.Module):
    """One step of a recurrent unit.

    A subclass sets ``input_size``, ``hidden_size`` and ``output_size`` and defines ``forward`` and
    ``initial_state``. Everything that runs cells over time (layers, executors, sessions) uses only
    this class's methods.
    """

    input_size: int
    hidden_size: int
    output_size: int
    owns_output: bool = False
    """Whether the output is already the network's (Jordan): a model then adds no layer after it."""
    recurrent_size: int = 0
    """The size of what the recurrent products multiply; 0 if the cell has none."""
    recurrent_weights: tuple[str, ...] = ()
    """The parameters that are recurrent matrices: what DropConnect drops entries of."""
    recurrent_mask: Tensor | None = None
    """What :meth:`with_recurrent_mask` was given."""

    def forward(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """One step.

        Args:
            x: the input of this step, [B, I].
            state: the state after the previous step.
            context: what stays constant over time (an encoder's memory), or None.

        Returns:
            The output [B, output_size] and the next state.
        """
        raise TypeError(f"{type(self).__name__} defines no forward(x, state, context)")

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Any:
        """The state before the first step, for ``batch_size`` rows."""
        raise TypeError(f"{type(self).__name__} defines no initial_state(batch_size)")

    def project_input(self, x: Tensor) -> Tensor:
        """What can be computed from all inputs at once, [T, B, I] to [T, B, anything]; by default x."""
        return x

    def advance(self, projected: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """``forward`` from one time step of :meth:`project_input`'s result."""
        return self(projected, state, context)  # type: ignore[no-any-return]

    def begin(self, context: Any) -> tuple[Cell, Any]:
        """The cell and context that a run of many steps uses; by default these."""
        return self, context

    def force(self, state: Any, feedback: Tensor) -> Any:
        """The state in which the fed-back output is replaced by the target (teacher forcing)."""
        raise ValueError(
            f"{type(self).__name__} does not feed its output back, so it cannot be teacher-forced; "
            "leave out feedback="
        )

    def bind(self, parameters: Mapping[str, Tensor]) -> Cell:
        """This cell with other tensors as its parameters, sharing everything else.

        Layers keep the parameters under torch's names and bind them for each call, so that
        ``torch.func``, parametrisations and weight sharing see ordinary layer parameters.

        Args:
            parameters: a tensor for each name in ``named_parameters()``.
        """
        self.prepared()
        return cast(Cell, _bound(self, parameters))

    def prepared(self) -> Prepared:
        """What executors keep for this cell and all its bound copies."""
        return cast(Prepared, self.__dict__.setdefault("_prepared", Prepared()))

    def with_recurrent_mask(self, mask: Tensor) -> Cell:
        """This cell with ``mask`` [B, recurrent_size] on what its recurrent products multiply.

        Recurrent dropout (Gal & Ghahramani 2016, section 4): one mask for all steps of a sequence.

        Raises:
            ValueError: if the cell has no recurrent product.
        """
        if not self.recurrent_size:
            raise ValueError(
                f"{type(self).__name__} has no recurrent product that dropout could thin out; "
                "leave recurrent_dropout at 0"
            )
        masked = object.__new__(type(self))
        masked.__dict__.update(self.__dict__ | {"recurrent_mask": mask})
        return masked


def _bound(module: nn.Module, parameters: Mapping[str, Tensor]) -> nn.Module:
    """A shallow copy of a module in which ``parameters`` stand for its own and its children's."""
    bound = object.__new__(type(module))
    bound.__dict__.update(module.__dict__)  # not "=", for the compiler's sake
    if not module._modules:
        bound.__dict__["_parameters"] = parameters
        return bound
    own = {name: value for name, value in parameters.items() if "." not in name}
    bound.__dict__["_parameters"] = own
    children: dict[str, nn.Module | None] = {}
    for name, child in module._modules.items():
        start = name + "."
        inner = {k[len(start) :]: v for k, v in parameters.items() if k.startswith(start)}
        children[name] = None if child is None else _bound(child, inner)
    bound.__dict__["_modules"] = children
    return bound


class Activation(Tensor):
    """For type checkers: a gate's incoming activation [B, H] with its two summands apart."""

    input: Tensor
    recurrent: Tensor


class _Apart:
    """An :class:`Activation` for torch's compiler, which lets no tensor have attributes of its own."""

    def __init__(self, total: Tensor, input: Tensor, recurrent: Tensor | None) -> None:
        self.total, self.input, self.recurrent = total, input, recurrent

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        plain = [a.total if isinstance(a, _Apart) else a for a in args]
        return function(*plain, **(kwargs or {}))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.total, name)

    def __add__(self, other: Any) -> Any:
        return torch.add(self.total, other)

    def __sub__(self, other: Any) -> Any:
        return torch.sub(self.total, other)

    def __rsub__(self, other: Any) -> Any:
        return torch.rsub(self.total, other)

    def __mul__(self, other: Any) -> Any:
        return torch.mul(self.total, other)

    def __truediv__(self, other: Any) -> Any:
        return torch.div(self.total, other)

    def __neg__(self) -> Any:
        return torch.neg(self.total)

    __radd__, __rmul__ = __add__, __mul__


class Gates:
    """The incoming activations of one step by name: ``gate.i``, ``gate.n.input``, ``gate.n.recurrent``."""

    def __init__(self, activations: dict[str, Activation]) -> None:
        self._activations = activations

    def __getattr__(self, name: str) -> Activation:
        try:
            return self._activations[name]
        except KeyError:
            known = ", ".join(self._activations)
            raise AttributeError(
                f"the cell declares no gate {name!r}; its gates are {known}"
            ) from None


class GatedCell(Cell):
    """A cell defined by its gates, its state and one method of tensor arithmetic.

    Class attributes (an instance may set its own before ``super().__init__``):

    * ``gates``: names of the row blocks of ``weight_ih``, in order.
    * ``recurrent_gates``: the gates that have rows in ``weight_hh`` too; default all.
    * ``State``: a NamedTuple; its first field is the output, and what ``weight_hh`` multiplies.
    * ``vectors``: names of per-unit parameters [H] (peepholes, gains).
    * ``weights``: further parameters, each (name, size, ...) with sizes "H" (hidden), "O" (output) or
      multiples of them, such as "4H" for four gates' rows.

    * ``recurrent_weights``: the recurrent matrices' names, if there are more than ``weight_hh``.

    Without recurrent gates there is no ``weight_hh`` (nor ``bias_hh``).

    >>> class Leaky(GatedCell):
    ...     gates = ("n",)
    ...     vectors = ("rate",)
    ...     def step(self, gate, prev):
    ...         a = torch.sigmoid(self.rate)
    ...         return HiddenState(h=(1 - a) * prev.h + a * torch.tanh(gate.n))
    >>> cell = Leaky(3, 5)
    >>> output, state = cell(torch.zeros(2, 3), cell.initial_state(2))
    >>> output.shape
    torch.Size([2, 5])
    """

    gates: tuple[str, ...] = ()
    recurrent_gates: tuple[str, ...] | None = None
    State: type[Any] = HiddenState
    vectors: tuple[str, ...] = ()
    weights: tuple[tuple[str, ...], ...] = ()
    recurrent_weights: tuple[str, ...] = ("weight_hh",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        output_size: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.output_size = hidden_size if output_size is None else output_size
        for name in ("input_size", "hidden_size", "output_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, {getattr(self, name)} given")
        if self.recurrent_gates is None:
            self.recurrent_gates = self.gates
        self.recurrent_size = self.output_size if self.recurrent_gates else 0
        if not self.recurrent_gates:
            self.recurrent_weights = tuple(n for n in self.recurrent_weights if n != "weight_hh")

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape, device=device, dtype=dtype))

        self.weight_ih = parameter(len(self.gates) * hidden_size, input_size)
        if self.recurrent_gates:
            self.weight_hh = parameter(len(self.recurrent_gates) * hidden_size, self.output_size)
        if bias:
            self.bias_ih = parameter(len(self.gates) * hidden_size)
        if bias and self.recurrent_gates:
            self.bias_hh = parameter(len(self.recurrent_gates) * hidden_size)
        for name, *shape in self.weights:
            setattr(self, name, parameter(*map(self._size, shape)))
        for name in self.vectors:
            setattr(self, name, parameter(hidden_size))
        if not self.weight_ih.is_meta:
            self.reset_parameters()

    def _size(self, size: str) -> int:
        """A size of ``weights`` as a number: "H", "O", "4H"."""
        unit = {"H": self.hidden_size, "O": self.output_size}[size[-1:]]
        return int(size[:-1] or 1) * unit

    def reset_parameters(self) -> None:
        """Uniform in ±1/sqrt(H), as torch.nn initialises its recurrent layers."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self._parameters.values():
            nn.init.uniform_(cast(Tensor, parameter), -bound, bound)

    def step(self, gate: Gates, prev: Any) -> Any:
        """The equations: the next state from the gates' incoming activations and the previous state."""
        raise TypeError(f"{type(self).__name__} defines no step(gate, prev)")

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Any:
        """Zeros: the output field [B, output_size], every other field [B, H]."""
        reference = cast(Tensor | None, self._parameters.get("weight_ih"))
        if reference is not None:
            device = reference.device if device is None else device
            dtype = reference.dtype if dtype is None else dtype
        fields = self.State._fields
        sizes = [self.output_size, *[self.hidden_size] * (len(fields) - 1)]
        return self.State(*(torch.zeros(batch_size, n, device=device, dtype=dtype) for n in sizes))

    def project_input(self, x: Tensor) -> Tensor:
        """The input's part of every gate's activation, [..., I] to [..., gates * H]."""
        return F.linear(x, self.weight_ih, self.bias_ih if self.bias else None)

    def advance(self, projected: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """One step from the projected input [B, gates * H]."""
        following = self.advance_with(projected, state)
        return following[0], following

    def advance_with(
        self, projected: Tensor, state: Any, product: Callable[[Tensor], Tensor] | None = None
    ) -> Any:
        """The next state; ``product`` stands for ``weight_hh`` and ``bias_hh`` where it is given."""
        return self.step(self._gates(projected, state, product), state)

    def forward(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """One step, from x [B, I]; the output is the state's first field."""
        return self.advance(self.project_input(x), state, context)

    def recurrent_input(self, prev: Any) -> Tensor:
        """What ``weight_hh`` multiplies; by default the state's first field."""
        return cast(Tensor, prev[0])

    def masked(self, recurrent: Tensor) -> Tensor:
        """``recurrent`` under the mask of recurrent dropout, if there is one.

        A recurrent product of the step's own takes its factor from here: ``weight_hh``'s is masked already.
        """
        return recurrent if self.recurrent_mask is None else recurrent * self.recurrent_mask

    def _gates(
        self, projected: Tensor, prev: Any, product: Callable[[Tensor], Tensor] | None = None
    ) -> Gates:
        recurrent_gates = cast(tuple[str, ...], self.recurrent_gates)
        inputs = dict(zip(self.gates, projected.chunk(len(self.gates), -1), strict=True))
        blocks: dict[str, Tensor] = {}
        if recurrent_gates:
            multiplied = self.masked(self.recurrent_input(prev))
            if product is None:
                bias = self.bias_hh if self.bias else None
                recurrent = F.linear(multiplied, self.weight_hh, bias)
            else:
                recurrent = product(multiplied)
            chunks = recurrent.chunk(len(recurrent_gates), -1)
            blocks = dict(zip(recurrent_gates, chunks, strict=True))
        if recurrent_gates == self.gates:  # one addition for all gates
            whole = (projected + recurrent).chunk(len(self.gates), -1)
            sums = dict(zip(self.gates, whole, strict=True))
        else:
            sums = {n: x + blocks[n] if n in blocks else x.view_as(x) for n, x in inputs.items()}
        if torch.compiler.is_dynamo_compiling():
            apart = {n: _Apart(sums[n], inputs[n], blocks.get(n)) for n in sums}
            return Gates(cast(dict[str, Activation], apart))
        for name, total in sums.items():
            total.input = inputs[name]  # type: ignore[attr-defined]
            if name in blocks:
                total.recurrent = blocks[name]  # type: ignore[attr-defined]
        return Gates(cast(dict[str, Activation], sums))
