"""Metrics of translations: equal to the published figures; and the review's doubts about them, measured.

UNROLLED_DATA=FOLDER python benchmarks/claims/mt_metrics.py
Prints JSON lines: BLEU of every set beside sacrebleu's, TER and METEOR beside the published; how metrics
disagree on sentences and on systems; what short outputs gain. METEOR has synonyms where WordNet is installed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from corpora import arguments, data_folder
from labelled import lines

from unrolled.metrics import bleu
from unrolled.metrics.bleu import bleu_counts, bleu_scores
from unrolled.metrics.meteor import PARAMETERS, Matcher, meteor_counts, meteor_scores
from unrolled.metrics.text import TextScores

Texts = list[str]
Scores = npt.NDArray[np.float64]

SENTENCE_METRICS = ("bleu", "meteor", "chrf", "ter")
PUBLISHED = {"wmt15_enru_100": 23.17, "multeval baseline": 18.54}


def main() -> None:
    arguments(__doc__)
    folder = data_folder() / "mt_metrics"
    wmt = folder / "wmt15_enru_100"
    russian = (read(wmt / "google.ru"), [read(wmt / "ref.ru")])
    multeval = folder / "multeval"
    single = [read(multeval / "refs.test2010.lc.tok.en.0.gz")]
    baseline, other = (
        read(multeval / f"hyps.lc.tok.en.{name}.opt0.gz") for name in ("baseline", "sys1")
    )
    four = [read(multeval / "set1" / f"set1.ref{i}.gz") for i in range(4)]
    machines = [read(multeval / "set1" / f"set1.out.{i}.gz") for i in range(4)]
    sets = {
        "wmt15_enru_100": russian,
        "multeval baseline": (baseline, single),
        "multeval sys1": (other, single),
        **{f"set1.out.{i}, 4 references": (machines[i], four) for i in range(4)},
        **{f"set1.out.0, reference {i}": (machines[0], [four[i]]) for i in range(4)},
    }
    equal(sets)
    meteors(single[0], baseline)
    two_systems(single, baseline, other)
    orderings(four, machines)
    people(four, machines)
    short(four, machines[0])
    dropped(*russian)


def read(path: Path) -> Texts:
    return list(lines(path))


def say(part: str, **content: object) -> None:
    print(json.dumps({"claim": "mt_metrics", "part": part, **content}), flush=True)


def equal(sets: dict[str, tuple[Texts, list[Texts]]]) -> None:
    """BLEU of corpora and of each sentence against sacrebleu's, and against the published figures."""
    from sacrebleu.metrics.bleu import BLEU

    for name, (outputs, references) in sets.items():
        found = bleu(outputs, references)
        theirs = BLEU(tokenize="none", force=True).corpus_score(outputs, references).score
        single = BLEU(tokenize="none", force=True, effective_order=True)
        ours = bleu_scores(bleu_counts(outputs, references), effective_order=True)
        others = [
            single.sentence_score(output, list(refs)).score
            for output, refs in zip(outputs, zip(*references, strict=True), strict=True)
        ]
        say(
            "bleu",
            set=name,
            bleu=round(found.score, 2),
            text=str(found),
            from_sacrebleu=float(f"{abs(found.score - theirs):.1e}"),
            sentences_from_sacrebleu=float(f"{np.abs(ours - np.array(others)).max():.1e}"),
            published=PUBLISHED.get(name),
            from_published=rounded(found.score - PUBLISHED[name], 4) if name in PUBLISHED else None,
        )


def meteors(reference: Texts, outputs: Texts) -> None:
    """METEOR of one system by what pairs words and by the weights."""
    pairs = [(one.split(), two.split()) for one, two in zip(outputs, reference, strict=True)]
    for matcher in (Matcher(), Matcher(wordnet=None), Matcher(stem=False, wordnet=None)):
        found = [matcher.align(one, two) for one, two in pairs]
        rows = [
            (len(each.pairs), each.chunks, len(one), len(two))
            for each, (one, two) in zip(found, pairs, strict=True)
        ]
        sums = np.array(rows).sum(axis=0)
        say(
            "meteor",
            stages=matcher.stages,
            scores={
                name: rounded(float(meteor_scores(sums, weights)), 2)
                for name, weights in PARAMETERS.items()
            },
            fewest_chunks_for_certain=sum(each.exact for each in found),
            sentences=len(found),
        )


def two_systems(references: list[Texts], baseline: Texts, other: Texts) -> None:
    """The two systems with one reference: corpora, tests, and what single sentences say."""
    scores = TextScores.of(references, baseline, other, metrics=(*SENTENCE_METRICS, "wer", "exact"))
    measure = scores.measure()
    swaps = scores.summed.randomised(samples=2000)
    each = better(sentence_scores(scores), scores.summed.names)  # [systems, N, M]
    names = scores.summed.names
    for m, name in enumerate(names):
        one, two = measure.metrics(0)[name], measure.metrics(1)[name]
        say(
            "two systems",
            metric=name,
            baseline=rounded(one, 4),
            sys1=rounded(two, 4),
            p_by_randomisation=swaps[name],
            sentences_that_say_baseline=rounded((each[0, :, m] > each[1, :, m]).mean(), 3),
            sentences_that_say_sys1=rounded((each[0, :, m] < each[1, :, m]).mean(), 3),
            mean_of_sentences=rounded(abs(each[0, :, m]).mean(), 2),
        )
    say("published", ter=65.52, meteor=49.23, notes=list(scores.notes))
    chosen = [names.index(name) for name in SENTENCE_METRICS]
    for a, b in itertools.combinations(chosen, 2):
        say(
            "rank correlation",
            metrics=[names[a], names[b]],
            sentences=rounded(spearman(each[0, :, a], each[0, :, b]), 3),
            differences=rounded(
                spearman(each[0, :, a] - each[1, :, a], each[0, :, b] - each[1, :, b]), 3
            ),
            opposite=rounded(opposite(each[..., a], each[..., b]), 3),
        )
    agreement(names, each, scores)


def agreement(names: Sequence[str], each: Scores, scores: TextScores) -> None:
    """How often a sample of so many sentences names the better system of the whole, by size."""
    rng = np.random.default_rng(0)
    rows = scores.summed.rows.astype(np.float64)
    whole = better(scores.summed.of(rows.sum(axis=1)), names)
    for size in (1, 10, 100, 500):
        drawn = rng.integers(rows.shape[1], size=(1000, size))
        if size == 1:
            found = each[:, drawn[:, 0]]
        else:
            found = better(scores.summed.of(rows[:, drawn].sum(axis=2)), names)
        right = np.sign(found[0] - found[1]) == np.sign(whole[0] - whole[1])
        shares = dict(zip(names, np.round(right.mean(axis=0), 3).tolist(), strict=True))
        say("better system found", sentences=size, share={n: shares[n] for n in SENTENCE_METRICS})


def orderings(references: list[Texts], machines: list[Texts]) -> None:
    """How each metric orders four systems, with all references and with each alone."""
    metrics = ("bleu", "meteor", "chrf")
    for name, refs in {"all": references, **{str(i): [references[i]] for i in range(4)}}.items():
        measure = TextScores.of(refs, *machines, metrics=metrics).measure()
        found = [measure.metrics(system) for system in range(4)]
        for metric in metrics:
            values = [each[metric] for each in found]
            order = sorted(range(4), key=lambda system: -values[system])
            scores = [rounded(value, 2) for value in values]
            say("ordering", references=name, metric=metric, scores=scores, best_first=order)


def people(references: list[Texts], machines: list[Texts]) -> None:
    """A person's translation and a machine's, both against the three other persons'."""
    metrics = ("bleu", "meteor", "chrf")
    above: list[Scores] = []
    corpus: list[Scores] = []
    for left_out, machine in itertools.product(range(4), range(4)):
        rest = [each for i, each in enumerate(references) if i != left_out]
        scores = TextScores.of(rest, references[left_out], machines[machine], metrics=metrics)
        each = sentence_scores(scores)
        above.append((each[0] > each[1]).mean(axis=0) + (each[0] == each[1]).mean(axis=0) / 2)
        measure = scores.measure()
        corpus.append(np.array([list(measure.metrics(system).values()) for system in (0, 1)]))
    person, machine_score = np.mean(corpus, axis=0)
    for m, name in enumerate(metrics):
        say(
            "person against machine",
            metric=name,
            person=rounded(person[m], 2),
            machine=rounded(machine_score[m], 2),
            person_first_by_corpus=int(sum(each[0, m] > each[1, m] for each in corpus)),
            of=len(corpus),
            person_first_by_sentence=rounded(np.mean(above, axis=0)[m], 3),
        )


def short(references: list[Texts], outputs: Texts) -> None:
    """What BLEU, BLEU without its penalty, METEOR and chrF give to ever shorter outputs."""
    matcher = Matcher()
    cuts: dict[str, Callable[[str, int], list[str]]] = {
        "whole": lambda text, i: text.split(),
        "first half": lambda text, i: text.split()[: (len(text.split()) + 1) // 2],
        "first 4 words": lambda text, i: text.split()[:4],
        "only n-grams of 4 that match": lambda text, i: matching(
            text.split(), [refs[i].split() for refs in references]
        ),
        "'the of to , .' added": lambda text, i: [*text.split(), "the", "of", "to", ",", "."],
    }
    for name, cut in cuts.items():
        texts = [" ".join(cut(text, i)) for i, text in enumerate(outputs)]
        found = bleu(texts, references)
        counts = meteor_counts(texts, references, matcher=matcher).sum(axis=0)
        scores = TextScores.of(references, texts, metrics=["chrf"]).measure().metrics()
        say(
            "short outputs",
            outputs=name,
            words=found.hypothesis_length,
            of=found.reference_length,
            bleu=rounded(found.score, 2),
            brevity_penalty=rounded(found.brevity_penalty, 4),
            without_penalty=rounded(found.score / max(found.brevity_penalty, 1e-300), 2),
            precision_of_words=rounded(found.precisions[0], 1),
            meteor=rounded(float(meteor_scores(counts)), 2),
            chrf=rounded(scores["chrf"], 2),
        )


def matching(given: list[str], true: list[list[str]]) -> list[str]:
    """The words that stand in runs of four which a reference has; the best four if there are none."""
    grams = {tuple(each[i : i + 4]) for each in true for i in range(len(each) - 3)}
    kept = [False] * len(given)
    for i in range(len(given) - 3):
        if tuple(given[i : i + 4]) in grams:
            kept[i : i + 4] = [True] * 4
    return [word for word, keep in zip(given, kept, strict=True) if keep]


def dropped(outputs: Texts, references: list[Texts]) -> None:
    """The penalty is of the corpus: a system that is long elsewhere may leave its worst sentences empty."""
    counts = bleu_counts(outputs, references)
    sentences = bleu_scores(counts, effective_order=True)
    texts = list(outputs)
    found = best = bleu(texts, references)
    kept = 0
    for empty, index in enumerate(np.argsort(sentences, kind="stable"), start=1):
        texts[index] = ""
        found = bleu(texts, references)
        if found.score > best.score:
            best, kept = found, empty
    say(
        "worst sentences left empty",
        set="wmt15_enru_100",
        all=str(bleu(outputs, references)),
        best=str(best),
        left_empty=kept,
        of=len(outputs),
    )


def sentence_scores(scores: TextScores) -> Scores:
    """``[systems, N, M]``, BLEU by the orders a sentence is long enough for."""
    each = scores.summed.examples()
    if "bleu" in scores.summed.names:
        m = scores.summed.names.index("bleu")  # its ten columns come first
        each[..., m] = bleu_scores(scores.summed.rows[..., :10], effective_order=True)
    return each


def better(scores: Scores, names: Sequence[str]) -> Scores:
    """The higher, the better: error rates negated."""
    return scores * np.array([-1.0 if name in ("ter", "wer") else 1.0 for name in names])


def spearman(one: Scores, two: Scores) -> float:
    return float(np.corrcoef(ranks(one), ranks(two))[0, 1])


def ranks(values: Scores) -> Scores:
    """Mean ranks; equal values share one."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def opposite(one: Scores, two: Scores) -> float:
    """Of the sentences on which both metrics prefer a system: the share on which not the same one."""
    signs = np.sign(one[0] - one[1]) * np.sign(two[0] - two[1])
    return float((signs < 0).sum() / (signs != 0).sum())


def rounded(value: float, digits: int) -> float:
    return round(float(value), digits)


if __name__ == "__main__":
    main()
