"""The models of learning to execute behind one face: what they write, and how well they foresee the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.baselines import KneserNey
from unrolled.baselines.ngram import NGramState
from unrolled.data.buckets import in_order
from unrolled.data.execution import Example
from unrolled.decoding.beam import BeamOptions, beam
from unrolled.decoding.greedy import greedy
from unrolled.errors import ConfigError
from unrolled.models.reader import Reader
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks.execution_data import END, START, Characters
from unrolled.tasks.execution_options import RecurrentExecutor
from unrolled.tasks.search import USUAL, Search
from unrolled.tasks.translation_data import Encoded

BATCH, TOKENS = 256, 16_384  # texts taken together, and their characters at most
LONGEST = 100  # characters of an answer, its end among them; true ones have at most about 70


@dataclass(frozen=True)
class Answer:
    """A target and the natural log of its probability."""

    target: str
    log_probability: float


@dataclass(frozen=True)
class Foreseen:
    """How a model foresees the characters of true targets, the end among them, given those before.

    Attributes:
        nats: ``[N]`` of each target, summed.
        right: ``[N]`` how many of its characters were the likeliest.
        count: ``[N]`` how many it has.
    """

    nats: NDArray[np.float64]
    right: NDArray[np.int64]
    count: NDArray[np.int64]


class Executor(Protocol):
    """A trained model of this task."""

    def answer(self, texts: Sequence[str], options: BeamOptions) -> list[list[Answer]]:
        """The likeliest targets of each text that a beam finds, best first; a beam of 1 is greedy."""

    def foresee(self, examples: Sequence[Example]) -> Foreseen:
        """How well it foresees the true targets."""


def made(options: RecurrentExecutor, size: int) -> Reader | Seq2Seq:
    """The network of some options, for so many characters.

    Raises:
        ValueError: options do not go together.
    """
    shape: dict[str, Any] = {
        "cell": options.cell,
        "hidden_size": options.hidden_size,
        "num_layers": options.num_layers,
        "embedding_size": options.embedding_size,
        "tied": options.tied,
        "dropout": options.dropout,
    }
    if options.form == "stream":
        return Reader(size, start_token=START, **shape)
    shape["embedding_size"] = options.embedding_size or options.hidden_size
    attention: Any = options.attention or "conditional"
    return Seq2Seq(
        size,
        size,
        shared=True,
        attention=attention,
        bidirectional=options.bidirectional,
        **shape,
    )


class Network:
    """A network with its characters."""

    def __init__(self, model: Reader | Seq2Seq, characters: Characters) -> None:
        self.model, self.characters = model, characters

    def answer(self, texts: Sequence[str], options: BeamOptions) -> list[list[Answer]]:
        """By reading the texts, then a search."""
        model: Any = self.model
        found: list[list[Answer]] = [[] for _ in texts]
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        for rows in in_order(lengths, BATCH, max_tokens=TOKENS):
            source = self.characters.sources([texts[row] for row in rows.tolist()])
            with torch.inference_mode():
                state = model.start_from(source.to(model.embedding.device))
                best = _search(model, state, START, options)
            for row, hypotheses in zip(rows.tolist(), best, strict=True):
                found[row] = [Answer(self.characters.target(h[0]), h[1]) for h in hypotheses]
        return found

    def foresee(self, examples: Sequence[Example]) -> Foreseen:
        """By one pass with the targets given."""
        return self.foresee_encoded(self.characters.encode(examples))

    def foresee_encoded(self, encoded: Encoded) -> Foreseen:
        """The same of examples in numbers."""
        count = len(encoded.targets)
        nats, right = np.zeros(count), np.zeros(count, np.int64)
        with torch.no_grad():
            for rows in in_order(encoded.lengths, BATCH, max_tokens=TOKENS):
                batch = encoded.batch(rows).to(self.model.embedding.device)
                assert batch.inputs is not None
                assert batch.targets is not None
                log_probs = self.model.head(self.model(batch)[0])
                targets = batch.targets[batch.inputs.mask]
                losses = -log_probs.gather(1, targets[:, None])[:, 0].double().cpu().numpy()
                hits = (log_probs.argmax(1) == targets).cpu().numpy().astype(np.int64)
                starts = np.cumsum(encoded.lengths[rows]) - encoded.lengths[rows]
                nats[rows] = np.add.reduceat(losses, starts)
                right[rows] = np.add.reduceat(hits, starts)
        return Foreseen(nats, right, encoded.lengths)


class NGram:
    """Counts of the stream's characters; what is foreseen goes by the last few of them."""

    def __init__(self, model: KneserNey, characters: Characters) -> None:
        self.model, self.characters = model, characters

    def _read(self, texts: Sequence[str]) -> NGramState:
        """The state after the end of an example before, and each text."""
        nodes = [self.model.after(np.array([END, *self.characters.source_ids(t)])) for t in texts]
        return NGramState(torch.from_numpy(np.stack(nodes)))

    def answer(self, texts: Sequence[str], options: BeamOptions) -> list[list[Answer]]:
        """By a search, as of a network."""
        found: list[list[Answer]] = []
        for first in range(0, len(texts), BATCH):
            best = _search(self.model, self._read(texts[first : first + BATCH]), START, options)
            found += [[Answer(self.characters.target(h[0]), h[1]) for h in each] for each in best]
        return found

    def foresee(self, examples: Sequence[Example]) -> Foreseen:
        """Step by step with the targets given."""
        count = len(examples)
        nats, right = np.zeros(count), np.zeros(count, np.int64)
        targets = [[*self.characters.target_ids(e.target), END] for e in examples]
        lengths = np.array([len(target) for target in targets], dtype=np.int64)
        for first in range(0, count, BATCH):
            rows = np.arange(first, min(first + BATCH, count))
            state: Any = self._read([examples[row].source for row in rows.tolist()])
            ids = np.full((len(rows), int(lengths[rows].max())), END)
            for place, row in zip(ids, rows.tolist(), strict=True):
                place[: lengths[row]] = targets[row]
            tokens = np.full(len(rows), START)
            for step in range(ids.shape[1]):
                log_probs, state = self.model.step(torch.from_numpy(tokens), state)
                table, tokens = log_probs.numpy(), ids[:, step]
                going = step < lengths[rows]
                nats[rows] -= np.where(going, table[np.arange(len(rows)), tokens], 0.0)
                right[rows] += going & (table.argmax(1) == tokens)
        return Foreseen(nats, right, lengths)


def _search(
    model: Any, state: Any, start: int, options: BeamOptions
) -> list[list[tuple[tuple[int, ...], float]]]:
    """Tokens and log-probability of the outputs found for each row of the state, best first."""
    if options.size == 1 and not (options.min_length or options.no_repeat_ngram):
        one = greedy(model, state, start=start, end=END, max_length=options.max_length)
        return [[(h.tokens, h.log_prob)] for h in one]
    several = beam(model, state, start=start, end=END, options=options)
    return [[(h.tokens, h.log_prob) for h in each] for each in several]


def searching(search: Search = USUAL, n_best: int = 0) -> BeamOptions:
    """The options of a search: greedy unless a beam is asked for, by probability unless told otherwise.

    >>> searching().size, searching(n_best=3).size, searching(Search(beam_size=8), 3).size
    (1, 5, 8)
    >>> searching(Search(max_length=9)).size, searching(Search(length_penalty=1.0)).size
    (1, 5)

    Raises:
        ConfigError: more answers than the beam keeps, or an option that does nothing here.
    """
    idle = [name for name in search.given() if name in ("--sample", "--coverage-penalty")]
    if idle:
        raise ConfigError(
            f"{', '.join(idle)}: this model follows likely outputs only; leave it out"
        )
    beam_of = search.beam(max(1, n_best))
    many = n_best or search.beam_size or search.length_penalty is not None
    return replace(
        beam_of,
        size=beam_of.size if many else 1,
        length_penalty=search.length_penalty or 0.0,
        max_length=search.max_length or max(LONGEST, beam_of.min_length + 1),
    )
