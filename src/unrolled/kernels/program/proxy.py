"""What a cell's step is run on to be recorded: objects that look like tensors and write down operations."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from unrolled.kernels.program.ir import ROW, Node, Shape

if TYPE_CHECKING:
    from unrolled.kernels.program.tracing import Recorder


class Untraceable(ValueError):  # noqa: N818 (it names what the cell is)
    """A cell that the program's operations cannot express; the text says why in one line."""


class BatchSize(int):
    """The number of rows, which no program knows: it may be handed on, but not reckoned with."""

    def _refuse(self, *_: object) -> NoReturn:
        raise Untraceable("its step reckons with the number of rows")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = _refuse
    __floordiv__ = __rfloordiv__ = __float__ = _refuse


class Proxy:
    """A value of the step: one node for each block of units along the last dimension.

    Args:
        recorder: what writes the operations down.
        nodes: the nodes of the blocks, in order.
        mask: whether the value is boolean (1 or 0 in the program).
        stacked: whether the blocks are a dimension of their own, before the last.
    """

    input: Proxy
    recurrent: Proxy

    def __init__(
        self,
        recorder: Recorder,
        nodes: Sequence[int],
        *,
        mask: bool = False,
        stacked: bool = False,
    ) -> None:
        self.recorder, self.nodes, self.mask, self.stacked = recorder, tuple(nodes), mask, stacked

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", str(func))
        for proxy in _proxies((args, kwargs or {})):
            return proxy.recorder.call(name, *args, **(kwargs or {}))
        raise Untraceable(f"it calls torch's {name}")

    @property
    def kind(self) -> Shape:
        """The shape of each block."""
        return self.recorder.shapes[self.nodes[0]]

    @property
    def width(self) -> int:
        """The number of units of one block."""
        size = self.kind.size
        return self.recorder.numbers[size] if size else 1

    @property
    def shape(self) -> torch.Size:
        """As a tensor's; the number of rows is opaque."""
        if self.kind.kind in ("scalar", "constant"):
            return torch.Size(())
        last = (len(self.nodes), self.width) if self.stacked else (len(self.nodes) * self.width,)
        if self.kind.kind == "vector":
            return torch.Size(last)
        return (BatchSize(self.recorder.rows), *last)  # type: ignore[return-value]

    def size(self, dim: int | None = None) -> Any:
        """As a tensor's."""
        return self.shape if dim is None else self.shape[dim]

    @property
    def ndim(self) -> int:
        """As a tensor's."""
        return len(self.shape)

    def dim(self) -> int:
        """As a tensor's."""
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Of the cell's parameters; bool for a mask."""
        return torch.bool if self.mask else self.recorder.dtype

    @property
    def device(self) -> torch.device:
        """Of the cell's parameters."""
        return self.recorder.device

    def __getattr__(self, name: str) -> Any:
        if name in ("input", "recurrent"):
            raise Untraceable(f"it uses the {name} part of a gate that has none")
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("T", "mT", "data", "H"):
            return self.recorder.call(name, self)

        def method(*args: Any, **kwargs: Any) -> Any:
            return self.recorder.call(name, self, *args, **kwargs)

        return method

    def __bool__(self) -> bool:
        raise Untraceable("its step branches on a tensor's value")

    def __iter__(self) -> Iterator[Any]:
        raise Untraceable("its step iterates over a tensor")

    def __getitem__(self, index: Any) -> Any:
        return self.recorder.call("getitem", self, index)

    def __float__(self) -> float:
        raise Untraceable("its step takes a number out of a tensor")

    __int__ = __index__ = __float__
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Any:
        return self.recorder.call("eq", self, other)

    def __ne__(self, other: object) -> Any:
        return self.recorder.call("ne", self, other)


def _operator(name: str, *, reflected: bool = False) -> Callable[[Proxy, Any], Any]:
    def method(self: Proxy, other: Any) -> Any:
        pair = (other, self) if reflected else (self, other)
        return self.recorder.call(name, *pair)

    return method


for _name, _alias in (
    *((n, n) for n in ("add", "sub", "mul", "truediv", "pow", "lt", "le", "gt", "ge", "matmul")),
    ("and", "logical_and"),
    ("or", "logical_or"),
    ("xor", "logical_xor"),
):
    setattr(Proxy, f"__{_name}__", _operator(_alias))
    if hasattr(operator, f"__i{_name}__"):
        setattr(Proxy, f"__r{_name}__", _operator(_alias, reflected=True))
for _name, _alias in (("neg", "neg"), ("invert", "logical_not"), ("abs", "abs"), ("pos", "clone")):
    setattr(Proxy, f"__{_name}__", lambda self, alias=_alias: self.recorder.call(alias, self))


class MatrixProxy(Proxy):
    """A weight matrix, which can multiply and nothing else.

    Args:
        recorder: what writes the operations down.
        source: which matrix. transposed: whether it was transposed.
    """

    def __init__(self, recorder: Recorder, source: int, *, transposed: bool = False) -> None:
        super().__init__(recorder, ())
        self.source, self.transposed = source, transposed

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.recorder.signature.matrices[self.source].name

    @property
    def shape(self) -> torch.Size:
        """As a tensor's."""
        matrix, numbers = self.recorder.signature.matrices[self.source], self.recorder.numbers
        shape = (matrix.blocks * numbers[matrix.rows], numbers.get(matrix.columns, 0))
        return torch.Size(reversed(shape) if self.transposed else shape)


def _proxies(value: Any) -> Iterator[Proxy]:
    if isinstance(value, Proxy):
        yield value
    elif isinstance(value, dict):
        yield from _proxies(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _proxies(item)


def foreign(value: Any) -> NoReturn:
    """Refuses what is neither a proxy nor a number."""
    if isinstance(value, Tensor):
        raise Untraceable("its step uses a tensor that is neither a parameter nor a state")
    raise Untraceable(f"its step calculates with a {type(value).__name__}")


def number(value: Any) -> float | None:
    """A Python number as a float; None for anything else."""
    if isinstance(value, BatchSize):
        value._refuse()
    return float(value) if isinstance(value, Real) else None


def leaf(recorder: Recorder, op: str, source: int, block: int | None = None) -> Proxy:
    """The proxy of a leaf."""
    blocks = () if block is None else (block,)
    return Proxy(recorder, (recorder.add(Node(op, source=source, blocks=blocks)),))


__all__ = ["ROW", "MatrixProxy", "Proxy", "Untraceable", "foreign", "leaf", "number"]
