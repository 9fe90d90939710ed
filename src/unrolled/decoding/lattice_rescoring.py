r"""Rescoring a lattice with a language model that remembers more than the lattice's nodes do.

A path's new score is

.. math:: s(\pi) = \text{acoustic}(\pi) + \lambda \ln p(w_1 \dots w_n, \text{end}) + \kappa\,\text{old}(\pi)
          + \omega n

with the scale :math:`\lambda` of the new model, :math:`\kappa` of the old one and the word penalty
:math:`\omega`. A recurrent model gives each history its own state, so that exact rescoring expands the
lattice: each node once for every history that reaches it. Two approximations keep that small: histories that
agree in their last words share the state of the best of them (the n-gram approximation of Liu, Wang, Chen,
Gales & Woodland 2014, "Efficient lattice rescoring using recurrent neural network language models"), and a
node keeps only its best histories (Auli, Galley, Quirk & Zweig 2013, "Joint language and translation modeling
with recurrent neural networks").

The expanded lattice is searched backwards from its end, best first, guided by the exact scores of the ways
to each node (A*; Soong & Huang 1991): the best word sequences come in order, each by its best path.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from unrolled.decoding.language_contexts import Context, Contexts
from unrolled.decoding.lattice import Lattice
from unrolled.decoding.sample import StepModel
from unrolled.errors import ConfigError, DataError

# The symbols of a word for the language model; whether it is the first of its sentence is told.
Spell = Callable[[str, bool], Sequence[int]]


@dataclass(frozen=True)
class RescoringOptions:
    """How a lattice is rescored. The defaults are exact.

    Attributes:
        n_best: word sequences to find, at least 1.
        lm_scale, word_penalty: None for the lattice's own. The scale is not negative.
        old_lm_scale: of the scores that the lattice brings; 0 forgets them.
        history: words of a history that count: those that agree in their last ``history`` words share a
            state; 0 or more. Of an n-gram model, n - 1 is exact. None: every history has its own.
        beam: histories that a node keeps, at least 1; None keeps all.
        limit: histories that may be held at once before an error says that it is too many.

    Raises:
        ConfigError: if an option is out of its range.
    """

    n_best: int = 1
    lm_scale: float | None = None
    old_lm_scale: float = 0.0
    word_penalty: float | None = None
    history: int | None = None
    beam: int | None = None
    limit: int = 200_000

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--n-best", self.n_best, 1),
            ("--history", self.history, 0),
            ("--beam", self.beam, 1),
        ):
            if value is not None and value < least:
                raise ConfigError(f"{flag} {value}: expected {least} or more")
        for flag, number in (
            ("--lm-scale", self.lm_scale),
            ("--old-lm-scale", self.old_lm_scale),
            ("--word-penalty", self.word_penalty),
        ):
            if number is not None and not math.isfinite(number):
                raise ConfigError(f"{flag} {number}: expected a finite number")
        if self.lm_scale is not None and self.lm_scale < 0:
            raise ConfigError(f"--lm-scale {self.lm_scale}: expected 0 or more")


class RescoredPath(NamedTuple):
    """A word sequence and its best path.

    Attributes:
        words: without those that are silent.
        arcs: the path, as places in the lattice's ``arcs``.
        acoustic, old_lm, new_lm: the sums of each, not scaled; the new one includes the sentence's end.
        score: the sum that the path was chosen by.
    """

    words: tuple[str, ...]
    arcs: tuple[int, ...]
    acoustic: float
    old_lm: float
    new_lm: float
    score: float


class _Edge(NamedTuple):
    """A way into a group: from another by an arc, with the new model's score and the weighted sum."""

    source: _Group
    arc: int
    new_lm: float
    total: float


@dataclass(eq=False)
class _Group:
    """A node of the expanded lattice: the histories at a node that share a state.

    ``score`` and ``context`` are those of the best way from the start.
    """

    key: Hashable
    started: bool  # whether a word was read
    context: Context | None
    score: float
    edges: list[_Edge] = field(default_factory=list)


@torch.no_grad()
def rescore(
    lattice: Lattice,
    model: StepModel,
    state: Any = None,
    *,
    spell: Spell,
    start: int | None = None,
    end: int | None = None,
    options: RescoringOptions | None = None,
) -> list[RescoredPath]:
    """The best word sequences of a lattice by the scores of a new language model.

    The model's steps are made together for all histories of a level of the lattice (nodes that are
    equally far from the start).

    Args:
        lattice: what to rescore.
        model: anything with ``start`` and ``step``.
        state: one sequence's state to begin with, for a model that was told more, such as a source
            sentence; that of ``model.start(1)`` when None.
        spell: the symbols of a word; one, several (characters, subwords), or none.
        start: a symbol to read before the first word; nothing when None.
        end: the symbol that ends a sentence, scored at the end of each path; nothing when None.
        options: exact 1-best rescoring when None.

    Returns:
        Distinct word sequences, best first, at most ``options.n_best``.

    Raises:
        DataError: more histories at once than ``options.limit``.
        ConfigError: a symbol that the model does not have, or a state of several sequences.
        RunError: the model gives NaN.

    >>> import numpy as np
    >>> from unrolled.baselines import KneserNey
    >>> from unrolled.decoding.lattice_formats import parse_arcs
    >>> model = KneserNey(2).fit(np.array([0, 1, 2, 0, 1, 2]), 4)
    >>> [lattice] = parse_arcs(["a b to -1", "b c bee -1", "b c be -1.5"])
    >>> ids = {"to": 0, "be": 1, "bee": 3}
    >>> rescore(lattice, model, spell=lambda word, first: [ids[word]], end=2)[0].words
    ('to', 'be')
    """
    search = _Expansion(lattice, model, state, spell, start, end, options or RescoringOptions())
    return search.best(search.expand())


class _Expansion:
    """The expanded lattice of one call."""

    def __init__(
        self,
        lattice: Lattice,
        model: StepModel,
        state: Any,
        spell: Spell,
        start: int | None,
        end: int | None,
        options: RescoringOptions,
    ) -> None:
        self.lattice, self.options, self.end = lattice, options, end
        given = options.lm_scale, options.word_penalty
        self.scale = lattice.lm_scale if given[0] is None else given[0]
        self.penalty = lattice.word_penalty if given[1] is None else given[1]
        words = {arc.word for arc in lattice.arcs if arc.word is not None}
        self.spellings = {
            (word, first): spell(word, first) for word in words for first in (True, False)
        }
        symbols = {symbol for ids in self.spellings.values() for symbol in ids}
        self.contexts = Contexts(model, state, start, symbols | (set() if end is None else {end}))
        self._histories: dict[tuple[Hashable, str], int] = {}  # exact: each word after each history

    def expand(self) -> list[_Group]:
        """The groups at the lattice's end."""
        lattice = self.lattice
        leaving: list[list[int]] = [[] for _ in lattice.nodes]
        for place, arc in enumerate(lattice.arcs):
            leaving[arc.source].append(place)
        levels: dict[int, list[int]] = defaultdict(list)
        for node, level in enumerate(lattice.levels):
            levels[level].append(node)
        arrived: list[dict[Hashable, _Group]] = [{} for _ in lattice.nodes]
        root = _Group(self._key(None, None), False, self.contexts.root, 0.0)
        arrived[0][root.key] = root
        for level in range(len(levels)):
            nodes = levels[level]
            for node in nodes:
                self._prune(arrived[node])
            held = sum(len(groups) for groups in arrived)
            if held > self.options.limit:
                raise DataError(
                    f"the lattice {lattice.name or ''!r} of {_counted(lattice.paths)} paths has over "
                    f"{self.options.limit:,} histories at once; give --history N to let those share a "
                    "state that agree in their last N words, or a smaller --beam N"
                )
            walks = [
                (group, place)
                for node in nodes
                for group in arrived[node].values()
                for place in leaving[node]
            ]
            for group, place, context, new_lm in self._read(walks):
                self._arrive(arrived[lattice.arcs[place].target], group, place, context, new_lm)
            if level < len(levels) - 1:
                for node in nodes:  # the states are needed no more, the edges are
                    for group in arrived[node].values():
                        group.context = None
                    arrived[node] = {}
        return list(arrived[-1].values())

    def _prune(self, groups: dict[Hashable, _Group]) -> None:
        beam = self.options.beam
        if beam is not None and len(groups) > beam:
            kept = heapq.nlargest(beam, groups.values(), key=lambda group: group.score)
            groups.clear()
            groups.update((group.key, group) for group in kept)

    def _read(
        self, walks: Sequence[tuple[_Group, int]]
    ) -> Iterator[tuple[_Group, int, Context, float]]:
        """Each walk with the context after its arc's word and the word's logarithm."""
        arcs, contexts = self.lattice.arcs, self.contexts
        spelled: list[Sequence[int]] = []
        for group, place in walks:
            word = arcs[place].word
            spelled.append(() if word is None else self.spellings[word, not group.started])
        now = [group.context for group, _ in walks]
        sums = [0.0] * len(walks)
        longest = max(map(len, spelled), default=0)
        for position in range(longest):
            active = [i for i, symbols in enumerate(spelled) if position < len(symbols)]
            contexts.read([_known(now[i]) for i in active])
            for i in active:
                symbol = spelled[i][position]
                sums[i] += contexts.log_prob(_known(now[i]), symbol)
                now[i] = _known(now[i]).after(symbol)
        for (group, place), context, new_lm in zip(walks, now, sums, strict=True):
            yield group, place, _known(context), new_lm

    def _arrive(
        self,
        groups: dict[Hashable, _Group],
        source: _Group,
        place: int,
        context: Context,
        new_lm: float,
    ) -> None:
        arc = self.lattice.arcs[place]
        total = arc.acoustic + _scaled(self.scale, new_lm)
        total += self.options.old_lm_scale * arc.language
        total += self.penalty * (arc.word is not None)
        score = source.score + total
        key = source.key if arc.word is None else self._key(source.key, arc.word)
        group = groups.get(key)
        if group is None:
            started = source.started or arc.word is not None
            group = groups[key] = _Group(key, started, context, score)
        elif score > group.score:
            group.score, group.context = score, context
        group.edges.append(_Edge(source, place, new_lm, total))

    def _key(self, before: Hashable, word: str | None) -> Hashable:
        """What histories share that share a state: all words, or the last ones and that there are any."""
        if self.options.history is not None:
            last = before[1] if isinstance(before, tuple) else ()
            last = (*last, word) if word is not None else last
            return word is not None, last[max(0, len(last) - self.options.history) :]
        if word is None:
            return 0
        return self._histories.setdefault((before, word), len(self._histories) + 1)

    def best(self, groups: Sequence[_Group]) -> list[RescoredPath]:
        """The best word sequences that end in these groups, best first."""
        ends = dict.fromkeys(groups, 0.0)
        if self.end is not None:
            self.contexts.read([_known(group.context) for group in groups])
            for group in groups:
                ends[group] = self.contexts.log_prob(_known(group.context), self.end)
        found: list[RescoredPath] = []
        count = 0  # of entries, so that ties are told apart in order
        heap: list[tuple[float, int, _Group, _Suffix]] = []
        for group, new_lm in ends.items():
            rest = _Suffix(None, None, 0, new_lm, _scaled(self.scale, new_lm))
            heapq.heappush(heap, (-(group.score + rest.total), count, group, rest))
            count += 1
        words: dict[tuple[int, str], int] = {}  # sequences of words that end a path, numbered
        seen: set[tuple[_Group, int]] = set()
        while heap and len(found) < self.options.n_best:
            _, _, group, rest = heapq.heappop(heap)
            if (group, rest.words) in seen:
                continue  # the same words went on from here by a better path
            seen.add((group, rest.words))
            if not group.edges:
                found.append(self._path(rest))
                continue
            for edge in group.edges:
                word = self.lattice.arcs[edge.arc].word
                read = rest.words
                if word is not None:
                    read = words.setdefault((rest.words, word), len(words) + 1)
                further = _Suffix(
                    rest, edge.arc, read, rest.new_lm + edge.new_lm, rest.total + edge.total
                )
                heapq.heappush(
                    heap, (-(edge.source.score + further.total), count, edge.source, further)
                )
                count += 1
        return found

    def _path(self, suffix: _Suffix) -> RescoredPath:
        places = []
        rest: _Suffix | None = suffix
        while rest is not None and rest.arc is not None:
            places.append(rest.arc)
            rest = rest.rest
        arcs = [self.lattice.arcs[place] for place in places]
        return RescoredPath(
            tuple(arc.word for arc in arcs if arc.word is not None),
            tuple(places),
            math.fsum(arc.acoustic for arc in arcs),
            math.fsum(arc.language for arc in arcs),
            suffix.new_lm,
            suffix.total,
        )


class _Suffix(NamedTuple):
    """The end of a path: its first arc and the rest, the number of its words, and its sums."""

    rest: _Suffix | None
    arc: int | None
    words: int
    new_lm: float
    total: float


def _known(context: Context | None) -> Context:
    assert context is not None
    return context


def _counted(number: int) -> str:
    """A number, or the power of ten below it where that says more than its digits.

    >>> _counted(12_345), _counted(10**50)
    ('12,345', 'over 10^49')
    """
    if number < 10**15:
        return f"{number:,}"
    return f"over 10^{int((number.bit_length() - 1) * math.log10(2))}"


def _scaled(scale: float, log_prob: float) -> float:
    """Nothing by nothing is nothing, also of what is impossible."""
    return scale * log_prob if scale else 0.0
