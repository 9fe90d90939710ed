r"""METEOR (Banerjee & Lavie 2005, "METEOR: an automatic metric for MT evaluation with improved correlation
with human judgments").

With m pairs in the :mod:`alignment <unrolled.metrics.alignment>` of an output and its reference, in ``ch``
chunks, precision P = m / (tokens of the output) and recall R = m / (tokens of the reference),

.. math::
   F_\alpha = \frac{P R}{\alpha P + (1 - \alpha) R} \qquad
   \mathrm{Pen} = \gamma \Bigl(\frac{ch}{m}\Bigr)^{\beta} \qquad
   \mathrm{METEOR} = (1 - \mathrm{Pen}) \cdot F_\alpha

The paper's parameters are α = 0.9, β = 3, γ = 0.5 (F is then 10PR/(R + 9P)); later ones were tuned on ratings
(:data:`PARAMETERS`). Of several references the one with the best score counts. A corpus is scored from
sums, as in the paper: of pairs, chunks and lengths. Words are paired if they are equal, have one stem
(Snowball's), or share a WordNet synset (English only). METEOR 1.3 and later also pair paraphrases and weigh
function words, by tables that come with that program: its scores are others, and higher.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from unrolled.errors import ConfigError
from unrolled.metrics.alignment import Alignment, Tokens, align
from unrolled.metrics.segments import References, Segments, Text, tokens
from unrolled.metrics.significance import Floats, divided
from unrolled.metrics.wordnet import ENVIRONMENT, WordNet, wordnet_folder


class Parameters(NamedTuple):
    """The weights of METEOR: recall's in F, the exponent and the size of the penalty."""

    alpha: float = 0.9
    beta: float = 3.0
    gamma: float = 0.5


PARAMETERS = {
    "2005": Parameters(),
    "2007": Parameters(0.81, 0.83, 0.28),
}
"""Of the paper; and for English of Lavie & Agarwal (2007, "METEOR: an automatic metric for MT evaluation with
high levels of correlation with human judgments", section 4), tuned on adequacy and fluency together."""

# ISO 639-1 codes of the languages that Snowball has stemmers for.
_CODES = """
ar:arabic hy:armenian eu:basque ca:catalan da:danish nl:dutch en:english eo:esperanto
et:estonian fi:finnish fr:french de:german el:greek hi:hindi hu:hungarian id:indonesian ga:irish
it:italian lt:lithuanian ne:nepali no:norwegian pt:portuguese ro:romanian ru:russian sr:serbian
es:spanish sv:swedish ta:tamil tr:turkish yi:yiddish
"""
_LANGUAGES = dict(pair.split(":") for pair in _CODES.split())


@dataclass(frozen=True)
class Meteor:
    """A METEOR score and its parts.

    Attributes:
        score: 0 to 100.
        precision: paired tokens of the outputs, 0 to 1.
        recall: paired tokens of the references.
        penalty: for fragmentation, 0 to gamma.
        matches: pairs.
        chunks: their runs.
        stages: how words were paired, such as ``("exact", "stem")``.
    """

    score: float
    precision: float
    recall: float
    penalty: float
    matches: int
    chunks: int
    stages: tuple[str, ...]

    def __str__(self) -> str:
        parts = f"P = {self.precision:.3f}, R = {self.recall:.3f}, penalty {self.penalty:.3f}"
        return f"METEOR = {self.score:.2f}, {parts} ({', '.join(self.stages)})"


def language_named(name: str) -> str | None:
    """The language that METEOR has stems of, by its English name or its code; None if there is none.

    >>> language_named("de"), language_named("pt_BR"), language_named("German"), language_named("target")
    ('german', 'portuguese', 'german', None)
    """
    name = name.lower()
    if name in _LANGUAGES.values():
        return name
    return _LANGUAGES.get(re.split("[-_]", name)[0])


class Matcher:
    """Which words stand for each other: equal ones, those with one stem, synonyms.

    Stems and senses are of the words in lower case, so that ``The`` and ``the`` have one stem; give both
    sides in one case if equality should not see it.

    >>> matcher = Matcher(wordnet=None)
    >>> matcher.stages
    ('exact', 'stem')
    >>> matcher.align("the cats sat".split(), "a cat was sitting".split()).pairs
    ((1, 1),)
    """

    def __init__(
        self,
        language: str = "english",
        *,
        stem: bool = True,
        wordnet: WordNet | Literal["installed"] | None = "installed",
    ) -> None:
        """Loads what the stages need.

        Args:
            language: of the texts: a name or two-letter code that Snowball has a stemmer for, or ``porter``,
                the original English one.
            stem: whether to pair words with one stem.
            wordnet: where synonyms are from; ``installed``: WordNet's files if the language is English
                and they are there. ``stages`` says what came of it, ``note`` why.

        Raises:
            ConfigError: no stemmer for the language, or the package of the stemmers is missing.
            DataError: WordNet's folder is there and broken.
        """
        name = _LANGUAGES.get(language, language)
        self.note = ""
        self._stemmer: Any = _stemmer(name) if stem else None
        if wordnet == "installed":
            wordnet = None
            if name not in ("english", "porter"):
                self.note = f"no synonyms: WordNet is English, not {name}"
            elif not wordnet_folder().is_dir():
                where = f"{wordnet_folder()} (Debian: wordnet-base; or set {ENVIRONMENT})"
                self.note = f"no synonyms: WordNet is not in {where}"
            else:
                wordnet = _installed(str(wordnet_folder()))
        self._wordnet = wordnet
        found = (("exact", True), ("stem", stem), ("synonym", wordnet is not None))
        self.stages = tuple(stage for stage, there in found if there)
        self._stems: dict[str, str] = {}

    def align(self, output: Tokens, reference: Tokens) -> Alignment:
        """The pairs of two sentences."""
        stem = self._stem if self._stemmer is not None else None
        senses = self._senses if self._wordnet is not None else None
        return align(output, reference, stem=stem, senses=senses)

    def _stem(self, word: Hashable) -> Hashable:
        if not isinstance(word, str):
            return word
        if word not in self._stems:
            self._stems[word] = self._stemmer.stemWord(word.lower())
        return self._stems[word]

    def _senses(self, word: Hashable) -> Iterable[Hashable]:
        found = self._wordnet
        return found.synsets(word) if found is not None and isinstance(word, str) else ()


def meteor(
    hypotheses: Sequence[Text],
    references: References,
    *,
    matcher: Matcher | None = None,
    parameters: Parameters = PARAMETERS["2005"],
) -> Meteor:
    """METEOR of a corpus, or of one sentence.

    Args:
        hypotheses: N sentences: strings with white space between tokens, or lists of tokens.
        references: one or more lists of N sentences; None where a sentence has fewer references.
        matcher: how words are paired; English by default.
        parameters: alpha, beta and gamma.

    Raises:
        ValueError: nothing to score, lists of unequal lengths, or a parameter out of range.

    >>> print(meteor(["the cat sat on the mat"], [["on the mat sat the cat"]], matcher=Matcher(wordnet=None)))
    METEOR = 93.75, P = 1.000, R = 1.000, penalty 0.062 (exact, stem)
    """
    matcher = matcher if matcher is not None else Matcher()
    counts = meteor_counts(hypotheses, references, matcher=matcher, parameters=parameters)
    sums = counts.sum(axis=0).astype(np.float64)
    precision, recall, penalty, score = (
        float(each) for each in (*_parts(sums, parameters), meteor_scores(sums, parameters))
    )
    matches, chunks = int(sums[0]), int(sums[1])
    return Meteor(score, precision, recall, penalty, matches, chunks, matcher.stages)


def meteor_counts(
    hypotheses: Sequence[Text],
    references: References,
    *,
    matcher: Matcher | None = None,
    parameters: Parameters = PARAMETERS["2005"],
) -> npt.NDArray[np.int64]:
    """What METEOR counts in each sentence, against its best reference: ``[N, 4]``, to be summed.

    The columns are pairs, chunks, tokens of the output, tokens of the reference.

    >>> meteor_counts(["a b c"], [["x b"], ["a b x c"]], matcher=Matcher(wordnet=None)).tolist()
    [[3, 2, 3, 4]]
    """
    _require(parameters)
    matcher = matcher if matcher is not None else Matcher()
    segments = Segments.of(hypotheses, references)
    rows = []
    for output, refs in zip(segments.outputs, segments.references, strict=True):
        given = tokens(output)
        counts = []
        for each in dict.fromkeys(map(tokens, refs)):
            found = matcher.align(given, each)
            counts.append((len(found.pairs), found.chunks, len(given), len(each)))
        best = 0 if len(counts) == 1 else int(np.argmax(meteor_scores(counts, parameters)))
        rows.append(counts[best])
    return np.array(rows, dtype=np.int64)


def meteor_scores(sums: npt.ArrayLike, parameters: Parameters = PARAMETERS["2005"]) -> Floats:
    """METEOR ``[...]``, 0 to 100, of many corpora from their sums ``[..., 4]``; 0 without a pair.

    >>> meteor_scores([[3, 2, 3, 4], [0, 0, 3, 4]]).round(2).tolist()
    [65.53, 0.0]
    """
    alpha = parameters.alpha
    precision, recall, penalty = _parts(np.asarray(sums, dtype=np.float64), parameters)
    f = divided(precision * recall, alpha * precision + (1 - alpha) * recall)
    return 100 * (1 - penalty) * f


def _parts(sums: Floats, parameters: Parameters) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and penalty ``[...]``; 0 where there is nothing to divide by."""
    _require(parameters)
    matches, chunks = sums[..., 0], sums[..., 1]
    penalty = np.where(
        matches > 0, parameters.gamma * divided(chunks, matches) ** parameters.beta, 0.0
    )
    return divided(matches, sums[..., 2]), divided(matches, sums[..., 3]), penalty


def _require(parameters: Parameters) -> None:
    alpha, beta, gamma = parameters
    if not (0 < alpha < 1 and beta >= 0 and 0 <= gamma <= 1):
        raise ValueError(
            f"{parameters}; expected alpha within (0, 1), beta 0 or more, gamma within [0, 1]"
        )


def _stemmer(name: str) -> Any:
    try:
        import snowballstemmer  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigError(
            "METEOR's stems: snowballstemmer is not installed; pip install 'unrolled[text]'"
        ) from None
    known = sorted(snowballstemmer.algorithms())
    if name not in known:
        raise ConfigError(f"no stemmer for {name!r}; there are {', '.join(known)}")
    return snowballstemmer.stemmer(name)


@lru_cache(maxsize=1)
def _installed(folder: str) -> WordNet:
    """WordNet of a folder, read once."""
    return WordNet(folder)
