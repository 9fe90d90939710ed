"""What every model of classification can do: probabilities of the labels, or a number, for any examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.baselines.class_chains import ClassChains
from unrolled.data.buckets import in_order
from unrolled.errors import RunError
from unrolled.models.bag_of_words import BagOfWords, Bags, ngrams
from unrolled.models.classifier import Classifier, SequenceClassifier
from unrolled.models.window_classifier import WindowClassifier
from unrolled.tasks.classification_data import Encoded, Encoder
from unrolled.tasks.classification_examples import Example
from unrolled.training.snapshot import load_tensors

Rows = NDArray[np.int64]
Chunks = Iterator[tuple[Rows, NDArray[np.float64]]]

NETWORKS: dict[str, type[SequenceClassifier]] = {
    "recurrent": Classifier,
    "window": WindowClassifier,
}
TOGETHER = 64  # examples in a batch of prediction
TOKENS = 16_384  # padded tokens in such a batch, unless one example alone has more


class Predictor(Protocol):
    """A trained model with its encoder."""

    encoder: Encoder

    def outputs(self, examples: list[Example], path: Path | str | None = None) -> Chunks:
        """Some rows at a time, each once: probabilities [b, K], or numbers [b, 1]."""


class Network:
    """A network with its encoder."""

    def __init__(self, model: SequenceClassifier, encoder: Encoder) -> None:
        self.model, self.encoder = model, encoder

    def outputs(self, examples: list[Example], path: Path | str | None = None) -> Chunks:
        """See :class:`Predictor`."""
        return self.encoded_outputs(self.encoder.encode(examples, path))

    def encoded_outputs(self, encoded: Encoded) -> Chunks:
        """The same of encoded examples."""
        device = next(self.model.parameters()).device
        for rows in in_order(encoded.lengths, TOGETHER, max_tokens=TOKENS):
            with torch.no_grad():
                found = self.model.predict(encoded.batch(rows).to(device))
            values = found.double().cpu().numpy()
            if self.encoder.target is not None:
                yield rows, self.encoder.target.restored(values)
            else:
                yield rows, np.exp(values)


class Bag:
    """A bag of words with its encoder, whose vocabulary is the n-grams."""

    def __init__(
        self, model: BagOfWords, encoder: Encoder, *, longest: int, presence: bool
    ) -> None:
        self.model, self.encoder = model, encoder
        self.longest, self.presence = longest, presence

    def bags(self, examples: list[Example]) -> Bags:
        """The n-grams of the examples."""
        assert self.encoder.vocabulary is not None
        letters = self.encoder.level != "words"
        tokens = (self.encoder.tokens(example) for example in examples)
        grams = (ngrams(part, self.longest, letters=letters) for part in tokens)
        return Bags.of(grams, self.encoder.vocabulary, presence=self.presence)

    def outputs(self, examples: list[Example], path: Path | str | None = None) -> Chunks:
        """See :class:`Predictor`."""
        for start in range(0, len(examples), TOGETHER):
            part = examples[start : start + TOGETHER]
            yield np.arange(start, start + len(part)), self.answers(self.bags(part))

    def answers(self, bags: Bags) -> NDArray[np.float64]:
        """Probabilities [N, K], or numbers [N, 1]."""
        z = self.model.scores(bags)
        if self.encoder.target is not None:
            return self.encoder.target.restored(z)
        tensor = torch.from_numpy(z)
        found: NDArray[np.float64]
        found = (tensor.softmax(1) if self.model.kind == "label" else tensor.sigmoid()).numpy()
        return found


class Chains:
    """A chain for each class with its encoder."""

    def __init__(self, model: ClassChains, encoder: Encoder) -> None:
        self.model, self.encoder = model, encoder

    def outputs(self, examples: list[Example], path: Path | str | None = None) -> Chunks:
        """See :class:`Predictor`."""
        many = 16 * TOGETHER  # each call goes through all chains
        for start in range(0, len(examples), many):
            part = self.encoder.encode(examples[start : start + many], path)
            assert part.tokens is not None
            found = self.model.log_probabilities(part.tokens.words)
            yield np.arange(start, start + len(part)), np.exp(found)


def restored(
    description: Mapping[str, Any], tensors: Mapping[str, Tensor], encoder: Encoder, folder: Path
) -> Predictor:
    """The model of a run directory.

    Raises:
        RunError: of an unknown kind, or damaged.
    """
    kind = description["kind"]
    if kind in NETWORKS:
        network = NETWORKS[kind](**description["sizes"])
        with torch.no_grad():
            load_tensors(network, tensors, folder / "model.safetensors")
        return Network(network.eval(), encoder)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    if kind == "bag-of-words":
        model = BagOfWords.from_arrays(arrays, kind=encoder.answer)
        longest, presence = description["ngrams"], description["presence"]
        return Bag(model, encoder, longest=longest, presence=presence)
    if kind == "markov":
        return Chains(ClassChains.from_arrays(arrays), encoder)
    raise RunError(f"{folder}: holds a model of the unknown kind {kind!r}")
