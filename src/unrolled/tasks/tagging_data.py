"""Sentences for a tagger: read, counted on the training part alone, as numbers, in padded batches.

An example is ``{"tokens": [word, …], "tags": [[tag, …], …]}``, with a list of tags for each column.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.data.atomic import replacing
from unrolled.data.batch import Sequences, TokensBatch
from unrolled.data.columns import read_columns
from unrolled.data.vectors import read_vectors
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import RunError
from unrolled.tasks.parts import Example, Parts, prepare, prepared
from unrolled.tasks.tagging_options import TaggingData

VOCABULARY, CHARACTERS, LABELS = "vocabulary.json", "characters.json", "labels.json"
FILES = (VOCABULARY, CHARACTERS, LABELS)
SPELT = 20  # characters that are read at either end of a word: few words have more than 40

Ids = NDArray[np.int64]
Sentence = Sequence[str]


@dataclass(frozen=True)
class Symbols:
    """What words, characters and tags are numbered by.

    Attributes:
        words: those of the training part, then those that have pretrained vectors only.
        characters: those of the training part.
        labels: the tags of each column, numbered by their place.
        lowercase: words are looked up in small letters.
    """

    words: Vocabulary
    characters: Vocabulary
    labels: tuple[tuple[str, ...], ...]
    lowercase: bool

    @classmethod
    def load(cls, folder: Path, *, lowercase: bool) -> Symbols:
        """Reads the files of a run.

        Raises:
            RunError: one is missing or damaged.
        """
        words, characters = (Vocabulary.load(folder / name) for name in (VOCABULARY, CHARACTERS))
        try:
            labels = json.loads((folder / LABELS).read_bytes())["columns"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{folder / LABELS}: cannot be read ({error})") from None
        return cls(words, characters, tuple(map(tuple, labels)), lowercase)

    def lookup(self, tokens: Iterable[str]) -> Ids:
        """The numbers of words."""
        return self.words.encode(folded(tokens, self.lowercase))


def folded(tokens: Iterable[str], lowercase: bool) -> Iterator[str]:
    """Words in the form in which they are looked up."""
    return (token.lower() for token in tokens) if lowercase else iter(tokens)


@dataclass(frozen=True)
class Corpus:
    """What training reads.

    Attributes:
        symbols: what everything is numbered by.
        parts: the sentences as they were read.
        counts: how often each of the W learnt words occurs in the training part, [W], int64.
        vectors: pretrained vectors of all words, [V, E], float32, zero where there is none; or None.
    """

    symbols: Symbols
    parts: Parts
    counts: Ids
    vectors: NDArray[np.float32] | None


def read_sentences(path: Path, data: TaggingData) -> Iterator[Example]:
    """The sentences of a file.

    Raises:
        DataError: the file is missing or malformed.
    """
    for sentence in read_columns(path, token=data.token or None, tags=data.tags):
        yield {"tokens": sentence.tokens, "tags": sentence.tags}


def prepare_corpus(data: TaggingData, folder: Path, vectors: Path | None) -> None:
    """Reads all files, counts, and writes what :func:`prepared_corpus` reads.

    Raises:
        DataError: a file is missing, malformed or empty.
    """
    prepare(data, folder, lambda path: read_sentences(path, data))
    cache = folder / "cache"
    if (cache / "counts.npy").exists():
        return
    train = prepared(folder).train
    spelt = Counter(token for sentence in train for token in sentence["tokens"])
    seen: Counter[str] = Counter()
    letters: Counter[str] = Counter()
    for token, count in spelt.items():
        seen.update({next(folded([token], data.lowercase)): count})
        for character in token:
            letters[character] += count
    learnt = Vocabulary([w for w, count in seen.most_common() if count >= data.min_count])
    words, table = learnt, None
    if vectors is not None:
        words, table = with_vectors(learnt, vectors, data.lowercase)
    words.save(folder / VOCABULARY)
    Vocabulary([character for character, _ in letters.most_common()]).save(folder / CHARACTERS)
    columns = [
        [tag for tag, _ in Counter(t for tags in column for t in tags).most_common()]
        for column in zip(*(sentence["tags"] for sentence in train), strict=True)
    ]
    with replacing(folder / LABELS) as file:
        file.write(json.dumps({"columns": columns}, ensure_ascii=False).encode() + b"\n")
    if table is not None:
        _save(cache / "vectors.npy", table)
    counts = [seen[word] for word in learnt.symbols]
    counts[0] = sum(count for count in seen.values() if count < data.min_count)
    _save(cache / "counts.npy", np.array(counts, dtype=np.int64))


def prepared_corpus(data: TaggingData, folder: Path) -> Corpus:
    """What :func:`prepare_corpus` wrote; reads nothing but that."""
    cache = folder / "cache"
    vectors = cache / "vectors.npy"
    return Corpus(
        Symbols.load(folder, lowercase=data.lowercase),
        prepared(folder),
        np.load(cache / "counts.npy"),
        np.load(vectors) if vectors.exists() else None,
    )


def with_vectors(
    learnt: Vocabulary, path: Path, lowercase: bool
) -> tuple[Vocabulary, NDArray[np.float32]]:
    """The vocabulary with all words of a file of vectors, and the vectors of all words [V, E].

    Words without one have zeros. Of several forms of one word in small letters, that in small letters
    counts, else the first.
    """
    names, found = read_vectors(path)
    rows = {name: row for row, name in reversed(list(enumerate(names)))}
    chosen: dict[str, int] = {}
    for name in names:
        key = next(folded([name], lowercase))
        chosen.setdefault(key, rows.get(key, rows[name]))
    chosen.pop(learnt.symbols[0], None)
    words = Vocabulary([*learnt.symbols, *(name for name in chosen if name not in learnt)])
    table = np.zeros((len(words), found.shape[1]), dtype=np.float32)
    places = words.encode(chosen)
    table[places] = found[list(chosen.values())]
    return words, table


def _save(path: Path, array: NDArray[np.generic]) -> None:
    with replacing(path) as file:
        np.save(file, array)


class Encoded:
    """Sentences as numbers, from which any rows make a batch.

    Args:
        sentences: the words of each.
        symbols: what numbers them.
        tags: of each sentence the tags of each column, or nothing for sentences to be tagged.

    >>> symbols = Symbols(Vocabulary(["a"]), Vocabulary(["a", "b"]), (("X", "Y"),), True)
    >>> encoded = Encoded([["A", "ab"], ["b"]], symbols, [[["X", "Y"]], [["Z"]]])
    >>> batch = encoded.batch(np.array([1, 0]))
    >>> batch.words.values.tolist(), batch.tags[0].tolist()
    ([[0, 0], [1, 0]], [[-1, -1], [0, 1]])
    >>> batch.characters.values.shape, batch.spelling.tolist()
    (torch.Size([3, 2]), [[2, 0], [1, 0]])
    """

    def __init__(
        self,
        sentences: Sequence[Sentence],
        symbols: Symbols,
        tags: Sequence[Sequence[Sequence[str]]] | None = None,
    ) -> None:
        self.lengths: Ids = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
        self._starts = np.cumsum(self.lengths) - self.lengths
        spelt: dict[str, int] = {}
        self._spelling: Ids = np.array(
            [spelt.setdefault(token, len(spelt)) for sentence in sentences for token in sentence],
            dtype=np.int64,
        )
        self._words = symbols.lookup(spelt)[self._spelling]
        names = [name if len(name) <= 2 * SPELT else name[:SPELT] + name[-SPELT:] for name in spelt]
        self._characters = symbols.characters.encode("".join(names))
        self._sizes: Ids = np.array([len(name) for name in names], dtype=np.int64)
        self._begins = np.cumsum(self._sizes) - self._sizes
        self._tags: list[Ids] = []
        if tags is not None:
            for index, labels in enumerate(symbols.labels):
                known = {label: place for place, label in enumerate(labels)}.get
                flat = [known(tag, -1) for columns in tags for tag in columns[index]]
                self._tags.append(np.array(flat, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def words(self) -> list[Ids]:
        """The numbers of each sentence's words."""
        return np.split(self._words, np.cumsum(self.lengths)[:-1])

    def batch(self, rows: Ids) -> TokensBatch:
        """The sentences of some rows, padded to the longest."""
        lengths = self.lengths[rows]
        places, real = _places(self._starts[rows], lengths)
        distinct, which = np.unique(self._spelling[places[real]], return_inverse=True)
        order = np.argsort(-self._sizes[distinct], kind="stable")  # sorted, the engine reads faster
        distinct, rank = distinct[order], np.argsort(order)
        spelling = np.zeros(places.shape, dtype=np.int64)
        spelling[real] = rank[which]
        inner, spelt = _places(self._begins[distinct], self._sizes[distinct])
        return TokensBatch(
            words=_sequences(self._words, places, real, lengths),
            characters=_sequences(self._characters, inner, spelt, self._sizes[distinct]),
            spelling=torch.from_numpy(spelling),
            tags=tuple(
                torch.from_numpy(np.where(real, column[places], -1)) for column in self._tags
            ),
        )


def _places(starts: Ids, lengths: Ids) -> tuple[Ids, NDArray[np.bool_]]:
    """Where each step of each row lies in a flat array [B, T], 0 in padding, and which are real."""
    steps = np.arange(max(1, int(lengths.max(initial=0))))
    real = steps < lengths[:, None]
    return np.where(real, starts[:, None] + steps, 0), real


def _sequences(flat: Ids, places: Ids, real: NDArray[np.bool_], lengths: Ids) -> Sequences:
    if not len(flat):  # nothing but empty strings
        flat = np.zeros(1, dtype=np.int64)
    values = np.where(real, flat[places], 0)
    return Sequences(torch.from_numpy(values), torch.from_numpy(lengths))


def words_of(example: Mapping[str, object]) -> list[str]:
    """The words of a JSON object to be tagged: a list of strings, or a text to split at white space.

    Raises:
        ValueError: there are none.

    >>> words_of({"tokens": "to be"})
    ['to', 'be']
    """
    given = example.get("tokens")
    if isinstance(given, str):
        return given.split()
    if isinstance(given, list) and all(isinstance(token, str) for token in given):
        return given
    fields = ", ".join(example) or "none"
    raise ValueError(
        'expected a field "tokens" with a list of strings or a text; the fields that a string or '
        f"list may stand in are here: {fields}"
    )
