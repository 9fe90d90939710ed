"""Examples as numbers: vocabulary, labels and scalers fitted on the training part alone, and batches."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.atomic import replacing
from unrolled.data.batch import LabelBatch, Sequences
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.tasks import tagging_data
from unrolled.tasks.classification_examples import Answer, Example, Vectors, split_tokens
from unrolled.tasks.classification_options import ClassificationData
from unrolled.tasks.tagging_data import Symbols

VOCABULARY, CHARACTERS = tagging_data.VOCABULARY, tagging_data.CHARACTERS
LABELS, SCALER = tagging_data.LABELS, "scaler.json"
UNKNOWN = "<unk>"
_PLAIN = ("level", "lowercase", "max_length", "answer", "learnt")


@dataclass(frozen=True)
class Scaler:
    """Subtracts a mean and divides by a standard deviation, for each of F features.

    >>> scaler = Scaler.fit(np.array([[1.0], [3.0]]))
    >>> scaler.mean, scaler.scale, scaler.scaled(np.array([[5.0]])).tolist()
    ([2.0], [1.0], [[3.0]])
    """

    mean: list[float]
    scale: list[float]

    @classmethod
    def fit(cls, values: NDArray[Any]) -> Self:
        """From values [N, F]; a feature that never changes is not divided."""
        deep = values.astype(np.float64)
        scale = deep.std(0)
        return cls(deep.mean(0).tolist(), np.where(scale > 0, scale, 1.0).tolist())

    def scaled(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values [N, F] of mean 0 and deviation 1, if they are those it was fitted on."""
        found: NDArray[np.float64] = (values - np.array(self.mean)) / np.array(self.scale)
        return found

    def restored(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """The inverse of :meth:`scaled`."""
        found: NDArray[np.float64] = values * np.array(self.scale) + np.array(self.mean)
        return found


@dataclass(frozen=True)
class Encoder:
    """How examples become numbers.

    Attributes:
        level, lowercase, max_length: see :class:`ClassificationData`.
        answer: ``label``, ``labels`` or ``number``.
        vocabulary: Of tokens (of a bag of words: its n-grams); None for vectors.
        learnt: How many of them are of the training part; the others have pretrained vectors only.
        characters: Of the spellings of words, otherwise None.
        scaler: Of vectors, otherwise None.
        labels: Their names in order; none for a number.
        target: The scaler of a number, otherwise None.
    """

    level: str
    lowercase: bool
    max_length: int
    answer: Answer
    learnt: int = 0
    vocabulary: Vocabulary | None = None
    characters: Vocabulary | None = None
    scaler: Scaler | None = None
    labels: tuple[str, ...] = ()
    target: Scaler | None = None

    @classmethod
    def fit(
        cls,
        examples: Sequence[Example],
        data: ClassificationData,
        answer: Answer,
        *,
        symbols: Callable[[Sequence[str]], Iterable[str]] | None = None,
    ) -> Encoder:
        """Fits all that is to be fitted on the examples of the training part.

        Args:
            symbols: what the vocabulary holds of an example's tokens; None for the tokens.

        Raises:
            DataError: there are fewer than two labels to choose from, or vectors of several sizes.
        """
        lowercase = data.lowercase and data.level == "words"
        plain = cls(data.level, lowercase, data.max_length, answer)
        plain = replace(plain, labels=_labels(examples, answer, data.train))
        if answer == "number":
            numbers = np.array([[example.answer] for example in examples])
            plain = replace(plain, target=Scaler.fit(numbers))
        if data.level == "vectors":
            return replace(plain, scaler=Scaler.fit(_rows(examples, plain, data.train)))
        parts = (plain.tokens(example) for example in examples)
        counted = (s for part in parts for s in (symbols(part) if symbols else part))
        size = data.vocabulary_size or None
        vocabulary = Vocabulary.count(counted, max_size=size, min_count=data.min_count)
        plain = replace(plain, vocabulary=vocabulary, learnt=len(vocabulary))
        if data.level != "words" or symbols:
            return plain
        spelt = {token for example in examples for token in plain.spelt(example)}
        letters = Counter(letter for token in sorted(spelt) for letter in token)
        return replace(plain, characters=Vocabulary([name for name, _ in letters.most_common()]))

    def spelt(self, example: Example) -> Sequence[str]:
        """The tokens of an example, words as they are spelt; of a text without any, the unknown one."""
        assert isinstance(example.input, str)
        found = split_tokens(example.input, self.level)
        return found[: self.max_length or None] or [UNKNOWN]

    def tokens(self, example: Example) -> Sequence[str]:
        """The same in the form in which they are looked up."""
        return list(tagging_data.folded(self.spelt(example), self.lowercase))

    def vectors(self, example: Example, path: Path | str | None) -> Vectors:
        """The vectors of an example, [T, F], scaled where a scaler is fitted.

        Raises:
            DataError: they have another number of features than the training part's.
        """
        found = example.input
        assert not isinstance(found, str)
        found = found[: self.max_length or None]
        if self.scaler is None:
            return found
        if found.shape[1] != len(self.scaler.mean):
            wanted = len(self.scaler.mean)
            raise DataError(
                f"vectors of {found.shape[1]} numbers; expected {wanted}, as in training",
                path=path,
                line=example.line if path is not None else None,
            )
        return self.scaler.scaled(found).astype(np.float32)

    def encode(self, examples: Sequence[Example], path: Path | str | None = None) -> Encoded:
        """The examples as numbers; answers too, where there are any."""
        if self.level == "vectors":
            parts = [self.vectors(example, path) for example in examples]
            width = len(self.scaler.mean) if self.scaler else 0
            values = np.concatenate([np.zeros((0, width), np.float32), *parts])
            lengths = np.array([len(part) for part in parts], np.int64)
            return Encoded(lengths, values, None, self._targets(examples), len(self.labels))
        assert self.vocabulary is not None
        none = Vocabulary([])
        symbols = Symbols(self.vocabulary, self.characters or none, (), self.lowercase)
        rows = tagging_data.Encoded([self.spelt(example) for example in examples], symbols)
        return Encoded(rows.lengths, None, rows, self._targets(examples), len(self.labels))

    def answers(self, examples: Sequence[Example]) -> NDArray[Any]:
        """The answers as one array: [N] label numbers, [N, K] of 0 and 1, or [N] scaled numbers."""
        targets = self._targets(examples)
        if self.answer != "labels":
            return np.array(targets)
        found = np.zeros((len(examples), len(self.labels)), bool)
        for row, numbers in enumerate(targets or ()):
            found[row, numbers] = True
        return found

    def _targets(self, examples: Sequence[Example]) -> list[Any] | None:
        if any(example.answer is None for example in examples):
            return None
        if self.target is not None:
            numbers = np.array([[example.answer] for example in examples], np.float64)
            return list(self.target.scaled(numbers.reshape(-1, 1))[:, 0])
        index = {name: number for number, name in enumerate(self.labels)}
        if self.answer == "label":
            return [index.get(e.answer, -1) for e in examples]  # type: ignore[arg-type]
        rows = (e.answer for e in examples)
        return [[index[name] for name in row if name in index] for row in rows]  # type: ignore[union-attr]

    @property
    def files(self) -> list[str]:
        """The names of the files that :meth:`save` writes."""
        there = {
            VOCABULARY: self.vocabulary is not None,
            CHARACTERS: self.characters is not None,
            LABELS: self.answer != "number",
            SCALER: self.scaler is not None or self.target is not None,
        }
        return [name for name, kept in there.items() if kept]

    def save(self, folder: Path) -> None:
        """Writes :attr:`files`."""
        if self.vocabulary is not None:
            self.vocabulary.save(folder / VOCABULARY)
        if self.characters is not None:
            self.characters.save(folder / CHARACTERS)
        if self.answer != "number":
            write_json(folder / LABELS, {"labels": self.labels})
        scalers = {"inputs": self.scaler, "target": self.target}
        kept = {name: asdict(scaler) for name, scaler in scalers.items() if scaler is not None}
        if kept:
            write_json(folder / SCALER, kept)

    def description(self) -> dict[str, Any]:
        """What ``model.json`` must hold to :meth:`load` it, besides ``files``."""
        return {name: getattr(self, name) for name in _PLAIN}

    @classmethod
    def load(cls, folder: Path, description: Mapping[str, Any]) -> Encoder:
        """What :meth:`save` wrote; ``files`` of the description names what there is."""
        found: dict[str, Any] = {name: description[name] for name in _PLAIN}
        there = description["files"]
        if VOCABULARY in there:
            found["vocabulary"] = Vocabulary.load(folder / VOCABULARY)
        if CHARACTERS in there:
            found["characters"] = Vocabulary.load(folder / CHARACTERS)
        if LABELS in there:
            content = json.loads((folder / LABELS).read_bytes())
            found["labels"] = tuple(content["labels"])
        if SCALER in there:
            content = json.loads((folder / SCALER).read_bytes())
            names = {"inputs": "scaler", "target": "target"}
            found |= {names[name]: Scaler(**scaler) for name, scaler in content.items()}
        return cls(**found)


@dataclass(frozen=True)
class Encoded:
    """Examples from which any rows make a batch.

    Attributes:
        lengths: [N], int64.
        vectors: All sequences of vectors one after the other, [M, F]; or None.
        tokens: All sequences of tokens; or None.
        targets: For each example the number of its label (-1: unseen in training), the numbers of its
            labels, or its scaled number; None where answers are to be predicted.
        labels: K; 0 for a number.
    """

    lengths: NDArray[np.int64]
    vectors: Vectors | None
    tokens: tagging_data.Encoded | None
    targets: list[Any] | None
    labels: int

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, rows: NDArray[np.int64]) -> LabelBatch:
        """Some of the examples, padded."""
        if self.tokens is not None:
            return LabelBatch(self.tokens.batch(rows), None, self._target(rows))
        assert self.vectors is not None
        lengths = self.lengths[rows]
        starts = (np.cumsum(self.lengths) - self.lengths)[rows]
        steps = np.arange(int(lengths.max(initial=1)))
        real = steps < lengths[:, None]
        values = self.vectors[np.where(real, starts[:, None] + steps, 0)]
        values[~real] = 0
        sequences = Sequences(torch.from_numpy(values), torch.from_numpy(lengths))
        return LabelBatch(None, sequences, self._target(rows))

    def _target(self, rows: NDArray[np.int64]) -> Tensor | None:
        if self.targets is None:
            return None
        chosen = [self.targets[row] for row in rows.tolist()]
        if not self.labels:
            return torch.tensor(chosen, dtype=torch.float32)
        if not isinstance(chosen[0], list):
            return torch.tensor(chosen, dtype=torch.int64)
        found = np.zeros((len(rows), self.labels), np.float32)
        for place, numbers in enumerate(chosen):
            found[place, numbers] = 1
        return torch.from_numpy(found)


def _rows(examples: Sequence[Example], plain: Encoder, path: Path) -> Vectors:
    """All vectors of the training part, [M, F]."""
    parts = [plain.vectors(example, path) for example in examples]
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise DataError(
            f"vectors of {min(widths)} and of {max(widths)} numbers; expected all of one length",
            path=path,
        )
    return np.concatenate(parts)


def _labels(examples: Sequence[Example], answer: Answer, path: Path) -> tuple[str, ...]:
    """The labels, sorted. A choice needs two."""
    if answer == "number":
        return ()
    names: Iterable[Any] = (example.answer for example in examples)
    if answer == "labels":
        names = (name for labels in names for name in labels)
    counts = Counter(names)
    least = 2 if answer == "label" else 1
    if len(counts) < least:
        only = f"only the label {next(iter(counts))!r}" if counts else "no label"
        raise DataError(
            f"the training part has {only}; expected at least {least} different", path=path
        )
    return tuple(sorted(counts))


def write_json(path: Path, value: Any) -> None:
    """Writes JSON; the file appears whole or not at all."""
    with replacing(path) as file:
        text = json.dumps(value, ensure_ascii=False, indent=0, allow_nan=False)
        file.write(text.encode("utf-8") + b"\n")
