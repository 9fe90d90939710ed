"""torch's operations that give another view of a value, or a constant of its shape, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from unrolled.kernels.program.ir import ROW
from unrolled.kernels.program.proxy import BatchSize, Proxy, Untraceable, foreign, number

if TYPE_CHECKING:
    from unrolled.kernels.program.tracing import Recorder


def _same(r: Recorder, a: Proxy, *_: Any, **__: Any) -> Proxy:
    return Proxy(r, a.nodes, mask=a.mask, stacked=a.stacked)


def _number(r: Recorder, a: Proxy, *args: Any, **__: Any) -> Proxy:
    return Proxy(r, a.nodes, stacked=a.stacked)


def _blocks(r: Recorder, a: Proxy, first: int, last: int) -> Proxy:
    return Proxy(r, a.nodes[first:last], mask=a.mask)


def _last(a: Proxy, dim: Any, what: str) -> None:
    if dim not in (-1, a.ndim - 1) or a.stacked:
        raise Untraceable(f"it takes {what} of another dimension than the last")


def _chunk(r: Recorder, a: Proxy, chunks: int, dim: int = 0) -> tuple[Proxy, ...]:
    _last(a, dim, "chunks")
    step, rest = divmod(len(a.nodes), chunks)
    if rest:
        raise Untraceable(f"it cuts {len(a.nodes)} blocks of units into {chunks}")
    return tuple(_blocks(r, a, i, i + step) for i in range(0, len(a.nodes), step))


def _split(r: Recorder, a: Proxy, sizes: Any, dim: int = 0) -> tuple[Proxy, ...]:
    _last(a, dim, "a split")
    total = a.shape[-1]
    if isinstance(sizes, int):
        sizes = [min(sizes, total - i) for i in range(0, total, sizes)]
    parts, start = [], 0
    for size in sizes:
        parts.append(_slice(r, a, slice(start, start + size)))
        start += size
    if start != total:
        raise Untraceable("it splits a tensor into parts that are not its whole")
    return tuple(parts)


def _slice(r: Recorder, a: Proxy, units: slice) -> Proxy:
    start, stop, step = units.indices(a.shape[-1])
    if step != 1 or start % a.width or stop % a.width or stop <= start:
        raise Untraceable("it takes a slice that is not a block of units")
    return _blocks(r, a, start // a.width, stop // a.width)


def _getitem(r: Recorder, a: Proxy, index: Any) -> Proxy:
    index = index if isinstance(index, tuple) else (index,)
    everything = slice(None)
    if a.kind.kind == "vector" and index in ((None,), (None, everything), (None, Ellipsis)):
        return _same(r, a)
    if Ellipsis in [i for i in index if i is Ellipsis]:
        at = [i is Ellipsis for i in index].index(True)
        missing = a.ndim - len(index) + 1
        index = (*index[:at], *([everything] * missing), *index[at + 1 :])
    index = (*index, *([everything] * (a.ndim - len(index))))
    *front, last = index
    rows = all(i == everything for i in front[:-1])
    if a.stacked and last == everything and isinstance(front[-1], int) and rows:
        block = front[-1] % len(a.nodes)
        return _blocks(r, a, block, block + 1)
    if a.stacked or any(i != everything for i in front) or not isinstance(last, slice):
        raise Untraceable("it takes an element or slice that is not a block of units")
    return _slice(r, a, last)


def _unbind(r: Recorder, a: Proxy, dim: int = 0) -> tuple[Proxy, ...]:
    if not a.stacked or dim not in (-2, a.ndim - 2):
        raise Untraceable("it unbinds a dimension that is not one of blocks of units")
    return tuple(_blocks(r, a, i, i + 1) for i in range(len(a.nodes)))


def _unflatten(r: Recorder, a: Proxy, dim: int, sizes: Any) -> Proxy:
    _last(a, dim, "an unflattening")
    return _reshape(r, a, *a.shape[:-1], *sizes)


def _reshape(r: Recorder, a: Proxy, *shape: Any) -> Proxy:
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple) else shape
    rows = () if a.kind.kind in ("vector", "scalar") else (a.shape[0],)
    kept = sizes[: len(rows)]
    if rows and not (len(kept) == 1 and (isinstance(kept[0], BatchSize) or kept[0] == -1)):
        raise Untraceable("it reshapes the rows")
    blocks, width = len(a.nodes), a.width
    last = sizes[len(rows) :]
    if last in ((blocks * width,), (-1,)) and not (last == (-1,) and kept == (-1,)):
        return Proxy(r, a.nodes, mask=a.mask)
    if len(last) == 2 and all(n in (-1, k) for n, k in zip(last, (blocks, width), strict=True)):
        return Proxy(r, a.nodes, mask=a.mask, stacked=True)
    raise Untraceable("it reshapes units otherwise than into their blocks")


def _expand(r: Recorder, a: Proxy, *shape: Any) -> Proxy:
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple) else shape
    return _spread(r, a, r.size_named(sizes[-1]) if sizes[-1] != -1 else a.kind.size)


def _expand_as(r: Recorder, a: Proxy, other: Proxy) -> Proxy:
    return _spread(r, a, other.kind.size)


def _spread(r: Recorder, a: Proxy, size: str) -> Proxy:
    if a.kind.kind in ("scalar", "row") or size == a.kind.size:
        return Proxy(r, [r.expand(n, size) for n in a.nodes], mask=a.mask)
    raise Untraceable("it expands a tensor to another number of units")


def _squeezed(r: Recorder, a: Proxy, dim: int) -> Proxy:
    if a.kind.kind == "vector" and dim in (0, -2):
        return _same(r, a)
    raise Untraceable("it adds or drops a dimension")


def _filled(value: float) -> Callable[..., Proxy]:
    return lambda r, a, *_, **__: _full_like(r, a, value)


def _full_like(r: Recorder, a: Proxy, value: Any, **_: Any) -> Proxy:
    filled = number(value)
    if filled is None:
        foreign(value)
    constant = r.constant(filled)
    kind = a.kind
    if kind.kind in ("vector", "scalar", "constant"):
        return Proxy(r, [constant])
    node = r.expand(constant, ROW if kind.kind == "row" else kind.size)
    return Proxy(r, [node] * len(a.nodes), stacked=a.stacked)


def _new(value: float | None) -> Callable[..., Proxy]:
    def fill(r: Recorder, a: Proxy, size: Any, *rest: Any, **_: Any) -> Proxy:
        filled = rest[-1] if value is None else value
        sizes = (size, *rest) if isinstance(size, int) else tuple(size)
        if len(sizes) != 2 or not isinstance(sizes[0], BatchSize):
            raise Untraceable("it makes a tensor of another shape than [rows, units]")
        node = r.expand(r.constant(float(filled)), r.size_named(sizes[1]))
        return Proxy(r, [node])

    return fill


VIEWS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("view_as", "contiguous", "clone", "reshape_as", "requires_grad_"), _same),
    **dict.fromkeys(("to", "float", "double", "half", "bfloat16", "type_as"), _number),
    "chunk": _chunk,
    "tensor_split": _chunk,
    "split": _split,
    "split_with_sizes": _split,
    "getitem": _getitem,
    "unbind": _unbind,
    "unflatten": _unflatten,
    "view": _reshape,
    "reshape": _reshape,
    "expand": _expand,
    "broadcast_to": _expand,
    "expand_as": _expand_as,
    "unsqueeze": _squeezed,
    "squeeze": _squeezed,
    "zeros_like": _filled(0.0),
    "ones_like": _filled(1.0),
    "full_like": _full_like,
    "new_zeros": _new(0.0),
    "new_ones": _new(1.0),
    "new_full": _new(None),
}
