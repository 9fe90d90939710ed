r"""How well the words of sentences were tagged, and the spans that tags such as ``B-PER I-PER O`` stand for.

A predicted span is right only if its label, its first and its last word are (*strict*); precision, recall
and F1 follow from the counts. Which tags begin and end a span is decided as by *conlleval* (Tjong Kim
Sang 2000, the scorer of the CoNLL shared tasks, with E and S as in its later versions), so that every
sequence of tags has spans, well formed or not: ``I-X`` after ``O`` or after another label begins one.
This reads BIO, IOB1 and BIOES; L and U of BILOU count as E and S.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unrolled.metrics.classification import Score
from unrolled.metrics.significance import Floats, Measure, divided, kinds

Sentences = Sequence[Sequence[str]]

_POSITIONS = {"B": "B", "I": "I", "E": "E", "S": "S", "O": "O", "L": "E", "U": "S"}


class Span(NamedTuple):
    """Words ``start`` to ``stop`` (not included), counted from 0, together have this label."""

    label: str
    start: int
    stop: int


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans of one sentence, in order.

    >>> spans(["B-PER", "I-PER", "O", "I-LOC"])
    [Span(label='PER', start=0, stop=2), Span(label='LOC', start=3, stop=4)]
    >>> [tuple(span) for span in spans(["B-PER", "I-LOC", "S-LOC"])]
    [('PER', 0, 1), ('LOC', 1, 2), ('LOC', 2, 3)]
    """
    found: list[Span] = []
    before, label_before, start = "O", "", -1
    for place, tag in enumerate((*tags, "O")):
        position, label = _parts(tag)
        other = label != label_before
        ends = before in "ES" or (before in "BI" and position in "BSO") or (before != "O" and other)
        begins = (
            position in "BS"
            or (before in "ESO" and position in "EI")
            or (position != "O" and other)
        )
        if start >= 0 and (ends or begins):
            found.append(Span(label_before, start, place))
            start = -1
        if begins:
            start = place
        before, label_before = position, label
    return found


def looks_like_spans(tags: Iterable[str]) -> bool:
    """Whether any tag begins or continues a span: ``B-…`` or ``I-…``.

    >>> looks_like_spans(["NOUN", "VERB"]), looks_like_spans(["O", "B-PER"])
    (False, True)
    """
    return any(len(tag) > 2 and tag[:2] in ("B-", "I-") for tag in tags)


def span_scores(truth: Sentences, predicted: Sentences) -> dict[str, Score]:
    """The counts of each label's spans; :func:`~unrolled.metrics.classification.micro` sums them up.

    Raises:
        ValueError: a sentence with unequal numbers of tags, or unequally many sentences.

    >>> span_scores([["B-PER", "O", "B-LOC"]], [["B-PER", "O", "B-PER"]])
    {'LOC': Score(correct=0, predicted=0, actual=1), 'PER': Score(correct=1, predicted=2, actual=1)}
    """
    _require_alike(truth, predicted)
    counts: dict[str, list[int]] = {}
    for true, guess in zip(truth, predicted, strict=True):
        actual, given = spans(true), spans(guess)
        for column, some in enumerate((set(actual) & set(given), given, actual)):
            for span in some:
                counts.setdefault(span.label, [0, 0, 0])[column] += 1
    return {label: Score(*counts[label]) for label in sorted(counts)}


def token_accuracy(truth: Sentences, predicted: Sentences) -> float:
    """The share of words whose tag is right.

    >>> token_accuracy([["D", "N"], ["V"]], [["D", "V"], ["V"]])
    0.6666666666666666
    """
    return measure_tags(truth, predicted).metrics()["accuracy"]


def sentence_accuracy(truth: Sentences, predicted: Sentences) -> float:
    """The share of sentences, of those with words, whose tags are all right.

    >>> sentence_accuracy([["D", "N"], ["V"]], [["D", "V"], ["V"]])
    0.5
    """
    return measure_tags(truth, predicted).metrics()["sentence_accuracy"]


def unknown_accuracy(
    truth: Sentences, predicted: Sentences, unknown: Sequence[Sequence[bool]]
) -> float:
    """The share of the words marked in ``unknown`` whose tag is right; not a number if none is marked.

    >>> unknown_accuracy([["D", "N"]], [["D", "V"]], [[False, True]])
    0.0
    """
    return measure_tags(truth, predicted, unknown=unknown).metrics()["unknown_accuracy"]


def measure_tags(
    truth: Sentences, *predicted: Sentences, unknown: Sequence[Sequence[bool]] | None = None
) -> Measure:
    """``accuracy`` of words and ``sentence_accuracy`` of one or more systems; draws are of sentences.

    Args:
        truth: the tags of each sentence. Sentences without words count nowhere.
        predicted: of each system, the same.
        unknown: which words were not seen in training; adds ``unknown_accuracy`` (not a number
            where there are none).

    Raises:
        ValueError: lengths that differ (names the sentence), or no words.

    >>> measure_tags([["D", "N"], ["V"]], [["D", "V"], ["V"]]).metrics()
    {'accuracy': 0.6666666666666666, 'sentence_accuracy': 0.5}
    """
    lengths = _lengths(truth, predicted)
    rows = []
    for guess in predicted:
        right = _right(truth, guess)
        rows.append(np.stack([right, lengths, right == lengths, lengths > 0], axis=1))
    names: tuple[str, ...] = ("accuracy", "sentence_accuracy")
    if unknown is not None:
        names += ("unknown_accuracy",)
        _require_alike(truth, unknown)
        marked = np.array([sum(marks) for marks in unknown], dtype=np.int64)
        for system, guess in enumerate(predicted):
            right = _right(truth, guess, unknown)
            rows[system] = np.concatenate([rows[system], right[:, None], marked[:, None]], axis=1)
    return _additive(names, rows, lengths)


def measure_spans(truth: Sentences, *predicted: Sentences) -> Measure:
    """``f1``, ``precision``, ``recall`` of spans and ``accuracy``, ``sentence_accuracy`` of tags.

    Draws are of sentences. Arguments and errors as of :func:`measure_tags`.

    >>> measure_spans([["B-PER", "O"], ["B-LOC"]], [["B-PER", "O"], ["O"]]).metrics()["recall"]
    0.5
    """
    lengths = _lengths(truth, predicted)
    actual = [spans(tags) for tags in truth]
    wanted = _sizes(actual)
    rows = []
    for guess in predicted:
        given = [spans(tags) for tags in guess]
        pairs = zip(actual, given, strict=True)
        correct = np.array([len(set(one) & set(two)) for one, two in pairs], dtype=np.int64)
        found, right = _sizes(given), _right(truth, guess)
        columns = [2 * correct, found + wanted, correct, found, correct, wanted]
        words = np.stack([right, lengths, right == lengths, lengths > 0], axis=1)
        rows.append(np.concatenate([np.stack(columns, axis=1), words], axis=1))
    names = ("f1", "precision", "recall", "accuracy", "sentence_accuracy")
    return _additive(names, rows, lengths)


def _additive(
    names: tuple[str, ...], rows: list[npt.NDArray[np.int64]], lengths: npt.NDArray[np.int64]
) -> Measure:
    """Each score a quotient of summed columns ``[N, 2M]``: numerator, denominator, numerator, …"""
    alike, counts = kinds(np.concatenate(rows, axis=1)[lengths > 0])
    sums = alike.astype(np.float64)

    def of(weights: Floats) -> Floats:
        total = (weights @ sums).reshape(len(weights), len(rows), len(names), 2)
        values = divided(total[..., 0], total[..., 1])
        if "unknown_accuracy" in names:  # no unknown word: no score, rather than 0
            values[..., -1][total[..., -1, 1] == 0] = math.nan
        return values

    return Measure(names, counts, of)


def _parts(tag: str) -> tuple[str, str]:
    """Position and label: ``B-PER`` is ``("B", "PER")``; a hyphenated tag of no scheme counts as I."""
    first, hyphen, label = tag.partition("-")
    return _POSITIONS.get(first, "I" if hyphen else "O"), label


def _lengths(truth: Sentences, predicted: Sequence[Sentences]) -> npt.NDArray[np.int64]:
    """The numbers of words, after a check that all systems have as many."""
    for guess in predicted:
        _require_alike(truth, guess)
    lengths = _sizes(truth)
    if not lengths.sum():
        raise ValueError("no words; expected at least one sentence with a word")
    return lengths


def _require_alike(truth: Sentences, other: Sequence[Sequence[str | bool]]) -> None:
    if len(truth) != len(other):
        raise ValueError(f"{len(truth)} and {len(other)} sentences; expected equally many")
    for index, (one, two) in enumerate(zip(truth, other, strict=True)):
        if len(one) != len(two):
            raise ValueError(f"sentence {index}: {len(one)} and {len(two)} words; expected as many")


def _right(
    truth: Sentences, guess: Sentences, marked: Sequence[Sequence[bool]] | None = None
) -> npt.NDArray[np.int64]:
    """How many words of each sentence are right, of all or of those marked."""
    if marked is None:
        pairs = zip(truth, guess, strict=True)
        return np.array([sum(map(str.__eq__, *pair)) for pair in pairs], dtype=np.int64)
    triples = zip(truth, guess, marked, strict=True)
    return np.array(
        [sum(a == b for a, b, mark in zip(*each, strict=True) if mark) for each in triples],
        dtype=np.int64,
    )


def _sizes(some: Sequence[Sequence[object]]) -> npt.NDArray[np.int64]:
    return np.array([len(each) for each in some], dtype=np.int64)
