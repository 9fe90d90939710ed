"""The models of translation behind one face: several translations of each text, and scores of given ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from unrolled.baselines.ibm1 import IBM1
from unrolled.baselines.joint_ngram import JointNGram
from unrolled.baselines.phrase_memory import PhraseMemory
from unrolled.baselines.retrieval import Retrieval
from unrolled.data.buckets import in_order
from unrolled.data.segment import END, START, UNKNOWN
from unrolled.decoding.beam import beam
from unrolled.decoding.draws import draw, generators
from unrolled.decoding.ensemble import Ensemble
from unrolled.decoding.hypotheses import Hypothesis
from unrolled.decoding.sample import StepModel
from unrolled.errors import ConfigError
from unrolled.models.seq2seq import Seq2Seq
from unrolled.models.translating import Translating
from unrolled.tasks.search import LONGEST, Search
from unrolled.tasks.translation_data import Encoded, Encoder, Example

BATCH, TOKENS = 64, 8192  # sentences read together, and their symbols at most
ROWS = 1024  # hypotheses or samples of the sentences that are searched together, of at least one
# An output has at most so many times the symbols of its source or of the longest target of training,
# whichever are more, and so many more.
GROWTH, EXTRA = 2, 10


@dataclass(frozen=True)
class Translation:
    """A text, what it is ranked by, and the natural log of its probability (None where there is none)."""

    text: str
    score: float
    log_probability: float | None = None


class Translator(Protocol):
    """A trained model of translation."""

    def translate(
        self,
        texts: Sequence[str],
        search: Search,
        *,
        n_best: int = 1,
        numbers: Sequence[int] | None = None,
    ) -> list[list[Translation]]:
        """The best translations of each text, best first, at least one; or samples, in no order.

        Args:
            numbers: of the texts, which decide their samples; their places when None.
        """

    def nats(self, examples: Sequence[Example]) -> list[tuple[float, int]] | None:
        """For each pair the summed nats of its target and how many symbols they are; None: no such."""


class Network:
    """An encoder and decoder with their vocabularies.

    Args:
        longest: symbols of the longest target of training, with its end.
    """

    def __init__(self, model: Seq2Seq, encoder: Encoder, longest: int = 0) -> None:
        self.model, self.encoder, self.longest = model, encoder, longest

    @property
    def steps(self) -> StepModel:
        """What says the targets."""
        return self.model  # type: ignore[return-value]

    def start(self, texts: Sequence[str]) -> Any:
        """The state before the first symbol of each text's target."""
        source = self.encoder.sources(texts)
        return self.model.start_from(source.to(self.model.embedding.device))

    def check_coverage(self) -> None:
        """ConfigError unless a coverage penalty can be computed."""
        if self.model.first is None:
            raise ConfigError(
                f"the coverage penalty needs attention in each step, and this model has "
                f"{self.model.kind}; set it to 0"
            )

    def translate(
        self,
        texts: Sequence[str],
        search: Search,
        *,
        n_best: int = 1,
        numbers: Sequence[int] | None = None,
    ) -> list[list[Translation]]:
        """By beam search, or drawn."""
        if search.coverage_penalty:
            self.check_coverage()
        find = self._drawn(search, n_best) if search.sample else self._beam(search, n_best)
        lengths = np.array([len(self.encoder.source_ids(text)) for text in texts], dtype=np.int64)
        named = range(len(texts)) if numbers is None else numbers
        shortest = (search.min_length or 0) + 1
        found: list[list[Translation]] = [[] for _ in texts]
        size = n_best if search.sample else search.beam(n_best).size
        batch = max(1, min(BATCH, ROWS // size))
        for rows in in_order(lengths, batch, max_tokens=TOKENS * batch // BATCH):
            given = [texts[row] for row in rows.tolist()]
            sources = torch.from_numpy(lengths[rows])
            longest = GROWTH * sources.clamp_min(self.longest) + EXTRA
            limits = longest.clamp(shortest, max(LONGEST, shortest))
            if search.max_length is not None:
                limits = torch.full_like(limits, search.max_length)
            with torch.inference_mode():
                best = find(given, limits, sources, [named[row] for row in rows.tolist()])
            for row, hypotheses in zip(rows.tolist(), best, strict=True):
                found[row] = [
                    Translation(self.encoder.target.decode(h.tokens), h.score, h.log_prob)
                    for h in hypotheses
                ]
        return found

    def _beam(self, search: Search, n_best: int) -> Find:
        options = search.beam(n_best)

        def find(
            texts: Sequence[str], limits: Tensor, lengths: Tensor, numbers: Sequence[int]
        ) -> list[list[Hypothesis]]:
            return beam(
                self.steps,
                self.start(texts),
                start=START,
                end=END,
                options=options,
                limits=limits,
                source_lengths=lengths,
            )

        return find

    def _drawn(self, search: Search, copies: int) -> Find:
        options = search.draws(never=(UNKNOWN, START))

        def find(
            texts: Sequence[str], limits: Tensor, lengths: Tensor, numbers: Sequence[int]
        ) -> list[list[Hypothesis]]:
            chances = generators(search.seed or 0, numbers, copies)
            state = self.start(texts)
            return draw(
                self.steps, state, chances, start=START, end=END, options=options, limits=limits
            )

        return find

    def nats(self, examples: Sequence[Example]) -> list[tuple[float, int]]:
        """By one pass with the targets given."""
        return self.encoded_nats(self.encoder.encode(examples))

    def encoded_nats(self, encoded: Encoded) -> list[tuple[float, int]]:
        """The same of pairs in numbers."""
        return [(-float(each.sum()), len(each)) for each in self.log_probs(encoded)]

    @torch.no_grad()
    def log_probs(self, encoded: Encoded) -> list[Tensor]:
        """For each pair the natural logarithms of its target's symbols, the end's last, float64."""
        found: list[Tensor] = [torch.empty(0)] * len(encoded.targets)
        for rows in in_order(encoded.lengths, BATCH, max_tokens=TOKENS):
            batch = encoded.batch(rows).to(self.model.embedding.device)
            assert batch.inputs is not None
            assert batch.targets is not None
            table = self.model.head(self.model(batch)[0])
            chosen = table.gather(1, batch.targets[batch.inputs.mask][:, None])[:, 0].double()
            pieces = torch.split(chosen.cpu(), batch.inputs.lengths.tolist())
            for row, piece in zip(rows.tolist(), pieces, strict=True):
                found[row] = piece
        return found

    def told(self, text: str) -> StepModel:
        """A model of this text's target alone, whose states are tensors and tuples."""
        return _Told(self.model, self.start([text]))


# Texts, their limits [B] and source lengths [B], and their numbers: the hypotheses of each.
Find = Callable[[Sequence[str], Tensor, Tensor, Sequence[int]], list[list[Hypothesis]]]


class Networks(Network):
    """Several as one: in each step the average of their distributions (:mod:`unrolled.decoding.ensemble`).

    Args:
        members: at least one; their targets have the same symbols, their sources need not.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        longest = max(member.longest for member in members)
        super().__init__(members[0].model, members[0].encoder, longest)
        self.members = tuple(members)
        self._ensemble = Ensemble([member.steps for member in self.members])

    @property
    def steps(self) -> StepModel:
        return self._ensemble

    def start(self, texts: Sequence[str]) -> Any:
        return tuple(member.start(texts) for member in self.members)

    def check_coverage(self) -> None:
        for member in self.members:
            member.check_coverage()
            mine, other = self.encoder, member.encoder
            if mine.source != other.source or mine.reverse != other.reverse:
                raise ConfigError(
                    "the coverage penalty of several models needs one vocabulary of their sources, read "
                    "in one direction; set it to 0"
                )

    def nats(self, examples: Sequence[Example]) -> list[tuple[float, int]]:
        total: list[Tensor] = []
        for member in self.members:
            own = member.log_probs(member.encoder.encode(examples))
            pairs = zip(total, own, strict=True)
            total = [torch.logaddexp(a, b) for a, b in pairs] if total else own
        less = math.log(len(self.members))
        return [(-float((each - less).sum()), len(each)) for each in total]

    def told(self, text: str) -> StepModel:
        return Ensemble([member.told(text) for member in self.members])


class _Told:
    """What a network says of one source: states are those of the decoder, without the source."""

    def __init__(self, model: Seq2Seq, begun: Translating) -> None:
        self._model, self._begun = model, begun

    def start(self, batch_size: int) -> Any:
        """The states before the first symbol."""
        return self._begun.select(self._rows(batch_size)).states

    def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        """Reads symbols [R]; log-probabilities [R, V] and the new states."""
        assert tokens is not None
        whole = self._begun.select(self._rows(len(tokens))).after(state)
        log_probs, following = self._model.step(tokens, whole)
        return log_probs, following.states

    def _rows(self, count: int) -> Tensor:
        return torch.zeros(count, dtype=torch.int64, device=self._model.embedding.device)


class Counted:
    """A model that counts symbols: a dictionary, phrases, pieces of both sides, or remembered pairs.

    Args:
        model: one of :data:`COUNTED`.
        source, target: cut a text of either side into its symbols.
        space: stands between the symbols of a target.
    """

    def __init__(
        self,
        model: IBM1 | PhraseMemory | JointNGram | Retrieval,
        *,
        source: Callable[[str], list[str]],
        target: Callable[[str], list[str]],
        space: str = " ",
    ) -> None:
        self.model, self.source, self.target, self.space = model, source, target, space

    def fit(self, examples: Sequence[Example]) -> None:
        """Learns the first reference of each pair."""
        self.model.fit([(self.source(e.source), self.target(e.references[0])) for e in examples])

    def translate(
        self,
        texts: Sequence[str],
        search: Search,
        *,
        n_best: int = 1,
        numbers: Sequence[int] | None = None,
    ) -> list[list[Translation]]:
        """By the model's own search; a dictionary has one translation only."""
        return [
            [
                Translation(self.space.join(symbols), score)
                for symbols, score in self._best(self.source(text), n_best)
            ]
            or [Translation("", -math.inf)]
            for text in texts
        ]

    def _best(self, symbols: list[str], count: int) -> Sequence[tuple[Sequence[str], float]]:
        if isinstance(self.model, IBM1):
            return [(self.model.translate(symbols), 0.0)]
        if isinstance(self.model, (PhraseMemory, JointNGram)):
            return self.model.n_best(symbols, count)
        return [(answer.tokens, answer.score) for answer in self.model.answer(symbols, count)]

    def nats(self, examples: Sequence[Example]) -> None:
        """None: of these models none has a probability of whole targets, where they end among it."""
        return


COUNTED: dict[str, type[Any]] = {
    "dictionary": IBM1,
    "phrases": PhraseMemory,
    "joint-ngram": JointNGram,
    "retrieval": Retrieval,
}
