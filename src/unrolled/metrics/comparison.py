"""Two systems on the same examples: both scores, what they differ by, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from unrolled.metrics.classification import measure_labels
from unrolled.metrics.evaluation import json_line
from unrolled.metrics.regression import measure_numbers
from unrolled.metrics.significance import (
    McNemar,
    Measure,
    Paired,
    mcnemar,
    paired,
    percentiles,
    resampled,
)
from unrolled.metrics.tagging import measure_spans, measure_tags
from unrolled.metrics.text import Name, TextScores

Kind = Literal["labels", "tags", "spans", "numbers", "text"]
Rows = Sequence[Sequence[str]]

LOWER_IS_BETTER = frozenset({"mse", "mae", "ter", "wer"})
HUNDREDTHS = frozenset({"bleu", "meteor", "chrf", "ter"})
"""Scores of 0 to 100, shown to two decimals; others to four."""

SIGNIFICANT = 0.05
_FEW = 10  # examples below which draws tell nothing


@dataclass(frozen=True)
class Comparison:
    """What two systems, A and B, differ by.

    Attributes:
        kind: what was compared.
        examples: how many examples there are: lines, or sentences with words.
        metrics: the scores of A and of B, the chief one first.
        intervals: their 95 % intervals.
        differences: of each score, A's minus B's, by the paired bootstrap.
        mcnemar: McNemar's test of the labels, or of the single tags (which it takes for independent of
            each other, so that it may find too much); None for numbers and texts.
        same: whether A and B gave the same answers.
        randomised: of texts, each score's p value by approximate randomisation.
        notes: what could not be scored, and why.
    """

    kind: Kind
    examples: int
    metrics: tuple[dict[str, float], dict[str, float]]
    intervals: tuple[dict[str, tuple[float, float]], dict[str, tuple[float, float]]]
    differences: dict[str, Paired]
    mcnemar: McNemar | None
    same: bool
    randomised: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def conclusion(self) -> str:
        """What the chief score says, in one line.

        A difference counts if the paired bootstrap's p value is below 0.05 and so is McNemar's for labels,
        that of approximate randomisation for texts.
        """
        name = next(iter(self.differences))
        found = self.differences[name]
        a, b = (written(name, metrics[name]) for metrics in self.metrics)
        if self.same:
            return f"A and B gave the same answers: {name} {a}."
        p = f"p {shown(found.p_value)}"
        doubtful = found.p_value
        if self.kind == "labels" and self.mcnemar is not None:
            p += f", McNemar's p {shown(self.mcnemar.exact)}"
            doubtful = max(doubtful, self.mcnemar.exact)
        if name in self.randomised:
            p += f", by randomisation {shown(self.randomised[name]).removeprefix('= ')}"
            doubtful = max(doubtful, self.randomised[name])
        scores = f"{name} {a} (A) and {b} (B), {p}"
        if self.examples < _FEW:
            return f"Too few examples ({self.examples}) to tell: {scores}."
        if not doubtful < SIGNIFICANT:
            low, high = (written(name, end, sign="+") for end in (found.low, found.high))
            return f"No difference is shown: {scores}; A − B is likely within [{low}, {high}]."
        better = "A" if (found.difference > 0) != (name in LOWER_IS_BETTER) else "B"
        return f"{better} is better: {scores}."

    def to_json(self) -> str:
        """One line of JSON; numbers that are not finite become null."""
        content = {
            "kind": self.kind,
            "examples": self.examples,
            "metrics": dict(zip("ab", self.metrics, strict=True)),
            "intervals": dict(zip("ab", self.intervals, strict=True)),
            "differences": {
                name: {
                    "difference": found.difference,
                    "interval": [found.low, found.high],
                    "p_value": found.p_value,
                    **({"p_randomised": self.randomised[name]} if self.randomised else {}),
                }
                for name, found in self.differences.items()
            },
            "mcnemar": None if self.mcnemar is None else asdict(self.mcnemar),
            "same": self.same,
            "conclusion": self.conclusion(),
            **({"notes": list(self.notes)} if self.kind == "text" else {}),
        }
        return json_line(content)


def compare(
    kind: Kind,
    truth: Rows,
    a: Rows,
    b: Rows,
    *,
    samples: int = 2000,
    seed: int = 0,
    metrics: Sequence[Name] | None = None,
    language: str = "english",
) -> Comparison:
    """Compare two systems by the scores that suit what they put out.

    Args:
        kind: ``labels`` (accuracy, macro F1), ``tags`` (accuracy of words and sentences), ``spans``
            (strict F1, precision, recall, and the accuracies), ``numbers`` (squared and absolute
            error, R²), ``text`` (those of :class:`~unrolled.metrics.text.TextScores`).
        truth: the tags of each example, its one label or number, or the references of each text.
        a: what the first system put out, equally long everywhere; one text each.
        b: what the second did.
        samples: draws of the bootstrap, and swaps of approximate randomisation.
        seed: of the draws.
        metrics: of texts, which scores; all that the installed packages allow when absent.
        language: of texts, that of METEOR's stems.

    Raises:
        ConfigError: a score of texts whose package is missing, or a language without stems.
        ValueError: unequal lengths, or nothing to compare.

    >>> found = compare("labels", [["a"], ["b"]] * 50, [["a"], ["b"]] * 50, [["a"], ["a"]] * 50)
    >>> found.conclusion()
    "A is better: accuracy 1.0000 (A) and 0.5000 (B), p = 0.001, McNemar's p < 0.001."
    """
    texts = _texts(truth, a, b, metrics, language) if kind == "text" else None
    measure = texts.measure() if texts else _measure(kind, truth, a, b)
    drawn = resampled(measure.of, measure.counts, samples=samples, seed=seed)
    scores = (measure.metrics(0), measure.metrics(1))
    differences = {
        name: paired(scores[0][name] - scores[1][name], drawn[:, 0, m] - drawn[:, 1, m])
        for m, name in enumerate(measure.names)
    }
    ends = [[percentiles(column) for column in drawn[:, system].T] for system in (0, 1)]
    intervals = tuple(dict(zip(measure.names, each, strict=True)) for each in ends)
    test = None
    if kind not in ("numbers", "text"):
        right = [
            [
                one == two
                for row, other in zip(truth, given, strict=True)
                for one, two in zip(row, other, strict=True)
            ]
            for given in (a, b)
        ]
        test = mcnemar(*right)
    same = all(list(one) == list(two) for one, two in zip(a, b, strict=True))
    return Comparison(
        kind=kind,
        examples=measure.examples,
        metrics=scores,
        intervals=(intervals[0], intervals[1]),
        differences=differences,
        mcnemar=test,
        same=same,
        randomised=texts.summed.randomised(samples=samples, seed=seed) if texts else {},
        notes=texts.notes if texts else (),
    )


def written(name: str, value: float, *, sign: str = "") -> str:
    """A score to as many decimals as are usual for it.

    >>> written("bleu", 23.1712), written("accuracy", 0.5, sign="+")
    ('23.17', '+0.5000')
    """
    return f"{value:{sign}.{2 if name in HUNDREDTHS else 4}f}"


def shown(p_value: float) -> str:
    """A p value to three digits, with its relation.

    >>> shown(0.04), shown(0.0001)
    ('= 0.040', '< 0.001')
    """
    return f"= {p_value:.3f}" if p_value >= 0.0005 else "< 0.001"


def _measure(kind: Kind, truth: Rows, a: Rows, b: Rows) -> Measure:
    if kind == "tags":
        return measure_tags(truth, a, b)
    if kind == "spans":
        return measure_spans(truth, a, b)
    single = [[row[0] for row in rows] for rows in (truth, a, b)]
    if kind == "labels":
        return measure_labels(*single)
    return measure_numbers(*(np.array(column, dtype=np.float64) for column in single))


def _texts(
    truth: Rows, a: Rows, b: Rows, metrics: Sequence[Name] | None, language: str
) -> TextScores:
    """The scores of texts; an example with fewer references than others has None for the rest."""
    most = max(map(len, truth), default=0)
    references = [[row[k] if k < len(row) else None for row in truth] for k in range(most)]
    systems = ([row[0] for row in rows] for rows in (a, b))
    return TextScores.of(references, *systems, metrics=metrics, language=language)
