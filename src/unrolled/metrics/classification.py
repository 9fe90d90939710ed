r"""How well labels were predicted.

Of a label, so many examples have it (actual), were given it (predicted), or both (correct). Precision is
correct/predicted, recall correct/actual, and :math:`F_1 = 2 \cdot correct / (predicted + actual)`, their
harmonic mean (van Rijsbergen 1979); each is 0 where it is 0/0. *Macro* scores are means over labels,
each counting the same; *micro* scores are of the summed counts, which with one label for each example is
the accuracy. Macro F1 is the mean of the F1s, not the F1 of mean precision and mean recall (Opitz &
Burst 2019 show how far the two part).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unrolled.metrics.significance import Floats, Measure, divided, kinds

Label = str | int
Ints = npt.NDArray[np.int64]

_SHOWN, _WIDTH = 10, 12  # labels and characters of a label in a printed table


@dataclass(frozen=True)
class Score:
    """The counts of a label (or of a span, or of several together), and what follows from them.

    Attributes:
        correct: how many were rightly predicted.
        predicted: how many were predicted.
        actual: how many there are.

    >>> score = Score(3, 4, 6)
    >>> score.precision, score.recall, score.f1
    (0.75, 0.5, 0.6)
    """

    correct: int
    predicted: int
    actual: int

    def __add__(self, other: Score) -> Score:
        return Score(
            self.correct + other.correct,
            self.predicted + other.predicted,
            self.actual + other.actual,
        )

    @property
    def precision(self) -> float:
        """The share of the predicted that is right."""
        return self.correct / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of what there is that was found."""
        return self.correct / self.actual if self.actual else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        both = self.predicted + self.actual
        return 2 * self.correct / both if both else 0.0


def micro(scores: Iterable[Score]) -> Score:
    """The sum of the counts.

    >>> micro([Score(1, 1, 1), Score(0, 2, 1)])
    Score(correct=1, predicted=3, actual=2)
    """
    return sum(scores, start=Score(0, 0, 0))


def macro(scores: Iterable[Score]) -> dict[str, float]:
    """The means over labels of ``precision``, ``recall`` and ``f1``; each 0 without labels."""
    values = [(score.precision, score.recall, score.f1) for score in scores]
    means = np.mean(values, axis=0).tolist() if values else [0.0, 0.0, 0.0]
    return dict(zip(("precision", "recall", "f1"), means, strict=True))


def accuracy(truth: Sequence[Label], predicted: Sequence[Label]) -> float:
    """The share of examples whose label is right.

    Raises:
        ValueError: unequal lengths, or no examples.

    >>> accuracy(["a", "b"], ["a", "a"])
    0.5
    """
    _, (true, guess) = _codes(truth, predicted)
    return float((true == guess).mean())


@dataclass(frozen=True)
class Confusion:
    """How often each label was taken for each. Only pairs that occur are held, so labels may be many.

    ``print`` it for a table: rows are the truth; of more than ten labels the commonest are shown.

    Attributes:
        labels: the K labels of truth and prediction, sorted.
        cells: ``[P, 2]`` indices of (true, predicted) label for each pair that occurs.
        counts: ``[P]`` how often it occurs.

    >>> print(Confusion.of(["a", "a", "b"], ["a", "b", "b"]))
    truth \\ predicted  a  b
                    a  1  1
                    b  0  1
    """

    labels: tuple[Label, ...]
    cells: Ints
    counts: Ints

    @classmethod
    def of(cls, truth: Sequence[Label], predicted: Sequence[Label]) -> Confusion:
        """Count the pairs of two equally long sequences of labels (strings, or integers)."""
        labels, codes = _codes(truth, predicted)
        cells, counts = kinds(codes.T)
        return cls(labels, cells.astype(np.int64), counts)

    def scores(self) -> dict[Label, Score]:
        """The counts of each label."""
        K = len(self.labels)
        hit = self.cells[:, 0] == self.cells[:, 1]
        sums = (
            _sums(self.cells[hit, 0], self.counts[hit], K),
            _sums(self.cells[:, 1], self.counts, K),
            _sums(self.cells[:, 0], self.counts, K),
        )
        rows = np.stack(sums, axis=1).astype(int).tolist()
        return {label: Score(*row) for label, row in zip(self.labels, rows, strict=True)}

    def __str__(self) -> str:
        shown, table = self._largest()
        names = [_name(self.labels[index]) for index in shown]
        if len(shown) < len(self.labels):
            names.append("others")
        corner = "truth \\ predicted"
        width = max(len(corner), *map(len, names))
        numbers = [[str(value) for value in row] for row in table.tolist()]
        columns = zip(names, *numbers, strict=True)
        widths = [max(map(len, column)) for column in columns]
        rows = [(corner, names), *zip(names, numbers, strict=True)]
        return "\n".join(
            f"{name:>{width}}"
            + "".join(f"  {cell:>{wide}}" for cell, wide in zip(cells, widths, strict=True))
            for name, cells in rows
        )

    def _largest(self) -> tuple[list[int], Ints]:
        """The indices of the commonest labels, in order, and the table of them (and of the others)."""
        K = len(self.labels)
        both = _sums(self.cells.reshape(-1), np.repeat(self.counts, 2), K)
        shown = sorted(np.argsort(-both, kind="stable")[:_SHOWN].tolist())
        place = np.full(K, len(shown))
        place[shown] = np.arange(len(shown))
        size = len(shown) + (len(shown) < K)
        table = np.zeros((size, size), dtype=np.int64)
        np.add.at(table, (place[self.cells[:, 0]], place[self.cells[:, 1]]), self.counts)
        return shown, table


def measure_labels(truth: Sequence[Label], *predicted: Sequence[Label]) -> Measure:
    """``accuracy`` and ``macro_f1`` of one or more systems that give each example one label.

    A label counts in macro F1 where it occurs, in truth or prediction (as in scikit-learn).

    Raises:
        ValueError: unequal lengths, or no examples.

    >>> measure_labels(["a", "a", "b"], ["a", "b", "b"]).metrics()
    {'accuracy': 0.6666666666666666, 'macro_f1': 0.6666666666666666}
    """
    labels, codes = _codes(truth, *predicted)
    rows, counts = kinds(codes.T)
    K, kind = len(labels), np.arange(len(rows))
    true = rows[:, 0].astype(np.int64)
    nowhere = np.zeros(K, dtype=np.bool_)
    systems: list[tuple[Floats, MacroF1]] = []
    for column in rows[:, 1:].T.astype(np.int64):
        hit = true == column
        f1 = MacroF1((kind[hit], true[hit]), (kind, column), (kind, true), always=nowhere)
        systems.append((hit.astype(np.float64), f1))

    def of(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        pairs = [np.stack([weights @ hit / total, f1(weights)], axis=1) for hit, f1 in systems]
        return np.stack(pairs, axis=1)

    return Measure(("accuracy", "macro_f1"), counts, of)


def measure_label_sets(truth: npt.ArrayLike, *predicted: npt.ArrayLike) -> Measure:
    """``micro_f1``, ``macro_f1`` and ``exact_match`` where an example may have several labels.

    Args:
        truth: ``[N, K]`` whether each example has each label.
        predicted: of each system, ``[N, K]``.

    Labels without any example count 0 in macro F1, as in scikit-learn; those that only a draw of the
    bootstrap lacks are left out of that draw.

    Raises:
        ValueError: unequal shapes, or no examples.

    >>> measure_label_sets([[1, 0], [1, 1]], [[1, 0], [0, 1]]).metrics()
    {'micro_f1': 0.8, 'macro_f1': 0.8333333333333333, 'exact_match': 0.5}
    """
    true, guesses = _sets(truth, predicted)
    systems: list[tuple[Floats, Floats, MacroF1]] = []
    for guess in guesses:
        correct = true & guess
        exact = (true == guess).all(axis=1)
        above = np.stack([2.0 * correct.sum(axis=1), exact], axis=1)
        below = np.stack([guess.sum(axis=1) + true.sum(axis=1), np.ones(len(true))], axis=1)
        absent = ~np.logical_or(true, guess).any(axis=0)
        pairs = (correct.nonzero(), guess.nonzero(), true.nonzero())
        systems.append((above, below, MacroF1(*pairs, always=np.asarray(absent))))

    def of(weights: Floats) -> Floats:
        scores = []
        for above, below, f1 in systems:
            shares = divided(weights @ above, weights @ below)
            scores.append(np.stack([shares[:, 0], f1(weights), shares[:, 1]], axis=1))
        return np.stack(scores, axis=1)

    counts = np.ones(len(true), dtype=np.int64)
    return Measure(("micro_f1", "macro_f1", "exact_match"), counts, of)


def label_set_scores(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> list[Score]:
    """The counts of each of the K labels where an example may have several; arguments ``[N, K]``.

    >>> label_set_scores([[1, 0], [1, 1]], [[1, 0], [0, 1]])[0]
    Score(correct=1, predicted=1, actual=2)
    """
    true, (guess,) = _sets(truth, (predicted,))
    sums = ((true & guess).sum(axis=0), guess.sum(axis=0), true.sum(axis=0))
    return [Score(*row) for row in np.stack(sums, axis=1).tolist()]


@dataclass(frozen=True)
class MacroF1:
    """The statistic macro F1 from lists of (example, label) pairs, for weights of the examples.

    Attributes:
        correct: examples and labels of the correct predictions.
        predicted: of all predictions.
        actual: of the truth.
        always: ``[K]`` labels that count even where a draw has none of them.
    """

    correct: tuple[Ints, ...]
    predicted: tuple[Ints, ...]
    actual: tuple[Ints, ...]
    always: npt.NDArray[np.bool_]

    def __call__(self, weights: Floats) -> Floats:
        """``[S, P]`` weights to ``[S]``."""
        K = len(self.always)
        values = np.empty(len(weights))
        for index, row in enumerate(weights):
            correct, predicted, actual = (
                _sums(labels, row[examples], K)
                for examples, labels in (self.correct, self.predicted, self.actual)
            )
            both = predicted + actual
            counted = int(((both > 0) | self.always).sum())
            values[index] = divided(2 * correct, both).sum() / max(1, counted)
        return values


def calibration_error(
    probabilities: npt.ArrayLike, truth: npt.ArrayLike, *, bins: int = 15
) -> float:
    """The expected calibration error (Guo, Pleiss, Sun & Weinberger 2017, eq. 3).

    Predictions are put into bins of equal width by their confidence; the error is the mean over
    predictions of the distance, in their bin, of the share that is right from the mean confidence.

    Args:
        probabilities: ``[N, K]``, each row a distribution; or ``[N]``, the probabilities of an event.
        truth: ``[N]`` the index of the right label; or whether the event came.
        bins: the number of bins; the value depends on it.

    Raises:
        ValueError: shapes that do not fit, no examples, or probabilities outside [0, 1].

    >>> round(calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1]), 6)
    0.4
    """
    given, true = np.asarray(probabilities, dtype=np.float64), np.asarray(truth)
    if given.ndim not in (1, 2) or true.shape != given.shape[:1] or not given.size or bins < 1:
        raise ValueError(
            f"probabilities {given.shape}, truth {true.shape}, bins={bins}; "
            "expected [N, K] or [N], [N], and at least one bin"
        )
    if not ((given >= 0) & (given <= 1 + 1e-6)).all():
        raise ValueError("probabilities must be within [0, 1]")
    confidence = given.max(axis=1) if given.ndim == 2 else given
    right = given.argmax(axis=1) == true if given.ndim == 2 else true.astype(bool)
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    surplus = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(surplus).sum() / len(true))


def _codes(*sequences: Sequence[Label]) -> tuple[tuple[Label, ...], Ints]:
    """The sorted labels, and each sequence as their indices ``[systems + 1, N]``."""
    lists = [list(np.asarray(s).tolist() if isinstance(s, np.ndarray) else s) for s in sequences]
    sizes = [len(labels) for labels in lists]
    if len(set(sizes)) > 1 or not sizes[0]:
        raise ValueError(f"{sizes} labels; expected equally many, at least one")
    labels = tuple(sorted(set(itertools.chain(*lists)), key=lambda x: (isinstance(x, str), x)))
    index = {label: code for code, label in enumerate(labels)}
    return labels, np.array([[index[label] for label in each] for each in lists], dtype=np.int64)


def _sets(
    truth: npt.ArrayLike, predicted: Sequence[npt.ArrayLike]
) -> tuple[npt.NDArray[np.bool_], list[npt.NDArray[np.bool_]]]:
    true = np.asarray(truth).astype(np.bool_)
    guesses = [np.asarray(guess).astype(np.bool_) for guess in predicted]
    for guess in guesses:
        if guess.shape != true.shape or true.ndim != 2 or not len(true):
            raise ValueError(
                f"shapes {true.shape} and {guess.shape}; expected [N, K], N at least 1"
            )
    return true, guesses


def _sums(places: Ints, amounts: npt.NDArray[np.generic], size: int) -> Floats:
    """The sum of the amounts at each of ``size`` places."""
    # NumPy ignores the weights' type where there is nothing to sum.
    return np.bincount(places, amounts.astype(np.float64), minlength=size).astype(np.float64)


def _name(label: Label) -> str:
    """A label as a table shows it: printable, and not too long."""
    text = str(label)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
