"""Language modelling from a text file to a trained model that scores, samples and resumes."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import unrolled
from unrolled.config import RunConfig
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.tasks import OPTIONS, TASKS
from unrolled.tasks import language_modelling_options as lm
from unrolled.tasks.corpus import prepare, prepared
from unrolled.tasks.language_modelling import LanguageModelling
from unrolled.training.config import TrainingConfig
from unrolled.training.run_directory import RunDirectory

TEXT = "".join(f"the cat {verb} on mat {i % 7}\n" for i in range(60) for verb in ("sat", "ran"))
SMALL = {"max_epochs": 2, "batch_size": 4, "window": 16, "learning_rate": 0.01}


def train(output: Path, name: str, model, data, **training) -> Path:  # type: ignore[no-untyped-def]
    config = RunConfig(
        "language-modelling", name, data, model, TrainingConfig(**{**SMALL, **training}), output
    )
    with RunDirectory(output).open() as run:
        run.write_text("config.toml", config.to_toml())
        LanguageModelling.train(config, run)
    return output


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def runs(corpus: Path, tmp_path_factory) -> dict[str, Path]:  # type: ignore[no-untyped-def]
    """One small run of every model of the task."""
    folder = tmp_path_factory.mktemp("runs")
    data = lm.LanguageData(train=corpus, valid_share=0.1, test_share=0.2)
    options = {
        "recurrent": lm.RecurrentModel(hidden_size=16, tied=True, dropout=0.1, num_layers=2),
        "markov": lm.MarkovModel(order=2),
        "kneser-ney": lm.KneserNeyModel(order=3),
    }
    made = {name: train(folder / name, name, model, data) for name, model in options.items()}
    members = (made["recurrent"], made["kneser-ney"])
    made["mixture"] = train(folder / "mixture", "mixture", lm.MixtureModel(members), data)
    return made


models = pytest.mark.parametrize("name", OPTIONS["language-modelling"].models)


@models
def test_a_run_holds_everything_its_use_needs(name: str, runs, tmp_path) -> None:  # type: ignore[no-untyped-def]
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in runs[name].rglob("*"):  # nothing but the run directory, under another name
        if path.is_file():
            target = moved / path.relative_to(runs[name])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    trained = unrolled.load(moved)
    evaluation = trained.evaluate(split="valid")
    stored = json.loads((moved / "evaluation.json").read_text())
    assert stored == json.loads(evaluation.to_json())
    assert evaluation.model == name
    assert trained.evaluate().examples == len(TEXT) - int(len(TEXT) * 0.8)
    assert evaluation.metrics["perplexity"] == pytest.approx(math.exp(evaluation.metrics["nats"]))
    assert evaluation.metrics["bits"] == pytest.approx(evaluation.metrics["nats"] / math.log(2))
    low, high = evaluation.intervals["nats"]
    assert low <= evaluation.metrics["nats"] <= high
    assert name in (moved / "README.md").read_text()
    assert not (moved / "cache").exists()


@models
def test_scores_do_not_depend_on_how_they_are_asked_for(name: str, runs) -> None:  # type: ignore[no-untyped-def]
    trained = unrolled.load(runs[name])
    lines = ["the cat sat", "", "on the mat"]
    found = trained.log_probabilities(lines)
    ids = trained.vocabulary.encode("".join(line + "\n" for line in lines))
    session = trained.session()
    previous = None
    for i, expected in zip(ids, found, strict=True):
        log_probs = session.step(previous)
        assert log_probs[0, i].item() == pytest.approx(expected, abs=1e-4)
        previous = torch.tensor([i])
    total, count, text = next(trained.predict(["the cat sat"])).split("\t")
    assert (int(count), text) == (12, "the cat sat")
    assert float(total) == pytest.approx(trained.log_probabilities(["the cat sat"]).sum(), abs=1e-3)


@models
def test_sampling_is_repeatable_and_knows_no_unknown(name: str, runs) -> None:  # type: ignore[no-untyped-def]
    trained = unrolled.load(runs[name])
    text = "".join(trained.generate(prompt="the ", length=60, seed=3))
    assert len(text) == 60
    assert text == "".join(trained.generate(prompt="the ", length=60, seed=3))
    assert "<unk>" not in text
    greedy = "".join(trained.generate(length=5, temperature=0, seed=1))
    assert greedy == "".join(trained.generate(length=5, top_k=1, seed=2))


def test_the_mixture_is_at_least_as_likely_as_its_members_where_it_was_fitted(runs) -> None:  # type: ignore[no-untyped-def]
    nats = {
        name: unrolled.load(runs[name]).evaluate(split="valid").metrics["nats"]
        for name in ("recurrent", "kneser-ney", "mixture")
    }
    assert nats["mixture"] <= min(nats["recurrent"], nats["kneser-ney"]) + 1e-6


def test_the_vocabulary_is_fitted_on_the_training_part_alone(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.txt"
    path.write_text("a" * 80 + "b" * 9 + "z" * 10)  # the file's end is one line end more
    data = lm.LanguageData(train=path, valid_share=0.1, test_share=0.11)
    prepare(data, tmp_path)
    found = prepared(data, tmp_path)
    assert "a" in found.vocabulary
    assert "z" not in found.vocabulary
    assert found.test is not None
    assert found.test.unknown == len(found.test) - 1
    assert len(found.train) + len(found.valid or ()) + len(found.test) == 100


def test_words_and_unseen_words(tmp_path) -> None:  # type: ignore[no-untyped-def]
    train_file, test_file = tmp_path / "train.txt.gz", tmp_path / "test.txt"
    train_file.write_bytes(gzip.compress(("the cat sat\n" * 30 + "the dog ran\r\n").encode()))
    test_file.write_text("the zebra sat\n\ncat")
    data = lm.LanguageData(
        train=train_file, test=test_file, level="words", vocabulary_size=3, valid_share=0.1
    )
    run = train(tmp_path / "run", "recurrent", lm.RecurrentModel(hidden_size=8), data)
    trained = unrolled.load(run)
    assert trained.vocabulary.symbols[0] == "<unk>"
    evaluation = trained.evaluate()
    assert evaluation.examples == 7  # the <unk> sat <eos> <eos> cat <eos>
    assert evaluation.metrics["unknown"] == pytest.approx(1 / 7)
    assert unrolled.load(run).evaluate(test_file).metrics == evaluation.metrics
    assert "".join(trained.generate(length=20, seed=0)).strip()


@pytest.mark.parametrize(
    "text", ["a\nb\nc\n", "ab", "\n\n\n", "x" * 100_000, "one\rtwo\r\nthree\n"]
)
def test_odd_texts_train(text: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.txt"
    path.write_bytes(text.encode())
    data = lm.LanguageData(train=path, valid_share=0.0)
    run = train(tmp_path / "run", "recurrent", lm.RecurrentModel(hidden_size=4), data, max_steps=3)
    assert np.isfinite(unrolled.load(run).log_probabilities(["ab"])).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"ok\nbad \xff\n", r"t\.txt:2: .*UTF-8"), (b"a", "at least 2|training part")],
)
def test_bad_texts_are_refused(content: bytes, message: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    data = lm.LanguageData(train=path, valid_share=0.5)
    with pytest.raises(DataError, match=message):
        train(tmp_path / "run", "markov", lm.MarkovModel(), data)
    assert not (tmp_path / "run").exists()


def test_bad_models_are_refused(corpus: Path, tmp_path, runs) -> None:  # type: ignore[no-untyped-def]
    data = lm.LanguageData(train=corpus)
    with pytest.raises(ConfigError, match="no cell 'lsmt'"):
        train(tmp_path / "a", "recurrent", lm.RecurrentModel(cell="lsmt"), data)
    words = lm.LanguageData(train=corpus, level="words")
    members = lm.MixtureModel((runs["markov"], runs["kneser-ney"]))
    with pytest.raises(ConfigError, match="trained with other data"):
        train(tmp_path / "b", "mixture", members, words)
    with pytest.raises(RunError, match="expected the directory of a trained run"):
        unrolled.load(tmp_path / "absent")
    whole = train(tmp_path / "c", "markov", lm.MarkovModel(), data)
    with pytest.raises(ConfigError, match="holds out no test part"):
        unrolled.load(whole).evaluate()


def test_a_model_file_of_other_sizes_is_refused(runs, tmp_path) -> None:  # type: ignore[no-untyped-def]
    description, tensors = RunDirectory(runs["recurrent"]).read_model()
    description["sizes"]["num_layers"] = 3
    with RunDirectory(tmp_path / "run").open() as run:
        run.write_model(tensors, description)
        vocabulary = (runs["recurrent"] / "vocabulary.json").read_text()
        run.write_text("vocabulary.json", vocabulary)
    with pytest.raises(RunError, match="holds another model"):
        unrolled.load(run.path)
    altered = (run.path / "model.json").read_text().replace("characters", "words")
    (run.path / "model.json").write_text(altered)
    with pytest.raises(RunError, match="altered"):
        unrolled.load(run.path)


def test_generating_checks_at_the_call_and_leaves_autograd_alone(runs) -> None:  # type: ignore[no-untyped-def]
    trained = unrolled.load(runs["recurrent"])
    with pytest.raises(ConfigError, match="temperature"):
        trained.generate(temperature=-1.0)
    pieces = trained.generate(length=5, seed=0)
    next(pieces)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("build", "flag"),
    [
        (lambda: lm.LanguageData(train=Path("x"), valid_share=1.0), "--data.valid-share"),
        (lambda: lm.LanguageData(train=Path("x"), min_count=0), "--data.min-count"),
        (lambda: lm.RecurrentModel(dropout=1.5), "--model.dropout"),
        (lambda: lm.RecurrentModel(recurrent_dropout=1.0), "--model.recurrent-dropout"),
        (lambda: lm.RecurrentModel(weight_dropout=-0.1), "--model.weight-dropout"),
        (lambda: lm.RecurrentModel(hidden_size=0), "--model.hidden-size"),
        (lambda: lm.MixtureModel(()), "--model.runs"),
    ],
)
def test_options_out_of_range_name_themselves(build, flag: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=flag):
        build()


def test_tables_agree() -> None:
    assert TASKS.keys() == OPTIONS.keys()
