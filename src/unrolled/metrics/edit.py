r"""How many insertions, deletions and substitutions make one sequence of another (Levenshtein 1966), and
their number for each token of the reference: the error rate of words (WER), characters (CER), phonemes (PER).

.. math::
   D_{ij} = \min(D_{i-1,j} + 1,\; D_{i,j-1} + 1,\; D_{i-1,j-1} + [a_i \ne b_j])

The table's columns are held as the bits of two numbers, where it rises and where it falls by one, so that
a symbol of ``b`` costs a dozen operations for all of ``a`` (Myers 1999, "A fast bit-vector algorithm for
approximate string matching based on dynamic programming"; Hyyrö 2001). Of several references the nearest
counts. Rates are not bounded by 1: a long output may need more edits than the reference has tokens. Where
the references are empty, the rate is 0 if the outputs are, else 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from unrolled.metrics.segments import References, Segments, Text, plain, tokens
from unrolled.metrics.significance import Floats, Measure, divided
from unrolled.metrics.summed import Summed


def edit_distance(one: Sequence[Hashable], other: Sequence[Hashable]) -> int:
    """The fewest insertions, deletions and substitutions between two sequences.

    >>> edit_distance("kitten", "sitting"), edit_distance(["a", "b"], [])
    (3, 2)
    """
    if len(one) > len(other):
        one, other = other, one
    if not one:
        return len(other)
    places: dict[Hashable, int] = defaultdict(int)
    for i, symbol in enumerate(one):
        places[symbol] |= 1 << i
    full, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    rises, falls, distance = full, 0, len(one)  # of the column, from each row to the next
    for symbol in other:
        equal = places.get(symbol, 0)
        across = (((equal & rises) + rises) ^ rises) | equal
        right_rises = falls | (full & ~(across | rises))  # from this column to the next
        right_falls = rises & across
        distance += bool(right_rises & last) - bool(right_falls & last)
        right_rises = (right_rises << 1) | 1
        down = equal | falls
        rises = (right_falls << 1 | ~(down | right_rises)) & full
        falls = right_rises & down & full
    return distance


def word_error_rate(hypotheses: Sequence[Text], references: References) -> float:
    """Edits of tokens for each token of the nearest references, over a corpus.

    Args:
        hypotheses: N sentences: strings with white space between tokens, or lists of tokens.
        references: one or more lists of N sentences; None where a sentence has fewer references.

    >>> word_error_rate(["a b c", "d"], [["a x c", "d e"]])
    0.4
    """
    return float(error_rates(edit_counts(hypotheses, references).sum(axis=0)))


def character_error_rate(hypotheses: Sequence[Text], references: References) -> float:
    """Edits of characters, single spaces between tokens among them; arguments as above.

    >>> character_error_rate(["abc d"], [["abd  d"]])
    0.2
    """
    return float(error_rates(edit_counts(hypotheses, references, characters=True).sum(axis=0)))


def exact_match(hypotheses: Sequence[Text], references: References) -> float:
    """The share of sentences whose tokens are those of a reference; arguments as above.

    >>> exact_match(["a b", "c"], [["a  b", "d"], [None, "e"]])
    0.5
    """
    return float(exact_counts(hypotheses, references).mean())


def edit_counts(
    hypotheses: Sequence[Text], references: References, *, characters: bool = False
) -> npt.NDArray[np.int64]:
    """Edits and length ``[N, 2]`` of each sentence's nearest reference, the longest of those equally near.

    >>> edit_counts(["a b"], [["c"], ["a b c"]]).tolist()
    [[1, 3]]
    """
    segments = Segments.of(hypotheses, references)
    rows = []
    for output, refs in zip(segments.outputs, segments.references, strict=True):
        given, *true = (
            _characters(each) if characters else tokens(each) for each in (output, *refs)
        )
        edits, shortage = min((edit_distance(given, each), -len(each)) for each in true)
        rows.append((edits, -shortage))
    return np.array(rows, dtype=np.int64)


def exact_counts(hypotheses: Sequence[Text], references: References) -> npt.NDArray[np.int64]:
    """1 ``[N, 1]`` where the tokens are those of a reference, else 0.

    >>> exact_counts(["a b", "c"], [["a  b", "d"]]).tolist()
    [[1], [0]]
    """
    segments = Segments.of(hypotheses, references)
    pairs = zip(segments.outputs, segments.references, strict=True)
    right = [tokens(output) in map(tokens, refs) for output, refs in pairs]
    return np.array(right, dtype=np.int64)[:, None]


def error_rates(sums: npt.ArrayLike) -> Floats:
    """Rates ``[...]`` of many corpora from their sums ``[..., 2]`` of edits and lengths.

    >>> error_rates([[1, 4], [0, 0], [2, 0]]).tolist()
    [0.25, 0.0, 1.0]
    """
    edits, lengths = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    return np.where(lengths > 0, divided(edits, lengths), edits > 0)


def measure_edits(
    references: References, *systems: Sequence[Text], rate: str = "wer", characters: bool = False
) -> Measure:
    """The error rate and ``exact``, the share without an error, of one or more systems.

    Args:
        references: one or more lists of N sentences; None where a sentence has fewer references.
        systems: the N outputs of each.
        rate: what the error rate is called, such as ``per`` where tokens are phonemes.
        characters: count edits of characters.

    >>> measure_edits([["k ae t", "d ao g"]], ["k ae t", "d aa g"], rate="per").metrics()
    {'per': 0.16666666666666666, 'exact': 0.5}
    """

    def of(sums: Floats) -> Floats:
        return np.stack([error_rates(sums[..., :2]), divided(sums[..., 2], sums[..., 3])], axis=-1)

    rows = []
    for outputs in systems:
        edits = edit_counts(outputs, references, characters=characters)
        right = exact_counts(outputs, references)
        rows.append(np.concatenate([edits, right, np.ones_like(right)], axis=1))
    return Summed((rate, "exact"), np.stack(rows), of).measure()


def _characters(text: Text) -> str:
    return " ".join(plain(text).split())
