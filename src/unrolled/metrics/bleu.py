r"""BLEU (Papineni, Roukos, Ward & Zhu 2002, "BLEU: a method for automatic evaluation of machine
translation").

With :math:`p_n` the share of the output's n-grams that are in a reference (each counted at most as often
as in the reference that has it most often), ``q`` the length of all outputs and ``r`` that of the references
closest in length,

.. math::
   \mathrm{BP} = \begin{cases} 1 & q > r \\ e^{1 - r/q} & q \le r \end{cases} \qquad
   \mathrm{BLEU} = \mathrm{BP} \cdot \exp \sum_{n=1}^{N} \tfrac{1}{N} \log p_n

:math:`\mathrm{BP}` is 1 at q = r from both sides, 1/e at half the length, and 0 for an empty output.
All counts are sums over sentences, so a corpus is a row of ``2 + 2N`` sums, and a thousand resampled
corpora are a matrix of them. Where an order has no match, :math:`\log 0` makes the score 0; *smoothing*
(Chen & Cherry 2014, "A systematic comparison of smoothing techniques for sentence-level BLEU", methods
1–3) gives such an order a small precision instead. Every number here equals sacrebleu's (Post 2018, "A call
for clarity in reporting BLEU scores") without its tokenisation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from unrolled.metrics.segments import References, Segments, Text, tokens
from unrolled.metrics.significance import Floats

Smoothing = Literal["none", "floor", "add-k", "exp"]

_DEFAULT_VALUES = {"none": 0.0, "floor": 0.1, "add-k": 1.0, "exp": 0.0}


@dataclass(frozen=True)
class Bleu:
    """A BLEU score and its parts.

    Attributes:
        score: 0 to 100.
        precisions: of each order 1 to N, in percent, smoothed.
        brevity_penalty: 0 to 1.
        hypothesis_length: tokens of all outputs, q.
        reference_length: tokens of the references closest in length, r.
        matches: n-grams that are in a reference, of each order.
        totals: n-grams of the outputs, of each order.
    """

    score: float
    precisions: tuple[float, ...]
    brevity_penalty: float
    hypothesis_length: int
    reference_length: int
    matches: tuple[int, ...]
    totals: tuple[int, ...]

    def __str__(self) -> str:
        precisions = "/".join(f"{each:.1f}" for each in self.precisions)
        lengths = f"{self.hypothesis_length} of {self.reference_length} tokens"
        return f"BLEU = {self.score:.2f}, {precisions} (BP = {self.brevity_penalty:.3f}, {lengths})"


def bleu(
    hypotheses: Sequence[Text],
    references: References,
    *,
    order: int = 4,
    smoothing: Smoothing = "exp",
    value: float | None = None,
    effective_order: bool = False,
) -> Bleu:
    """BLEU of a corpus.

    Args:
        hypotheses: N sentences: strings with white space between tokens, or lists of tokens. Nothing is
            tokenised or lower-cased here.
        references: one or more lists of N sentences; None where a sentence has fewer references.
        order: N of the formula, the longest n-grams counted.
        smoothing: what becomes of an order without a match: ``none``, the formula as it stands (the
            score is 0); ``floor``, as if it had ``value`` of a match; ``add-k``, each order from 2
            has ``value`` more of matches and of n-grams; ``exp``, half, a quarter, … of a match.
        value: of ``floor`` (default 0.1) and ``add-k`` (default 1).
        effective_order: count only orders for which the outputs are long enough, as single sentences want.

    Raises:
        ValueError: nothing to score, lists of unequal lengths, or an option out of range.

    >>> print(bleu(["the cat sat on the mat"], [["the cat sat on a mat"]]))
    BLEU = 53.73, 83.3/60.0/50.0/33.3 (BP = 1.000, 6 of 6 tokens)
    """
    sums = bleu_counts(hypotheses, references, order=order).sum(axis=0)
    return _of(sums, smoothing, value, effective_order)


def sentence_bleu(
    hypothesis: Text,
    references: Sequence[Text],
    *,
    order: int = 4,
    smoothing: Smoothing = "exp",
    value: float | None = None,
    effective_order: bool = True,
) -> Bleu:
    """BLEU of one sentence, of all whose references are given; options as of :func:`bleu`.

    >>> sentence_bleu("the cat", ["the cat", "a cat"]).score
    100.0
    """
    if isinstance(references, str):
        raise ValueError("the references are one string; expected a list of sentences")
    sums = bleu_counts([hypothesis], [[each] for each in references], order=order)[0]
    return _of(sums, smoothing, value, effective_order)


def bleu_counts(
    hypotheses: Sequence[Text], references: References, *, order: int = 4
) -> npt.NDArray[np.int64]:
    """What BLEU counts in each sentence: ``[N, 2 + 2 order]``, to be summed.

    The columns are the output's length, the closest reference's (the shorter one of two equally
    close), matches of each order, n-grams of each order.

    >>> bleu_counts(["a b c"], [["a b", ], ["b c d e"]], order=2).tolist()
    [[3, 2, 3, 2, 3, 2]]
    """
    if order < 1:
        raise ValueError(f"order={order}; expected at least 1")
    segments = Segments.of(hypotheses, references)
    counts = np.zeros((len(segments), 2 + 2 * order), dtype=np.int64)
    for row, output, refs in zip(counts, segments.outputs, segments.references, strict=True):
        given = tokens(output)
        true = [tokens(each) for each in refs]
        row[0] = len(given)
        row[1] = min((abs(len(each) - len(given)), len(each)) for each in true)[1]
        for n in range(1, order + 1):
            row[1 + order + n] = max(0, len(given) - n + 1)
            row[1 + n] = _matches(given, true, n)
    return counts


def bleu_scores(
    sums: npt.ArrayLike,
    *,
    smoothing: Smoothing = "exp",
    value: float | None = None,
    effective_order: bool = False,
) -> Floats:
    """BLEU ``[...]``, 0 to 100, of many corpora from their sums ``[..., 2 + 2N]``.

    The rows of :func:`bleu_counts` themselves give the scores of the sentences. Options as of :func:`bleu`.

    >>> counts = bleu_counts(["a b", "c d"], [["a b", "c e"]], order=2)
    >>> bleu_scores(counts).round(1).tolist(), bleu_scores(counts.sum(axis=0)).round(1).tolist()
    ([100.0, 50.0], 61.2)
    """
    sums = np.asarray(sums, dtype=np.float64)
    precisions, used = _precisions(sums, smoothing, value, effective_order)
    with np.errstate(divide="ignore"):  # log 0 is -inf, and its exponential 0
        logs = np.where(used, np.log(precisions), 0.0)
    count = np.maximum(used.sum(axis=-1), 1)
    any_match = sums[..., 2 : 2 + precisions.shape[-1]].any(axis=-1)
    score = 100 * _brevity_penalty(sums) * np.exp(logs.sum(axis=-1) / count)
    return np.where(any_match, score, 0.0)


def _matches(given: tuple[Hashable, ...], true: list[tuple[Hashable, ...]], n: int) -> int:
    """How many n-grams of the output are in a reference, each at most as often as in any one."""
    have = Counter(_ngrams(given, n))
    most: dict[tuple[Hashable, ...], int] = {}
    for each in true:
        for gram, count in Counter(_ngrams(each, n)).items():
            if count > most.get(gram, 0):
                most[gram] = count
    return sum(min(count, most.get(gram, 0)) for gram, count in have.items())


def _ngrams(sentence: tuple[Hashable, ...], n: int) -> zip[tuple[Hashable, ...]]:
    return zip(*(sentence[start:] for start in range(n)), strict=False)


def _brevity_penalty(sums: Floats) -> Floats:
    """BP ``[...]``: 1 where q >= r, else e^(1 - r/q), whose limit for q = 0 is 0."""
    q, r = sums[..., 0], sums[..., 1]
    ratio = np.divide(r, q, out=np.full_like(q, np.inf), where=q > 0)
    return np.where(q < r, np.exp(1 - np.where(q < r, ratio, 1.0)), 1.0)


def _precisions(
    sums: Floats, smoothing: Smoothing, value: float | None, effective_order: bool
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Smoothed precisions ``[..., N]``, 0 to 1, and which orders the mean is over.

    An order that the outputs are too short for has precision 0; so has all of a corpus without a match.
    """
    if smoothing not in get_args(Smoothing):
        raise ValueError(f"smoothing={smoothing!r}; expected one of {get_args(Smoothing)}")
    k = _DEFAULT_VALUES[smoothing] if value is None else value
    if not k >= 0:
        raise ValueError(f"value={value}; expected 0 or more")
    order = (sums.shape[-1] - 2) // 2
    matches, totals = sums[..., 2 : 2 + order].copy(), sums[..., 2 + order :].copy()
    some = matches.any(axis=-1, keepdims=True)
    if smoothing == "add-k":
        matches[..., 1:] += k
        totals[..., 1:] += k
    long_enough = np.logical_and.accumulate(totals > 0, axis=-1)
    missed = long_enough & (matches == 0)
    if smoothing == "floor":
        matches[missed] = k
    elif smoothing == "exp":
        matches = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matches)
    precisions = np.divide(
        matches, totals, out=np.zeros_like(matches), where=long_enough & some & (totals > 0)
    )
    used = long_enough if effective_order else np.ones_like(long_enough)
    return precisions, used


def _of(
    sums: npt.NDArray[np.int64], smoothing: Smoothing, value: float | None, effective_order: bool
) -> Bleu:
    order = (len(sums) - 2) // 2
    options = {"smoothing": smoothing, "value": value, "effective_order": effective_order}
    floats = sums.astype(np.float64)
    precisions, _ = _precisions(floats, smoothing, value, effective_order)
    return Bleu(
        score=float(bleu_scores(sums, **options)),  # type: ignore[arg-type]
        precisions=tuple((100 * precisions).tolist()),
        brevity_penalty=float(_brevity_penalty(floats)),
        hypothesis_length=int(sums[0]),
        reference_length=int(sums[1]),
        matches=tuple(sums[2 : 2 + order].tolist()),
        totals=tuple(sums[2 + order :].tolist()),
    )
