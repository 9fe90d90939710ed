r"""Monotone decoding: a source cut into spans, each replaced by one of its options, from left to right.

The best of all cuts and options under a language model of what is written,

.. math:: \arg\max \sum_k s(o_k) + \lambda \ln p(w_1 \dots w_m \, \text{end}),

s being the score of an option and w the tokens of all options in order (Koehn, Och & Marcu 2003,
"Statistical phrase-based translation", section 2, without reordering). Hypotheses that cover as many source
positions and are in the same state of the language model are one, the best; of the others a beam is kept. The
ways into each that were not the best are remembered: the n best are searched in this graph backwards from its
end, best first, guided by the exact scores of the ways to each hypothesis (A*; Soong & Huang 1991).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Reads tokens [N] in states [N, S]: the natural log of p of each, float64 [N], and the states after them.
Extend = Callable[[Integers, Integers], tuple[Floats, Integers]]


class Options(NamedTuple):
    """What may replace the source from one position on: O options of at most L tokens.

    Attributes:
        ends: [O], the position after the span that each replaces.
        tokens: [O, L], padded with anything.
        lengths: [O], how many tokens are real; may be 0.
        scores: [O].
    """

    ends: Integers
    tokens: Integers
    lengths: Integers
    scores: Floats


class Piece(NamedTuple):
    """A span of the source and what replaces it: where it starts, which of the options there, its tokens."""

    start: int
    option: int
    tokens: tuple[int, ...]


class Path(NamedTuple):
    """One way through a source, and its value in the equation.

    >>> Path((Piece(0, 4, (7, 8)), Piece(2, 0, (9,))), -1.5).tokens
    (7, 8, 9)
    """

    pieces: tuple[Piece, ...]
    score: float

    @property
    def tokens(self) -> tuple[int, ...]:
        """What is written."""
        return tuple(token for piece in self.pieces for token in piece.tokens)


Writing = tuple[Hashable, ...]


class _Stack(NamedTuple):
    """Hypotheses that cover as many positions: their states and where they come from."""

    scores: Floats  # [H]
    states: Integers  # [H, S]
    starts: Integers  # [H], of the last span
    parents: Integers  # [H], in the stack of that position
    options: Integers  # [H], among those of that position

    def rows(self, which: Sequence[int]) -> _Stack:
        """Some of them."""
        return _Stack._make(part[which] for part in self)


class _Kept(NamedTuple):
    """The hypotheses that are gone on with, and for each all the ways into it, the best first."""

    stack: _Stack
    ways: Sequence[_Stack]  # empty where one answer is wanted


def monotone(
    options: Sequence[Options],
    extend: Extend,
    *,
    state: Integers,
    end: int,
    weight: float = 1.0,
    beam: int = 20,
    n_best: int = 1,
    write: Callable[[Piece], Writing] = lambda piece: piece.tokens,
) -> list[Path]:
    """The best paths through a source of ``len(options)`` positions, the best first.

    Of paths that write the same only the best is given, so that there may be fewer than were asked for.

    Args:
        options: for each position what may replace the source from there on.
        extend: the language model, see ``Extend``.
        state: its state before anything is written, [S].
        end: the token that ends what is written.
        weight: λ.
        beam: hypotheses kept for each number of covered positions.
        n_best: paths to return, at most.
        write: what a piece writes.

    Raises:
        DataError: if no options reach the end of the source.

    >>> def even(tokens, states):  # all of ten tokens are equally likely
    ...     return np.full(len(tokens), np.log(0.1)), states
    >>> a = Options(np.array([1, 2]), np.array([[4, 0], [5, 6]]), np.array([1, 2]), np.array([-1.0, -9.0]))
    >>> b = Options(np.array([2]), np.array([[7, 0]]), np.array([1]), np.array([-2.0]))
    >>> monotone([a, b], even, state=np.zeros(0, np.int64), end=9)[0].tokens
    (4, 7)
    """
    found: list[list[_Stack]] = [[] for _ in range(len(options) + 1)]
    none = np.zeros(1, np.int64)
    found[0].append(_Stack(np.zeros(1), state[None, :], none - 1, none, none))
    kept: list[_Kept | None] = []
    for position, these in enumerate(options):
        best = _best(found[position], beam, ways=n_best > 1)
        kept.append(best)
        if best is None or not len(these.ends):
            continue
        stack = best.stack
        scores, states = _extended(stack, these, extend, weight)  # [H, O], [H, O, S]
        for stop in np.unique(these.ends).tolist():
            which = np.flatnonzero(these.ends == stop)
            rows = np.repeat(np.arange(len(stack.scores)), len(which))
            columns = np.tile(which, len(stack.scores))
            fresh = scores[rows, columns], states[rows, columns], np.full(len(rows), position)
            found[stop].append(_Stack(*fresh, rows, columns))
    last = _best(found[-1], beam, ways=n_best > 1)
    if last is None:
        raise DataError(f"no options cover all {len(options)} positions of a source")
    kept.append(last)
    ending, _ = extend(np.full(len(last.stack.scores), end), last.stack.states)
    if n_best > 1:
        return _paths(kept, options, weight * ending, n_best, write)
    scores = last.stack.scores + weight * ending
    row = int(np.argmax(scores))
    return [_path(kept, options, row, float(scores[row]))]


def _extended(
    stack: _Stack, options: Options, extend: Extend, weight: float
) -> tuple[Floats, Integers]:
    """Every hypothesis with every option: scores [H, O] and the states after them [H, O, S]."""
    H, count = len(stack.scores), len(options.ends)
    states = np.repeat(stack.states, count, axis=0)
    tokens, lengths = np.tile(options.tokens, (H, 1)), np.tile(options.lengths, H)
    fluent = np.zeros(len(states))
    for place in range(int(options.lengths.max())):
        rows = np.flatnonzero(lengths > place)
        log_probs, states[rows] = extend(tokens[rows, place], states[rows])
        fluent[rows] += log_probs
    scores = stack.scores[:, None] + options.scores + weight * fluent.reshape(H, count)
    return scores, states.reshape(H, count, -1)


def _best(stacks: Sequence[_Stack], beam: int, *, ways: bool) -> _Kept | None:
    """The best hypotheses, one of each state; ``beam`` of them, the best first."""
    if not stacks:
        return None
    every = _Stack._make(np.concatenate(parts) for parts in zip(*stacks, strict=True))
    kept: dict[bytes, list[int]] = {}
    for row in np.argsort(-every.scores, kind="stable").tolist():
        state = every.states[row].tobytes()
        if state in kept:
            kept[state].append(row)
        elif len(kept) < beam:
            kept[state] = [row]
        if len(kept) == beam and not ways:
            break
    best = every.rows([rows[0] for rows in kept.values()])
    return _Kept(best, [every.rows(rows) for rows in kept.values()] if ways else [])


def _piece(options: Sequence[Options], start: int, option: int) -> Piece:
    these = options[start]
    return Piece(start, option, tuple(these.tokens[option, : these.lengths[option]].tolist()))


def _path(kept: Sequence[_Kept | None], options: Sequence[Options], row: int, score: float) -> Path:
    """Follows the pointers from a hypothesis that covers everything back to the start."""
    pieces: list[Piece] = []
    position = len(kept) - 1
    while position > 0:
        stack = _there(kept[position]).stack
        position, option = int(stack.starts[row]), int(stack.options[row])
        row = int(stack.parents[row])
        pieces.append(_piece(options, position, option))
    return Path(tuple(reversed(pieces)), score)


def _paths(
    kept: Sequence[_Kept | None],
    options: Sequence[Options],
    ending: Floats,
    n_best: int,
    write: Callable[[Piece], Writing],
) -> list[Path]:
    """The best paths that write different things."""
    last = len(kept) - 1
    # minus the whole score, a number for ties, a hypothesis, and of the way from it to the end: score, pieces
    heap: list[tuple[float, int, int, int, float, tuple[Piece, ...], Writing]] = []
    for row, total in enumerate((_there(kept[last]).stack.scores + ending).tolist()):
        heapq.heappush(heap, (-total, row, last, row, float(ending[row]), (), ()))
    count = len(heap)
    seen: set[tuple[int, int, Writing]] = set()
    found: dict[Writing, Path] = {}
    while heap and len(found) < n_best:
        less, _, position, row, rest, pieces, written = heapq.heappop(heap)
        if (position, row, written) in seen:
            continue  # the same was written from here on by a better way
        seen.add((position, row, written))
        if not position:
            found.setdefault(written, Path(pieces, -less))
            continue
        ways = _there(kept[position]).ways[row]
        for way in range(len(ways.scores)):
            start, parent = int(ways.starts[way]), int(ways.parents[way])
            piece = _piece(options, start, int(ways.options[way]))
            total = float(ways.scores[way]) + rest
            before = float(_there(kept[start]).stack.scores[parent])
            further = (piece, *pieces), (*write(piece), *written)
            heapq.heappush(heap, (-total, count, start, parent, total - before, *further))
            count += 1
    return list(found.values())


def _there(kept: _Kept | None) -> _Kept:
    assert kept is not None  # a hypothesis stands in it
    return kept
