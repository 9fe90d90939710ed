"""How well a classifier answers: from its outputs on examples whose answers are known."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.metrics.classification import (
    Confusion,
    calibration_error,
    measure_label_sets,
    measure_labels,
)
from unrolled.metrics.ranking import measure_ranking
from unrolled.metrics.regression import measure_numbers
from unrolled.metrics.thresholds import best_threshold
from unrolled.tasks.classification_data import Encoder
from unrolled.tasks.classification_examples import Example
from unrolled.tasks.classification_models import Chunks

_LOG = logging.getLogger("unrolled.tasks")


@dataclass(frozen=True)
class Outputs:
    """What a model says about N examples, no more of it than is needed.

    Attributes:
        best: [N]: the likeliest label, or the number. confidence: [N]: its probability.
        truth: [N]: the probability of the right label, 0 if training had none such.
        scores: [N, K] float32 of several labels; [N, 1] of two labels, the second's; otherwise [N, 0].
    """

    best: NDArray[Any]
    confidence: NDArray[np.float64]
    truth: NDArray[np.float64]
    scores: NDArray[np.float32]

    @classmethod
    def of(cls, chunks: Chunks, encoder: Encoder, examples: Sequence[Example]) -> Outputs:
        """Gathers the outputs of all examples."""
        count, labels = len(examples), len(encoder.labels)
        index = {name: number for number, name in enumerate(encoder.labels)}
        width = {"labels": labels, "label": int(labels == 2), "number": 0}[encoder.answer]
        best: NDArray[Any] = np.zeros(count, np.float64 if not labels else np.int64)
        confidence, truth = np.zeros(count), np.zeros(count)
        scores = np.zeros((count, width), np.float32)
        for rows, values in chunks:
            if encoder.answer == "number":
                best[rows] = values[:, 0]
                continue
            best[rows] = values.argmax(1)
            confidence[rows] = values.max(1)
            if encoder.answer == "labels":
                scores[rows] = values
                continue
            if width:
                scores[rows] = values[:, 1:]
            for row, probabilities in zip(rows.tolist(), values, strict=True):
                known = index.get(str(examples[row].answer))
                truth[row] = 0.0 if known is None else probabilities[known]
        return cls(best, confidence, truth, scores)


@dataclass(frozen=True)
class Score:
    """Metrics, their intervals, and the confusion table of one label."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    confusion: Confusion | None = None


def score(
    outputs: Outputs,
    encoder: Encoder,
    examples: Sequence[Example],
    thresholds: Sequence[float],
    *,
    intervals: bool = True,
) -> Score:
    """The metrics of outputs."""
    measures: list[Any]
    extra: dict[str, float] = {}
    confusion = None
    if encoder.answer == "number":
        measures = [measure_numbers(np.array([e.answer for e in examples], float), outputs.best)]
    elif encoder.answer == "labels":
        truth = label_sets(encoder, examples)
        given = outputs.scores >= np.asarray(thresholds)
        unseen = _unseen(encoder, examples)
        if unseen.any():  # one label more, never given: an error
            pairs = (truth, unseen), (given, np.zeros_like(unseen))
            measures = [measure_label_sets(*(np.concatenate(pair, 1) for pair in pairs))]
        else:
            measures = [measure_label_sets(truth, given)]
        if truth.any() and not truth.all():  # no intervals: an example's pairs are not independent
            extra |= measure_ranking(truth.ravel(), outputs.scores.ravel()).metrics()
    else:
        names = [encoder.labels[number] for number in outputs.best.tolist()]
        answers = [str(e.answer) for e in examples]
        measures = [measure_labels(answers, names)]
        confusion = Confusion.of(answers, names)
        right = np.array([a == n for a, n in zip(answers, names, strict=True)])
        extra["calibration_error"] = calibration_error(np.minimum(outputs.confidence, 1), right)
        second = np.array([answer == encoder.labels[-1] for answer in answers])
        if outputs.scores.shape[1] and second.any() and not second.all():
            measures.append(measure_ranking(second, outputs.scores[:, 0]))
    metrics: dict[str, float] = {}
    found: dict[str, tuple[float, float]] = {}
    for measure in measures:
        metrics |= measure.metrics()
        found |= measure.intervals() if intervals else {}
    return Score(metrics | extra, found, confusion)


def error(outputs: Outputs, encoder: Encoder, examples: Sequence[Example]) -> dict[str, float]:
    """What training looks at, lower is better, by the name ``error``: the share of wrong labels, 1 - the best
    micro F1 of several labels, or the squared error of a number in deviations of the training part.

    ``criterion`` is the same, but of equal shares of wrong labels that of fewer nats is the lower.
    """
    if encoder.target is not None:
        truth = np.array([e.answer for e in examples], float)
        found = float(np.mean(((outputs.best - truth) / encoder.target.scale[0]) ** 2))
        return {"error": found, "criterion": found}
    if encoder.answer == "labels":
        sets = label_sets(encoder, examples)
        best = best_threshold(sets.ravel(), outputs.scores.ravel()).f1 if sets.any() else 0.0
        return {"error": 1 - best, "criterion": 1 - best}
    index = {name: number for number, name in enumerate(encoder.labels)}
    ids = np.array([index.get(str(e.answer), -1) for e in examples])
    known = outputs.truth[ids >= 0]
    wrong = float(np.mean(outputs.best != ids))
    nats = float(-np.log(np.maximum(known, 1e-300)).mean()) if len(known) else 0.0
    return {"error": wrong, "nats": nats, "criterion": wrong + nats / (1 + nats) / (2 * len(ids))}


def label_sets(encoder: Encoder, examples: Sequence[Example]) -> NDArray[np.bool_]:
    """Which of the known labels the examples have, [N, K]."""
    index = {name: number for number, name in enumerate(encoder.labels)}
    found = np.zeros((len(examples), len(index)), bool)
    for row, example in enumerate(examples):
        assert isinstance(example.answer, tuple)
        found[row, [index[name] for name in example.answer if name in index]] = True
    return found


def unseen_labels(encoder: Encoder, examples: Sequence[Example]) -> int:
    """How many examples have a label that training never saw."""
    if encoder.answer == "number":
        return 0
    return int(_unseen(encoder, examples).sum())


def _unseen(encoder: Encoder, examples: Sequence[Example]) -> NDArray[np.bool_]:
    """Which examples have a label that training never saw, [N, 1]."""
    known = set(encoder.labels)
    sets = ({e.answer} if isinstance(e.answer, str) else set(e.answer) for e in examples)  # type: ignore[arg-type]
    return np.array([[not names <= known] for names in sets], bool)


def choose_thresholds(
    how: str, outputs: Outputs, encoder: Encoder, examples: Sequence[Example]
) -> list[float]:
    """From which probability on a label is given, chosen on the validation part (Lipton et al. 2014).

    Where the best is to give a label to every example, the model knows nothing about it; that is said.
    """
    count = len(encoder.labels)
    truth = label_sets(encoder, examples)
    if how == "half" or not truth.any():
        return [0.5]
    if how == "one":
        found = best_threshold(truth.ravel(), outputs.scores.ravel())
        if found.all_positive:
            _LOG.warning(
                "the best threshold gives every label to every example: the scores say nothing about "
                "the labels (an optimal F1 rewards that; Lipton et al. 2014)"
            )
        return [_below(outputs.scores, found.threshold)]
    chosen, all_positive = [], []
    for label in range(count):
        own = truth[:, label]
        if not own.any():
            chosen.append(0.5)
            continue
        best = best_threshold(own, outputs.scores[:, label])
        chosen.append(_below(outputs.scores[:, label], best.threshold))
        if best.all_positive and not own.all():
            all_positive.append(encoder.labels[label])
    if all_positive:
        _LOG.warning(
            "%d label(s) are given to every example, for instance %s: the scores say nothing about "
            "them, and an optimal F1 rewards that (Lipton et al. 2014)",
            len(all_positive),
            all_positive[0],
        )
    return chosen


def _below(scores: NDArray[np.float32], threshold: float) -> float:
    """Half way down to the next lower score: a last bit must not decide about a label."""
    lower = scores[scores < threshold]
    return float(threshold + (lower.max() if len(lower) else 0.0)) / 2
