"""What tagged sentences are worth: the numbers of ``evaluate`` and of validations, for each column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unrolled.metrics.evaluation import Evaluation
from unrolled.metrics.tagging import measure_spans, measure_tags, span_scores

SAMPLES = 1000  # of the bootstrap


@dataclass(frozen=True)
class Answers:
    """Tagged sentences with the truth.

    Attributes:
        names: of the columns. spans: which columns' tags mark spans.
        truth, found: of each sentence the tags of each column.
        unknown: which words of each sentence the training part lacks; empty if that is not asked.
    """

    names: Sequence[str]
    spans: Sequence[bool]
    truth: Sequence[Sequence[Sequence[str]]]
    found: Sequence[Sequence[Sequence[str]]]
    unknown: Sequence[Sequence[bool]] = ()

    def columns(self) -> Iterator[tuple[str, bool, list[Sequence[str]], list[Sequence[str]]]]:
        """Of each column what its metrics' names begin with, if it has spans, truth and answers."""
        for index, (name, spans) in enumerate(zip(self.names, self.spans, strict=True)):
            prefix = "" if len(self.names) == 1 else f"{name}."
            truth, found = ([tags[index] for tags in part] for part in (self.truth, self.found))
            yield prefix, spans, truth, found


def metrics_of(answers: Answers) -> dict[str, float]:
    """The numbers of a validation; ``error`` is what the columns' first metrics lack of 1, in the mean."""
    metrics: dict[str, float] = {}
    errors = []
    for prefix, spans, truth, found in answers.columns():
        measured = (measure_spans if spans else measure_tags)(truth, found).metrics()
        metrics |= {prefix + name: value for name, value in measured.items()}
        errors.append(1 - measured["f1" if spans else "accuracy"])
    return {"error": sum(errors) / len(errors), **metrics}


def evaluation_of(model: str, split: str, answers: Answers) -> Evaluation:
    """All numbers with their intervals.

    ``unknown`` is the share of words that the training part lacks, ``f1:LABEL`` the F1 of one label's spans.
    """
    words = sum(len(columns[0]) for columns in answers.truth)
    unknown = sum(map(sum, answers.unknown))
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for prefix, spans, truth, found in answers.columns():
        marks = answers.unknown if unknown else None
        measures: list[Any] = [measure_tags(truth, found, unknown=marks)]
        if spans:
            measures.insert(0, measure_spans(truth, found))
        for measure in measures:
            values, bounds = measure.metrics(), measure.intervals(samples=SAMPLES)
            metrics |= {prefix + k: v for k, v in values.items() if prefix + k not in metrics}
            intervals |= {prefix + k: v for k, v in bounds.items() if prefix + k not in intervals}
        if spans:
            scores = span_scores(truth, found)
            metrics |= {f"{prefix}f1:{label}": score.f1 for label, score in scores.items()}
    return Evaluation(model, split, words, metrics | {"unknown": unknown / words}, intervals)
