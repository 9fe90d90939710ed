"""Word vectors from text to run directory: learnt, measured, asked, continued, refused."""

from __future__ import annotations

import gzip
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from unrolled.cli import main
from unrolled.config import RunConfig
from unrolled.data.cooccurrence import EntryLoader
from unrolled.data.vectors import read_vectors
from unrolled.data.windows import WindowLoader
from unrolled.errors import ConfigError, DataError, RunError, TrainingError
from unrolled.models.word_vectors import SkipGram
from unrolled.tasks import OPTIONS
from unrolled.tasks.embeddings import Embeddings
from unrolled.tasks.embeddings_options import EmbeddingsData, EmbeddingsTraining
from unrolled.training.live import Outcome
from unrolled.training.run_directory import RunDirectory

MODELS = tuple(OPTIONS["embeddings"].models)
TOPICS = (
    "Cat dog cow hen pig fox",
    "red blue green pink grey brown",
    "one two three four five six",
)


def plain(count: int, seed: int = 0) -> str:
    """Sentences of one topic each, between words that are everywhere."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        words = rng.choice(TOPICS[rng.integers(3)].split(), 6)
        lines.append(" ".join(rng.permutation([*words, "the", "of"])))
    return "\n".join(lines) + "\nrare\n\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text(plain(400))
    (folder / "pairs.txt").write_text(
        "word\tword\tscore\ncat\tDog\t9\nred\tblue\t9\none\tsix\t9\ncat\tred\t1\n"
        "two\tpig\t1\nfox\tunicorn\t5\ngreen\tfour\t1\n"
    )
    (folder / "analogies.txt").write_text(
        ": capital\ncat dog cat cow\n: gram1\nred blue red pink\nred blue one unicorn\n"
    )
    return folder


def train(output: Path, files: Path, name: str, **changed: Any) -> Outcome:
    """One call, as the command makes it."""
    seed = changed.pop("seed", 0)
    data = {"train": files / "text.txt", **changed.pop("data", {})}
    training = {"max_epochs": 8, "batch_size": 256, **changed.pop("training", {})}
    run_options = {key: changed.pop(key) for key in ("precision", "device") if key in changed}
    options = {"size": 16, "window": 4, **changed}
    if name in ("skip-gram", "cbow"):
        options = {"subsample": 0.0, **options}
    model = OPTIONS["embeddings"].models[name](**options)
    config = RunConfig(
        "embeddings",
        name,
        EmbeddingsData(**data),
        model,
        EmbeddingsTraining(**training),
        output,
        seed=seed,
        **run_options,
    )
    with RunDirectory(output).open() as run:
        run.write_text("config.toml", config.to_toml())
        return Embeddings.train(config, run)


@pytest.mark.parametrize("name", MODELS)
def test_learns_what_stands_together(tmp_path: Path, files: Path, name: str) -> None:
    epochs = 40 if name == "glove" else 20
    data = {"valid": files / "pairs.txt", "test": files / "analogies.txt"}
    train(tmp_path / "run", files, name, data=data, training={"max_epochs": epochs})
    trained = unrolled.load(tmp_path / "run")
    found = trained.evaluate(split="valid")
    assert found.metrics["spearman"] > 0.87  # the most that there can be with such ties is 0.878
    assert found.metrics["coverage"] == pytest.approx(6 / 7)
    assert found.examples == 6
    [line] = trained.predict(["CAT"])
    assert set(line.split()[:5]) == {"dog", "cow", "hen", "pig", "fox"}
    tested = trained.evaluate()
    assert tested.examples == 2
    assert tested.metrics["coverage"] == pytest.approx(2 / 3)
    assert {"accuracy_mul", "accuracy:capital", "accuracy_mul:gram1"} < tested.metrics.keys()


def test_run_directory_has_all_that_is_needed(tmp_path: Path, files: Path) -> None:
    run = tmp_path / "run"
    train(run, files, "skip-gram", data={"valid": files / "pairs.txt"})
    names = {entry.name for entry in run.iterdir()}
    assert {"config.toml", "model.json", "model.safetensors", "vocabulary.json"} < names
    assert {"metrics.jsonl", "evaluation.json", "README.md", "vectors.txt"} < names
    assert "cache" not in names
    words, vectors = read_vectors(run / "vectors.txt")
    trained = unrolled.load(run)
    assert words == list(trained.space.words)  # type: ignore[attr-defined]
    assert len(words) == 20
    assert not {"rare", "<unk>", "<eos>"} & set(words)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(units, trained.space.units, atol=1e-5)  # type: ignore[attr-defined]
    assert json.loads((run / "evaluation.json").read_text())["metrics"]["coverage"] > 0.8
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["tokens"] > 0
    (run / "vocabulary.json").write_text(
        (run / "vocabulary.json").read_text().replace("cat", "car")
    )
    with pytest.raises(RunError, match="not the one"):
        unrolled.load(run)


def test_vectors_go_into_tagging_and_classification(tmp_path: Path, files: Path) -> None:
    run = tmp_path / "vectors"
    train(run, files, "cbow")
    (tmp_path / "tags.txt").write_text("Cat A\nred B\n\ndog A\nblue B\n\n" * 8)
    (tmp_path / "labels.tsv").write_text("animal\tcat hen\ncolour\tred pink\n" * 12)
    short = ["--training.max-epochs", "1", "--model.vectors", str(run / "vectors.txt")]
    short += ["--model.hidden-size", "8", "--model.word-size", "8", "--model.character-hidden", "0"]
    for task, name in (("tagging", "tags.txt"), ("classification", "labels.tsv")):
        given = ["--data.train", str(tmp_path / name), "--output", str(tmp_path / task)]
        columns = ["--data.label", "1", "--data.text", "2"] if task == "classification" else []
        assert main(["train", task, *given, *columns, *short]) == 0
        assert list(unrolled.load(tmp_path / task).predict(["fox grey"]))


def test_predict(tmp_path: Path, files: Path) -> None:
    train(tmp_path / "run", files, "ppmi-svd")
    trained = unrolled.load(tmp_path / "run")
    lines = list(trained.predict(["cat", "", "unicorn", " Red ", "two words"], batch_size=3))
    assert [bool(line) for line in lines] == [True, False, True, True, True]
    assert len(lines[0].split()) == 10
    assert lines[2] == lines[4] == "-"
    [line] = trained.predict(['{"word": "cat", "id": 7}'], n_best=2)
    found = json.loads(line)
    assert found["id"] == 7
    assert len(found["neighbours"]) == 2
    assert found["neighbours"][0]["cosine"] >= found["neighbours"][1]["cosine"]
    [line] = trained.predict(["unicorn"], n_best=2)
    assert json.loads(line) == {"word": "unicorn", "neighbours": None}
    with pytest.raises(ConfigError, match="--probabilities"):
        trained.predict(["cat"], probabilities=True)
    with pytest.raises(DataError, match="field word"):
        list(trained.predict(['{"text": "cat"}']))
    with pytest.raises(ConfigError, match="holds out no test part"):
        trained.evaluate()


@pytest.mark.parametrize("name", ["skip-gram", "cbow", "glove"])
def test_stopping_changes_nothing(
    tmp_path: Path, files: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"training": {"max_epochs": 3, "checkpoint_every": 5}}
    if name != "glove":
        options["subsample"] = 0.05
    whole = train(tmp_path / "whole", files, name, **options)
    loader = EntryLoader if name == "glove" else WindowLoader
    plain_iteration = loader.__iter__

    def stopping(self: Any) -> Any:
        for number, batch in enumerate(plain_iteration(self)):
            if number == 6:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    monkeypatch.setattr(loader, "__iter__", stopping)
    for _ in range(60):
        outcome = train(tmp_path / "pieces", files, name, **options)
        if not outcome.interrupted:
            break
    assert outcome == whole
    weights = "model.safetensors"
    assert (tmp_path / "whole" / weights).read_bytes() == (
        tmp_path / "pieces" / weights
    ).read_bytes()
    one, other = (
        [
            {key: value for key, value in json.loads(line).items() if "second" not in key}
            for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        ]
        for run in ("whole", "pieces")
    )
    assert one == other


def test_seeds_differ_and_repeat(tmp_path: Path, files: Path) -> None:
    for run, seed in (("a", 0), ("again", 0), ("b", 1)):
        train(tmp_path / run, files, "skip-gram", seed=seed, training={"max_epochs": 1})
    one, again, other = (
        (tmp_path / run / "vectors.txt").read_bytes() for run in ("a", "again", "b")
    )
    assert one == again != other


def test_limits_of_time_and_steps(tmp_path: Path, files: Path) -> None:
    outcome = train(tmp_path / "steps", files, "skip-gram", training={"max_steps": 3})
    assert (outcome.steps, outcome.reason) == (3, "max-steps")
    outcome = train(tmp_path / "time", files, "cbow", training={"max_minutes": 1e-9})
    assert outcome.reason == "max-minutes"


@pytest.mark.parametrize("name", ["skip-gram", "glove"])
def test_not_finite_stops(tmp_path: Path, files: Path, name: str) -> None:
    with pytest.raises(TrainingError, match=r"not finite.*learning-rate") as caught:
        train(tmp_path / "run", files, name, training={"learning_rate": 1e38})
    assert "gradient-clip" not in str(caught.value)
    assert not (tmp_path / "run" / "model.json").exists()


def test_gzip_and_case(tmp_path: Path, files: Path) -> None:
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress(plain(50).encode()))
    data = {"train": tmp_path / "text.txt.gz", "lowercase": False}
    train(tmp_path / "run", files, "ppmi-svd", data=data)
    trained = unrolled.load(tmp_path / "run")
    assert list(trained.predict(["cat"])) == ["-"]
    assert list(trained.predict(["Cat"])) != ["-"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "empty"),
        (b"a b c d\n", "no word occurs 5 times"),
        (b"word\n" * 9, "two words"),
        (b"ok ok\n\xff\xfe\n", "not UTF-8"),
        (b"\n \n\t\n", "no word occurs"),
    ],
)
def test_texts_that_cannot_be_learnt(tmp_path: Path, files: Path, text: bytes, told: str) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_bytes(text)
    with pytest.raises(DataError, match=told) as caught:
        train(tmp_path / "run", files, "skip-gram", data={"train": bad})
    assert str(bad) in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_marks_in_a_text_are_marks(tmp_path: Path, files: Path) -> None:
    (tmp_path / "marks.txt").write_text("a <unk> b <eos> c d\n" * 9)
    train(tmp_path / "run", files, "ppmi-svd", data={"train": tmp_path / "marks.txt"}, size=2)
    words, _ = read_vectors(tmp_path / "run" / "vectors.txt")
    assert set(words) == {"a", "b", "c", "d"}


@pytest.mark.parametrize(
    ("name", "flag", "value"),
    [
        ("skip-gram", "--model.size", "0"),
        ("skip-gram", "--model.subsample", "1"),
        ("cbow", "--model.negative", "0"),
        ("glove", "--model.x-max", "0"),
        ("glove", "--model.alpha", "2"),
        ("ppmi-svd", "--model.power", "-1"),
        ("ppmi-svd", "--model.negative", "0.5"),
        ("skip-gram", "--data.min-count", "0"),
        ("skip-gram", "--training.max-epochs", "0"),
        ("skip-gram", "--training.learning-rate", "-1"),
        ("skip-gram", "--training.batch-size", "0"),
        ("skip-gram", "--precision", "bf16-mixed"),
    ],
)
def test_options_out_of_range(
    tmp_path: Path,
    files: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    flag: str,
    value: str,
) -> None:
    given = ["--data.train", str(files / "text.txt"), "--output", str(tmp_path / "run")]
    assert main(["train", "embeddings", name, *given, f"{flag}={value}"]) == 1
    assert flag in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unrolled.training.distributed import Workers

    both = Workers(rank=0, size=2, device=torch.device("cpu"))
    monkeypatch.setattr(Workers, "join", classmethod(lambda cls, device: both))
    with pytest.raises(ConfigError, match="one process"):
        train(tmp_path / "run", files, "ppmi-svd")


def test_a_size_that_fits_no_memory_is_refused(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **options: Any) -> None:
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(SkipGram, "__init__", fail)
    with pytest.raises(ConfigError, match="no memory"):
        train(tmp_path / "run", files, "skip-gram")
