"""A trained model of dialogue, from a run directory: measured on replies, answering lines, conversing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from unrolled.baselines.ngram import KneserNey
from unrolled.baselines.retrieval import Retrieval
from unrolled.data.dialogues import Turn, dialogue_of
from unrolled.data.segment import Segmenter
from unrolled.decoding.beam import BeamOptions
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.metrics.evaluation import Evaluation
from unrolled.tasks import parts
from unrolled.tasks.dialogue_data import Cast, Coder, Turns, from_json, read_examples
from unrolled.tasks.dialogue_models import (
    BEAM,
    DialogueModel,
    Manner,
    Remembered,
    Reply,
    Speaking,
    Talker,
)
from unrolled.tasks.dialogue_scores import likelihood, likeness
from unrolled.tasks.dialogue_session import Conversation
from unrolled.tasks.lines import Lines
from unrolled.training.snapshot import load_tensors

TASK = "dialogue"
LONGEST = 1_000_000  # symbols of a reply, beside the limit that the run has
VOCABULARY = "vocabulary.json"
History = tuple[Turns, str]  # what was said, and who answers


class TrainedDialogue:
    """A trained model of dialogue, from a run directory.

    Args:
        run: the run directory.

    Raises:
        RunError: if it is no run of this task, damaged, or of a newer format.
    """

    def __init__(self, run: str | PathLike[str]) -> None:
        self.path = Path(run)
        self.description, tensors = parts.open_model(self.path, TASK)
        self.cast = Cast.from_json(self.description["cast"])
        self.lowercase: bool = self.description["lowercase"]
        self.model = self._build(tensors)

    def _build(self, tensors: dict[str, torch.Tensor]) -> Talker:
        kind = self.description["kind"]
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        if kind == "retrieval":
            made = Retrieval.from_arrays(arrays)
            return Remembered(made, self.description["context"], lowercase=self.lowercase)
        if kind not in ("recurrent", "ngram"):
            raise RunError(f"{self.path}: no model {kind!r} of {TASK} is known; update unrolled")
        coder = Coder(Segmenter.load(self.path / VOCABULARY), self.cast.speakers)
        longest = self.description["longest"]
        if kind == "ngram":
            return Speaking(KneserNey.from_arrays(arrays), coder, longest)
        network = DialogueModel(**self.description["sizes"])
        with torch.no_grad():
            load_tensors(network, tensors, self.path / "model.safetensors")
        return Speaking(network.eval(), coder, longest)

    def evaluate(
        self, data: str | PathLike[str] | None = None, *, split: str = "test"
    ) -> Evaluation:
        """How likely the true replies are, and how like them the model's, each given the true past.

        Args:
            data: dialogues; None for the part that training held out under the name ``split``.
            split: ``"test"`` or ``"valid"``.

        Raises:
            DataError: what is wrong in the file, or that there is no reply in it.
        """
        read = read_examples(Path(data)) if data is not None else parts.held_out(self.path, split)
        dialogues = [self.cast.named(from_json(example)) for example in read]
        replying = [turns for turns in dialogues if self.cast.replies(turns)]
        if not replying:
            who = f" of {self.cast.speaker}" if self.cast.speaker else ""
            raise DataError(
                f"no reply{who}: expected a turn{who} after another's",
                path=data or self.path / f"{split}.jsonl",
            )
        metrics: dict[str, float] = {}
        intervals: dict[str, tuple[float, float]] = {}
        if (nats := self.model.nats(replying, self.cast)) is not None:
            metrics, intervals = likelihood(nats)
        said = list(self.model.along(replying, self.cast, Manner()))
        texts = [self._cased(replying[number][place].text) for number, place, _ in said]
        found = likeness([each[0] for each in said], texts, [each[2] for each in said])
        kind = str(self.description["kind"])
        metrics, intervals = metrics | found[0], intervals | found[1]
        return Evaluation(kind, split, len(said), metrics, intervals, self._note(dialogues))

    def _cased(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def _note(self, dialogues: Sequence[Turns]) -> str:
        """What is to be said of speakers that have no symbol."""
        known = set(self.cast.speakers)
        turns = [turn for each in dialogues for turn in each if turn.speaker not in known]
        if not turns:
            return ""
        names = len({turn.speaker for turn in turns})
        return f"{len(turns)} turns are of {names} speaker(s) not seen in training: read as unknown"

    def predict(
        self,
        lines: Iterable[str],
        *,
        probabilities: bool = False,
        n_best: int = 0,
        batch_size: int = 1,
        beam_size: int = 0,
    ) -> Iterator[str]:
        """A reply to each line; see :class:`unrolled.tasks.parts.Trained`.

        A plain line is one turn. An object is a dialogue up to now, ``{"turns": […]}``, perhaps with who
        is to answer as its ``speaker``, or one turn with its ``text``; it gains ``reply``, ``log_prob`` where
        the model has one, and ``n_best``.

        Args:
            beam_size: replies that are followed together; 0 takes the usual, or ``n_best`` if that is more.
        """
        if probabilities:
            raise ConfigError("--probabilities: replies have none for each word; use --n-best 1")
        manner = self.manner(beam_size=beam_size, n_best=n_best)
        rows = Lines[History, list[Reply]](
            text=lambda line: self.cast.history((Turn("", line),)),
            record=self._of_object,
            answer=lambda asked: self.model.answers(asked, manner),
            plain=lambda best: best[0].text,
            fields=partial(self._gained, n_best=n_best),
        )
        return rows.run(lines, objects=n_best > 0, batch_size=batch_size)

    def manner(
        self, *, beam_size: int = 0, n_best: int = 0, draw: dict[str, Any] | None = None
    ) -> Manner:
        """How replies are chosen.

        Args:
            beam_size: 0 takes the usual.
            n_best: replies asked for.
            draw: to draw them, temperature, top_k and top_p of :func:`unrolled.decoding.sample.sample`.

        Raises:
            ConfigError: the model has no such way.
        """
        speaking = isinstance(self.model, Speaking)
        if not speaking and (beam_size or draw is not None):
            flag = "--beam-size" if beam_size else "--temperature, --top-k, --top-p"
            raise ConfigError(f"{flag}: retrieval neither searches nor draws; leave it out")
        options = BeamOptions(size=beam_size or max(BEAM, n_best), max_length=LONGEST)
        return Manner(replace(options, n_best=max(1, n_best)), draw)

    def _of_object(self, given: Mapping[str, Any]) -> History:
        whole = "turns" in given
        turns = dialogue_of(given if whole else {"turns": [given]})
        speaker = given.get("speaker", "") if whole else ""
        if not isinstance(speaker, str):
            raise ValueError(f"the speaker who is to answer is {speaker!r:.40}; expected a name")
        return self.cast.history(turns, speaker)

    def _gained(self, asked: History, best: list[Reply], *, n_best: int) -> dict[str, Any]:
        gained: dict[str, Any] = {"reply": best[0].text}
        if best[0].log_probability is not None:
            gained["log_prob"] = best[0].log_probability
        if n_best:
            gained["n_best"] = [
                {"reply": b.text, "score": b.score, "log_prob": b.log_probability} for b in best
            ]
        return gained

    def conversation(self, *, speaker: str = "", seed: int = 0) -> Conversation:
        """A conversation with the model.

        Args:
            speaker: the model's part; the usual one when empty.
            seed: of the replies that are drawn.

        Raises:
            ConfigError: nobody in training was called so.
        """
        model = parts.digest(self.path / "model.safetensors")
        return Conversation(self.model, self.cast, model=model, speaker=speaker, seed=seed)
