"""The models of tagging behind one face: words in, the tags of each column out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.baselines.hmm import HiddenMarkov
from unrolled.config import RunConfig
from unrolled.data.batch import TokensBatch
from unrolled.data.buckets import in_order
from unrolled.errors import ConfigError
from unrolled.layers.crf import Allowed, bio_constraints
from unrolled.models.tagger import Tagger
from unrolled.models.window import WindowTagger
from unrolled.tasks.tagging_data import Corpus, Encoded, Ids, Sentence, Symbols

BATCH = 64  # sentences that are tagged at once
MOST_CHAINED = 2000  # tags of a CRF
MOST = 64 * BATCH  # words of a batch, padding included
MODELS: dict[str, type[Tagger]] = {"recurrent": Tagger, "window": WindowTagger}

Columns = list[list[str]]
Floats = NDArray[np.floating[Any]]


class Tags(Protocol):
    """What every model of this task can do, for sentences of at least one word."""

    def tags(self, sentences: Sequence[Sentence]) -> list[Columns]:
        """The most probable tags of each sentence: a list for each column."""

    def probabilities(self, sentences: Sequence[Sentence]) -> list[list[Floats]]:
        """Of each sentence and column the probabilities [T, K] of its tags."""

    def n_best(
        self, sentences: Sequence[Sentence], n: int
    ) -> list[list[list[tuple[list[str], float]]]]:
        """Of each sentence and column the likeliest lists of tags with their probabilities."""


class NeuralTags:
    """A network in evaluation mode.

    Args:
        model: the network. symbols: what it was trained with.
    """

    def __init__(self, model: Tagger, symbols: Symbols) -> None:
        self.model, self.symbols = model, symbols

    def tags(self, sentences: Sequence[Sentence]) -> list[Columns]:
        return self.tags_of(Encoded(sentences, self.symbols))

    def tags_of(self, encoded: Encoded) -> list[Columns]:
        """The same of sentences that are numbers already."""
        found: dict[int, Columns] = {}
        for rows, batch in self._batches(encoded):
            columns = [column.cpu().numpy() for column in self.model.best(batch)]
            for place, row in enumerate(rows):
                length = encoded.lengths[row]
                found[row] = [
                    [labels[tag] for tag in column[place, :length]]
                    for labels, column in zip(self.symbols.labels, columns, strict=True)
                ]
        return [found[row] for row in range(len(encoded))]

    def probabilities(self, sentences: Sequence[Sentence]) -> list[list[Floats]]:
        encoded = Encoded(sentences, self.symbols)
        found: dict[int, list[Floats]] = {}
        for rows, batch in self._batches(encoded):
            columns = [column.cpu().numpy() for column in self.model.probabilities(batch)]
            for place, row in enumerate(rows):
                found[row] = [column[place, : encoded.lengths[row]] for column in columns]
        return [found[row] for row in range(len(encoded))]

    def n_best(
        self, sentences: Sequence[Sentence], n: int
    ) -> list[list[list[tuple[list[str], float]]]]:
        encoded = Encoded(sentences, self.symbols)
        found: dict[int, list[list[tuple[list[str], float]]]] = {}
        for rows, batch in self._batches(encoded):
            columns = self.model.n_best(batch, n)
            for place, row in enumerate(rows):
                found[row] = [
                    _paths(labels, paths[place, :, : encoded.lengths[row]], chances[place])
                    for labels, (paths, chances) in zip(self.symbols.labels, columns, strict=True)
                ]
        return [found[row] for row in range(len(encoded))]

    def _batches(self, encoded: Encoded) -> Iterator[tuple[Ids, TokensBatch]]:
        device = next(self.model.parameters()).device
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                for rows in in_order(encoded.lengths, BATCH, max_tokens=MOST):
                    yield rows, encoded.batch(rows).to(device)
        finally:
            self.model.train(training)


def _paths(labels: Sequence[str], paths: Tensor, chances: Tensor) -> list[tuple[list[str], float]]:
    return [
        ([labels[tag] for tag in path], chance)
        for path, chance in zip(paths.tolist(), chances.tolist(), strict=True)
        if chance > 0
    ]


class CountedTags:
    """Hidden Markov models, one for each column.

    Args:
        models: fitted. labels: the tags of each column, in the order of their numbers.
        posterior: take the likeliest tag of each word, not the likeliest tags of the sentence.
    """

    def __init__(
        self,
        models: Sequence[HiddenMarkov],
        labels: Sequence[Sequence[str]],
        *,
        posterior: bool = False,
    ) -> None:
        self.models, self.labels, self.posterior = models, labels, posterior
        self._orders = [
            [model.tags.index(label) for label in column]
            for model, column in zip(models, labels, strict=True)
        ]

    def tags(self, sentences: Sequence[Sentence]) -> list[Columns]:
        if not self.posterior:
            return [[model.predict(words) for model in self.models] for words in sentences]
        return [
            [
                [labels[tag] for tag in column.argmax(-1)]
                for labels, column in zip(self.labels, columns, strict=True)
            ]
            for columns in self.probabilities(sentences)
        ]

    def probabilities(self, sentences: Sequence[Sentence]) -> list[list[Floats]]:
        return [
            [
                model.probabilities(words)[:, order]
                for model, order in zip(self.models, self._orders, strict=True)
            ]
            for words in sentences
        ]

    def n_best(
        self, sentences: Sequence[Sentence], n: int
    ) -> list[list[list[tuple[list[str], float]]]]:
        raise ConfigError("--n-best: the model hmm gives its best tags only; leave it out")

    @classmethod
    def fit(cls, options: Mapping[str, Any], corpus: Corpus) -> CountedTags:
        """Counts the training part, with the options of :class:`HiddenMarkov` and ``decoding``."""
        counting = {name: value for name, value in options.items() if name != "decoding"}
        models = [
            HiddenMarkov(**counting).fit(
                [(each["tokens"], each["tags"][index]) for each in corpus.parts.train]
            )
            for index in range(len(corpus.symbols.labels))
        ]
        return cls(models, corpus.symbols.labels)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All counts as named arrays."""
        return {
            f"{index}.{name}": array
            for index, model in enumerate(self.models)
            for name, array in model.arrays().items()
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], symbols: Symbols, *, posterior: bool
    ) -> CountedTags:
        """What :meth:`arrays` gave.

        Raises:
            RunError: arrays are missing or altered.
        """
        columns: list[dict[str, NDArray[Any]]] = [{} for _ in symbols.labels]
        for place, array in arrays.items():
            index, _, name = place.partition(".")
            columns[int(index)][name] = array
        models = [HiddenMarkov.from_arrays(column) for column in columns]
        return cls(models, symbols.labels, posterior=posterior)


def network(
    name: str,
    sizes: Mapping[str, Any],
    symbols: Symbols,
    allowed: Sequence[Allowed | None] | None = None,
) -> Tagger:
    """A new network of this task.

    Raises:
        ValueError: sizes that do not fit together.
    """
    options = dict(sizes)
    if allowed is not None:
        options["allowed"] = allowed
    return MODELS[name](tags=[len(labels) for labels in symbols.labels], **options)


def constraints(config: RunConfig, corpus: Corpus) -> list[Allowed | None] | None:
    """What a CRF forbids in each column: what marks of spans forbid, and the training part never shows.

    Raises:
        ConfigError: a column has too many tags for a chain.
    """
    if getattr(config.model, "head", "") != "crf":
        return None
    for labels in corpus.symbols.labels:
        if len(labels) > MOST_CHAINED:
            raise ConfigError(
                f"--model.head crf: a chain of {len(labels)} tags has {len(labels) ** 2:,} transitions, "
                "too many to learn; choose --model.head softmax"
            )
    return [
        bio_constraints(labels, (sentence["tags"][index] for sentence in corpus.parts.train))
        for index, labels in enumerate(corpus.symbols.labels)
    ]


def restored(
    name: str, sizes: Mapping[str, Any], symbols: Symbols, tensors: Mapping[str, Tensor]
) -> Tagger:
    """A network for the weights of a run: with constraints where those hold some."""
    allowed: list[Allowed | None] | None = None
    if sizes.get("head") == "crf":
        allowed = []
        for index in range(len(symbols.labels)):
            names = (f"{mask}_allowed" for mask in ("start", "transitions", "end"))
            masks = [tensors.get(f"heads.columns.{index}.crf.{mask}") for mask in names]
            start, transitions, end = masks
            if start is None or transitions is None or end is None:
                allowed.append(None)
            else:
                allowed.append((start, transitions, end))
    return network(name, sizes, symbols, allowed)


def sizes(config: RunConfig, corpus: Corpus) -> dict[str, Any]:
    """The arguments of :func:`network` for a new training, as JSON values."""
    options = asdict(config.model)
    options.pop("vectors", None)
    spelt = options["character_hidden"] > 0
    found = {
        "words": len(corpus.counts),
        "characters": len(corpus.symbols.characters) if spelt else 0,
        **options,
    }
    if corpus.vectors is not None:
        found["vectors"] = corpus.vectors.shape
    return found
