"""Which words of an output stand for which words of its reference, as METEOR aligns them.

Each word takes part in at most one pair. Stages of matching (Banerjee & Lavie 2005, section 2.2) have
precedence: as many pairs of equal words as can be, then as many of equal stems among the words left, then
as many synonyms. Of the alignments with that many pairs one with the fewest *chunks* is wanted: runs of
pairs that are adjacent and in order on both sides. Finding it is hard in general; but most words occur
once, and most pairs have no neighbour. The search goes through the output from left to right and holds
every partial alignment that may still become the best. It settles pairs of equal words only within
runs: what remains of them fits in any order. Partial alignments that go on alike and leave the same words
to settle are one, the better of them. While at most :data:`WIDTH` are held, the result is exact; a sentence
that needs more goes on with the best few (:data:`BEAM`).
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

WIDTH = 1000
BEAM = 16
_CHOICES = 4  # words of the reference that a beam tries for each word, on each side of the diagonal

Tokens = Sequence[Hashable]
Key = Callable[[Hashable], Hashable]
Senses = Callable[[Hashable], Iterable[Hashable]]

_State = tuple[
    int, bool, int
]  # where to go on (-1: nowhere), whether it must, used places that matter
_Path = tuple["_Path | None", int, int]
_Held = dict[_State, tuple[int, _Path | None]]  # the best value so far, and how it was reached


@dataclass(frozen=True)
class Alignment:
    """The pairs of two sentences.

    Attributes:
        pairs: places in the output and in the reference, from 0, in the output's order.
        chunks: into how many runs they fall.
        exact: whether no alignment with as many pairs has fewer chunks; False if the search was cut.
    """

    pairs: tuple[tuple[int, int], ...]
    chunks: int
    exact: bool


def align(
    output: Tokens, reference: Tokens, *, stem: Key | None = None, senses: Senses | None = None
) -> Alignment:
    """Aligns the words of two sentences.

    Args:
        output: its tokens.
        reference: its tokens.
        stem: the stem of a word; without it there is no such stage.
        senses: the meanings of a word; words that share one are synonyms. Without it there is no such stage.

    >>> align("the cat the dog".split(), "the dog the cat".split()).chunks
    2
    >>> align(["cats", "sat"], ["the", "cat", "sat"], stem=lambda word: word.rstrip("s")).pairs
    ((0, 1), (1, 2))
    """
    options = _options(output, reference, stem, senses)
    search = _Search(output, reference, options)
    pairs = _completed(search.best(), output, reference)
    runs = sum((i - 1, j - 1) not in pairs for i, j in pairs)
    return Alignment(tuple(sorted(pairs)), runs, search.exact)


def _options(
    output: Tokens, reference: Tokens, stem: Key | None, senses: Senses | None
) -> dict[Hashable, list[tuple[int, Hashable]]]:
    """Stage and partner of the words that have partners unlike themselves.

    Of a word that the output has n times and the reference m times, min(n, m) are paired with equals, in
    every alignment with the most such pairs. Only words that are then left on one side can go on.
    """
    options: dict[Hashable, list[tuple[int, Hashable]]] = defaultdict(list)
    ours, theirs = Counter(output), Counter(reference)
    left, wanted = ours - theirs, theirs - ours
    key: Key = stem or (lambda word: word)
    by_stem: dict[Hashable, list[Hashable]] = defaultdict(list)
    surplus: Counter[Hashable] = Counter()
    for word in wanted:
        by_stem[key(word)].append(word)
        surplus[key(word)] -= wanted[word]
    for word in left:
        surplus[key(word)] += left[word]
        if stem and key(word) in by_stem:
            options[word] += [(1, other) for other in by_stem[key(word)]]
    if senses:
        by_sense: dict[Hashable, list[Hashable]] = defaultdict(list)
        for word in wanted:
            if surplus[key(word)] < 0:
                for sense in senses(word):
                    by_sense[sense].append(word)
        for word in left:
            if surplus[key(word)] > 0:
                found = (other for sense in senses(word) for other in by_sense.get(sense, ()))
                if others := list(dict.fromkeys(found)):
                    options[word] += [(2, other) for other in others]
    return options


def _completed(path: _Path | None, output: Tokens, reference: Tokens) -> set[tuple[int, int]]:
    """The pairs of the search, and equal words that it left open, in order."""
    pairs: set[tuple[int, int]] = set()
    while path is not None:
        path, i, j = path
        pairs.add((i, j))
    ours, theirs = ({pair[side] for pair in pairs} for side in (0, 1))
    open_places: dict[Hashable, list[int]] = defaultdict(list)
    for j in range(len(reference) - 1, -1, -1):
        if j not in theirs:
            open_places[reference[j]].append(j)
    for i, word in enumerate(output):
        if i not in ours and open_places.get(word):
            pairs.add((i, open_places[word].pop()))
    return pairs


class _Search:
    """Left to right over the output; all alignments that may become the best, or a beam of them."""

    def __init__(
        self, output: Tokens, reference: Tokens, options: dict[Hashable, list[tuple[int, Hashable]]]
    ) -> None:
        self.output, self.exact = output, True
        self.places: dict[Hashable, int] = defaultdict(
            int
        )  # of each word of the reference, as bits
        for j, word in enumerate(reference):
            self.places[word] |= 1 << j
        # Words with unlike partners, and these, are paired one by one; their numbers decide.
        self.mixed = {*options, *(other for each in options.values() for _, other in each)}
        unit = len(output) + 1  # one number orders by equals, stems, synonyms, neighbours
        gains = (unit**3, unit**2, unit)
        self.choices = {
            word: [
                (gains[stage], other, self.places[other])
                for stage, other in [(0, word), *options.get(word, ())]
                if other in self.places
            ]
            for word in self.mixed
        }
        ours = Counter(output)
        self.sure = {word for word in ours if self.places[word].bit_count() >= ours[word]}
        n = len(output)
        masks = [self._mask(word) for word in output]
        self.follows = [  # places to settle because the next word may stand at the next place
            masks[i] & (masks[i + 1] >> 1) if i + 1 < n else 0 for i in range(n)
        ]
        self.later = [0] * (n + 1)  # places that the i-th or a later word may settle
        for i in range(n - 1, -1, -1):
            if output[i] in self.mixed:
                own = masks[i]
            else:
                own = self.follows[i] | (masks[i] & self.follows[i - 1] << 1 if i else 0)
            self.later[i] = self.later[i + 1] | own

    def _mask(self, word: Hashable) -> int:
        """The places of the reference that a word may stand for."""
        if word not in self.mixed:
            return self.places.get(word, 0)
        union = 0
        for *_, mask in self.choices[word]:
            union |= mask
        return union

    def best(self) -> _Path | None:
        """The pairs that the best alignment settles."""
        held: _Held = {(-1, False, 0): (0, None)}
        remaining = Counter(self.output)
        for i, word in enumerate(self.output):
            remaining[word] -= 1
            if word in self.mixed:
                held = self._paired(held, i, word, remaining)
            else:
                held = self._settled(held, i, word)
            if len(held) > (WIDTH if self.exact else 2 * BEAM):
                self.exact = False
                held = _cut(held)
        return max(held.values(), key=lambda each: each[0])[1]

    def _settled(self, held: _Held, i: int, word: Hashable) -> _Held:
        """A word whose partners are its equals: goes on with a run, begins one, or stays open."""
        follows, later, places = self.follows[i], self.later[i + 1], self.places.get(word, 0)
        found: _Held = {}
        for (place, must, used), (value, path) in held.items():
            free = places & ~used
            if place >= 0 and free >> place & 1:
                bit = 1 << place
                onward = place + 1 if follows & bit else -1
                _keep(found, (onward, False, (used | bit) & later), value + 1, (path, i, place))
            if must:
                continue
            _keep(found, (-1, False, used & later), value, path)
            starts = free & follows
            for bit in _bits(starts) if self.exact else _some_bits(starts, i):
                j = bit.bit_length() - 1
                _keep(found, (j + 1, True, (used | bit) & later), value, (path, i, j))
        return found

    def _paired(self, held: _Held, i: int, word: Hashable, remaining: Counter[Hashable]) -> _Held:
        """A word with unlike partners: left alone, or paired in each way that costs no pair of equals."""
        follows, later = self.follows[i], self.later[i + 1]
        equals, to_come = self.places.get(word, 0), remaining[word]
        found: _Held = {}
        for (place, must, used), (value, path) in held.items():
            spare = word not in self.sure and (equals & ~used).bit_count() <= to_come
            if spare and not must:
                _keep(found, (-1, False, used & later), value, path)
            for gain, other, mask in self.choices[word]:
                free = mask & ~used
                if other != word and not (spare and free.bit_count() > remaining[other]):
                    continue
                if must:
                    free &= 1 << place
                for bit in _bits(free) if self.exact else _some_bits(free, i, place):
                    j = bit.bit_length() - 1
                    onward = j + 1 if follows & bit else -1
                    total = value + gain + (j == place)
                    _keep(found, (onward, False, (used | bit) & later), total, (path, i, j))
        return found


def _cut(held: _Held) -> _Held:
    """The best of those that must go on as they began, which may not come about, and of the others."""
    kept: _Held = {}
    for must in (False, True):
        some = (item for item in held.items() if item[0][1] is must)
        kept.update(heapq.nlargest(BEAM, some, key=lambda item: item[1][0]))
    return kept


def _keep(found: _Held, state: _State, value: int, path: _Path | None) -> None:
    if state not in found or value > found[state][0]:
        found[state] = (value, path)


def _bits(mask: int) -> Iterator[int]:
    """Each bit of a mask, the lowest first."""
    while mask:
        bit = mask & -mask
        yield bit
        mask ^= bit


def _some_bits(mask: int, i: int, place: int = -1) -> Iterator[int]:
    """The bit to go on at, and the first few from the diagonal and from the start."""
    if place >= 0 and mask >> place & 1:
        yield 1 << place
        mask ^= 1 << place
    for offset in (i, 0):
        for _, bit in zip(range(_CHOICES), _bits(mask >> offset), strict=False):
            yield bit << offset
            mask ^= bit << offset
