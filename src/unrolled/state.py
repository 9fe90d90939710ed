"""Recurrent state as an object: nested tuples of tensors, batch first inside a cell.

A state is a tensor, or a tuple or :class:`~typing.NamedTuple` of states, for example
``LSTMState(h=[B, H], c=[B, H])`` or, for two layers, a tuple of two of those. Everything the
library does with a state — carrying it between chunks, choosing rows in a beam, saving a session —
is one of the few functions here. For :func:`select` and :func:`batch_size` a state, or a part of it, may
also be an object with ``select(rows)`` and ``__len__`` (:class:`Rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, Self, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor

S = TypeVar("S")


@runtime_checkable
class Rows(Protocol):
    """A state that is an object: it knows its number of rows and how to choose among them."""

    def __len__(self) -> int: ...

    def select(self, rows: Tensor, /) -> Self:
        """The rows of these numbers, int64, which may repeat, in this order."""
        ...


def map_state(function: Callable[..., Any], first: S, *others: Any) -> S:
    """Applies ``function`` to corresponding tensors of states of one structure.

    >>> map_state(torch.add, (torch.ones(2),), (torch.ones(2),))
    (tensor([2., 2.]),)

    Raises:
        ValueError: if the states differ in structure.
    """
    if isinstance(first, Tensor):
        return function(first, *others)  # type: ignore[no-any-return]
    if not isinstance(first, tuple):
        raise _strange(first)
    for other in others:
        if not isinstance(other, tuple) or len(other) != len(first):
            raise ValueError(f"states differ in structure: {_shape(first)} and {_shape(other)}")
    parts = [
        map_state(function, *corresponding) for corresponding in zip(first, *others, strict=True)
    ]
    return cast(S, _like(first, parts))


def leaves(state: Any) -> list[Tensor]:
    """The tensors of a state, in order."""
    return list(_walk(state))


def rebuild(template: S, tensors: Sequence[Tensor]) -> S:
    """The state of ``template``'s structure that holds ``tensors``; inverse of :func:`leaves`."""
    if len(leaves(template)) != len(tensors):
        raise ValueError(f"the state has {len(leaves(template))} tensors, {len(tensors)} given")
    remaining = iter(tensors)
    return map_state(lambda _: next(remaining), template)


def select(state: S, rows: Tensor | slice) -> S:
    """The rows (batch entries) of a state; ``rows`` is an index tensor, a mask [B] or a slice.

    An object's own ``select`` gets numbers of rows, whichever of these is given.

    >>> select((torch.tensor([[1], [2]]),), torch.tensor([1, 1, 0]))[0].flatten()
    tensor([2, 2, 1])
    """
    if isinstance(state, Tensor):
        return cast(S, state[rows])
    if isinstance(state, tuple):
        return cast(S, _like(state, [select(part, rows) for part in state]))
    if isinstance(state, Rows):
        numbers = rows
        if not isinstance(rows, Tensor):
            numbers = torch.arange(len(state))[rows]
        elif rows.dtype == torch.bool:
            numbers = rows.nonzero().flatten()
        return cast(S, state.select(cast(Tensor, numbers)))
    raise _strange(state)


def where(mask: Tensor, chosen: S, other: Any) -> S:
    """Per row, ``chosen`` where ``mask`` [B] is True, else ``other``."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b)

    return map_state(pick, chosen, other)


def detach(state: S) -> S:
    """The same values, cut off from the graph that computed them (truncated BPTT)."""
    return map_state(Tensor.detach, state)


def stack(states: Sequence[S]) -> S:
    """States stacked along a new first dimension: [T, B, ...] from T states of [B, ...]."""
    return map_state(lambda *tensors: torch.stack(tensors), *states)


def batch_size(state: Any) -> int:
    """The number of rows B of a state.

    Raises:
        ValueError: if there is nothing in the state to count.
    """
    rows = _rows(state)
    if rows is None:
        raise ValueError("the state holds no tensor, so that its rows cannot be counted")
    return rows


def check_like(state: Any, template: Any, *, name: str = "state") -> None:
    """Raises ValueError, naming both shapes, unless ``state`` has ``template``'s structure and shapes."""
    if _shape(state) != _shape(template):
        raise ValueError(f"{name} of shape {_shape(state)} given, {_shape(template)} expected")


def _rows(state: Any) -> int | None:
    if isinstance(state, Tensor):
        return state.shape[0]
    if isinstance(state, tuple):
        return next((rows for part in state if (rows := _rows(part)) is not None), None)
    if isinstance(state, Rows):
        return len(state)
    raise _strange(state)


def _walk(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, tuple):
        for part in state:
            yield from _walk(part)
    else:
        raise _strange(state)


def _strange(state: Any) -> ValueError:
    return ValueError(f"a state is made of tensors and tuples, not {type(state).__name__}")


def _like(template: Any, parts: list[Any]) -> Any:
    return type(template)(*parts) if hasattr(template, "_fields") else tuple(parts)


def _shape(state: Any) -> Any:
    if isinstance(state, Tensor):
        return list(state.shape)
    if hasattr(state, "_fields"):
        return {name: _shape(part) for name, part in zip(state._fields, state, strict=True)}
    return (
        tuple(_shape(part) for part in state) if isinstance(state, tuple) else type(state).__name__
    )
