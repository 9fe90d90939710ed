"""The trigram tagger: what it learns, hostile input, saving, and its accuracy on the Web Treebank."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from unrolled.baselines import hmm
from unrolled.baselines.hmm import HiddenMarkov
from unrolled.errors import ConfigError, DataError, RunError

Sentences = list[tuple[list[str], list[str]]]

SMALL: Sentences = [
    (["The", "dog", "barks"], ["D", "N", "V"]),
    (["a", "bark", "hurts"], ["D", "N", "V"]),
    (["dogs", "bark"], ["N", "V"]),
    (["walking", "hurts", "dogs"], ["N", "V", "N"]),
    (["Go"], ["V"]),
    ([], []),
]


def generated(seed: int, words: int = 200, tags: int = 6, sentences: int = 100) -> Sentences:
    """Sentences of a random second-order chain."""
    rng = np.random.default_rng(seed)
    follow = rng.dirichlet(np.full(tags, 0.2), (tags, tags))
    emit = rng.dirichlet(np.full(words, 0.05), tags)
    found = []
    for _ in range(sentences):
        u, v, text, path = 0, 0, [], []
        for _ in range(rng.integers(1, 15)):
            u, v = v, int(rng.choice(tags, p=follow[u, v]))
            word = int(rng.choice(words, p=emit[v]))
            text.append(f"W{word}" if word % 3 == 0 else f"w{word}")
            path.append(f"t{v}")
        found.append((text, path))
    return found


def test_it_is_the_best_path_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hmm, "UNLIKELY", 0.0)
    model = HiddenMarkov(beam=1e9).fit(SMALL)
    flags = {word: int(word[:1].isupper()) for word in ("The", "walks", "Dog")}
    words, edge = list(flags), np.array([6])
    scores = {}
    for path in itertools.product(range(3), repeat=3):
        states = [2 * tag + flags[word] for tag, word in zip(path, words, strict=True)]
        text = [6, 6, *states, 6]
        total = sum(
            float(model._follow(*(np.array([x]) for x in gram))[0, 0, 0])
            for gram in zip(text, text[1:], text[2:], strict=False)
        )
        for word, tag in zip(words, path, strict=True):
            total += float(model._candidates(word).scores[tag])
        scores[path] = total
    assert len(edge) == 1
    best = max(scores, key=scores.__getitem__)
    assert model.predict(words) == [model.tags[tag] for tag in best]
    weights = np.exp(np.array(list(scores.values())))
    for t in range(3):
        expected = [
            sum(w for p, w in zip(scores, weights, strict=True) if p[t] == k) for k in range(3)
        ]
        found = model.probabilities(words)[t]
        np.testing.assert_allclose(found, np.array(expected) / weights.sum(), rtol=1e-9)


def test_it_learns_words_order_endings_and_cases() -> None:
    model = HiddenMarkov().fit(SMALL * 3)
    assert model.tags == ("D", "N", "V")
    assert model.predict(["the", "bark", "hurts"]) == ["D", "N", "V"]  # bark after D
    assert model.predict(["dogs", "bark"]) == ["N", "V"]  # bark after N
    assert model.predict(["THE", "cat", "hurts"]) == ["D", "N", "V"]
    assert model.predict(["talking", "hurts"]) == ["N", "V"]


def test_it_beats_what_each_word_alone_says() -> None:
    sentences = generated(0, sentences=600)
    train, test = sentences[:500], sentences[500:]
    model = HiddenMarkov().fit(train)
    alone = HiddenMarkov().fit([([w], [t]) for words, tags in train for w, t in zip(words, tags)])  # noqa: B905

    def accuracy(model: HiddenMarkov) -> float:
        right = [
            a == b for words, tags in test for a, b in zip(model.predict(words), tags, strict=True)
        ]
        return sum(right) / len(right)

    def accuracy_alone() -> float:
        right = [
            alone.predict([word])[0] == tag
            for words, tags in test
            for word, tag in zip(words, tags, strict=True)
        ]
        return sum(right) / len(right)

    assert accuracy(model) > accuracy_alone() + 0.05


def test_sentences_of_every_length() -> None:
    model = HiddenMarkov().fit(SMALL)
    assert model.predict([]) == []
    assert model.probabilities([]).shape == (0, 3)
    for words in (["x"], ["Go"], [""], ["\n", "\ud800", "İ" * 500], ["dog"] * 5000):
        assert len(model.predict(words)) == len(words)
        chances = model.probabilities(words)
        assert chances.shape == (len(words), 3)
        np.testing.assert_allclose(chances.sum(1), 1.0, rtol=1e-9)


def test_one_tag() -> None:
    model = HiddenMarkov().fit([(["a"], ["X"])])
    assert model.predict(["b", "A", "a"]) == ["X"] * 3
    assert model.probabilities(["b"]).tolist() == [[1.0]]


def test_thousands_of_tags_stay_within_time_and_memory() -> None:
    rng = np.random.default_rng(0)
    sentences = [
        ([f"w{k}" for k in ids], [f"t{k % 5000}" for k in ids])
        for ids in (rng.integers(0, 8000, 10) for _ in range(2000))
    ]
    began = time.process_time()
    model = HiddenMarkov().fit(sentences)
    assert len(model.tags) > 4000
    words, tags = sentences[0]
    assert model.predict(words) == tags
    assert len(model.predict([f"unknown{k}" for k in range(20)])) == 20
    assert model.probabilities(words).shape == (10, len(model.tags))
    assert time.process_time() - began < 30


def test_saved_equals_loaded(tmp_path: Path) -> None:
    sentences = [*generated(1), *SMALL, (["", "\ud800\n", "é"], ["t0", "N", "\n"])]
    model = HiddenMarkov(suffix_length=4, rare=3, beam=8.5).fit(sentences)
    save_file(model.arrays(), tmp_path / "model.safetensors")
    loaded = HiddenMarkov.from_arrays(load_file(tmp_path / "model.safetensors"))
    assert (loaded.suffix_length, loaded.rare, loaded.beam) == (4, 3, 8.5)
    assert loaded.tags == model.tags
    assert loaded.table_entries == model.table_entries
    for words, _ in [*generated(2), *sentences]:
        assert loaded.predict(words) == model.predict(words)
        assert np.array_equal(loaded.probabilities(words), model.probabilities(words))


@pytest.mark.parametrize("name", ["trigrams", "emissions", "words", "tags.ends", "options"])
def test_damaged_arrays(name: str) -> None:
    arrays = HiddenMarkov().fit(SMALL).arrays()
    altered = arrays | {name: arrays[name] + 1}
    shorter = arrays | {name: arrays[name][:-1]}
    missing = {other: array for other, array in arrays.items() if other != name}
    for damaged in (altered, shorter, missing, {**arrays, "more": arrays[name]}):
        with pytest.raises(RunError, match="train it again"):
            HiddenMarkov.from_arrays(damaged)


def test_what_cannot_be_learned_from() -> None:
    for nothing in ([], [([], [])]):
        with pytest.raises(DataError, match="no tagged tokens"):
            HiddenMarkov().fit(nothing)
    with pytest.raises(DataError, match="sentence 2 has 1 tokens and 2 tags"):
        HiddenMarkov().fit([(["a"], ["X"]), (["a"], ["X", "Y"])])
    for use in ("arrays", "table_entries"):
        with pytest.raises(RunError, match="call fit first"):
            getattr(HiddenMarkov(), use)()
    with pytest.raises(RunError, match="call fit first"):
        HiddenMarkov().predict(["a"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suffix_length": -1}, "--model.suffix-length"),
        ({"rare": 0}, "--model.rare"),
        ({"beam": 0.0}, "--model.beam"),
        ({"beam": float("nan")}, "--model.beam"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HiddenMarkov(**options)


def test_accuracy_on_the_web_treebank() -> None:
    """On the development part; the test part is for the claims."""
    from unrolled.data.columns import read_columns

    folder = Path(os.environ.get("UNROLLED_DATA", "")) / "ud_english_ewt"
    if not os.environ.get("UNROLLED_DATA") or not folder.is_dir():
        pytest.skip("UNROLLED_DATA names no folder with ud_english_ewt")
    train, dev = (
        [(s.tokens, s.tags[0]) for s in read_columns(folder / f"en_ewt-ud-{part}.conllu.gz")]
        for part in ("train", "dev")
    )
    model = HiddenMarkov().fit(train)
    began = time.process_time()
    right = [a == b for words, tags in dev for a, b in zip(model.predict(words), tags, strict=True)]
    assert time.process_time() - began < 20
    assert sum(right) / len(right) > 0.93
