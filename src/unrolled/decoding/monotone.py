r"""Monotone decoding: a source cut into spans, each replaced by one of its options, from left to right.

The best of all cuts and options under a language model of what is written,

.. math:: \arg\max \sum_k s(o_k) + \lambda \ln p(w_1 \dots w_m \, \text{end}),

s being the score of an option and w the tokens of all options in order (Koehn, Och & Marcu 2003,
"Statistical phrase-based translation", section 2, without reordering). Hypotheses that cover as many source
positions and are in the same state of the language model are one, the best, unless more than one answer is
wanted; of the others a beam is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class _Stack(NamedTuple):
    """Hypotheses that cover as many positions: their states and where they come from."""

    scores: Floats  # [H]
    states: Integers  # [H, S]
    starts: Integers  # [H], of the last span
    parents: Integers  # [H], in the stack of that position
    options: Integers  # [H], among those of that position


def monotone(
    options: Sequence[Options],
    extend: Extend,
    *,
    state: Integers,
    end: int,
    weight: float = 1.0,
    beam: int = 20,
    n_best: int = 1,
) -> list[Path]:
    """The best paths through a source of ``len(options)`` positions, the best first.

    Args:
        options: for each position what may replace the source from there on.
        extend: the language model, see ``Extend``.
        state: its state before anything is written, [S].
        end: the token that ends what is written.
        weight: λ.
        beam: hypotheses kept for each number of covered positions.
        n_best: paths to return, at most ``beam``; different ones may write the same.

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
    stacks: list[_Stack | None] = []
    for position, these in enumerate(options):
        stack = _best(found[position], beam, merge=n_best == 1)
        stacks.append(stack)
        if stack is None or not len(these.ends):
            continue
        scores, states = _extended(stack, these, extend, weight)  # [H, O], [H, O, S]
        for stop in np.unique(these.ends).tolist():
            which = np.flatnonzero(these.ends == stop)
            rows = np.repeat(np.arange(len(stack.scores)), len(which))
            columns = np.tile(which, len(stack.scores))
            fresh = scores[rows, columns], states[rows, columns], np.full(len(rows), position)
            found[stop].append(_Stack(*fresh, rows, columns))
    last = _best(found[-1], beam, merge=n_best == 1)
    if last is None:
        raise DataError(f"no options cover all {len(options)} positions of a source")
    stacks.append(last)
    ending, _ = extend(np.full(len(last.scores), end), last.states)
    scores = last.scores + weight * ending
    order = np.argsort(-scores, kind="stable")[:n_best].tolist()
    return [_path(stacks, options, row, float(scores[row])) for row in order]


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


def _best(stacks: Sequence[_Stack], beam: int, *, merge: bool) -> _Stack | None:
    """The best hypotheses, with ``merge`` one of each state; ``beam`` of them, the best first."""
    if not stacks:
        return None
    scores = np.concatenate([stack.scores for stack in stacks])
    states = np.concatenate([stack.states for stack in stacks])
    order = np.argsort(-scores, kind="stable")
    kept: dict[bytes | int, int] = {}
    for row in order.tolist():
        kept.setdefault(states[row].tobytes() if merge else row, row)
        if len(kept) == beam:
            break
    best = list(kept.values())
    return _Stack(
        scores[best],
        states[best],
        np.concatenate([stack.starts for stack in stacks])[best],
        np.concatenate([stack.parents for stack in stacks])[best],
        np.concatenate([stack.options for stack in stacks])[best],
    )


def _path(
    stacks: Sequence[_Stack | None], options: Sequence[Options], row: int, score: float
) -> Path:
    """Follows the pointers from a hypothesis that covers everything back to the start."""
    pieces: list[Piece] = []
    position = len(stacks) - 1
    while position > 0:
        stack = stacks[position]
        assert stack is not None  # a hypothesis stands in it
        position, option = int(stack.starts[row]), int(stack.options[row])
        row = int(stack.parents[row])
        these = options[position]
        tokens = these.tokens[option, : these.lengths[option]].tolist()
        pieces.append(Piece(position, option, tuple(tokens)))
    return Path(tuple(reversed(pieces)), score)
