"""METEOR: the papers' numbers by hand, stages, references, and what is refused."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.errors import ConfigError, DataError
from unrolled.metrics.meteor import (
    PARAMETERS,
    Matcher,
    Parameters,
    meteor,
    meteor_counts,
    meteor_scores,
)
from unrolled.metrics.wordnet import WordNet

PLAIN = Matcher(stem=False, wordnet=None)


@pytest.fixture
def wordnet(tmp_path: Path) -> WordNet:
    """A WordNet of few words, in the form of the real files."""
    licence = "  1 This software and database is being provided to you.  \n"
    index = {
        "noun": "car n 2 1 @ 2 1 02958343 02959942  \nmotorcar n 1 1 @ 1 0 02958343  \n"
        "wolf n 1 1 @ 1 0 02114100  \n",
        "verb": "buy v 1 1 @ 1 0 02207206  \ngo v 1 1 @ 1 0 01835496  \npurchase v 1 1 @ 1 0 02207206  \n",
        "adj": "big a 1 0 1 0 01382086  \nlarge a 1 0 1 0 01382086  \n",
        "adv": "",
    }
    exceptions = {"noun": "wolves wolf\n", "verb": "bought buy\nwent go\n", "adj": "", "adv": ""}
    for part, lines in index.items():
        (tmp_path / f"index.{part}").write_text(licence + lines)
        (tmp_path / f"{part}.exc").write_text(exceptions[part])
    return WordNet(tmp_path)


def test_the_formula_by_hand() -> None:
    output, reference = (
        ["the", "cat", "sat", "on", "a", "mat"],
        ["on", "the", "mat", "sat", "the", "cat"],
    )
    # the cat | sat | on | mat: five pairs in four chunks.
    found = meteor([output], [[reference]], matcher=PLAIN)
    assert (found.matches, found.chunks) == (5, 4)
    precision = recall = 5 / 6
    penalty = 0.5 * (4 / 5) ** 3
    f = 10 * precision * recall / (recall + 9 * precision)
    assert found.score == pytest.approx(100 * f * (1 - penalty))
    assert (found.precision, found.recall) == (precision, recall)
    assert found.penalty == pytest.approx(penalty)
    later = meteor([output], [[reference]], matcher=PLAIN, parameters=PARAMETERS["2007"])
    assert later.score == pytest.approx(100 * 5 / 6 * (1 - 0.28 * (4 / 5) ** 0.83))


def test_precision_and_recall_weigh_as_alpha_says() -> None:
    short, long = [["a", "b"]], [[*"abcd"]]
    found = meteor(short, [long], matcher=PLAIN, parameters=Parameters(0.9, 3.0, 0.0))
    assert found.score == pytest.approx(100 * 1 * 0.5 / (0.9 * 1 + 0.1 * 0.5))
    found = meteor(long, [short], matcher=PLAIN, parameters=Parameters(0.9, 3.0, 0.0))
    assert found.score == pytest.approx(100 * 0.5 * 1 / (0.9 * 0.5 + 0.1 * 1))


def test_a_perfect_sentence_pays_for_one_chunk() -> None:
    # The formula as printed; the longer the sentence, the less it matters.
    for length in (1, 4):
        words = [f"w{i}" for i in range(length)]
        assert meteor([words], [[words]], matcher=PLAIN).score == pytest.approx(
            100 * (1 - 0.5 / length**3)
        )


def test_nothing_in_common_and_nothing_at_all() -> None:
    for output, reference in (("a", "b"), ("", "b"), ("a", ""), ("", "")):
        found = meteor([output], [[reference]], matcher=PLAIN)
        assert (found.score, found.penalty, found.chunks) == (0, 0, 0)


def test_the_best_reference_counts() -> None:
    counts = meteor_counts(["a b c"], [["c b a"], ["a b x y"], ["z"]], matcher=PLAIN)
    assert counts.tolist() == [[3, 3, 3, 3]]
    scores = [meteor(["a b c"], [[each]], matcher=PLAIN).score for each in ("c b a", "a b x y")]
    assert float(meteor_scores(counts)[0]) == pytest.approx(max(scores))
    with_none = meteor_counts(["a", "b"], [["x", "b"], ["a", None]], matcher=PLAIN)
    assert with_none.tolist() == [[1, 1, 1, 1], [1, 1, 1, 1]]


def test_a_corpus_is_scored_from_sums() -> None:
    outputs, references = ["a b c d", "x y"], ["a b c d", "x z z z"]
    counts = meteor_counts(outputs, [references], matcher=PLAIN)
    found = meteor(outputs, [references], matcher=PLAIN)
    assert found.score == float(meteor_scores(counts.sum(axis=0)))
    assert found.score != pytest.approx(float(np.mean(meteor_scores(counts))))


def test_stems_and_synonyms_add_pairs(wordnet: WordNet) -> None:
    output, reference = (
        "wolves went and bought large motorcars",
        "the wolf goes and purchases a big car",
    )
    exact = meteor([output], [[reference]], matcher=PLAIN)
    stemmed = meteor([output], [[reference]], matcher=Matcher(wordnet=None))
    full = Matcher(wordnet=wordnet)
    found = meteor([output], [[reference]], matcher=full)
    assert (exact.matches, stemmed.matches, found.matches) == (1, 1, 6)
    assert found.stages == ("exact", "stem", "synonym")
    # wolves-wolf, went-goes, bought-purchases, large-big, motorcars-car; and is equal.
    assert full.align(output.split(), reference.split()).pairs == (
        *((0, 1), (1, 2), (2, 3), (3, 4), (4, 6), (5, 7)),
    )
    assert meteor(["the cats sit"], [["a cat sits"]], matcher=Matcher(wordnet=None)).matches == 2


def test_stemmed_synonyms_are_pairs_only_through_their_meaning(wordnet: WordNet) -> None:
    # "cars" and "motorcar" share a synset although neither their forms nor their stems are equal; a stem
    # that happens to be a word ("buses" and "bus" beside "buss") makes no synonym.
    matcher = Matcher(wordnet=wordnet)
    assert matcher.align(["cars"], ["motorcar"]).pairs == ((0, 0),)
    assert matcher.align(["cared"], ["motorcar"]).pairs == ()


def test_case_and_other_tokens() -> None:
    matcher = Matcher(wordnet=None)
    assert matcher.align(["The", 3], ["the", 3]).pairs == ((0, 0), (1, 1))
    assert PLAIN.align(["The"], ["the"]).pairs == ()


def test_languages() -> None:
    german = Matcher("de")
    assert german.stages == ("exact", "stem")
    assert german.note == "no synonyms: WordNet is English, not german"
    assert (
        german.align(["häuser"], ["haus"]).pairs
        == Matcher("german").align(["häuser"], ["haus"]).pairs
    )
    assert Matcher("porter", wordnet=None).stages == ("exact", "stem")
    with pytest.raises(ConfigError, match="no stemmer for 'klingon'; there are arabic, "):
        Matcher("klingon")


def test_every_code_has_a_stemmer() -> None:
    from unrolled.metrics.meteor import _LANGUAGES

    for code in _LANGUAGES:
        assert Matcher(code, wordnet=None).stages == ("exact", "stem")


def test_wordnet_where_it_is_and_is_not(
    wordnet: WordNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WNSEARCHDIR", str(wordnet.folder))
    assert Matcher("en").stages == ("exact", "stem", "synonym")
    assert Matcher("en").note == ""
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path / "none"))
    missing = Matcher()
    assert missing.stages == ("exact", "stem")
    assert missing.note.startswith("no synonyms: WordNet is not in ")
    assert "wordnet-base" in missing.note
    (wordnet.folder / "index.verb").unlink()
    monkeypatch.setenv("WNSEARCHDIR", str(wordnet.folder))
    with pytest.raises(DataError, match=r"index\.verb: cannot be read: .*wordnet-base"):
        WordNet()


def test_wordnet_finds_base_forms(wordnet: WordNet) -> None:
    assert wordnet.synsets("Cars") == {("noun", 2958343), ("noun", 2959942)}
    assert wordnet.synsets("buying") == wordnet.synsets("bought") == {("verb", 2207206)}
    assert wordnet.synsets("bigger") == set()  # no exception says so here
    assert wordnet.synonyms("larger", "big")
    for nothing in ("", " ", "s", "1", "this", "ü", "\ud800", "a\x00b"):
        assert wordnet.synsets(nothing) == set()


def test_a_broken_index_is_named_with_its_line(wordnet: WordNet) -> None:
    for broken in ("dog n", "dog n x 1", "dog n 3 1 2", "dog n 1 1 @ 1 0 zero"):
        (wordnet.folder / "index.noun").write_text(f"  1 licence\nant n 1 0 1 0 7\n{broken}\n")
        again = WordNet(wordnet.folder)
        assert again.synsets("ants") == {("noun", 7)}
        with pytest.raises(DataError, match=r"index\.noun:3: the line of 'dog' names no synsets"):
            again.synsets("dog")


def test_the_real_wordnet() -> None:
    from unrolled.metrics.wordnet import wordnet_folder

    if not (wordnet_folder() / "index.noun").exists():
        pytest.skip("WordNet is not installed (Debian: wordnet-base; or set WNSEARCHDIR)")
    real = WordNet()
    for one, other in (("cars", "automobile"), ("mice", "mouse"), ("bought", "purchase")):
        assert real.synonyms(one, other)
    assert not real.synonyms("cat", "dog")
    assert not real.synsets("the")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fake(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "snowballstemmer":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(ConfigError, match=r"pip install 'unrolled\[text\]'"):
        Matcher()
    assert Matcher(stem=False, wordnet=None).stages == ("exact",)


@pytest.mark.parametrize(
    "parameters",
    [Parameters(alpha=0), Parameters(alpha=1), Parameters(beta=-1), Parameters(gamma=1.5)],
)
def test_parameters_out_of_range(parameters: Parameters) -> None:
    with pytest.raises(ValueError, match="expected alpha within"):
        meteor(["a"], [["a"]], matcher=PLAIN, parameters=parameters)
