"""BLEU is the review's formula, and sacrebleu's to the last digits."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU

from unrolled.data.text import read_lines
from unrolled.metrics.bleu import Smoothing, bleu, bleu_counts, bleu_scores, sentence_bleu

SMOOTHINGS: list[tuple[Smoothing, float | None]] = [
    *(("none", None), ("exp", None)),
    *(("floor", None), ("floor", 0.0), ("floor", 0.5)),
    *(("add-k", None), ("add-k", 0.0), ("add-k", 2.5)),
]
words = st.sampled_from(["a", "b", "c", "the", ","])
sentences = st.lists(words, max_size=9).map(" ".join)


@st.composite
def corpora(draw: st.DrawFn) -> tuple[list[str], list[list[str | None]]]:
    """Outputs, and one to three references of each; some empty, most shorter than four tokens."""
    count = draw(st.integers(1, 4))
    outputs = draw(st.lists(sentences, min_size=count, max_size=count))
    streams: list[list[str | None]] = [draw(st.lists(sentences, min_size=count, max_size=count))]
    for _ in range(draw(st.integers(0, 2))):
        missing = st.one_of(st.none(), sentences)
        streams.append(draw(st.lists(missing, min_size=count, max_size=count)))
    return outputs, streams


@settings(max_examples=300, deadline=None)
@given(corpora(), st.sampled_from(SMOOTHINGS), st.booleans(), st.integers(1, 5))
def test_it_is_sacrebleus(
    corpus: tuple[list[str], list[list[str | None]]],
    smoothing: tuple[Smoothing, float | None],
    effective: bool,
    order: int,
) -> None:
    outputs, streams = corpus
    method, value = smoothing
    oracle = BLEU(
        tokenize="none",
        force=True,
        smooth_method=method,
        smooth_value=value,
        effective_order=effective,
        max_ngram_order=order,
    )
    want = oracle.corpus_score(outputs, streams)
    found = bleu(
        *(outputs, streams), order=order, smoothing=method, value=value, effective_order=effective
    )
    assert found.score == pytest.approx(want.score, rel=1e-9, abs=1e-12)
    assert found.brevity_penalty == pytest.approx(want.bp, rel=1e-12)
    assert (found.hypothesis_length, found.reference_length) == (want.sys_len, want.ref_len)
    # Where it stops short it leaves later precisions at 0, and so do we.
    assert found.precisions == pytest.approx(want.precisions, rel=1e-9)
    for index, output in enumerate(outputs):
        refs = [stream[index] for stream in streams if stream[index] is not None]
        one = sentence_bleu(output, refs, smoothing=method, value=value, order=order)  # type: ignore[arg-type]
        oracle.effective_order = True
        assert one.score == pytest.approx(oracle.sentence_score(output, refs).score, rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(corpora(), st.sampled_from(SMOOTHINGS), st.booleans())
def test_many_corpora_at_once_are_each_by_itself(
    corpus: tuple[list[str], list[list[str | None]]],
    smoothing: tuple[Smoothing, float | None],
    effective: bool,
) -> None:
    outputs, streams = corpus
    options = {"smoothing": smoothing[0], "value": smoothing[1], "effective_order": effective}
    scores = bleu_scores(bleu_counts(outputs, streams), **options)  # type: ignore[arg-type]
    for index, score in enumerate(scores):
        single = [[stream[index]] for stream in streams]
        assert score == bleu(outputs[index : index + 1], single, **options).score  # type: ignore[arg-type]


def test_the_reviews_formula_by_hand() -> None:
    found = bleu(["the cat sat on a mat today"], [["the cat sat on the mat by the door"]])
    # 5 of 7 words (the, cat, sat, on, mat), 3 of 6 pairs, 2 of 5 triples, 1 of 4.
    assert found.matches == (5, 3, 2, 1)
    precisions = (5 / 7, 3 / 6, 2 / 5, 1 / 4)
    penalty = math.exp(1 - 9 / 7)
    assert found.brevity_penalty == pytest.approx(penalty)
    score = 100 * penalty * math.exp(sum(math.log(p) for p in precisions) / 4)
    assert found.score == pytest.approx(score)


def test_a_word_counts_at_most_as_often_as_in_one_reference() -> None:
    # The example of Papineni et al. (2002), section 2.1: modified precision 2/7.
    refs = ["the cat is on the mat", "there is a cat on the mat"]
    found = sentence_bleu("the the the the the the the", refs)
    assert (found.matches[0], found.totals[0]) == (2, 7)


def test_limits_of_the_brevity_penalty() -> None:
    reference = [["a b c d e f g h"]]
    assert bleu(["a b c d e f g h"], reference).brevity_penalty == 1
    assert bleu(["a b c d e f g h i j"], reference).brevity_penalty == 1
    assert bleu(["a b c d"], reference).brevity_penalty == pytest.approx(1 / math.e)
    assert bleu([""], reference).brevity_penalty == 0
    assert bleu([""], [[""]]).brevity_penalty == 1
    assert bleu([""], reference).score == bleu([""], [[""]]).score == 0
    almost = bleu(["a"], [[" ".join("a" * 10_000)]], smoothing="floor", effective_order=True)
    assert almost.score == 0  # e^-9999 has no float
    # The closest length counts; of two as close, the shorter.
    assert bleu(["a b c"], [["a b"], ["a b c d"]]).reference_length == 2
    assert bleu(["a b c"], [["a"], ["a b c d"]]).reference_length == 4


def test_no_match_of_an_order_is_nought_unless_smoothed() -> None:
    outputs, reference = ["a b x d e"], [["a b c d e"]]
    assert bleu(outputs, reference, smoothing="none").score == 0
    smoothed = [
        bleu(outputs, reference, smoothing=each).score for each in ("floor", "add-k", "exp")
    ]
    assert all(score > 0 for score in smoothed)
    assert bleu(["x"], reference, smoothing="add-k").score == 0  # nothing at all matches


def test_lists_of_tokens_are_strings_of_them() -> None:
    outputs, reference = ["a b c d", "e f"], ["a b c e", "e g"]
    lists = ([each.split() for each in some] for some in (outputs, reference))
    ours, theirs = lists
    assert bleu(ours, [theirs]) == bleu(outputs, [reference])


@pytest.mark.parametrize(
    ("outputs", "references", "message"),
    [
        ([], [[]], "no outputs; expected at least one sentence"),
        (["a"], [], "no references; expected at least one list"),
        (["a"], ["a"], "references are strings; expected lists of sentences: \\[references\\]"),
        (["a"], "a", "references are strings"),
        ("a", [["a"]], "the outputs are one string"),
        (["a", "b"], [["a", "b"], ["a"]], "references 1: 1 sentences for 2 outputs"),
        (["a", "b"], [["a", None]], "sentence 1 has no reference"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    outputs: list[str], references: list[list[str]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        bleu(outputs, references)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="order=0; expected at least 1"):
        bleu(["a"], [["a"]], order=0)
    with pytest.raises(ValueError, match="value=-1; expected 0 or more"):
        bleu(["a"], [["a"]], smoothing="floor", value=-1)
    with pytest.raises(ValueError, match="smoothing='add'; expected one of"):
        bleu(["a"], [["a"]], smoothing="add")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the references are one string"):
        sentence_bleu("a", "a")


def test_the_room_has_the_function_whatever_was_imported_first() -> None:
    import unrolled.metrics.bleu
    import unrolled.metrics.meteor

    assert unrolled.metrics.bleu is bleu
    assert unrolled.metrics.bleu(["a b c d"], [["a b c d"]]).score == pytest.approx(100)
    code = (
        "import sys, unrolled; assert 'numpy' not in sys.modules;"
        "assert unrolled.metrics.bleu(['a'], [['a']]).hypothesis_length == 1;"
        "sys.exit('torch' in sys.modules or 'sacrebleu' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_published_scores(data: Path) -> None:
    folder = data / "mt_metrics"
    wmt, multeval = folder / "wmt15_enru_100", folder / "multeval"
    google, russian = (list(read_lines(wmt / name)) for name in ("google.ru", "ref.ru"))
    assert bleu(google, [russian]).score == pytest.approx(23.17, abs=0.005)
    outputs = list(read_lines(multeval / "hyps.lc.tok.en.baseline.opt0.gz"))
    reference = list(read_lines(multeval / "refs.test2010.lc.tok.en.0.gz"))
    assert bleu(outputs, [reference]).score == pytest.approx(18.54, abs=0.005)
    four = [list(read_lines(multeval / "set1" / f"set1.ref{i}.gz")) for i in range(4)]
    machine = list(read_lines(multeval / "set1" / "set1.out.0.gz"))
    want = BLEU(tokenize="none", force=True).corpus_score(machine, four).score
    assert bleu(machine, four).score == pytest.approx(want, rel=1e-12)


def test_counts_are_sums_of_integers() -> None:
    counts = bleu_counts(["a b", ""], [["a c", "d"]])
    assert counts.dtype == np.int64
    assert counts.tolist() == [[2, 2, 1, 0, 0, 0, 2, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]]
