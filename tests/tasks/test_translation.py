"""Translation from files to lines: every model learns and answers; resume is exact; errors are plain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import unrolled
from unrolled.config import RunConfig
from unrolled.errors import ConfigError, DataError
from unrolled.tasks.translation import Translation
from unrolled.tasks.translation_options import (
    DictionaryModel,
    PhraseModel,
    RecurrentTranslator,
    RetrievalModel,
    TranslationData,
    TranslationTraining,
)
from unrolled.training.methods import TruncatedBPTT
from unrolled.training.run_directory import RunDirectory

MODELS: dict[str, Any] = {
    "recurrent": RecurrentTranslator(
        hidden_size=24, embedding_size=16, embedding_dropout=0.0, dropout=0.0
    ),
    "dictionary": DictionaryModel(),
    "phrases": PhraseModel(),
    "retrieval": RetrievalModel(),
}
WORDS = {"the": "der", "a": "ein", "cat": "kater", "dog": "hund", "sees": "sieht", "hears": "hört"}


def sentences() -> list[tuple[str, str]]:
    made = []
    for first in ("the", "a"):
        for one in ("cat", "dog"):
            for verb in ("sees", "hears"):
                for second in ("the", "a"):
                    for other in ("cat", "dog"):
                        words = [first, one, verb, second, other]
                        made.append((" ".join(words), " ".join(WORDS[w] for w in words)))
    return made


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for part, pairs in (("train", sentences() * 3), ("valid", sentences()[::3])):
        for ending, side in (("en", 0), ("de", 1)):
            text = "".join(pair[side] + "\n" for pair in pairs)
            (tmp_path / f"{part}.{ending}").write_text(text)
    return tmp_path / "train"


def options(train: Path, **changed: Any) -> TranslationData:
    given: dict[str, Any] = {"source": "en", "target": ("de",), "level": "words"}
    return TranslationData(train, train.with_name("valid"), **(given | changed))


def trained(
    output: Path,
    name: str,
    data: TranslationData,
    model: Any = None,
    precision: Any = "32",
    **training: Any,
) -> Any:
    how: dict[str, Any] = {"max_epochs": 14, "batch_size": 8, "learning_rate": 1e-2, "average": 0.0}
    chosen = TranslationTraining(**(how | training))
    config = RunConfig(
        "translation",
        name,
        data,
        model or MODELS[name],
        chosen,
        output,
        seed=0,
        precision=precision,
    )
    with RunDirectory(output).open() as run:
        run.write_text("config.toml", config.to_toml())
        Translation.train(config, run)
    return unrolled.load(output)


@pytest.mark.parametrize("name", ["recurrent", "dictionary", "phrases"])
def test_learns_and_answers_every_line(tmp_path: Path, files: Path, name: str) -> None:
    run = trained(tmp_path / "run", name, options(files))
    lines = [source for source, _ in sentences()]
    given = [*lines[:2], "", "  ", "cat cat zebra", *lines[2:], " ".join(["cat"] * 150)]
    found = list(run.predict(given, batch_size=7))
    assert len(found) == len(given)
    assert found[2] == found[3] == ""
    right = [found[0], found[1], *found[5:-1]]
    expected = [target for _, target in sentences()]
    assert sum(a == b for a, b in zip(right, expected, strict=True)) >= 30
    scores = run.evaluate(split="valid").metrics
    assert scores["bleu"] > 90
    assert scores["exact"] > 0.9


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"level": "characters"}, "--data.level characters: phrases reads words"),
        ({"target_level": "bpe", "reverse": True}, "--data.reverse: phrases reads words"),
    ],
)
def test_what_a_model_would_not_heed_is_refused(
    tmp_path: Path, files: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        trained(tmp_path / "run", "phrases", options(files, **changed))
    assert not (tmp_path / "run").exists()


def test_meteor_has_the_stems_of_the_target(tmp_path: Path, files: Path) -> None:
    run = trained(tmp_path / "run", "retrieval", options(files))
    (tmp_path / "t.en").write_text("the cat sees the dog\n")
    (tmp_path / "t.de").write_text("der katern sieht der hunden\n")
    german, english = (run.evaluate(tmp_path / "t", language=name) for name in (None, "en"))
    assert german.metrics["meteor"] > english.metrics["meteor"] > 0
    assert run.evaluate(tmp_path / "t", language="German").metrics == german.metrics
    assert "WordNet is English, not german" in german.details
    with pytest.raises(ConfigError, match="--language xx: no such stems; expected a code"):
        run.evaluate(tmp_path / "t", language="xx")
    table = "the cat\tder kater\n"
    (tmp_path / "t.tsv").write_text(table * 5)
    nameless = TranslationData(
        tmp_path / "t.tsv", source="1", target=("2",), level="words", valid_share=0.4
    )
    told = trained(tmp_path / "2", "retrieval", nameless).evaluate(split="valid")
    assert "meteor has English stems: '2' is no language; --language names one" in told.details


def test_retrieval_finds_what_it_has_seen(tmp_path: Path, files: Path) -> None:
    run = trained(tmp_path / "run", "retrieval", options(files))
    best = json.loads(next(iter(run.predict(["dog hears"], n_best=3))))
    assert len(best["n_best"]) == 3
    assert "hund hört" in best["translation"]


def test_objects_keep_their_fields_and_order_does_not_matter(tmp_path: Path, files: Path) -> None:
    run = trained(tmp_path / "run", "recurrent", options(files))
    lines = [json.dumps({"id": i, "en": s}) for i, (s, _) in enumerate(sentences())]
    alone = [json.loads(line) for line in run.predict(lines, n_best=2, beam_size=4)]
    together = [
        json.loads(line) for line in run.predict(lines, n_best=2, beam_size=4, batch_size=64)
    ]
    for number, (one, other) in enumerate(zip(alone, together, strict=True)):
        assert one["id"] == other["id"] == number
        assert one["translation"] == other["translation"]
        assert one["log_prob"] == pytest.approx(other["log_prob"], abs=1e-4)
        assert [b["score"] for b in one["n_best"]] == sorted(
            (b["score"] for b in one["n_best"]), reverse=True
        )


def test_scores_are_those_of_the_search(tmp_path: Path, files: Path) -> None:
    run = trained(tmp_path / "run", "recurrent", options(files))
    sources = [source for source, _ in sentences()][:5]
    answers = [json.loads(line) for line in run.predict(sources, n_best=1)]
    scored = run.score((s, a["translation"]) for s, a in zip(sources, answers, strict=True))
    assert list(scored) == pytest.approx([a["log_prob"] for a in answers], abs=1e-3)


@pytest.mark.parametrize(
    "changed",
    [
        {"level": "characters", "target_level": "words", "joint": False},
        {"level": "bpe", "vocabulary_size": 40, "reverse": True, "lowercase": True},
    ],
)
def test_levels(tmp_path: Path, files: Path, changed: dict[str, Any]) -> None:
    run = trained(tmp_path / "run", "recurrent", options(files, **changed), max_epochs=2)
    assert len(list(run.predict(["the cat sees a dog"]))) == 1
    assert run.evaluate(split="valid").examples == 11


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_resumed_is_uninterrupted(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    model = replace(MODELS["recurrent"], scheduled_sampling=share, sampling_steps=10)
    updates: list[int] = []
    update = TruncatedBPTT.update

    def counted(self: TruncatedBPTT, *given: Any) -> Any:
        updates[-1] += 1
        return update(self, *given)

    monkeypatch.setattr(TruncatedBPTT, "update", counted)
    updates.append(0)
    whole = trained(tmp_path / "whole", "recurrent", options(files), model, max_epochs=3)
    output = tmp_path / "parts"
    updates.append(0)
    trained(output, "recurrent", options(files), model, max_epochs=3, max_steps=7)
    (output / ".finished").unlink()
    updates.append(0)
    other = trained(output, "recurrent", options(files), model, max_epochs=3)
    assert updates == [36, 7, 29]  # it went on, and did not begin again
    pairs = zip(whole.model.model.parameters(), other.model.model.parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_half_precision(tmp_path: Path, files: Path) -> None:
    run = trained(tmp_path / "run", "recurrent", options(files), precision="bf16-mixed")
    assert run.evaluate(split="valid").metrics["bleu"] > 60


def test_what_is_wrong_is_said(tmp_path: Path, files: Path) -> None:
    (tmp_path / "odd.en").write_text("a cat\na dog\n")
    (tmp_path / "odd.de").write_text("ein kater\n")
    with pytest.raises(DataError, match=r"odd\.en.*odd\.de|odd\.de.*odd\.en"):
        trained(tmp_path / "run1", "dictionary", options(tmp_path / "odd"))
    with pytest.raises(DataError, match=r"--data\.max-length more"):
        trained(tmp_path / "run2", "recurrent", options(files, max_length=2))
    shared = RecurrentTranslator(shared=True)
    with pytest.raises(ConfigError, match="one vocabulary for both sides"):
        trained(tmp_path / "run3", "recurrent", options(files, joint=False), shared)
    run = trained(tmp_path / "run4", "dictionary", options(files))
    assert "nats" not in run.evaluate(split="valid").metrics
    with pytest.raises(ConfigError, match="has no such search"):
        run.predict(["a cat"], beam_size=3)
    with pytest.raises(ConfigError, match="no probability"):
        run.score([("a cat", "ein kater")])


def test_empty_sources_have_empty_answers(tmp_path: Path, files: Path) -> None:
    for name in ("retrieval", "recurrent"):
        run = trained(tmp_path / name, name, options(files), max_epochs=1)
        lines = ['{"en": ""}', '{"en": "a cat"}', '{"en": " "}']
        found = [json.loads(line)["translation"] for line in run.predict(lines, batch_size=3)]
        assert found[0] == found[2] == ""


def test_long_outputs_are_not_cut_before_their_limit(tmp_path: Path, files: Path) -> None:
    """Weights that never end an output: twice the source or longest target and ten more, with the ends."""
    run = trained(tmp_path / "run", "recurrent", options(files), max_epochs=1)
    with torch.no_grad():
        run.model.model.head.bias[2] = -1e4
        run.model.model.head.bias[4] = 1e3
    [found, other] = run.predict([" ".join(["cat"] * 150), "cat"])
    assert len(found.split()) == 2 * 151 + 10
    longest = max(len(target.split()) for _, target in sentences()) + 1
    assert len(other.split()) == 2 * longest + 10


def test_pairs_left_out_are_counted(
    tmp_path: Path, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "train.en").write_text("a cat sees\na dog\n")
    (tmp_path / "train.de").write_text("ein kater sieht\nein hund\n")
    trained(tmp_path / "run", "recurrent", options(files, max_length=2), max_epochs=1)
    assert "1 of 2 pairs have more than 2 symbols" in caplog.text
