"""The phrase memory: counts by hand, sentences seen whole, unknown words, saving, and real sentences."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import sacrebleu

from unrolled.baselines import IBM1, PhraseMemory
from unrolled.baselines.phrase_table import PhraseTable
from unrolled.baselines.phrases import Runs
from unrolled.errors import ConfigError, DataError, RunError

PAIRS = [
    (f.split(), e.split())
    for f, e in [
        ("das haus", "the house"),
        ("das haus", "the home"),
        ("das haus", "the house"),
        ("das alte buch", "the old book"),
        ("ein buch", "a book"),
        ("ein altes haus", "an old house"),
        ("", "nothing"),
        ("leer", ""),
    ]
]


def test_frequencies_and_lexical_weights_by_hand() -> None:
    # Source words 0 1 0 1 0 1, target words 0 1 0 2 0 1: "0 1" is twice "0 1" and once "0 2".
    sources, targets = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 1, 0, 2, 0, 1])
    runs = Runs(
        *(
            np.array(part)
            for part in ([0, 2, 4, 1, 0], [2, 2, 2, 1, 1], [0, 2, 4, 1, 0], [2, 2, 2, 1, 1])
        )
    )
    pairs = [(["a", "b"], ["x", "y"]), (["a", "b"], ["x", "z"]), (["a", "b"], ["x", "y"])]
    models = IBM1().fit(pairs), IBM1().fit([(e, f) for f, e in pairs])
    table = PhraseTable.of(sources, targets, runs, models=models, keep=5)
    rows = table.index()[np.array([0, 1]).tobytes()]
    assert rows[1] - rows[0] == 2
    assert table.padded_targets()[rows[0] : rows[1]].tolist() == [
        [0, 1],
        [0, 2],
    ]  # the most frequent first
    first = table.features[rows[0]]
    assert first[:2] == pytest.approx([math.log(2 / 3), math.log(2 / 2)])
    there = [max(models[0].probability([f], [e])[0] for f in (None, "a", "b")) for e in "xy"]
    back = [max(models[1].probability([e], [f])[0] for e in (None, "x", "y")) for f in "ab"]
    assert first[2:] == pytest.approx([math.log(math.prod(there)), math.log(math.prod(back))])
    (only,) = PhraseTable.of(sources, targets, runs, models=models, keep=1).rows[:1].tolist()
    assert only == 1
    again = PhraseTable.from_arrays(table.arrays())
    assert again.index() == table.index()
    assert np.array_equal(again.features, table.features)


def test_a_sentence_seen_whole_has_its_most_frequent_target() -> None:
    model = PhraseMemory().fit(PAIRS)
    assert model.translate(["das", "haus"]) == ["the", "house"]
    assert model.translate(["leer"]) == []
    assert model.n_best(["ein", "altes", "haus"], 3) == [(["an", "old", "house"], 0.0)]


def test_new_sentences_from_old_phrases() -> None:
    model = PhraseMemory(beam=5).fit(PAIRS)
    assert model.translate(["ein", "haus"]) == ["a", "house"]
    assert model.translate("das alte haus 42".split()) == ["the", "old", "house", "42"]  # noqa: SIM905
    assert model.translate([]) == []
    assert model.translate(["\udcff", "<unk>", ""]) == ["\udcff", "<unk>", ""]
    assert model.translate(["leer", "haus"])[-1] == "house"
    answers = model.n_best(["das", "alte", "haus"], 4)
    assert 1 < len(answers) <= 4
    assert [score for _, score in answers] == sorted((s for _, s in answers), reverse=True)


def test_saving() -> None:
    model = PhraseMemory(longest=3, order=2, beam=4).fit(PAIRS)
    again = PhraseMemory.from_arrays(model.arrays())
    assert (again.longest, again.order, again.beam) == (3, 2, 4)
    assert again.table_entries == model.table_entries
    for source in (["das", "haus"], ["ein", "alte", "haus"], [], ["neu", "buch"]):
        assert again.n_best(source, 3) == model.n_best(source, 3)
    for name in ("table.features", "lm.keys.1", "sentences", "dictionary"):
        arrays = model.arrays()
        arrays[name] = arrays[name] + 1
        with pytest.raises(RunError, match="saved phrase-memory is damaged"):
            PhraseMemory.from_arrays(arrays)
    with pytest.raises(RunError, match="saved phrase-memory is damaged"):
        PhraseMemory.from_arrays(IBM1().fit(PAIRS).arrays())


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("longest", [1, 7])
def test_any_sizes(order: int, longest: int) -> None:
    model = PhraseMemory(longest=longest, order=order).fit(PAIRS)
    assert model.translate(["das", "buch"]) == ["the", "book"]


def test_refusals() -> None:
    for option in ("longest", "order", "beam"):
        with pytest.raises(ConfigError, match=f"--model.{option} is at least 1, not 0"):
            PhraseMemory(**{option: 0})
    for pairs in ([], [(["a"], [])], [([], ["a"])]):
        with pytest.raises(DataError, match="no words to translate into"):
            PhraseMemory().fit(pairs)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="fit first"):
        PhraseMemory().translate(["a"])


def test_pairs_without_any_alignment() -> None:
    model = PhraseMemory().fit([(["a"], []), ([], ["b"])])
    assert model.translate(["c", "a", "a"]) == ["c", "a", "a"]


def test_real_sentences(data: Path) -> None:
    folder = data / "multi30k_en_de" / "tok"
    texts = []
    for language in ("de", "en"):
        with gzip.open(folder / f"train.lc.norm.tok.{language}.gz", "rt", encoding="utf-8") as file:
            texts.append([next(file).split() for _ in range(2100)])
    pairs = list(zip(*texts, strict=True))
    model = PhraseMemory().fit(pairs[:2000])
    dictionary = IBM1().fit(pairs[:2000])
    references = [[" ".join(target) for _, target in pairs[2000:]]]
    scores = [
        sacrebleu.corpus_bleu(
            [" ".join(m.translate(source)) for source, _ in pairs[2000:]],
            references,
            tokenize="none",
            force=True,
        ).score
        for m in (model, dictionary)
    ]
    assert scores[0] > scores[1] + 2
    assert scores[0] > 15
    seen = [model.translate(source) == target for source, target in pairs[:200]]
    assert np.mean(seen) > 0.98  # but for sources that have several targets
