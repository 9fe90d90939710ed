"""A trained translator, from a run directory: measured on pairs, scoring targets, and answering lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrolled.data.pairs import PairFields
from unrolled.decoding.beam import BeamOptions
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.metrics.evaluation import Evaluation
from unrolled.metrics.significance import bootstrap, ratio
from unrolled.metrics.text import Name, TextScores
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks import parts
from unrolled.tasks.lines import Lines
from unrolled.tasks.translation_data import Encoder, Example, read_examples
from unrolled.tasks.translation_models import (
    COUNTED,
    Counted,
    Network,
    Translation,
    Translator,
    searching,
)
from unrolled.training.snapshot import load_tensors

TASK = "translation"


def _metrics() -> tuple[Name, ...]:
    """BLEU and whole outputs, and where the extra text is installed METEOR and chrF."""
    there = all(find_spec(name) for name in ("sacrebleu", "snowballstemmer"))
    return ("bleu", "meteor", "chrf", "exact") if there else ("bleu", "exact")


class TrainedTranslator:
    """A trained translator with its vocabularies, from a run directory.

    Args:
        run: the run directory.

    Raises:
        RunError: if it is no run of this task, damaged, or of a newer format.
    """

    def __init__(self, run: str | PathLike[str]) -> None:
        self.path = Path(run)
        self.description, tensors = parts.open_model(self.path, TASK)
        names = self.description["fields"]
        self.fields = PairFields(names["source"], tuple(names["target"]), names["header"])
        kind = self.description["kind"]
        self.model: Translator
        if kind == "recurrent":
            encoder = Encoder.load(self.path, reverse=self.description["reverse"])
            network = Seq2Seq(**self.description["sizes"])
            with torch.no_grad():
                load_tensors(network, tensors, self.path / "model.safetensors")
            self.model = Network(network.eval(), encoder)
        elif kind in COUNTED:
            made = COUNTED[kind].from_arrays({n: t.numpy() for n, t in tensors.items()})
            self.model = Counted(made, lowercase=self.description["lowercase"])
        else:
            raise RunError(f"{self.path}: no model {kind!r} of {TASK} is known; update unrolled")

    def evaluate(
        self, data: str | PathLike[str] | None = None, *, split: str = "test"
    ) -> Evaluation:
        """BLEU and its kin of the likeliest outputs (a beam of 5), and nats of the true ones.

        Args:
            data: pairs with fields or endings as those of training; None for the part that training held
                out under the name ``split``.
            split: ``"test"`` or ``"valid"``.
        """
        if data is not None:
            place = Path(data)
            examples = list(read_examples(place, self.fields))
            if not examples:
                raise DataError("the file holds no pair; expected at least one", path=place)
        else:
            examples = [Example.from_json(e) for e in parts.held_out(self.path, split)]
        outputs = [
            best[0].text
            for best in self.model.translate([e.source for e in examples], searching(0, 1))
        ]
        most = max(len(example.references) for example in examples)
        references: list[list[Any]] = [
            [self._cased(e.references[k]) if k < len(e.references) else None for e in examples]
            for k in range(most)
        ]
        scores = TextScores.of(references, outputs, metrics=_metrics())
        measure = scores.measure()
        found, intervals = measure.metrics(), dict(measure.intervals())
        if (nats := self.model.nats(examples)) is not None:
            sums, counts = (np.array(each, dtype=np.float64) for each in zip(*nats, strict=True))
            found["nats"] = float(sums.sum() / counts.sum())
            intervals["nats"] = bootstrap(ratio(sums, counts), len(sums))
        kind = str(self.description["kind"])
        return Evaluation(kind, split, len(examples), found, intervals, "\n".join(scores.notes))

    def _cased(self, text: str) -> str:
        return text.lower() if self.description["lowercase"] else text

    def predict(
        self,
        lines: Iterable[str],
        *,
        probabilities: bool = False,
        n_best: int = 0,
        batch_size: int = 1,
        beam_size: int = 0,
    ) -> Iterator[str]:
        """A translation for each line; see :class:`unrolled.tasks.parts.Trained`.

        Objects, which hold a text under the source's name or ``source``, gain ``translation``,
        ``log_prob`` where the model has one, and ``n_best``. A line without text has an empty answer.

        Args:
            beam_size: outputs that are followed together; 0 takes 5, or ``n_best`` if that is more.
        """
        if beam_size and not isinstance(self.model, Network):
            kind = self.description["kind"]
            raise ConfigError(f"--beam-size: {kind} has no beam of that kind; leave it out")
        options = searching(beam_size, n_best)
        rows = Lines[str, list[Translation]](
            text=lambda line: line,
            record=self._of_object,
            answer=partial(self._answers, options),
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

    def _answers(self, options: BeamOptions, texts: Sequence[str]) -> list[list[Translation]]:
        asked = [text for text in texts if text.strip()]
        found = iter(self.model.translate(asked, options) if asked else ())
        return [next(found) if text.strip() else [Translation("", 0.0)] for text in texts]

    def _gained(self, text: str, best: list[Translation], *, n_best: int) -> dict[str, Any]:
        gained: dict[str, Any] = {"translation": best[0].text}
        if best[0].log_probability is not None:
            gained["log_prob"] = best[0].log_probability
        if n_best:
            gained["n_best"] = [
                {"translation": b.text, "score": b.score, "log_prob": b.log_probability}
                for b in best
            ]
        return gained

    def score(self, pairs: Iterable[tuple[str | None, str]]) -> Iterator[float]:
        """ln p(target | source) of each pair (source, target).

        Raises:
            ConfigError: the model has no probabilities, or a source is missing.
        """
        examples = []
        for source, target in pairs:
            if source is None:
                raise ConfigError("a translation is scored with its source; give both")
            examples.append(Example(source, (target,)))
        nats = self.model.nats(examples) if examples else []
        if nats is None:
            kind = self.description["kind"]
            raise ConfigError(f"{kind} has no probability of a target; score with another model")
        return iter([-each for each, _ in nats])
