"""A trained translator, from a run directory: measured on pairs, scoring targets, and answering lines."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from unrolled.data.pairs import PairFields
from unrolled.data.segment import END, START, Segmenter
from unrolled.decoding.lattice import Lattice
from unrolled.decoding.lattice_rescoring import RescoredPath, RescoringOptions, Spell, rescore
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.metrics.evaluation import Evaluation
from unrolled.metrics.meteor import language_named
from unrolled.metrics.significance import Measure, bootstrap, ratio
from unrolled.metrics.text import Name, TextScores
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks import parts
from unrolled.tasks.lines import Lines
from unrolled.tasks.search import USUAL, Search
from unrolled.tasks.translation_data import TARGET, Encoder, Example, read_examples
from unrolled.tasks.translation_models import (
    COUNTED,
    Counted,
    Network,
    Networks,
    Translation,
    Translator,
)
from unrolled.training.snapshot import load_tensors

NOTHING = Translation("", 0.0)  # the answer to a text without words
READ = 512  # pairs that are scored before the first is answered


def _metrics() -> tuple[Name, ...]:
    """BLEU and whole outputs, and where the extra text is installed METEOR and chrF."""
    there = all(find_spec(name) for name in ("sacrebleu", "snowballstemmer"))
    return ("bleu", "meteor", "chrf", "exact") if there else ("bleu", "exact")


class TrainedTranslator:
    """A trained translator with its vocabularies, from a run directory.

    Another task of pairs overrides what it does otherwise.

    Args:
        run: the run directory.

    Raises:
        RunError: if it is no run of this task, damaged, or of a newer format.

    Attributes:
        TASK: the task's name.
        ANSWER: the field of an object that the best answer is in.
        CANDIDATE: the field of each of several answers that its text is in.
    """

    TASK: ClassVar[str] = "translation"
    ANSWER: ClassVar[str] = "translation"
    CANDIDATE: ClassVar[str] = "translation"

    def __init__(self, run: str | PathLike[str]) -> None:
        self.path = Path(run)
        self.description, tensors = parts.open_model(self.path, self.TASK)
        names = self.description["fields"]
        self.fields = PairFields(names["source"], tuple(names["target"]), names["header"])
        kind = self.description["kind"]
        self.model: Translator
        if kind == "recurrent":
            encoder = Encoder.load(self.path, reverse=self.description["reverse"])
            network = Seq2Seq(**self.description["sizes"])
            with torch.no_grad():
                load_tensors(network, tensors, self.path / "model.safetensors")
            self.model = Network(network.eval(), encoder, self.description.get("longest", 0))
        elif kind in COUNTED:
            made = COUNTED[kind].from_arrays({n: t.numpy() for n, t in tensors.items()})
            self.model = self.counted(made, self.description)
        else:
            raise RunError(
                f"{self.path}: no model {kind!r} of {self.TASK} is known; update unrolled"
            )

    @classmethod
    def counted(cls, model: Any, description: Mapping[str, Any]) -> Counted:
        """A model that counts, with the symbols that it reads and says: words between white space."""
        small = bool(description["lowercase"])

        def words(text: str) -> list[str]:
            return (text.lower() if small else text).split()

        return Counted(model, source=words, target=words)

    @classmethod
    def nats_of(
        cls, model: Translator, examples: Sequence[Example]
    ) -> list[tuple[float, int]] | None:
        """The summed nats of each pair's target and its symbols; None: the model has no probability."""
        return model.nats(examples)

    def evaluate(
        self,
        data: str | PathLike[str] | None = None,
        *,
        split: str = "test",
        search: Search | None = None,
        language: str | None = None,
    ) -> Evaluation:
        """BLEU and its kin of the likeliest outputs (a beam of 5), and nats of the true ones.

        Args:
            data: pairs with fields or endings as those of training; None for the part that training held
                out under the name ``split``.
            split: ``"test"`` or ``"valid"``.
            search: how outputs are found; the report says it.
            language: of the targets, whose stems METEOR compares: a name or a code of two letters. None
                for that of the targets' ending or field (``de``), else English, which the report says.

        Raises:
            ConfigError: no stems of that language, or a task whose scores have no language.
        """
        stems = self._language(language)
        search = self._checked(search or USUAL)
        if data is not None:
            place = Path(data)
            examples = list(self._read(place))
            if not examples:
                raise DataError("the file holds no pair; expected at least one", path=place)
        else:
            examples = [Example.from_json(e) for e in parts.held_out(self.path, split)]
        outputs = [
            best[0].text for best in self.model.translate([e.source for e in examples], search)
        ]
        measure, notes = self._measured(examples, outputs, stems)
        found, intervals = measure.metrics(), dict(measure.intervals())
        if (nats := self.nats_of(self.model, examples)) is not None:
            sums, counts = (np.array(each, dtype=np.float64) for each in zip(*nats, strict=True))
            found["nats"] = float(sums.sum() / counts.sum())
            intervals["nats"] = bootstrap(ratio(sums, counts), len(sums))
        kind = str(self.description["kind"])
        said = str(search) if isinstance(self.model, Network) else ""
        told = "\n".join(notes)
        return Evaluation(kind, split, len(examples), found, intervals, told, search=said)

    def _read(self, path: Path) -> Iterator[Example]:
        """The pairs of a file."""
        return read_examples(path, self.fields)

    def _language(self, given: str | None) -> str | None:
        """The language of METEOR's stems: that given, or that of the targets' name; None if it is none."""
        language = language_named(given or self.fields.target[0])
        if given and language is None:
            raise ConfigError(f"--language {given}: no such stems; expected a code, such as de")
        return language

    def _measured(
        self, examples: Sequence[Example], outputs: Sequence[str], language: str | None
    ) -> tuple[Measure, Sequence[str]]:
        """The scores of outputs, and what there is to say about them."""
        small = self.description["lowercase"]
        lists = columns(
            [[r.lower() if small else r for r in example.references] for example in examples]
        )
        metrics, stems = _metrics(), language or "english"
        scores = TextScores.of(lists, outputs, metrics=metrics, language=stems)
        notes = list(scores.notes)
        if language is None and "meteor" in metrics:
            name = self.fields.target[0]
            notes.append(f"meteor has English stems: {name!r} is no language; --language names one")
        return scores.measure(), notes

    def predict(
        self,
        lines: Iterable[str],
        *,
        probabilities: bool = False,
        n_best: int = 0,
        batch_size: int = 1,
        beam_size: int = 0,
        search: Search | None = None,
    ) -> Iterator[str]:
        """A translation for each line; see :class:`unrolled.tasks.parts.Trained`.

        Objects, which hold a text under the source's name or ``source``, gain ``translation``,
        ``log_prob`` where the model has one, and ``n_best``. A line without text has an
        empty answer, and an empty list of the best.

        Args:
            n_best: so many, the best first; of samples so many, as they were drawn.
            beam_size: short for ``search=Search(beam_size=…)``; 0 is off.
            search: how outputs are found. The samples of a line depend on the seed and on how many lines
                with text are before it, not on ``batch_size``.
        """
        search = search or USUAL
        if beam_size:
            search = replace(search, beam_size=beam_size)
        search = self._checked(search, n_best)
        rows = Lines[str, list[Translation]](
            text=lambda line: line,
            record=self._of_object,
            answer=partial(self._answers, search, max(1, n_best), itertools.count()),
            plain=lambda best: best[0].text,
            fields=partial(self._gained, n_best=n_best),
        )
        return rows.run(lines, objects=probabilities or n_best > 0, batch_size=batch_size)

    def _of_object(self, given: Mapping[str, Any]) -> str:
        name = self.fields.source if self.fields.source in given else "source"
        text = given.get(name)
        if not isinstance(text, str):
            wanted = " or ".join(dict.fromkeys([self.fields.source, "source"]))
            raise ValueError(
                f"no text in the field {wanted}; there are {', '.join(map(str, given)) or 'none'}"
            )
        return text

    def _checked(self, search: Search, n_best: int = 0) -> Search:
        """ConfigError if the model cannot search like that."""
        if isinstance(self.model, Network):
            if not search.sample:
                search.beam(max(1, n_best))
        elif given := search.given():
            kind = self.description["kind"]
            raise ConfigError(f"{', '.join(given)}: {kind} has no such search; leave it out")
        return search

    def _answers(
        self, search: Search, n_best: int, numbers: Iterator[int], texts: Sequence[str]
    ) -> list[list[Translation]]:
        asked = [text for text in texts if text.strip()]
        named = [next(numbers) for _ in asked]
        found = iter(
            self.model.translate(asked, search, n_best=n_best, numbers=named) if asked else ()
        )
        return [next(found) if text.strip() else [NOTHING] for text in texts]

    def _gained(self, text: str, best: list[Translation], *, n_best: int) -> dict[str, Any]:
        gained: dict[str, Any] = {self.ANSWER: best[0].text}
        if best[0].log_probability is not None:
            gained["log_prob"] = best[0].log_probability
        if n_best:
            gained["n_best"] = [
                {self.CANDIDATE: b.text, "score": b.score, "log_prob": b.log_probability}
                for b in best
                if b is not NOTHING
            ]
        return gained

    def score(self, pairs: Iterable[tuple[str | None, str]]) -> Iterator[float]:
        """ln p(target | source) of each pair (source, target).

        Raises:
            ConfigError: the model has no probabilities, or a source is missing.
        """
        if self.model.nats([]) is None:
            kind = self.description["kind"]
            raise ConfigError(f"{kind} has no probability of a target; score with another model")
        return self._scored(iter(pairs))

    def _scored(self, pairs: Iterator[tuple[str | None, str]]) -> Iterator[float]:
        while group := list(itertools.islice(pairs, READ)):
            examples = []
            for source, target in group:
                if source is None:
                    raise ConfigError("a translation is scored with its source; give both")
                examples.append(Example(source, (target,)))
            yield from (-each for each, _ in self.model.nats(examples) or ())

    def rescore(
        self, lattice: Lattice, options: RescoringOptions | None = None, *, source: str
    ) -> list[RescoredPath]:
        """The best word sequences of a lattice as targets of a source (Auli et al. 2013).

        See :mod:`unrolled.decoding.lattice_rescoring`.

        Raises:
            ConfigError: the model has no probabilities.
        """
        if not isinstance(self.model, Network):
            kind = self.description["kind"]
            raise ConfigError(f"{kind} has no probability of a target; rescore with another model")
        model, spell = self.model.told(source), spelling(self.model.encoder.target)
        return rescore(lattice, model, spell=spell, start=START, end=END, options=options)

    def ensemble(self, others: Sequence[Any]) -> Self:
        """This translator and others as one: in each step the average of their distributions.

        Args:
            others: trained translators with the same symbols of targets; those of sources may differ.

        Raises:
            ConfigError: one cannot be averaged with this one.
        """
        members: list[Network] = []
        for each in (self, *others):
            task, model = each.description["task"], each.model
            if task != self.description["task"] or not isinstance(model, Network):
                raise ConfigError(
                    f"{each.path}: a model {each.description['kind']} of {task} is not averaged with "
                    f"others; expected networks of {self.description['task']}"
                )
            if members and model.encoder.target != members[0].encoder.target:
                raise ConfigError(
                    f"{each.path / TARGET} differs from {self.path / TARGET}: the models of an ensemble "
                    "need one vocabulary of their targets; train them on the same data"
                )
            members.append(model)
        whole = copy.copy(self)
        whole.model = Networks(members)
        kind = self.description["kind"]
        whole.description = {**self.description, "kind": f"{kind}, {len(members)} runs"}
        return whole


def columns(rows: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """The references of each example as lists with one for every example; None where it has fewer.

    >>> columns([["a", "b"], ["c"]])
    [['a', 'c'], ['b', None]]
    """
    return [list(column) for column in itertools.zip_longest(*rows)]


def spelling(segmenter: Segmenter) -> Spell:
    """The symbols of a lattice's words, as the texts of training were cut.

    >>> spell = spelling(Segmenter.fit(["be"], kind="characters"))
    >>> spell("be", True), spell("be", False)
    ([3, 4], [0, 3, 4])
    """

    def spell(word: str, first: bool) -> list[int]:
        joined = segmenter.kind == "characters" and not first
        return segmenter.encode(f" {word}" if joined else word)

    return spell
