r"""Scores of texts against references: BLEU, METEOR, chrF, TER, the word error rate and exact matches.

chrF (Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation") is
:math:`5 P R / (4 P + R)` with P and R the means of the precisions and recalls of the n-grams of 1 to 6
characters, white space left out. TER (Snover et al. 2006, "A study of translation edit rate with targeted
human annotation") is the number of edits, moving a phrase being one, for each word of the references. What
both count comes from sacrebleu with its defaults; TER therefore does not see case.

BLEU, METEOR, chrF and TER are 0 to 100 as they are published (TER may exceed it), ``wer`` and ``exact``
shares as elsewhere. All are functions of sums over sentences, so that intervals and tests are quick.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from unrolled.errors import ConfigError
from unrolled.metrics.bleu import bleu_counts, bleu_scores
from unrolled.metrics.edit import edit_counts, error_rates, exact_counts
from unrolled.metrics.meteor import Matcher, meteor_counts, meteor_scores
from unrolled.metrics.segments import References, Segments, Text, plain
from unrolled.metrics.significance import Floats, Measure, divided
from unrolled.metrics.summed import Summed

Name = Literal["bleu", "meteor", "chrf", "ter", "wer", "exact"]
Counts = npt.NDArray[np.generic]

_CHRF_ORDER, _CHRF_BETA = 6, 2


@dataclass(frozen=True)
class TextScores:
    """Scores of the texts of one or more systems.

    Attributes:
        summed: their sums, for scores, intervals and tests.
        notes: what was left out, and why.

    >>> scores = TextScores.of([["the cat sat"]], ["the cat sat"], ["a cat"], metrics=["bleu", "wer"])
    >>> scores.measure().metrics(0), scores.measure().metrics(1)["wer"]
    ({'bleu': 0.0, 'wer': 0.0}, 0.6666666666666666)
    """

    summed: Summed
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        references: References,
        *systems: Sequence[Text],
        metrics: Sequence[Name] | None = None,
        language: str = "english",
    ) -> TextScores:
        """Counts what the metrics need.

        Args:
            references: one or more lists of N sentences; None where a sentence has fewer references.
            systems: the N outputs of each system, tokens apart by white space.
            metrics: which; all that the installed packages allow when absent.
            language: of METEOR's stems, as :class:`~unrolled.metrics.meteor.Matcher` takes it.

        Raises:
            ConfigError: a metric that is unknown or whose package is missing, a language without stems.
            ValueError: nothing to score, or lists of unequal lengths.
        """
        known = get_args(Name)
        for name in metrics or ():
            if name not in known:
                raise ConfigError(f"metric {name!r}: expected one of {', '.join(known)}")
        parts: list[Summed] = []
        notes: list[str] = []
        for name in metrics or known:
            try:
                counts, score, note = _COUNTED[name](references, systems, language)
            except _MissingPackageError as error:
                if metrics:
                    raise
                notes.append(f"{name} is left out: {error}")
                continue
            parts.append(Summed((name,), counts, score))
            if note:
                notes.append(note)
        return cls(Summed.joined(parts), tuple(notes))

    def measure(self) -> Measure:
        """The scores as other metrics give them."""
        return self.summed.measure()


def measure_texts(
    references: References,
    *systems: Sequence[Text],
    metrics: Sequence[Name] = ("bleu",),
    language: str = "english",
) -> Measure:
    """The scores of one or more systems; arguments and errors as of :meth:`TextScores.of`.

    >>> round(measure_texts([["a b c d e"]], ["a b c d"]).metrics()["bleu"], 1)
    77.9
    """
    return TextScores.of(references, *systems, metrics=metrics, language=language).measure()


class _MissingPackageError(ConfigError):
    """An extra is not installed."""


_Systems = Sequence[Sequence[Text]]
_Counted = tuple[Counts, Callable[[Floats], Floats], str]


def _bleu(references: References, systems: _Systems, language: str) -> _Counted:
    counts = np.stack([bleu_counts(each, references) for each in systems])
    return counts, lambda sums: bleu_scores(sums)[..., None], ""


def _meteor(references: References, systems: _Systems, language: str) -> _Counted:
    try:
        import snowballstemmer  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        message = "snowballstemmer is not installed; pip install 'unrolled[text]'"
        raise _MissingPackageError(message) from None
    matcher = Matcher(language)
    counts = np.stack([meteor_counts(each, references, matcher=matcher) for each in systems])
    note = f"meteor has {matcher.note}" if matcher.note else ""
    return counts, lambda sums: meteor_scores(sums)[..., None], note


def _chrf(references: References, systems: _Systems, language: str) -> _Counted:
    """Per order n-grams of the output, of the reference and in both: ``[systems, N, 18]``."""
    metric = _sacrebleu().CHRF(char_order=_CHRF_ORDER, beta=_CHRF_BETA)
    rows = []
    for outputs in systems:
        segments = Segments.of(outputs, references)
        most = max(map(len, segments.references))
        streams = [
            [plain(refs[k]) if k < len(refs) else None for refs in segments.references]
            for k in range(most)
        ]
        # Its sums of sentences, as its own bootstrap takes them; the tests compare its corpus score.
        rows.append(metric._extract_corpus_statistics([*map(plain, segments.outputs)], streams))
    return np.array(rows), _chrf_scores, ""


def _chrf_scores(sums: Floats) -> Floats:
    """chrF ``[..., 1]`` from sums ``[..., 18]``; orders that a side is too short for do not count."""
    ours, theirs, both = np.moveaxis(sums.reshape(*sums.shape[:-1], _CHRF_ORDER, 3), -1, 0)
    counted = (ours > 0) & (theirs > 0)
    orders = np.maximum(counted.sum(axis=-1), 1)
    precision, recall = (
        np.where(counted, divided(both, side), 0.0).sum(axis=-1) / orders for side in (ours, theirs)
    )
    factor = _CHRF_BETA**2
    f = divided((1 + factor) * precision * recall, factor * precision + recall)
    return 100 * f[..., None]


def _ter(references: References, systems: _Systems, language: str) -> _Counted:
    """Edits and the mean length of the references: ``[systems, N, 2]``."""
    metric = _sacrebleu().TER()
    rows = []
    for outputs in systems:
        segments = Segments.of(outputs, references)
        found = [
            metric.sentence_score(plain(output), [*map(plain, refs)])
            for output, refs in zip(segments.outputs, segments.references, strict=True)
        ]
        rows.append([(each.num_edits, each.ref_length) for each in found])
    return np.array(rows), lambda sums: 100 * error_rates(sums)[..., None], ""


def _wer(references: References, systems: _Systems, language: str) -> _Counted:
    counts = np.stack([edit_counts(each, references) for each in systems])
    return counts, lambda sums: error_rates(sums)[..., None], ""


def _exact(references: References, systems: _Systems, language: str) -> _Counted:
    right = np.stack([exact_counts(each, references) for each in systems])
    counts = np.concatenate([right, np.ones_like(right)], axis=2)
    return counts, lambda sums: divided(sums[..., :1], sums[..., 1:]), ""


def _sacrebleu() -> Any:
    try:
        import sacrebleu.metrics
    except ImportError:
        message = "sacrebleu is not installed; pip install 'unrolled[text]'"
        raise _MissingPackageError(message) from None
    return sacrebleu.metrics


_COUNTED: dict[Name, Callable[[References, _Systems, str], _Counted]] = {
    "bleu": _bleu,
    "meteor": _meteor,
    "chrf": _chrf,
    "ter": _ter,
    "wer": _wer,
    "exact": _exact,
}
