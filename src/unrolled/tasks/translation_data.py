"""Pairs of texts in numbers: the vocabularies of both sides, and batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.data.batch import PairsBatch, Sequences
from unrolled.data.pairs import PairFields, read_pairs
from unrolled.data.segment import END, START, Segmenter
from unrolled.errors import DataError
from unrolled.tasks.translation_options import Level

SOURCE, TARGET = "source.json", "target.json"
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """A source and its references, of which there may be none."""

    source: str
    references: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For a part's file."""
        return {"source": self.source, "references": list(self.references)}

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Example:
        """The inverse."""
        return cls(given["source"], tuple(given["references"]))


def read_examples(path: Path, fields: PairFields) -> Iterator[Example]:
    """The pairs of a file.

    Raises:
        DataError: see :func:`unrolled.data.pairs.read_pairs`; a pair without target.
    """
    for pair in read_pairs(path, fields):
        if not pair.references:
            raise DataError("the pair has no target; expected one", path=path, line=pair.line)
        yield Example(pair.source, pair.references)


class Cutting(Protocol):
    """What a task's data options say about the symbols of either side; see ``TranslationData``."""

    @property
    def level(self) -> Level: ...

    @property
    def target_level(self) -> Level | None: ...

    @property
    def vocabulary_size(self) -> int: ...

    @property
    def joint(self) -> bool: ...

    @property
    def lowercase(self) -> bool: ...

    @property
    def lowercase_target(self) -> bool: ...

    @property
    def reverse(self) -> bool: ...


@dataclass(frozen=True)
class Encoder:
    """Texts of both sides to numbers and back.

    Attributes:
        source, target: what cuts a side into symbols.
        reverse: whether sources are read from their end.
    """

    source: Segmenter
    target: Segmenter
    reverse: bool

    @classmethod
    def fit(cls, examples: Sequence[Example], data: Cutting) -> Encoder:
        """Learns the symbols of the training part: of the sources and first references."""
        sources = [example.source for example in examples]
        targets = [example.references[0] for example in examples]
        level = data.target_level or data.level
        of_source: dict[str, Any] = {"size": data.vocabulary_size, "lowercase": data.lowercase}
        of_target = {**of_source, "lowercase": data.lowercase_target}
        if data.joint and level == data.level and of_source == of_target:
            both = Segmenter.fit(sources + targets, kind=level, **of_source)
            return cls(both, both, data.reverse)
        return cls(
            Segmenter.fit(sources, kind=data.level, **of_source),
            Segmenter.fit(targets, kind=level, **of_target),
            data.reverse,
        )

    @property
    def joint(self) -> bool:
        """Whether both sides have one vocabulary."""
        return self.source == self.target

    def save(self, folder: Path) -> None:
        """Writes the vocabularies into a run."""
        self.source.save(folder / SOURCE)
        self.target.save(folder / TARGET)

    @classmethod
    def load(cls, folder: Path, *, reverse: bool) -> Encoder:
        """The inverse.

        Raises:
            RunError: a file is missing or damaged.
        """
        return cls(Segmenter.load(folder / SOURCE), Segmenter.load(folder / TARGET), reverse)

    def source_ids(self, text: str) -> list[int]:
        """The numbers of a source, its end last."""
        ids = self.source.encode(text)
        return [*(reversed(ids) if self.reverse else ids), END]

    def sources(self, texts: Sequence[str]) -> Sequences:
        """A batch of sources."""
        return padded([self.source_ids(text) for text in texts])

    def encode(self, examples: Sequence[Example], *, longest: int = 0) -> Encoded:
        """Pairs in numbers; those with a side of more than ``longest`` symbols are left out (0: none)."""
        made = [
            (np.array(self.source_ids(e.source)), np.array(self.target.encode(e.references[0])))
            for e in examples
        ]
        kept = [p for p in made if not longest or max(len(p[0]) - 1, len(p[1])) <= longest]
        return Encoded([p[0] for p in kept], [p[1].astype(np.int64) for p in kept])


@dataclass(frozen=True)
class Encoded:
    """Pairs in numbers: sources with their end, targets without start and end."""

    sources: list[Ids]
    targets: list[Ids]

    @property
    def lengths(self) -> Ids:
        """Steps of the decoder, by which pairs are put together."""
        return np.array([len(target) + 1 for target in self.targets], dtype=np.int64)

    def batch(self, rows: Ids) -> PairsBatch:
        """These pairs."""
        numbers = rows.tolist()
        inputs = padded([[START, *self.targets[row]] for row in numbers])
        targets = padded([[*self.targets[row], END] for row in numbers])
        return PairsBatch(padded([self.sources[row] for row in numbers]), inputs, targets.values)


def padded(rows: Sequence[Sequence[int] | Ids]) -> Sequences:
    """Numbers of unequal length in one tensor."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    values = np.zeros((len(rows), int(lengths.max()) if len(rows) else 0), dtype=np.int64)
    for place, row in zip(values, rows, strict=True):
        place[: len(row)] = row
    return Sequences(torch.from_numpy(values), torch.from_numpy(lengths))
