"""Sequences made by a rule, each a known test of memory: temporal exclusive-or (Elman 1990), delayed
recall (Lipton 2015, section 1.2: what a window or Markov chain cannot reach), and the embedded
Reber grammar, alone (Hochreiter & Schmidhuber 1997, section 5.1) and without ends (Gers,
Schmidhuber & Cummins 2000, section 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

REBER_SYMBOLS = ("B", "T", "P", "S", "X", "V", "E")


def temporal_xor(segments: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """A stream of bits in segments of three: two random ones and their exclusive-or.

    Elman (1990), "Finding structure in time", section "Exclusive-OR". Each third bit can be
    predicted, so the best mean accuracy is 2/3. Nothing in the stream marks a segment's start.

    Returns:
        ``[3 * segments]`` of 0 and 1.

    >>> bits = temporal_xor(5, np.random.default_rng(0)).reshape(5, 3)
    >>> (bits[:, 2] == bits[:, 0] ^ bits[:, 1]).all()
    np.True_
    """
    _at_least(0, segments=segments)
    pairs = rng.integers(2, size=(segments, 2))
    return np.column_stack([pairs, pairs[:, 0] ^ pairs[:, 1]]).reshape(-1)


class Recall(NamedTuple):
    """Random symbols and, at every step, the one some steps ago.

    Attributes:
        inputs: ``[T]``, int64.
        targets: ``[T]``, int64: ``targets[t] = inputs[t - delay]`` where known; before, the
            symbols of the time before the first step, which nobody can know.
        known: ``[T]``, boolean, True from step ``delay`` on.
    """

    inputs: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    known: npt.NDArray[np.bool_]


def delayed_recall(length: int, delay: int, symbols: int, rng: np.random.Generator) -> Recall:
    """Uniformly random symbols; the target is the input ``delay`` steps ago.

    A model that sees fewer than ``delay + 1`` inputs is at chance, ``1 / symbols``; the table of
    a Markov chain that could solve it has ``symbols ** (delay + 1)`` contexts (Lipton 2015,
    section 1.2). With ``delay = 0`` the target is the input itself.

    >>> inputs, targets, known = delayed_recall(8, 3, 4, np.random.default_rng(0))
    >>> (targets[known] == inputs[:-3]).all()
    np.True_
    """
    _at_least(0, length=length, delay=delay)
    _at_least(1, symbols=symbols)
    drawn = rng.integers(symbols, size=length + delay)
    return Recall(drawn[delay:], drawn[:length], np.arange(length) >= delay)


class ReberText(NamedTuple):
    """Symbols of a grammar and what may follow each.

    Attributes:
        symbols: ``[T]``, int64: places in ``REBER_SYMBOLS``.
        successors: ``[T, 7]``, boolean: ``successors[t, s]`` is True if symbol s may stand at
            ``t + 1``, given all symbols up to t.
    """

    symbols: npt.NDArray[np.int64]
    successors: npt.NDArray[np.bool_]

    def __str__(self) -> str:
        return "".join(REBER_SYMBOLS[symbol] for symbol in self.symbols)


# The Reber grammar (Reber 1967): from each node the symbols that may come and the nodes they
# lead to. Node 7 is the end.
_REBER: tuple[tuple[tuple[str, int], ...], ...] = (
    (("B", 1),),
    (("T", 2), ("P", 3)),
    (("S", 2), ("X", 4)),
    (("T", 3), ("V", 5)),
    (("X", 3), ("S", 6)),
    (("P", 4), ("V", 6)),
    (("E", 7),),
)


def _embedded() -> tuple[tuple[tuple[int, int], ...], ...]:
    """The embedded grammar: B, then T or P, a Reber string, the same T or P again, and E.

    Nodes: 0 start, 1 after B, 2 to 9 Reber's after T, 10 to 17 Reber's after P (the last of each
    awaits the closing T or P), 18 before E. After E the walk is at the start again.
    """
    nodes: list[tuple[tuple[str, int], ...]] = [(("B", 1),), (("T", 2), ("P", 10))]
    for first, closing in ((2, "T"), (10, "P")):
        nodes += [tuple((symbol, first + node) for symbol, node in arcs) for arcs in _REBER]
        nodes.append(((closing, 18),))
    nodes.append((("E", 0),))
    index = {symbol: i for i, symbol in enumerate(REBER_SYMBOLS)}
    return tuple(tuple((index[symbol], node) for symbol, node in arcs) for arcs in nodes)


_NODES = _embedded()
_LEGAL = np.array([[s in dict(arcs) for s in range(len(REBER_SYMBOLS))] for arcs in _NODES])


def embedded_reber(rng: np.random.Generator) -> ReberText:
    """One string of the embedded Reber grammar, every branch with probability 1/2.

    The last symbol but one repeats the second: a dependency over the whole string (Hochreiter &
    Schmidhuber 1997, section 5.1). At least 9 symbols. The last row of ``successors`` is all
    False: nothing follows.

    >>> str(embedded_reber(np.random.default_rng(2)))
    'BTBTSXXTTVVETE'
    """
    symbols, nodes = _walk(None, rng)
    successors = _LEGAL[nodes]
    successors[-1] = False
    return ReberText(np.array(symbols), successors)


def continual_reber(length: int, rng: np.random.Generator) -> ReberText:
    """Strings of the embedded Reber grammar one after the other, cut after ``length`` symbols.

    No marker but the grammar's own E and B tells where a string ends, and no state is reset there
    (Gers, Schmidhuber & Cummins 2000, section 4): after the last E of a string only B may follow.

    >>> text = continual_reber(17, np.random.default_rng(2))
    >>> str(text), text.successors[13].nonzero()[0]  # after the E of a string only B
    ('BTBTSXXTTVVETEBTB', array([0]))
    """
    _at_least(0, length=length)
    symbols, nodes = _walk(length, rng)
    return ReberText(np.array(symbols, dtype=np.int64), _LEGAL[np.array(nodes, dtype=np.int64)])


def _walk(length: int | None, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Symbols and the node after each: ``length`` of them, or up to the first end of a string."""
    symbols: list[int] = []
    nodes: list[int] = []
    node = 0
    while length is None or len(symbols) < length:
        for choice in rng.integers(2, size=64).tolist():  # one call for many steps
            arcs = _NODES[node]
            symbol, node = arcs[choice] if len(arcs) == 2 else arcs[0]
            symbols.append(symbol)
            nodes.append(node)
            if length is None and node == 0:
                return symbols, nodes
    return symbols[:length], nodes[:length]


def _at_least(low: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < low:
            raise ValueError(f"{name} is at least {low}, not {size}")
