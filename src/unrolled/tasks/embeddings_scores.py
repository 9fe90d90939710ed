"""What an evaluation of word vectors reports: similarities by rank, analogies by section."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from unrolled.data.word_questions import Analogy, Similarity
from unrolled.metrics.evaluation import Evaluation
from unrolled.metrics.similarity import measure_analogies, measure_similarity
from unrolled.models.vector_space import VectorSpace

MULTIPLIED = "_mul"  # behind the names of what 3CosMul reaches


def score(
    name: str,
    split: str,
    space: VectorSpace,
    questions: Sequence[Similarity] | Sequence[Analogy],
    *,
    fold: Callable[[str], str],
) -> Evaluation:
    """The evaluation of a vector space on questions of one kind; those with an unknown word are left out.

    Args:
        name: of the model.
        split: of the questions.
        fold: makes a word of a question one of the space's.
    """
    words = [tuple(map(fold, question.words)) for question in questions]
    known = [row for row, group in enumerate(words) if all(word in space for word in group)]
    asked = [words[row] for row in known]
    chosen: list[Any] = [questions[row] for row in known]
    coverage = len(known) / len(questions)
    if isinstance(questions[0], Similarity):
        return _similarity(name, split, space, asked, chosen, coverage)
    return _analogy(name, split, space, asked, chosen, coverage)


def _similarity(
    name: str,
    split: str,
    space: VectorSpace,
    asked: Sequence[Sequence[str]],
    questions: Sequence[Similarity],
    coverage: float,
) -> Evaluation:
    if not asked:
        return Evaluation(name, split, 0, {"spearman": float("nan"), "coverage": coverage})
    measure = measure_similarity([q.score for q in questions], space.cosines(asked))
    metrics = {**measure.metrics(), "coverage": coverage}
    return Evaluation(name, split, len(asked), metrics, measure.intervals())


def _analogy(
    name: str,
    split: str,
    space: VectorSpace,
    asked: Sequence[Sequence[str]],
    questions: Sequence[Analogy],
    coverage: float,
) -> Evaluation:
    if not asked:
        return Evaluation(name, split, 0, {"accuracy": float("nan"), "coverage": coverage})
    sections = [question.section for question in questions]
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for ending, product in (("", False), (MULTIPLIED, True)):
        answers = space.analogies([group[:3] for group in asked], product=product)
        right = [answer == group[3] for answer, group in zip(answers, asked, strict=True)]
        measure = measure_analogies(right, sections)
        metrics |= {_named(key, ending): value for key, value in measure.metrics().items()}
        intervals |= {_named(key, ending): value for key, value in measure.intervals().items()}
    whole = {key: value for key, value in metrics.items() if ":" not in key}
    parts = {key: value for key, value in metrics.items() if ":" in key}
    return Evaluation(name, split, len(asked), {**whole, "coverage": coverage, **parts}, intervals)


def _named(key: str, ending: str) -> str:
    """``accuracy:capital`` of 3CosMul is ``accuracy_mul:capital``."""
    chief, colon, section = key.partition(":")
    return chief + ending + colon + section
