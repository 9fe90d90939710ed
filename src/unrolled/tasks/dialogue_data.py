"""Dialogues in numbers: who speaks, the symbols of a turn, and batches.

A dialogue is one sequence of symbols: a start, then each turn as the symbol of its speaker, its text and
an end::

    <s> USER is it open ? </s> SYSTEM until nine . </s> USER …
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.batch import LanguageBatch
from unrolled.data.dialogues import Turn, read_dialogues
from unrolled.data.segment import END, START, UNKNOWN, Segmenter
from unrolled.errors import ConfigError, DataError

Ids = NDArray[np.int64]
Flags = NDArray[np.bool_]
Turns = tuple[Turn, ...]

NAMELESS = ("A", "B")  # who speaks in turn in files that name nobody
_LISTED = 8  # speakers named in a message


def read_examples(path: Path) -> Iterator[dict[str, Any]]:
    """The dialogues of a file, for a part's file.

    Raises:
        DataError: see :func:`unrolled.data.dialogues.read_dialogues`; a dialogue of which some turns have
            a speaker and some have none.
    """
    for dialogue in read_dialogues(path):
        try:
            check_named(dialogue.turns)
        except ValueError as error:
            raise DataError(str(error), path=path, line=dialogue.line) from None
        yield to_json(dialogue.turns)


def check_named(turns: Sequence[Turn]) -> None:
    """Refuses a dialogue of which some turns have a speaker and some have none.

    Raises:
        ValueError: it is one.
    """
    missing = [number for number, turn in enumerate(turns, start=1) if not turn.speaker]
    if missing and len(missing) < len(turns):
        raise ValueError(
            f"turn {missing[0]} has no speaker and others of the dialogue have one; name all or none"
        )


def to_json(turns: Sequence[Turn]) -> dict[str, Any]:
    """For a part's file, which can be read as data again."""
    return {"turns": [{"speaker": turn.speaker, "text": turn.text} for turn in turns]}


def from_json(example: Mapping[str, Any]) -> Turns:
    """The inverse."""
    return tuple(Turn(turn["speaker"], turn["text"]) for turn in example["turns"])


@dataclass(frozen=True)
class Cast:
    """Who takes part.

    Attributes:
        speakers: all of the training part, in order of appearance.
        speaker: who answers by the options; empty where every speaker's replies count.
        answers: who answers where nothing says who; of a dialogue without names the second speaker.
        asks: who is taken to speak to ``answers``.

    >>> turns = tuple(Turn(name, "…") for name in ("USER", "SYSTEM", "USER"))
    >>> Cast.fit([turns]).answers
    'SYSTEM'
    """

    speakers: tuple[str, ...]
    speaker: str
    answers: str
    asks: str

    @classmethod
    def fit(cls, dialogues: Sequence[Turns], speaker: str = "") -> Cast:
        """Of the training part.

        Raises:
            ConfigError: nobody there is called ``speaker``.
        """
        named = [alternate(turns, NAMELESS) for turns in dialogues]
        found = dict.fromkeys(turn.speaker for turns in named for turn in turns)
        if any(not turns[0].speaker for turns in dialogues):
            found |= dict.fromkeys(NAMELESS)
        speakers = tuple(found)
        if speaker and speaker not in found:
            raise ConfigError(f"--data.speaker {unknown(speaker, speakers)}")
        seconds = Counter(turns[1].speaker for turns in named if len(turns) > 1)
        usual = seconds.most_common(1)[0][0] if seconds else speakers[-1]
        answers = speaker or usual
        return cls(speakers, speaker, answers, _before(answers, named, speakers))

    def to_json(self) -> dict[str, Any]:
        """For a run's description."""
        return {**vars(self), "speakers": list(self.speakers)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Cast:
        """The inverse."""
        names = (given["speaker"], given["answers"], given["asks"])
        return cls(tuple(given["speakers"]), *names)

    def named(self, turns: Turns) -> Turns:
        """The turns, where they have no speakers with ``asks`` and ``answers`` in turn."""
        return alternate(turns, (self.asks, self.answers))

    def known(self, speaker: str, what: str) -> str:
        """A speaker who is known.

        Raises:
            ConfigError: nobody in training was called so; ``what`` says where the name stands.
        """
        if speaker not in self.speakers:
            raise ConfigError(f"{what} {unknown(speaker, self.speakers)}")
        return speaker

    def following(self, turns: Turns) -> str:
        """Who answers: the speaker of the options, or else who last spoke before the last speaker."""
        if self.speaker or not turns:
            return self.answers
        last = turns[-1].speaker
        before = (turn.speaker for turn in reversed(turns) if turn.speaker != last)
        usual = self.asks if last == self.answers else self.answers
        return next(before, usual)

    def history(self, turns: Turns, speaker: str = "") -> tuple[Turns, str]:
        """What was said up to now, every turn with a speaker, and who is to answer.

        Raises:
            ConfigError: a speaker is not known.
        """
        if turns and not turns[0].speaker:
            pair = (self.asks, self.answers)
            if (speaker or self.speaker) and len(turns) % 2 == 0:  # the last one speaks to them
                pair = (self.answers, self.asks)
            turns = alternate(turns, pair)
        for number, turn in enumerate(turns, start=1):
            self.known(turn.speaker, f"turn {number} is of")
        return turns, self.known(speaker, "speaker") if speaker else self.following(turns)

    def replies(self, turns: Turns) -> list[int]:
        """Which turns are replies: those of who answers that have a turn before them."""
        places = range(1, len(turns))
        return [k for k in places if not self.speaker or turns[k].speaker == self.speaker]


def alternate(turns: Turns, pair: tuple[str, str]) -> Turns:
    """Turns without speakers with these two, in turn; others as they are."""
    if not turns or turns[0].speaker:
        return turns
    return tuple(Turn(pair[k % 2], turn.text) for k, turn in enumerate(turns))


def unknown(speaker: str, speakers: Sequence[str]) -> str:
    """What is said of a speaker who is not known."""
    near = get_close_matches(speaker, speakers, 1, 0.6)
    known = ", ".join(speakers[:_LISTED]) + (", …" if len(speakers) > _LISTED else "")
    hint = f"; {near[0]} is meant?" if near else ""
    return f"{speaker!r:.60}: nobody in training is called so; known are {known}{hint}"


def _before(answers: str, dialogues: Iterable[Turns], speakers: Sequence[str]) -> str:
    """Who most often speaks just before ``answers``; else the first of the others."""
    found: Counter[str] = Counter()
    for turns in dialogues:
        for one, two in pairwise(turns):
            if two.speaker == answers and one.speaker != answers:
                found[one.speaker] += 1
    if found:
        return found.most_common(1)[0][0]
    return next((speaker for speaker in speakers if speaker != answers), answers)


@dataclass(frozen=True)
class Coder:
    """Turns to numbers and back: the text's symbols, then a symbol for each speaker.

    Attributes:
        segmenter: what cuts texts.
        speakers: those who have a symbol; any other is ``<unk>``.
    """

    segmenter: Segmenter
    speakers: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.segmenter) + len(self.speakers)

    def speaker(self, name: str) -> int:
        """The symbol that begins a speaker's turn."""
        return self._numbers.get(name, UNKNOWN)

    def turn(self, turn: Turn) -> list[int]:
        """The symbols of a turn, from its speaker to its end."""
        return [self.speaker(turn.speaker), *self.segmenter.encode(turn.text), END]

    def text(self, ids: Iterable[int]) -> str:
        """The text of a turn's symbols, on one line."""
        return " ".join(self.segmenter.decode(ids).splitlines())

    @property
    def silent(self) -> Tensor:
        """The symbols that no text has: unknown, start and the speakers."""
        return torch.tensor([UNKNOWN, START, *range(len(self.segmenter), len(self))])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        first = len(self.segmenter)
        return {name: number for number, name in enumerate(self.speakers, start=first)}

    def encode(
        self,
        dialogues: Sequence[Turns],
        counts: Callable[[int, Turn], bool],
        *,
        longest: int = 0,
    ) -> Encoded:
        """Dialogues in numbers.

        Args:
            dialogues: every turn with a speaker.
            counts: from a turn's place in its dialogue and the turn, whether its symbols are counted.
            longest: pieces of at most so many symbols instead of dialogues, where turns allow; those
                without a counted symbol are left out. 0: dialogues.
        """
        found = Encoded([], [])
        for turns in dialogues:
            ids, flags = [START], [False]
            for place, turn in enumerate(turns):
                made = self.turn(turn)
                if longest and len(ids) > 1 and len(ids) + len(made) > longest:
                    found.add(ids, flags, always=False)
                    ids, flags = [START], [False]
                ids += made
                flags += [False, *[counts(place, turn)] * (len(made) - 1)]
            found.add(ids, flags, always=not longest)
        return found


@dataclass(frozen=True)
class DialogueBatch(LanguageBatch):
    """Dialogues side by side.

    Attributes:
        counted: ``[B, T]``, boolean: which targets the loss counts; of padding none.
    """

    counted: Tensor

    def to(self, device: torch.device | str) -> DialogueBatch:
        """The same batch on that device."""
        return DialogueBatch(
            self.tokens.to(device), self.targets.to(device), self.fresh, self.counted.to(device)
        )


@dataclass(frozen=True)
class Encoded:
    """Dialogues in numbers ``[N]`` each, and which of these are counted when they are predicted."""

    rows: list[Ids]
    counted: list[Flags]

    def add(self, ids: list[int], flags: list[bool], *, always: bool) -> None:
        """One more; unless ``always``, only if something of it is counted."""
        if always or any(flags):
            self.rows.append(np.array(ids, dtype=np.int64))
            self.counted.append(np.array(flags, dtype=np.bool_))

    @property
    def lengths(self) -> Ids:
        """Steps of each."""
        return np.array([len(row) - 1 for row in self.rows], dtype=np.int64)

    def batch(self, chosen: Ids) -> DialogueBatch:
        """These dialogues."""
        numbers = chosen.tolist()
        steps = int(self.lengths[chosen].max())
        ids = np.full((len(numbers), steps + 1), END)
        counted = np.zeros((len(numbers), steps + 1), dtype=np.bool_)
        for place, number in enumerate(numbers):
            ids[place, : len(self.rows[number])] = self.rows[number]
            counted[place, : len(self.rows[number])] = self.counted[number]
        block = torch.from_numpy(ids)
        return DialogueBatch(
            block[:, :-1], block[:, 1:], fresh=True, counted=torch.from_numpy(counted[:, 1:])
        )
