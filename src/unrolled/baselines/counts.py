r"""Counts of n-grams as a trie kept in sorted arrays: what every model that learns by counting reads.

The n-grams of length k form *level* k, numbered in sorted order (their *nodes*). An n-gram is its
context, a node of level k - 1, and its last token w, packed into one integer key

.. math:: key(w_1 \dots w_k) = node(w_1 \dots w_{k-1}) \cdot V + w_k ,

so that finding n-grams is a binary search for any number of them at once, and the continuations of
a context lie side by side. The only node of level 0, the empty context, is 0; -1 stands for an
n-gram never seen or a history too short. Besides raw counts there are the continuation counts of
Kneser & Ney (1995): in how many contexts, one token longer to the left, an n-gram was seen.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError, RunError

Integers = NDArray[np.int64]


class TokenIds(Protocol):
    """A sequence of token ids: a one-dimensional integer array or a memory-mapped token stream."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[Any]: ...


def token_array(ids: TokenIds, vocabulary_size: int) -> Integers:
    """The ids as one int64 array [N]; DataError if they are no ids below ``vocabulary_size``."""
    array = np.asarray(ids[0 : len(ids)])
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise DataError(
            f"token ids are a one-dimensional array of integers, not {array.dtype} {array.shape}"
        )
    if array.size and (array.min() < 0 or array.max() >= vocabulary_size):
        wrong = array.min() if array.min() < 0 else array.max()
        raise DataError(
            f"token id {wrong} is outside the vocabulary of {vocabulary_size}; "
            "encode the text with the vocabulary of the counts"
        )
    return array.astype(np.int64, copy=False)


@dataclass(frozen=True)
class NGramCounts:
    """Counts of all n-grams up to a length.

    Args:
        vocabulary_size: V; ids are 0 to V - 1.
        tokens: the number of tokens counted.
        continuation: levels below the longest hold continuation counts instead of raw ones.
        keys: for each level the keys, strictly increasing, int64 [nodes of that level].
        counts: for each level the counts, at least 1, int64, the same shapes.

    >>> counts = NGramCounts.of(np.array([0, 1, 0, 1, 1]), 2, length=2)
    >>> counts.keys[1].tolist(), counts.counts[1].tolist()  # 01, 10, 11
    ([1, 2, 3], [2, 1, 1])
    """

    vocabulary_size: int
    tokens: int
    continuation: bool
    keys: tuple[Integers, ...]
    counts: tuple[Integers, ...]

    @classmethod
    def of(
        cls, ids: TokenIds, vocabulary_size: int, *, length: int, continuation: bool = False
    ) -> NGramCounts:
        """Counts the n-grams of 1 to ``length`` tokens; O(length · N log N) time, O(N) memory.

        With ``continuation``, an n-gram of a level below ``length`` counts the distinct tokens seen
        before it; the start of the array counts as one more such token, so that no n-gram is lost.

        Raises:
            DataError: if there are no ids, or ids outside the vocabulary.
        """
        tokens = token_array(ids, vocabulary_size)
        if not len(tokens):
            raise DataError("there are no tokens to count; at least one is needed")
        if len(tokens) * vocabulary_size >= 2**63:
            raise DataError(
                f"{len(tokens)} tokens of {vocabulary_size} kinds do not fit 63-bit keys; "
                "use a smaller vocabulary"
            )
        keys: list[Integers] = []
        counts: list[Integers] = []
        nodes = np.zeros(len(tokens), np.int64)  # of the n-grams that end at each token
        for level in range(1, length + 1):
            context = nodes[:-1] if level > 1 else nodes
            last = tokens[level - 1 :]
            unique, first, inverse, number = np.unique(
                context * vocabulary_size + last,
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            if continuation and len(nodes) and level > 1:
                counts[-1] = _predecessors(nodes, first)
            keys.append(unique)
            counts.append(number)
            nodes = inverse
        return cls(vocabulary_size, len(tokens), continuation, tuple(keys), tuple(counts))

    @property
    def entries(self) -> int:
        """The number of stored counts, all levels together."""
        return sum(len(level) for level in self.keys)

    @cached_property
    def offsets(self) -> tuple[Integers, ...]:
        """Per level, from 0: node n's continuations are the nodes ``offsets[n]:offsets[n + 1]`` above."""
        sizes = [1, *map(len, self.keys[:-1])]
        return tuple(
            np.searchsorted(keys, np.arange(size + 1) * self.vocabulary_size).astype(np.int64)
            for size, keys in zip(sizes, self.keys, strict=True)
        )

    def totals(self, level: int) -> Integers:
        """For each node of ``level`` (from 0), the sum of its continuations' counts."""
        return self.sums(level, self.counts[level])

    def sums(self, level: int, values: Integers) -> Integers:
        """For each node of ``level``, the sum of ``values`` [nodes of level + 1] over its continuations."""
        running = np.concatenate([np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)])
        return np.diff(running[self.offsets[level]])

    def find(self, level: int, contexts: Integers, tokens: Integers) -> Integers:
        """The nodes of ``level`` of contexts (nodes one level below, or -1) each with a token; or -1."""
        keys = self.keys[level - 1]
        wanted = contexts * self.vocabulary_size + tokens  # negative where the context is -1
        if not len(keys):
            return np.full(wanted.shape, -1, np.int64)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, place, -1)

    def walk(self, ids: Integers) -> Iterator[tuple[Integers, Integers]]:
        """Per level from 1, for every position of ``ids`` [N]: its context's node and its n-gram's.

        Yields:
            ``(contexts, nodes)``, each [N], -1 where unseen or where the array has not begun.
        """
        nodes = np.zeros(len(ids), np.int64)
        for level in range(1, len(self.keys) + 1):
            contexts = nodes
            if level > 1:
                contexts = np.concatenate([np.full(1, -1, np.int64), nodes[:-1]])[: len(ids)]
            nodes = self.find(level, contexts, ids)
            yield contexts, nodes

    def advance(self, nodes: Integers, tokens: Integers) -> Integers:
        """The contexts [B, D] (column k: the node of the last k + 1 tokens) after tokens [B] more."""
        moved = np.empty_like(nodes)
        root = np.zeros(len(nodes), np.int64)
        for column in range(nodes.shape[1]):
            contexts = nodes[:, column - 1] if column else root
            moved[:, column] = self.find(column + 1, contexts, tokens)
        return moved

    def continuations(self, level: int, contexts: Integers) -> tuple[Integers, Integers, Integers]:
        """All that was seen after contexts [B], nodes of ``level`` (none after -1).

        Returns:
            ``(rows, tokens, nodes)``: which context, which token, and its node in ``level + 1``.
        """
        offsets = self.offsets[level]
        start = np.where(contexts < 0, 0, offsets[contexts])
        number = np.where(contexts < 0, 0, offsets[contexts + 1] - start)
        rows = np.repeat(np.arange(len(contexts)), number)
        before = np.cumsum(number) - number
        nodes = np.arange(len(rows)) + np.repeat(start - before, number)
        return rows, self.keys[level][nodes] % self.vocabulary_size, nodes

    def arrays(self) -> dict[str, Integers]:
        """Everything as named int64 arrays, for safetensors; :meth:`from_arrays` is the inverse."""
        header = [self.vocabulary_size, self.tokens, len(self.keys), int(self.continuation)]
        checksum = zlib.crc32(np.array(header, np.int64).tobytes())
        named: dict[str, Integers] = {}
        for level, (keys, counts) in enumerate(zip(self.keys, self.counts, strict=True), start=1):
            named[f"keys.{level}"], named[f"counts.{level}"] = keys, counts
            for array in (keys, counts):
                checksum = zlib.crc32(array.tobytes(), checksum)
        return {"ngrams": np.array([*header, checksum], np.int64), **named}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], *, continuation: bool, extra: tuple[str, ...] = ()
    ) -> NGramCounts:
        """The counts that :meth:`arrays` gave.

        Raises:
            RunError: if an array is missing, strange, truncated, or of another kind of model.
        """
        header = _integers(arrays, "ngrams")
        if header.shape != (5,) or header[:3].min() < 1 or header[3] != int(continuation):
            raise _foreign("array 'ngrams' is not that of this kind of model")
        size, tokens, length = (int(number) for number in header[:3])
        levels = range(1, min(length, len(arrays)) + 1)  # a damaged length is found just below
        names = ["ngrams", *extra, *(f"{part}.{k}" for k in levels for part in ("keys", "counts"))]
        if set(arrays) != set(names):
            strange = sorted(set(arrays) ^ set(names))
            raise _foreign(f"array {strange[0]!r} is missing or not expected")
        keys = tuple(_integers(arrays, f"keys.{level}") for level in levels)
        counts = tuple(_integers(arrays, f"counts.{level}") for level in levels)
        loaded = cls(size, tokens, continuation, keys, counts)
        if not np.array_equal(loaded.arrays()["ngrams"], header):
            raise _foreign("the checksum differs")
        return loaded


def _predecessors(nodes: Integers, first: Integers) -> Integers:
    """Continuation counts of a level: ``nodes`` of the n-grams by position, the first of which starts
    the array, and where (one position earlier) each n-gram that is one longer was ``first`` seen."""
    number = np.bincount(nodes[first + 1], minlength=int(nodes.max()) + 1)
    number[nodes[0]] += 1  # the start of the array is a predecessor, too
    return number.astype(np.int64, copy=False)


def _integers(arrays: Mapping[str, Any], name: str) -> Integers:
    if name not in arrays:
        raise _foreign(f"array {name!r} is missing")
    array = np.asarray(arrays[name])
    if array.dtype != np.int64 or array.ndim != 1:
        raise _foreign(f"array {name!r} is {array.dtype} {array.shape}, not a list of int64")
    return array


def _foreign(what: str) -> RunError:
    return RunError(f"saved n-gram counts are damaged or foreign: {what}; train the model again")
