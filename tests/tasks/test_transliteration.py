"""Transliteration from dictionaries and pairs: models learn, any right answer counts, errors are plain."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import torch

import unrolled
from unrolled.config import RunConfig
from unrolled.data.pronunciations import part_of
from unrolled.errors import ConfigError, DataError
from unrolled.tasks.search import Search
from unrolled.tasks.trained_transliterator import measure_words
from unrolled.tasks.translation_data import Example
from unrolled.tasks.transliteration import Transliteration
from unrolled.tasks.transliteration_data import read_words
from unrolled.tasks.transliteration_options import (
    JointNGramModel,
    NearestWordModel,
    RecurrentTransliterator,
    TransliterationData,
    TransliterationTraining,
)
from unrolled.training.methods import TruncatedBPTT
from unrolled.training.run_directory import RunDirectory

SOUNDS = {"ch": "CH", "c": "K", "h": "HH", "a": "AE", "t": "T", "o": "OW"}
MODELS: dict[str, Any] = {
    "recurrent": RecurrentTransliterator(
        hidden_size=32, embedding_size=16, embedding_dropout=0.0, dropout=0.0
    ),
    "joint-ngram": JointNGramModel(order=3),
    "retrieval": NearestWordModel(),
}


def said(word: str) -> str:
    """By a rule: CH for ch, a sound for every other letter."""
    sounds = []
    while word:
        size = 2 if word.startswith("ch") else 1
        sounds.append(SOUNDS[word[:size]])
        word = word[size:]
    return " ".join(sounds)


def words() -> list[str]:
    return ["".join(letters) for letters in itertools.product("chato", repeat=4)]


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    path = tmp_path / "dictionary.gz"
    lines = [f"{word.upper()} 1 {said(word)}1\n" for word in words()]
    lines[1:1] = [f"{words()[0].upper()} 2 {said(words()[0])} T\n"]
    path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    return path


def trained(
    output: Path, name: str, data: TransliterationData, *, seed: int = 0, **training: Any
) -> Any:
    how: dict[str, Any] = {"max_epochs": 8, "batch_size": 16, "learning_rate": 1e-2, "average": 0.0}
    chosen = TransliterationTraining(**(how | training))
    config = RunConfig(
        "transliteration", name, data, MODELS[name], chosen, output, seed=seed, precision="32"
    )
    with RunDirectory(output).open() as run:
        run.write_text("config.toml", config.to_toml())
        Transliteration.train(config, run)
    return unrolled.load(output)


@pytest.mark.parametrize("name", ["recurrent", "joint-ngram"])
def test_learns_a_rule(tmp_path: Path, dictionary: Path, name: str) -> None:
    run = trained(tmp_path / "run", name, TransliterationData(dictionary))
    scores = run.evaluate()  # words that were held out
    assert scores.split == "test"
    assert scores.examples == sum(part_of(word) == "test" for word in words()) > 40
    assert scores.metrics["wer"] < 0.1
    assert scores.metrics["per"] < 0.03
    low, high = scores.intervals["wer"]
    assert low <= scores.metrics["wer"] <= high
    assert ("nats" in scores.metrics) == (name == "recurrent")
    given = ["CHAT", "", "  cho  ", "a", "Ωжq", "chat" * 40]
    found = list(run.predict(given, batch_size=4))
    assert found[0] == said("chat")
    assert found[1] == ""
    assert found[2] == next(iter(run.predict(["cho"])))
    assert len(found) == len(given)  # letters never seen and very long words have an answer, too


def test_retrieval_finds_the_word_spelt_most_alike(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("nation N EY SH N\nstation S T EY SH N\nstare S T EH R\n")
    data = TransliterationData(path, valid_share=0.0, test_share=0.0)
    run = trained(tmp_path / "run", "retrieval", data)
    best = json.loads(next(iter(run.predict(['{"word": "Stations"}'], n_best=2))))
    assert best["word"] == "Stations"
    assert best["transliteration"] == "S T EY SH N"
    assert [answer["text"] for answer in best["n_best"]] == ["S T EY SH N", "N EY SH N"]


def test_any_right_answer_counts() -> None:
    """PER against jiwer's edits from the nearest reference; WER by hand."""
    rng = np.random.default_rng(0)
    sounds = list("abcde")
    references = [
        tuple(" ".join(rng.choice(sounds, rng.integers(1, 7))) for _ in range(rng.integers(1, 4)))
        for _ in range(60)
    ]
    outputs = [
        refs[-1] if rng.random() < 0.4 else " ".join(rng.choice(sounds, rng.integers(1, 7)))
        for refs in references
    ]
    edits = length = 0
    for output, refs in zip(outputs, references, strict=True):
        counts = []
        for ref in refs:
            made = jiwer.process_words(ref, output)
            wrong = made.substitutions + made.deletions + made.insertions
            counts.append((wrong, -len(ref.split())))
        best = min(counts)
        edits, length = edits + best[0], length - best[1]
    examples = [Example("w", refs) for refs in references]
    found = measure_words(examples, outputs).metrics()
    assert found["per"] == pytest.approx(edits / length)
    wrong_words = sum(o not in refs for o, refs in zip(outputs, references, strict=True))
    assert found["wer"] == pytest.approx(wrong_words / 60)
    assert 0.2 < found["wer"] < 0.8


def test_nats_are_of_the_likeliest_right_answer(tmp_path: Path, dictionary: Path) -> None:
    run = trained(tmp_path / "run", "recurrent", TransliterationData(dictionary), max_epochs=1)
    answers = ["T T", "CH AE T", "OW"]
    (tmp_path / "words").write_text(
        "".join(f"CHAT({k}) {each}\n" for k, each in enumerate(answers))
    )
    scored = list(run.score(("chat", each) for each in answers))
    nats, symbols = min((-s, len(a.split()) + 1) for s, a in zip(scored, answers, strict=True))
    assert run.evaluate(tmp_path / "words").metrics["nats"] == pytest.approx(nats / symbols)
    assert list(run.score([(" CHAT ", " CH AE  T")])) == pytest.approx(scored[1:2])


def test_the_parts_are_those_of_the_hash_for_every_seed(tmp_path: Path, dictionary: Path) -> None:
    data = TransliterationData(dictionary)
    parts = []
    for seed in (0, 7):
        folder = tmp_path / f"run{seed}"
        trained(folder, "joint-ngram", data, seed=seed)
        held = {n: (folder / f"{n}.jsonl").read_text().splitlines() for n in ("valid", "test")}
        parts.append({n: [json.loads(line)["source"] for line in held[n]] for n in held})
    assert parts[0] == parts[1]
    for name, held_words in parts[0].items():
        assert held_words == [w.upper() for w in words() if part_of(w) == name]


def test_files_of_their_own_leave_more_to_learn_from(tmp_path: Path, dictionary: Path) -> None:
    test = tmp_path / "test"
    test.write_text("".join(f"{word} {said(word)}\n" for word in words()[::9]))
    data = TransliterationData(dictionary, test=test, valid_share=0.2)
    run = trained(tmp_path / "run", "joint-ngram", data)
    assert run.evaluate().examples == len(words()[::9])
    expected = sum(part_of(w, valid_share=0.2, test_share=0.0) == "valid" for w in words())
    assert run.evaluate(split="valid").examples == expected


def test_several_pronunciations_are_learnt_or_the_first(tmp_path: Path, dictionary: Path) -> None:
    examples = read_words(dictionary, None)
    assert examples[0].references == (said("cccc"), said("cccc") + " T")
    learnt = Transliteration.learnt(TransliterationData(dictionary), examples)
    assert len(learnt) == len(examples) + 1
    first = TransliterationData(dictionary, learn="first")
    assert Transliteration.learnt(first, examples) == examples
    stressed = read_words(dictionary, None, stress=True)
    assert stressed[0].references[0] == said("cccc") + "1"


def test_pairs_of_two_scripts(tmp_path: Path) -> None:
    """Characters on both sides, spaces among them; lines of one source are right answers of one word."""
    letters = {"c": "ц", "h": "х", "a": "а", "t": "т", "o": "о", " ": " "}
    sources = [f"{word[:2]} {word[2:]}" for word in words()]
    rows = [(s, "".join(letters[c] for c in s)) for s in sources]
    lines = [f"{s}\t{t}\n" for s, t in rows] + [f" {rows[0][0]}\tх\n"]
    path = tmp_path / "names.txt"
    path.write_text("".join(lines), encoding="utf-8")
    data = TransliterationData(path, source="1", target=("2",), target_level="characters")
    run = trained(tmp_path / "run", "joint-ngram", data)
    assert list(run.predict(["HO ta"])) == ["хо та"]
    assert run.evaluate().metrics == {"per": 0.0, "wer": 0.0}
    both = (rows[0][1], "х")
    assert read_words(path, run.fields)[0].references == both


def test_resumed_is_uninterrupted(
    tmp_path: Path, dictionary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, done = TruncatedBPTT.update, [0]

    def counted(self: TruncatedBPTT, *given: Any) -> Any:
        done[0] += 1
        if done[0] == 31:  # 18 and 12 of the second run, whose epoch of 9 is kept
            raise KeyboardInterrupt
        return update(self, *given)

    monkeypatch.setattr(TruncatedBPTT, "update", counted)
    data = TransliterationData(dictionary)
    whole = trained(tmp_path / "whole", "recurrent", data, max_epochs=2, batch_size=64)
    assert done == [18]
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", "recurrent", data, max_epochs=2, batch_size=64)
    dictionary.unlink()  # what was prepared is enough
    other = trained(tmp_path / "parts", "recurrent", data, max_epochs=2, batch_size=64)
    assert done == [31 + 9]  # it went on, and did not begin again
    pairs = zip(whole.model.model.parameters(), other.model.model.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


@pytest.mark.parametrize(
    ("text", "named", "line"),
    [
        ("CAT 1 K AE T\nDOG 1\n", "'DOG' has no phoneme", 2),
        ("CAT K AE T\n\n;;; x\nDOG\n", "'DOG' has no phoneme", 4),
        ("", "the file is empty", None),
        (";;; only this\n\n", "no word in it", None),
        (b"CAT K AE T\nCAF\xc9 K\n", "not UTF-8", 2),
    ],
)
def test_malformed_dictionaries_are_named(
    tmp_path: Path, text: str | bytes, named: str, line: int | None
) -> None:
    path = tmp_path / "dictionary"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=named) as caught:
        trained(tmp_path / "run", "joint-ngram", TransliterationData(path))
    assert str(path) + (f":{line}" if line else "") in str(caught.value)


def test_what_is_wrong_is_said(tmp_path: Path, dictionary: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("cat\tK AE T\n \tD\n")
    fields: dict[str, Any] = {"source": "1", "target": ("2",)}
    with pytest.raises(DataError, match=r"pairs\.tsv:2: the source is empty"):
        trained(tmp_path / "run1", "joint-ngram", TransliterationData(pairs, **fields))
    with pytest.raises(ConfigError, match=r"--data\.source NAME --data\.target NAME"):
        TransliterationData(pairs)
    with pytest.raises(ConfigError, match=r"need --data\.target, too"):
        TransliterationData(pairs, source="1")
    with pytest.raises(ConfigError, match=r"--data\.stress is of pronouncing dictionaries"):
        TransliterationData(pairs, stress=True, **fields)
    run = trained(tmp_path / "run2", "joint-ngram", TransliterationData(dictionary))
    with pytest.raises(ConfigError, match="no probability"):
        run.score([("cat", "K AE T")])
    with pytest.raises(ConfigError, match="--beam-size"):
        run.predict(["cat"], beam_size=3)


def test_nothing_left_to_learn_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "one"
    path.write_text("natural N AE CH R AH L\n")  # of the test part
    with pytest.raises(DataError, match="no word is left to learn from"):
        trained(tmp_path / "run1", "joint-ngram", TransliterationData(path))
    data = TransliterationData(path, test_share=0.0)
    trained(tmp_path / "run2", "joint-ngram", data)
    assert "none of its words falls to the valid part" in caplog.text


def test_a_network_never_says_nothing(tmp_path: Path, dictionary: Path) -> None:
    data = TransliterationData(dictionary)
    run = trained(tmp_path / "run", "recurrent", data, max_epochs=1, learning_rate=1e-6)
    with torch.no_grad():
        run.model.model.head.bias[2] = 10.0  # the end
    assert all(run.predict(["cat", "ωω"]))
    assert run.evaluate().search.endswith("min-length 1")
    assert "min-length" not in run.evaluate(search=Search(max_length=1)).search


def test_batching_changes_nothing(tmp_path: Path, dictionary: Path) -> None:
    run = trained(tmp_path / "run", "recurrent", TransliterationData(dictionary), max_epochs=2)
    given = [*words()[::40], "ch" * 20]
    alone = [json.loads(line) for line in run.predict(given, n_best=3)]
    together = [json.loads(line) for line in run.predict(given, n_best=3, batch_size=64)]
    for one, other in zip(alone, together, strict=True):
        assert one["transliteration"] == other["transliteration"]
        assert one["log_prob"] == pytest.approx(other["log_prob"], abs=1e-4)
