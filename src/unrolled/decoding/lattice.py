r"""Word lattices: directed graphs without cycles, whose paths from start to end are the readings of an input.

An arc carries a word or none, and two logarithms: what the recogniser (or translation model) gave it and
what its language model did. A path's score is, as in HTK,

.. math:: s(\pi) = \sum_{a \in \pi} \left[ \text{acoustic}_a + \lambda\,\text{language}_a
          + \omega\,[a \text{ has a word}] \right]

with the scale :math:`\lambda` of the language model and the word penalty :math:`\omega`. The formats of
files are those of :mod:`unrolled.decoding.lattice_formats`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import NamedTuple

from unrolled.errors import DataError

# Words that no language model reads: those of HTK, those around a sentence, and that of OpenFST.
SILENT = frozenset(("!NULL", "!ENTER", "!EXIT", "!SENT_START", "!SENT_END", "<s>", "</s>", "<eps>"))


class Link(NamedTuple):
    """An arc as a file names it; ``line`` is where it stands."""

    source: str
    target: str
    word: str
    acoustic: float
    language: float
    line: int | None = None


class Arc(NamedTuple):
    """An arc between two nodes, by their places in :attr:`Lattice.nodes`.

    Attributes:
        source, target: the nodes; ``source`` < ``target``.
        word: None if there is nothing to read.
        acoustic, language: natural logarithms, scaled by nothing but what the file says of ``acoustic``.
    """

    source: int
    target: int
    word: str | None
    acoustic: float
    language: float


@dataclass(frozen=True)
class Lattice:
    """A valid lattice: one start, one end, no cycles, each node on a path from start to end.

    Attributes:
        nodes: the names of the nodes in an order in which every arc goes forward; the start first, the
            end last.
        arcs: by source, in the file's order.
        name: what the file calls it.
        lm_scale, word_penalty: what the file says of them; a penalty is added for each word.

    >>> links = [Link("a", "b", "to", -1.0, -0.5), Link("b", "c", "be", -2.0, -0.5),
    ...          Link("a", "c", "two", -2.5, -0.5)]
    >>> lattice = Lattice.connect(links)
    >>> lattice.nodes, lattice.paths, lattice.levels
    (('a', 'b', 'c'), 2, (0, 1, 2))
    """

    nodes: tuple[str, ...]
    arcs: tuple[Arc, ...]
    name: str = ""
    lm_scale: float = 1.0
    word_penalty: float = 0.0

    @classmethod
    def connect(
        cls,
        links: Sequence[Link],
        *,
        nodes: Mapping[str, int] | None = None,
        start: str | None = None,
        end: str | None = None,
        name: str = "",
        lm_scale: float = 1.0,
        word_penalty: float = 0.0,
        path: str | PathLike[str] | None = None,
    ) -> Lattice:
        """The lattice of these arcs.

        Args:
            links: the arcs.
            nodes: the declared nodes and their lines; those that the arcs name when None.
            start, end: their names; the one node without arcs into it, or out of it, when None.
            name, lm_scale, word_penalty: see the class.
            path: the file, for complaints.

        Raises:
            DataError: no arcs; an arc to a node that is not declared; a weight that is not finite; several
                starts or ends; a cycle; a node that the start does not reach or that does not reach the end.
        """
        known = _declared(links, nodes, path)
        for role, given in (("start", start), ("end", end)):
            if given is not None and given not in known:
                raise DataError(
                    f"the {role} node {given} is not among the nodes; declare it", path=path
                )
        order = _ordered(links, known, path)
        first = _edge_node("start", start, known, {link.target for link in links}, path)
        last = _edge_node("end", end, known, {link.source for link in links}, path)
        _refuse_lost(links, known, order, first, last, path)
        # The start and the end of a graph whose nodes all lie between them are first and last in any order.
        place = {node: number for number, node in enumerate(order)}
        arcs = [
            Arc(
                place[link.source],
                place[link.target],
                None if link.word in SILENT else link.word,
                link.acoustic,
                link.language,
            )
            for link in links
        ]
        arcs.sort(key=lambda arc: arc.source)
        return cls(tuple(order), tuple(arcs), name, lm_scale, word_penalty)

    @property
    def paths(self) -> int:
        """The number of paths from start to end."""
        ways = [1] + [0] * (len(self.nodes) - 1)
        for arc in self.arcs:
            ways[arc.target] += ways[arc.source]
        return ways[-1]

    @property
    def levels(self) -> tuple[int, ...]:
        """For each node the number of arcs of the longest way from the start to it."""
        levels = [0] * len(self.nodes)
        for arc in self.arcs:
            levels[arc.target] = max(levels[arc.target], levels[arc.source] + 1)
        return tuple(levels)


def _declared(
    links: Sequence[Link], nodes: Mapping[str, int] | None, path: str | PathLike[str] | None
) -> dict[str, int | None]:
    """The nodes and their lines; refuses arcs that cannot be."""
    if not links:
        raise DataError("the lattice has no arcs; expected at least one", path=path)
    known: dict[str, int | None] = dict(nodes or {})
    for link in links:
        for node in (link.source, link.target):
            if nodes is None:
                known.setdefault(node, link.line)
            elif node not in nodes:
                message = (
                    f"the arc from {link.source} to {link.target} names the node {node}, which is not "
                    f"declared; add a line I={node}, or remove the arc"
                )
                raise DataError(message, path=path, line=link.line)
        for what, weight in (("acoustic", link.acoustic), ("language", link.language)):
            if not math.isfinite(weight):
                message = (
                    f"the {what} score of the arc from {link.source} to {link.target} is {weight}; "
                    "scores are finite logarithms: remove an arc that is impossible"
                )
                raise DataError(message, path=path, line=link.line)
    return known


def _ordered(
    links: Sequence[Link], known: Mapping[str, int | None], path: str | PathLike[str] | None
) -> list[str]:
    """The nodes in an order in which every arc goes forward (Kahn 1962)."""
    waiting = dict.fromkeys(known, 0)
    leaving: dict[str, list[str]] = {node: [] for node in known}
    for link in links:
        waiting[link.target] += 1
        leaving[link.source].append(link.target)
    order = [node for node, count in waiting.items() if not count]
    for node in order:  # grows as it is read
        for target in leaving[node]:
            waiting[target] -= 1
            if not waiting[target]:
                order.append(target)
    if len(order) < len(known):
        _refuse_cycle(links, set(known) - set(order), path)
    return order


def _refuse_cycle(links: Sequence[Link], left: set[str], path: str | PathLike[str] | None) -> None:
    """DataError that names the nodes of a cycle. ``left`` are those that arcs from one another enter."""
    entered = {link.target: link for link in links if link.target in left and link.source in left}
    node, seen = min(left), dict[str, None]()
    while node not in seen:
        seen[node] = None
        node = entered[node].source
    cycle = list(seen)[list(seen).index(node) :][::-1]
    last = max(range(len(cycle)), key=lambda place: entered[cycle[place]].line or 0)
    arc = entered[cycle[last]]
    cycle = [*cycle[last:], *cycle[:last]]  # from where the arc that stands last in the file leads
    inner = cycle[:-1] if len(cycle) < 10 else [*cycle[:8], "…"]
    shown = " → ".join([arc.source, *inner, arc.source])
    message = (
        f"the arc from {arc.source} to {arc.target} closes a cycle ({shown}); "
        "a lattice has none: remove the arc"
    )
    raise DataError(message, path=path, line=arc.line)


def _edge_node(
    role: str,
    given: str | None,
    known: Mapping[str, int | None],
    inner: set[str],
    path: str | PathLike[str] | None,
) -> str:
    """The start or the end: what is given, or the one node that is not ``inner``."""
    found = [node for node in known if node not in inner]
    if given is not None:
        return given
    if len(found) > 1:
        shown = ", ".join(found[:5]) + ", …" * (len(found) > 5)
        where = "into" if role == "start" else "out of"
        message = (
            f"{len(found)} nodes have no arcs {where} them ({shown}), where a lattice has one {role}; "
            f"join them to one node with arcs of the word !NULL, or remove them"
        )
        raise DataError(message, path=path, line=known[found[1]])
    return found[0]


def _refuse_lost(
    links: Sequence[Link],
    known: Mapping[str, int | None],
    order: Sequence[str],
    first: str,
    last: str,
    path: str | PathLike[str] | None,
) -> None:
    """DataError for a node that is on no path from start to end."""
    leaving: dict[str, list[str]] = {node: [] for node in known}
    entering: dict[str, list[str]] = {node: [] for node in known}
    for link in links:
        leaving[link.source].append(link.target)
        entering[link.target].append(link.source)
    for origin, ways, message in (
        (first, leaving, "cannot be reached from the start node"),
        (last, entering, "is a dead end: no arcs lead from it to the end node"),
    ):
        reached = _reached(origin, ways)
        for node in order:
            if node not in reached:
                mend = "remove it and its arcs, or add the missing arc"
                raise DataError(
                    f"the node {node} {message} {origin}; {mend}", path=path, line=known[node]
                )


def _reached(origin: str, ways: Mapping[str, Iterable[str]]) -> set[str]:
    reached, waiting = {origin}, [origin]
    while waiting:
        for node in ways[waiting.pop()]:
            if node not in reached:
                reached.add(node)
                waiting.append(node)
    return reached
