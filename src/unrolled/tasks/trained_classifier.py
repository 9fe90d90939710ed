"""A trained classifier, from a run directory: measured on examples, and answering lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.data.records import Record
from unrolled.errors import ConfigError, DataError
from unrolled.metrics.evaluation import Evaluation
from unrolled.tasks import parts
from unrolled.tasks.classification_data import Encoder
from unrolled.tasks.classification_examples import (
    Example,
    Fields,
    held_examples,
    matrix,
    read_input,
    read_raw,
    understood,
)
from unrolled.tasks.classification_models import Predictor, restored
from unrolled.tasks.classification_scores import Outputs, score, unseen_labels
from unrolled.tasks.lines import Lines

TASK = "classification"
_LOG = logging.getLogger("unrolled.tasks")


class TrainedClassifier:
    """A trained classifier with its vocabulary and labels, from a run directory.

    Args:
        run: the run directory.

    Raises:
        RunError: if it is no run of this task, damaged, or of a newer format.
    """

    def __init__(self, run: str | PathLike[str]) -> None:
        self.path = Path(run)
        self.description, tensors = parts.open_model(self.path, TASK)
        self.encoder = Encoder.load(self.path, self.description)
        self.model: Predictor = restored(self.description, tensors, self.encoder, self.path)
        self.fields = Fields.from_json(self.description["fields"])
        self.thresholds: list[float] = self.description.get("thresholds", [0.5])

    def evaluate(
        self, data: str | PathLike[str] | None = None, *, split: str = "test"
    ) -> Evaluation:
        """Accuracy and F1, or the errors of a number, with 95 % bootstrap intervals.

        Args:
            data: a file with fields as those of the training file; None for the part that training held
                out under the name ``split``.
            split: ``"test"`` or ``"valid"``.

        Labels that training never saw count as errors.
        """
        if data is not None:
            place: Path = Path(data)
            raws = read_raw(place, self.fields)
            examples = list(understood(raws, self.fields, place))
            if not examples:
                raise DataError("the file holds no example; expected at least one", path=place)
        else:
            place = self.path / f"{split}.jsonl"
            examples = held_examples(parts.held_out(self.path, split))
        if unseen := unseen_labels(self.encoder, examples):
            _LOG.warning(
                "%s: %d of %d examples have a label that training never saw; they count as errors",
                place,
                unseen,
                len(examples),
            )
        outputs = Outputs.of(self.model.outputs(examples, place), self.encoder, examples)
        found = score(outputs, self.encoder, examples, self.thresholds)
        name = self.description["kind"]
        details = "" if found.confusion is None else str(found.confusion)
        return Evaluation(name, split, len(examples), found.metrics, found.intervals, details)

    def predict(
        self,
        lines: Iterable[str],
        *,
        probabilities: bool = False,
        n_best: int = 0,
        batch_size: int = 1,
    ) -> Iterator[str]:
        """The label, the labels with commas between, or the number, for each line.

        Objects gain ``label`` (a string, a list of strings, or a number), ``probabilities`` and ``n_best``.
        See :class:`unrolled.tasks.parts.Trained`.
        """
        if self.encoder.answer == "number" and (probabilities or n_best):
            flag = "--probabilities" if probabilities else "--n-best"
            raise ConfigError(f"{flag}: this model predicts a number, without any; leave it out")
        rows = Lines[Example, Any](
            text=self._of_line,
            record=self._of_object,
            answer=self._answers,
            plain=self._plain,
            fields=partial(self._gained, probabilities=probabilities, n_best=n_best),
        )
        return rows.run(lines, objects=probabilities or n_best > 0, batch_size=batch_size)

    def _of_line(self, line: str) -> Example:
        if self.encoder.level != "vectors":
            return Example(line, None, 1)
        try:
            given = json.loads(line)
        except ValueError:
            given = None
        return Example(matrix(given, "<input>", 1), None, 1)

    def _of_object(self, given: Mapping[str, Any]) -> Example:
        names = self.fields.text
        if not names or any(name not in given for name in names):
            names = ("vectors" if self.encoder.level == "vectors" else "text",)
        if names[0] not in given:
            wanted = " or ".join(dict.fromkeys([*self.fields.text, *names]))
            raise ValueError(f"no field {wanted}; there are {', '.join(map(str, given)) or 'none'}")
        fields = Fields(self.encoder.level, names, ())
        return Example(read_input(Record(dict(given), 1), fields, "<input>"), None, 1)

    def _answers(self, examples: Sequence[Example]) -> list[Any]:
        found: list[Any] = [None] * len(examples)
        for rows, values in self.model.outputs(list(examples)):
            for row, value in zip(rows.tolist(), values, strict=True):
                found[row] = value
        return found

    def label(self, values: Any) -> Any:
        """The answer for a model's outputs on one example: a label, a list of labels, or a number."""
        if self.encoder.answer == "number":
            return float(values[0])
        if self.encoder.answer == "label":
            return self.encoder.labels[int(values.argmax())]
        chosen = np.flatnonzero(values >= np.asarray(self.thresholds))
        return [self.encoder.labels[number] for number in chosen.tolist()]

    def _plain(self, values: Any) -> str:
        found = self.label(values)
        if isinstance(found, float):
            return f"{found:.6g}"
        return ",".join(found) if isinstance(found, list) else str(found)

    def _gained(
        self, example: Example, values: Any, *, probabilities: bool, n_best: int
    ) -> dict[str, Any]:
        gained: dict[str, Any] = {"label": self.label(values)}
        shown = [round(float(value), 6) for value in values] if probabilities or n_best else []
        if probabilities:
            gained["probabilities"] = dict(zip(self.encoder.labels, shown, strict=True))
        if n_best:
            best = np.argsort(-values, kind="stable")[:n_best].tolist()
            gained["n_best"] = [
                {"label": self.encoder.labels[n], "probability": shown[n]} for n in best
            ]
        return gained
