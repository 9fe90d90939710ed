"""The models of translation behind one face: several translations of each text, and scores of given ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from unrolled.baselines.ibm1 import IBM1
from unrolled.baselines.phrase_memory import PhraseMemory
from unrolled.baselines.retrieval import Retrieval
from unrolled.data.buckets import in_order
from unrolled.data.segment import END, START
from unrolled.decoding.beam import BeamOptions, beam
from unrolled.decoding.sample import StepModel
from unrolled.errors import ConfigError
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks.translation_data import Encoded, Encoder, Example

BATCH, TOKENS = 64, 8192  # sentences searched together, and their symbols at most
LONGEST = 10_000  # symbols of an output, whatever the source
GROWTH, EXTRA = 2, 10  # an output has at most so many times the source's symbols, and so many more


@dataclass(frozen=True)
class Translation:
    """A text, what it is ranked by, and the natural log of its probability (None where there is none)."""

    text: str
    score: float
    log_probability: float | None = None


class Translator(Protocol):
    """A trained model of translation."""

    def translate(self, texts: Sequence[str], options: BeamOptions) -> list[list[Translation]]:
        """The best translations of each text, best first, at least one."""

    def nats(self, examples: Sequence[Example]) -> list[tuple[float, int]] | None:
        """For each pair the summed nats of its target and how many symbols they are; None: no such."""


class Network:
    """An encoder and decoder with their vocabularies."""

    def __init__(self, model: Seq2Seq, encoder: Encoder) -> None:
        self.model, self.encoder = model, encoder

    def translate(self, texts: Sequence[str], options: BeamOptions) -> list[list[Translation]]:
        """By beam search."""
        if options.coverage_penalty and self.model.first is None:
            raise ConfigError(
                f"the coverage penalty needs attention in each step, and this model has "
                f"{self.model.kind}; set it to 0"
            )
        model: StepModel = self.model  # type: ignore[assignment]
        ids = [self.encoder.source_ids(text) for text in texts]
        found: list[list[Translation]] = [[] for _ in texts]
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        for rows in in_order(lengths, BATCH, max_tokens=TOKENS):
            source = self.encoder.sources([texts[row] for row in rows.tolist()])
            limits = (GROWTH * source.lengths + EXTRA).clamp(
                options.min_length + 1, options.max_length
            )
            with torch.inference_mode():
                best = beam(
                    model,
                    self.model.start_from(source.to(self.model.embedding.device)),
                    start=START,
                    end=END,
                    options=options,
                    limits=limits,
                    source_lengths=source.lengths,
                )
            for row, hypotheses in zip(rows.tolist(), best, strict=True):
                found[row] = [
                    Translation(self.encoder.target.decode(h.tokens), h.score, h.log_prob)
                    for h in hypotheses
                ]
        return found

    def nats(self, examples: Sequence[Example]) -> list[tuple[float, int]]:
        """By one pass with the targets given."""
        return self.encoded_nats(self.encoder.encode(examples))

    def encoded_nats(self, encoded: Encoded) -> list[tuple[float, int]]:
        """The same of pairs in numbers."""
        found: list[tuple[float, int]] = [(0.0, 0)] * len(encoded.targets)
        with torch.no_grad():
            for rows in in_order(encoded.lengths, BATCH, max_tokens=TOKENS):
                batch = encoded.batch(rows).to(self.model.embedding.device)
                assert batch.inputs is not None
                assert batch.targets is not None
                log_probs = self.model.head(self.model(batch)[0])
                nats = -log_probs.gather(1, batch.targets[batch.inputs.mask][:, None])[
                    :, 0
                ].double()
                pieces = torch.split(nats.cpu(), batch.inputs.lengths.tolist())
                for row, piece in zip(rows.tolist(), pieces, strict=True):
                    found[row] = (float(piece.sum()), len(piece))
        return found


class Counted:
    """A model that counted words: a dictionary, phrases, or remembered pairs."""

    def __init__(self, model: IBM1 | PhraseMemory | Retrieval, *, lowercase: bool) -> None:
        self.model, self.lowercase = model, lowercase

    def words(self, text: str) -> list[str]:
        """What the model reads."""
        return (text.lower() if self.lowercase else text).split()

    def translate(self, texts: Sequence[str], options: BeamOptions) -> list[list[Translation]]:
        """By the model's own search; several only from phrases and remembered pairs."""
        return [self._best(self.words(text), options.n_best) for text in texts]

    def _best(self, words: list[str], count: int) -> list[Translation]:
        if isinstance(self.model, IBM1):
            return [Translation(" ".join(self.model.translate(words)), 0.0)]
        if isinstance(self.model, PhraseMemory):
            found = self.model.n_best(words, count)
            return [Translation(" ".join(text), score) for text, score in found] or [
                Translation("", -math.inf)
            ]
        answers = self.model.answer(words, count)
        return [Translation(" ".join(a.tokens), a.score) for a in answers] or [
            Translation("", -math.inf)
        ]

    def nats(self, examples: Sequence[Example]) -> None:
        """None: of these models none has a probability of whole targets, where they end among it."""
        return


COUNTED: dict[str, type[Any]] = {
    "dictionary": IBM1,
    "phrases": PhraseMemory,
    "retrieval": Retrieval,
}


def searching(size: int, n_best: int) -> BeamOptions:
    """The options of a search: the usual size unless one is given, and never fewer than ``n_best``.

    >>> searching(0, 8).size
    8
    """
    options = BeamOptions(size=size or max(5, n_best), max_length=LONGEST)
    return replace(options, n_best=max(1, n_best))
