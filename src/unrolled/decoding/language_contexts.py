"""Histories of a step-protocol model as a tree, read in batches: each history once, when it is asked for.

What lattice rescoring needs: many histories that share their beginnings, of which most are dropped before
the model has to read them. A context holds the model's state after its symbols and the logarithms of the few
symbols that can follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.decoding.sample import StepModel
from unrolled.errors import ConfigError, RunError
from unrolled.state import batch_size, leaves, map_state, select

BLOCK = 512  # histories of one step, to bound the [rows, V] of its answer


class Context:
    """A history. Until it is read it knows only the one before it and the symbol between.

    It keeps none of those after it: what nobody goes on with is dropped, and its state with it.
    """

    __slots__ = ("__weakref__", "_children", "_parent", "_symbol", "log_probs", "row", "state")

    def __init__(self, parent: Context | None, symbol: int | None) -> None:
        self._parent, self._symbol = parent, symbol
        # most are dropped before they have any
        self._children: WeakValueDictionary[int, Context] | None = None
        self.state: Any = None  # of the batch that this history was read in
        self.row = 0
        self.log_probs: NDArray[np.float64] | None = None

    def after(self, symbol: int) -> Context:
        """The context one symbol further; the same one as long as anyone holds it."""
        if self._children is None:
            self._children = WeakValueDictionary()
        found = self._children.get(symbol)
        if found is None:
            found = self._children[symbol] = Context(self, symbol)
        return found

    def origin(self) -> tuple[Context, int]:
        """The context before this one, and the symbol between; only until it is read."""
        assert self._parent is not None
        assert self._symbol is not None
        return self._parent, self._symbol

    def fill(self, state: Any, row: int, log_probs: NDArray[np.float64]) -> None:
        """What the model answered. The way back is forgotten, so that earlier states can go."""
        self.state, self.row, self.log_probs = state, row, log_probs
        self._parent = None


class Contexts:
    """The histories of one sequence.

    Args:
        model: anything with ``start`` and ``step``.
        state: one sequence's state to begin with; that of ``model.start(1)`` when None.
        start: a symbol to read first; nothing when None.
        symbols: those whose logarithms will be asked for.

    Raises:
        ConfigError: a state of several sequences, or a symbol that the model does not have.

    >>> import math
    >>> from unrolled.baselines import Markov
    >>> contexts = Contexts(Markov(1).fit(np.array([0, 1, 1, 0]), 2), None, None, [0, 1])
    >>> after = contexts.root.after(1)
    >>> contexts.read([after])
    >>> round(math.exp(contexts.log_prob(after, 0)), 3)
    0.5
    """

    def __init__(
        self, model: StepModel, state: Any, start: int | None, symbols: Iterable[int]
    ) -> None:
        self._model = model
        state = model.start(1) if state is None else state
        rows = batch_size(state)
        if rows != 1:
            raise ConfigError(f"a state of {rows} sequences given; expected that of one: select it")
        self._device = leaves(state)[0].device if _is_plain(state) else torch.device("cpu")
        token = None if start is None else torch.tensor([start], device=self._device)
        log_probs, state = model.step(token, state)
        self._device = log_probs.device
        wanted = sorted(set(symbols))
        size = log_probs.shape[1]
        if wanted and not 0 <= wanted[0] <= wanted[-1] < size:
            given = f"{wanted[0]} to {wanted[-1]}"
            raise ConfigError(
                f"the model has the symbols 0 to {size - 1}, but {given} were given; "
                "spell words with the vocabulary that it was trained with"
            )
        self._place = {symbol: place for place, symbol in enumerate(wanted)}
        self._wanted = torch.tensor(wanted, dtype=torch.int64, device=self._device)
        self.root = Context(None, None)
        self._fill([self.root], log_probs, state)

    def log_prob(self, context: Context, symbol: int) -> float:
        """ln p of a symbol after a context that was read."""
        assert context.log_probs is not None
        return float(context.log_probs[self._place[symbol]])

    def read(self, contexts: Iterable[Context]) -> None:
        """Has the model read those that it has not read; those before them were."""
        waiting = dict.fromkeys(context for context in contexts if context.log_probs is None)
        for block in _blocks(list(waiting)):
            state = _join([context.origin()[0] for context in block], self._device)
            symbols = [context.origin()[1] for context in block]
            tokens = torch.tensor(symbols, device=self._device)
            self._fill(block, *self._model.step(tokens, state))

    def _fill(self, contexts: Sequence[Context], log_probs: Tensor, state: Any) -> None:
        found = log_probs[:, self._wanted].double().cpu().numpy()
        if np.isnan(found).any():
            raise RunError(
                "the language model gives NaN; train it again, or take an earlier checkpoint"
            )
        for row, context in enumerate(contexts):
            context.fill(state, row, found[row])


def _blocks(contexts: list[Context]) -> Iterator[list[Context]]:
    """Contexts that are read together; such as can be joined."""
    if contexts and not _is_plain(contexts[0].origin()[0].state):
        grouped: dict[int, list[Context]] = {}
        for context in contexts:
            grouped.setdefault(id(context.origin()[0].state), []).append(context)
        for group in grouped.values():
            yield from (group[i : i + BLOCK] for i in range(0, len(group), BLOCK))
        return
    yield from (contexts[i : i + BLOCK] for i in range(0, len(contexts), BLOCK))


def _join(contexts: Sequence[Context], device: torch.device) -> Any:
    """The states of contexts as one batch, in their order."""
    rows: dict[int, list[int]] = {}  # of each batch's state, by its identity
    states: dict[int, Any] = {}
    places: dict[int, list[int]] = {}
    for place, context in enumerate(contexts):
        key = id(context.state)
        states[key] = context.state
        rows.setdefault(key, []).append(context.row)
        places.setdefault(key, []).append(place)
    parts = [select(states[key], torch.tensor(rows[key], device=device)) for key in states]
    if len(parts) == 1:
        return parts[0]
    joined = map_state(lambda *tensors: torch.cat(tensors), *parts)
    gathered = torch.tensor([place for key in states for place in places[key]], device=device)
    return select(joined, gathered.argsort())


def _is_plain(state: Any) -> bool:
    """Whether a state is made of tensors and tuples, which can be joined."""
    if isinstance(state, tuple):
        return all(map(_is_plain, state))
    return isinstance(state, Tensor)
