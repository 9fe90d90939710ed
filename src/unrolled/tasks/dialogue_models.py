"""The models of dialogue behind one face: they hear turns, keep what they must in a memory, and answer.

A recurrent network (Vinyals & Le 2015, "A neural conversational model") and an n-gram model go through the
symbols of all turns; what they remember of a dialogue is the state after its last turn. Retrieval remembers
the last turns themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from unrolled.baselines.ngram import KneserNey, NGramState
from unrolled.baselines.retrieval import Retrieval
from unrolled.data.batch import LanguageBatch
from unrolled.data.buckets import in_order
from unrolled.data.segment import END, START
from unrolled.decoding.beam import BeamOptions, beam
from unrolled.decoding.greedy import greedy
from unrolled.decoding.sample import sample
from unrolled.errors import ConfigError
from unrolled.layers.heads import Loss
from unrolled.models.language_model import LanguageModel
from unrolled.state import leaves, map_state, rebuild, select
from unrolled.tasks.dialogue_data import Cast, Coder, DialogueBatch, Encoded, Turns

BATCH, TOKENS = 64, 32_768  # dialogues read together, and their symbols at most
WINDOW = 512  # symbols of each that are read at once
BEAM = 1  # replies that are followed together, unless told otherwise
Floats = NDArray[np.float64]
_WORD = re.compile(r"\w+|[^\w\s]")
Said = tuple[int, int, str]  # a dialogue, the place of a turn in it, and what a model says there


@dataclass(frozen=True)
class Reply:
    """A text, what it is ranked by, and the natural log of its probability (None where there is none)."""

    text: str
    score: float
    log_probability: float | None = None


@dataclass(frozen=True)
class Manner:
    """How to choose replies: by a beam, or drawn where ``draw`` is set.

    Attributes:
        beam: how to search.
        draw: temperature, top_k and top_p of :func:`unrolled.decoding.sample.sample`.
    """

    beam: BeamOptions = field(default_factory=lambda: BeamOptions(size=BEAM))
    draw: dict[str, Any] | None = None


class Talker(Protocol):
    """A trained model of dialogue."""

    def begin(self) -> Any:
        """The memory before a dialogue."""

    def hear(self, memory: Any, turns: Turns) -> Any:
        """The memory after these turns more."""

    def answer(
        self, memory: Any, speaker: str, manner: Manner, generator: Generator | None = None
    ) -> list[Reply]:
        """What this speaker may say next, best first, at least one."""

    def answers(self, histories: Sequence[tuple[Turns, str]], manner: Manner) -> list[list[Reply]]:
        """The same after each of several histories; the second of each pair is who answers."""

    def along(self, dialogues: Sequence[Turns], cast: Cast, manner: Manner) -> Iterator[Said]:
        """What the model says in place of each reply of dialogues, given the true turns before it."""

    def nats(self, dialogues: Sequence[Turns], cast: Cast) -> list[Floats] | None:
        """Of each dialogue the nats of its replies' symbols and ends, as they come; None: no such."""

    def tensors(self, memory: Any) -> dict[str, Tensor]:
        """The tensors of a memory."""

    def turns(self, memory: Any) -> Turns:
        """The turns that a memory holds as they were."""

    def restore(self, tensors: dict[str, Tensor], turns: Turns) -> Any:
        """The memory of :meth:`tensors` and :meth:`turns`; ValueError if it is not of this model."""


class DialogueModel(LanguageModel):
    """A language model whose loss counts some of the symbols that it reads."""

    def loss(self, outputs: Tensor, batch: LanguageBatch) -> Loss:
        """Summed nats of the targets that are counted."""
        assert isinstance(batch, DialogueBatch)
        return self.head.loss(outputs[batch.counted], batch.targets[batch.counted])

    def nats(self, encoded: Encoded) -> list[Floats]:
        """Of each dialogue the nats of its counted symbols, without dropout, however long it is."""
        found: list[Floats] = [np.empty(0)] * len(encoded.rows)
        with torch.no_grad():
            for rows in in_order(encoded.lengths, BATCH, max_tokens=TOKENS):
                batch = encoded.batch(rows).to(self.embedding.device)
                nats = [np.empty(0)] * len(rows)
                state = None
                for first in range(0, batch.tokens.shape[1], WINDOW):
                    part = slice(first, first + WINDOW)
                    h, state = self._hidden(batch.tokens[:, part], state, training=False)
                    counted = batch.counted[:, part]
                    targets = batch.targets[:, part][counted][:, None]
                    each = -self.head(h[counted]).gather(1, targets)[:, 0].double().cpu()
                    pieces = torch.split(each, counted.sum(1).tolist())
                    nats = [np.append(old, p) for old, p in zip(nats, pieces, strict=True)]
                for row, values in zip(rows.tolist(), nats, strict=True):
                    found[row] = values
        return found

    @torch.no_grad()
    def read(self, rows: Sequence[Sequence[int]], state: Any) -> Any:
        """The state after these symbols more, as many of each row as there are."""
        device = self.embedding.device
        lengths = torch.tensor([len(row) for row in rows])
        ids = torch.full((len(rows), int(lengths.max())), END)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)
        for first in range(0, ids.shape[1], WINDOW):
            part = ids[:, first : first + WINDOW].to(device)
            left = (lengths - first).clamp(0, part.shape[1])
            x = self.embedding[part]
            _, state = self.recurrent.run(x, state, left, training=False)
        return state


class Speaking:
    """A model that goes through symbols: a network or an n-gram model.

    Args:
        model: it.
        coder: its symbols.
        longest: symbols of a reply, at most.
    """

    def __init__(self, model: DialogueModel | KneserNey, coder: Coder, longest: int) -> None:
        self.model, self.coder, self.longest = model, coder, longest

    def start(self, rows: int) -> Any:
        """The states of dialogues before their first turn."""
        return self.read([[START]] * rows, self.model.start(rows))

    def read(self, rows: Sequence[Sequence[int]], state: Any) -> Any:
        """The states after these symbols more."""
        if isinstance(self.model, DialogueModel):
            return self.model.read(rows, state)
        nodes = state.nodes.numpy().copy()
        for place, row in enumerate(rows):
            for token in row[-self.model.order :]:
                nodes[place] = self.model.counts.advance(nodes[[place]], np.array([token]))[0]
        return NGramState(torch.from_numpy(nodes))

    def begin(self) -> Any:
        return self.start(1)

    def hear(self, memory: Any, turns: Turns) -> Any:
        ids = [number for turn in turns for number in self.coder.turn(turn)]
        return self.read([ids], memory) if ids else memory

    def answer(
        self, memory: Any, speaker: str, manner: Manner, generator: Generator | None = None
    ) -> list[Reply]:
        return self.speak(memory, [speaker], manner, generator)[0]

    def speak(
        self,
        state: Any,
        speakers: Sequence[str],
        manner: Manner,
        generator: Generator | None = None,
    ) -> list[list[Reply]]:
        """What each speaker may say from each row of a state."""
        first = torch.tensor([self.coder.speaker(speaker) for speaker in speakers])
        words = _Words(self.model, self.coder.silent)
        if manner.draw is not None:
            drawn = sample(
                words,
                prompt=first[:, None],
                state=state,
                length=self.longest,
                end=END,
                generator=generator,
                **manner.draw,
            )
            return [[Reply(self.coder.text(row), 0.0)] for row in drawn.tolist()]
        limits = torch.full_like(first, self.longest)
        with torch.inference_mode():
            if manner.beam.size == 1:
                found = [[h] for h in greedy(words, state, start=first, end=END, limits=limits)]
            else:
                found = beam(words, state, start=first, end=END, options=manner.beam, limits=limits)
        return [
            [Reply(self.coder.text(h.tokens), h.score, h.log_prob) for h in hypotheses]
            for hypotheses in found
        ]

    def answers(self, histories: Sequence[tuple[Turns, str]], manner: Manner) -> list[list[Reply]]:
        found: list[list[Reply]] = [[] for _ in histories]
        ids = [[n for turn in turns for n in self.coder.turn(turn)] for turns, _ in histories]
        for rows in in_order(_lengths(ids), BATCH, max_tokens=TOKENS):
            chosen = rows.tolist()
            state = self.read([[START, *ids[row]] for row in chosen], self.model.start(len(rows)))
            made = self.speak(state, [histories[row][1] for row in chosen], manner)
            for row, best in zip(chosen, made, strict=True):
                found[row] = best
        return found

    def along(self, dialogues: Sequence[Turns], cast: Cast, manner: Manner) -> Iterator[Said]:
        sizes = np.array([len(turns) for turns in dialogues], dtype=np.int64)
        places = [set(cast.replies(turns)) for turns in dialogues]
        for rows in in_order(sizes, BATCH):
            going, state = rows.tolist(), self.start(len(rows))
            for place in range(int(sizes[rows].max())):
                kept = [k for k, row in enumerate(going) if sizes[row] > place]
                if len(kept) < len(going):
                    going, state = [going[k] for k in kept], select(state, torch.tensor(kept))
                asked = [k for k, row in enumerate(going) if place in places[row]]
                if asked:
                    speakers = [dialogues[going[k]][place].speaker for k in asked]
                    made = self.speak(select(state, torch.tensor(asked)), speakers, manner)
                    for k, best in zip(asked, made, strict=True):
                        yield going[k], place, best[0].text
                turns = [self.coder.turn(dialogues[row][place]) for row in going]
                state = self.read(turns, state)

    def encoded(self, dialogues: Sequence[Turns], cast: Cast) -> Encoded:
        """Dialogues in numbers, of which those of the replies are counted."""
        return self.coder.encode(
            dialogues, lambda place, turn: place > 0 and cast.speaker in ("", turn.speaker)
        )

    def nats(self, dialogues: Sequence[Turns], cast: Cast) -> list[Floats]:
        encoded = self.encoded(dialogues, cast)
        if isinstance(self.model, DialogueModel):
            return self.model.nats(encoded)
        rows = zip(encoded.rows, encoded.counted, strict=True)
        return [-self.model.log_probabilities(ids)[counted] for ids, counted in rows]

    def tensors(self, memory: Any) -> dict[str, Tensor]:
        return {f"state.{k}": leaf.cpu().clone() for k, leaf in enumerate(leaves(memory))}

    def turns(self, memory: Any) -> Turns:
        return ()

    def restore(self, tensors: dict[str, Tensor], turns: Turns) -> Any:
        template = self.model.start(1)
        own = leaves(template)
        try:
            given = [tensors[f"state.{k}"] for k in range(len(tensors))]
        except KeyError as error:
            raise ValueError(f"no tensor {error}") from None
        for one, other in zip(own, given, strict=True):
            if one.shape != other.shape or one.dtype != other.dtype:
                raise ValueError(f"{list(other.shape)} of {other.dtype} in place of the state's")
        return map_state(lambda leaf: leaf.to(own[0].device), rebuild(template, given))


class Remembered:
    """Replies remembered with the turns before them.

    Args:
        model: fitted to :func:`remembered_pairs`.
        context: turns that are compared, at most.
        lowercase: answer in small letters.
    """

    def __init__(self, model: Retrieval, context: int, *, lowercase: bool) -> None:
        self.model, self.context, self.lowercase = model, context, lowercase

    def begin(self) -> Turns:
        return ()

    def hear(self, memory: Turns, turns: Turns) -> Turns:
        return (*memory, *turns)[-self.context :]

    def answer(
        self, memory: Turns, speaker: str, manner: Manner, generator: Generator | None = None
    ) -> list[Reply]:
        if manner.draw is not None:
            raise ConfigError(
                "retrieval draws nothing: leave out --temperature, --top-k and --top-p"
            )
        found = self.model.answer(context_words(memory, speaker), manner.beam.n_best)
        return [Reply(" ".join(answer.tokens), answer.score) for answer in found]

    def answers(self, histories: Sequence[tuple[Turns, str]], manner: Manner) -> list[list[Reply]]:
        return [self.answer(self.hear((), turns), speaker, manner) for turns, speaker in histories]

    def along(self, dialogues: Sequence[Turns], cast: Cast, manner: Manner) -> Iterator[Said]:
        for number, turns in enumerate(dialogues):
            for place in cast.replies(turns):
                before = turns[max(0, place - self.context) : place]
                best = self.answer(before, turns[place].speaker, manner)
                yield number, place, best[0].text

    def nats(self, dialogues: Sequence[Turns], cast: Cast) -> None:
        """None: it has no probabilities."""
        return

    def tensors(self, memory: Turns) -> dict[str, Tensor]:
        return {}

    def turns(self, memory: Turns) -> Turns:
        return memory

    def restore(self, tensors: dict[str, Tensor], turns: Turns) -> Turns:
        if tensors:
            raise ValueError("tensors, of which retrieval has none")
        return turns[-self.context :]


def remembered_pairs(
    dialogues: Sequence[Turns], cast: Cast, context: int, *, lowercase: bool
) -> list[tuple[list[str], list[str]]]:
    """What retrieval learns: the words before each reply, and the reply's."""
    pairs = []
    for turns in dialogues:
        for place in cast.replies(turns):
            before = turns[max(0, place - context) : place]
            text = turns[place].text
            words = (text.lower() if lowercase else text).split()
            pairs.append((context_words(before, turns[place].speaker), words))
    return pairs


def context_words(turns: Turns, speaker: str) -> list[str]:
    """What is compared: words and marks in small letters, and who answers."""
    said = [word for turn in turns for word in _WORD.findall(turn.text.lower())]
    return [f"{speaker}:", *said]


class _Words:
    """A model that says no symbol but those of texts, and the end."""

    def __init__(self, model: DialogueModel | KneserNey, silent: Tensor) -> None:
        self._model, self._silent = model, silent
        self.start = model.start

    def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        log_probs, state = self._model.step(tokens, state)
        log_probs = log_probs.clone()
        log_probs[:, self._silent] = -torch.inf
        return log_probs, state


def _lengths(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    return np.array([len(row) for row in rows], dtype=np.int64)
