"""Classification from files to trained models: every kind of input and answer, learnt, kept and refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classification_runs import plain, train, write

import unrolled
from unrolled.cli import main
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.tasks import OPTIONS
from unrolled.tasks.classification_options import (
    ClassificationData,
    RecurrentClassifier,
)
from unrolled.training.trainer import Trainer


def sentences(count: int, seed: int = 0) -> list[tuple[str, list[str], int]]:
    """(text, which of x, y, z it holds, how many a's it has)."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        words = rng.choice(["a", "b", "c", "x", "y", "z"], rng.integers(2, 9)).tolist()
        held = [name for name in "xyz" if name in words]
        found.append((" ".join(words), held, words.count("a")))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind, 300 examples each."""
    folder = tmp_path_factory.mktemp("data")
    rows = sentences(300)
    (folder / "one.tsv").write_text(
        "".join(f"{'with' if 'x' in h else 'no'}\t{t}\n" for t, h, _ in rows)
    )
    (folder / "several.tsv").write_text("".join(f"{t}\t{','.join(h)}\n" for t, h, _ in rows))
    (folder / "list.jsonl").write_text(
        "".join(
            json.dumps({"text": t, "label": h, "id": i}) + "\n" for i, (t, h, _) in enumerate(rows)
        )
    )
    bits = [",".join([t, *(str(int(n in h)) for n in "xyz")]) for t, h, _ in rows]
    (folder / "bits.csv").write_text("\n".join(["text,x,y,z", *bits]) + "\n")
    (folder / "number.csv").write_text("text,a\n" + "".join(f"{t},{n + 0.5}\n" for t, _, n in rows))
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, 300)
    slopes = rng.choice([-1, 1], 300)
    walks = [
        np.stack([s * np.arange(n) + rng.normal(0, 0.3, n), rng.normal(7, 2, n)], 1)
        for n, s in zip(lengths, slopes, strict=True)
    ]
    np.savez(
        folder / "walks.npz",
        values=np.concatenate(walks).astype(np.float32),
        offset=np.concatenate([[0], np.cumsum(lengths)]),
        label=np.where(slopes > 0, "up", "down"),
        slope=slopes.astype(float),
    )
    table = ["id,height,noise,way"]
    for i, (walk, slope) in enumerate(zip(walks, slopes, strict=True)):
        table += [f"s{i},{a:.6g},{b:.6g},{'up' if slope > 0 else 'down'}" for a, b in walk]
    (folder / "walks.csv").write_text("\n".join(table) + "\n")
    return folder


def one(files: Path, **options: Any) -> ClassificationData:
    return ClassificationData(
        files / "one.tsv", text=("2",), label=("1",), test_share=0.2, **options
    )


def accuracy(trained: Any, split: str = "valid") -> float:
    return float(trained.evaluate(split=split).metrics["accuracy"])


# ------------------------------------------------------------------------------------ they learn


@pytest.mark.parametrize("level", ["words", "characters", "symbols"])
@pytest.mark.parametrize("name", OPTIONS["classification"].models)
def test_one_label_of_a_text(name: str, level: Any, files: Path, tmp_path: Path) -> None:
    trained = train(tmp_path / "run", name, one(files, level=level))
    found = trained.evaluate()
    assert found.examples == 60
    assert found.metrics["accuracy"] > (0.75 if name == "markov" else 0.95)
    low, high = found.intervals["accuracy"]
    assert low <= found.metrics["accuracy"] <= high
    assert {"macro_f1", "calibration_error", "roc_area", "average_precision"} < set(found.metrics)
    assert "truth" in found.details
    stored = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert stored == json.loads(trained.evaluate(split="valid").to_json())


@pytest.mark.parametrize("name", ["recurrent", "bag-of-words"])
@pytest.mark.parametrize("kind", ["separator", "list", "bits"])
def test_several_labels(name: str, kind: str, files: Path, tmp_path: Path) -> None:
    data = {
        "separator": ClassificationData(
            files / "several.tsv", text=("1",), label=("2",), separator=",", thresholds="each"
        ),
        "list": ClassificationData(files / "list.jsonl"),
        "bits": ClassificationData(files / "bits.csv", label=("x", "y", "z")),
    }[kind]
    trained = train(tmp_path / "run", name, data, max_epochs=8)
    found = trained.evaluate(split="valid")
    assert found.metrics["micro_f1"] > 0.95
    assert {"exact_match", "macro_f1", "roc_area"} < set(found.metrics)
    assert trained.encoder.labels == ("x", "y", "z")
    assert list(trained.predict(["a x b z", "b b"])) == ["x,z", ""]
    (line,) = trained.predict(["a y"], probabilities=True)
    assert json.loads(line)["label"] == ["y"]
    if kind == "bits":
        assert trained.evaluate(files / "bits.csv").metrics["micro_f1"] > 0.95


@pytest.mark.parametrize("name", ["recurrent", "window", "bag-of-words"])
def test_a_number(name: str, files: Path, tmp_path: Path) -> None:
    data = ClassificationData(files / "number.csv", target="a")
    pooled = {
        "recurrent": RecurrentClassifier(hidden_size=12, word_size=8, dropout=0.0, pooling="last")
    }
    trained = train(tmp_path / "run", name, data, pooled.get(name), max_epochs=12)
    found = trained.evaluate(split="valid")
    assert found.metrics["r2"] > (0.6 if name == "window" else 0.85)
    assert {"mse", "mae"} < set(found.metrics)
    (line,) = trained.predict(["b b c"])
    assert abs(float(line) - 0.5) < 0.7
    with pytest.raises(ConfigError, match="--n-best"):
        trained.predict(["b"], n_best=1)


@pytest.mark.parametrize("name", ["recurrent", "window"])
@pytest.mark.parametrize("kind", ["npz", "csv", "target"])
def test_sequences_of_vectors(name: str, kind: str, files: Path, tmp_path: Path) -> None:
    data = {
        "npz": ClassificationData(files / "walks.npz", level="vectors"),
        "csv": ClassificationData(
            files / "walks.csv", level="vectors", sequence="id", label=("way",)
        ),
        "target": ClassificationData(files / "walks.npz", level="vectors", target="slope"),
    }[kind]
    trained = train(tmp_path / "run", name, data)
    found = trained.evaluate(split="valid").metrics
    assert found["r2"] > 0.7 if kind == "target" else found["accuracy"] > 0.9
    scaler = json.loads((tmp_path / "run" / "scaler.json").read_text())
    assert len(scaler["inputs"]["mean"]) == 2
    up = [[0.0, 7.0], [1.1, 6.0], [2.0, 8.0], [3.1, 7.0]]
    (plain,) = trained.predict([json.dumps(up)])
    (passed,) = trained.predict([json.dumps({"vectors": up, "id": 9})])
    assert json.loads(passed)["id"] == 9
    assert float(plain) > 0 if kind == "target" else plain == "up"
    with pytest.raises(DataError, match="no vectors"):
        list(trained.predict(["up up"]))
    with pytest.raises(DataError, match="expected 2"):
        list(trained.predict(["[[1.0, 2.0, 3.0]]"]))


# ------------------------------------------------------------------------------- lines and parts


def test_predict_answers_plain_lines_and_objects(files: Path, tmp_path: Path) -> None:
    trained = train(tmp_path / "run", "bag-of-words", one(files))
    assert list(trained.predict(["a x", "", "b"])) == ["with", "", "no"]
    assert list(trained.predict(["a x", "", "b"], batch_size=5)) == ["with", "", "no"]
    (line,) = trained.predict(["a x"], probabilities=True, n_best=2)
    answer = json.loads(line)
    assert answer["label"] == "with"
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert [entry["label"] for entry in answer["n_best"]] == ["with", "no"]
    (line,) = trained.predict(['{"text": "b", "extra": [1, {"é": null}]}'])
    assert json.loads(line) == {"text": "b", "extra": [1, {"é": None}], "label": "no"}
    with pytest.raises(DataError, match="<input>:2: no field 2 or text"):
        list(trained.predict(['{"text": "b"}', '{"txt": "b"}']))


def test_the_held_out_parts_are_raw_and_whole(files: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", "markov", one(files))
    kept = {
        name: [
            json.loads(line)
            for line in (tmp_path / "run" / f"{name}.jsonl").read_text().splitlines()
        ]
        for name in ("valid", "test")
    }
    assert [len(part) for part in kept.values()] == [24, 60]
    lines = {tuple(line.split("\t")) for line in (files / "one.tsv").read_text().splitlines()}
    assert {(e["label"], e["text"]) for part in kept.values() for e in part} <= lines
    assert not (tmp_path / "run" / "cache").exists()


def test_pretrained_vectors(files: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("x 1 0\ny 0 1\nnever 1 0\n")
    model = RecurrentClassifier(hidden_size=12, word_size=0, vectors=vectors, dropout=0.0)
    trained = train(tmp_path / "run", "recurrent", one(files), model, max_epochs=6)
    vectors.unlink()
    assert accuracy(unrolled.load(tmp_path / "run")) > 0.9
    assert list(trained.predict(["b never b"])) == ["with"]  # known by its vector alone


def test_spellings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcd"), 4)) + "sz"[i % 2] for i in range(300)]
    path = write(tmp_path / "d.tsv", [f"{'sz'.index(word[-1])}\t{word}" for word in words])
    model = RecurrentClassifier(
        hidden_size=8, word_size=0, character_size=6, character_hidden=6, dropout=0.0
    )
    trained = train(tmp_path / "run", "recurrent", plain(path), model)
    assert accuracy(trained) == 1
    assert list(trained.predict(["ddddds", "aaaaaz"])) == ["0", "1"]  # never seen


@pytest.mark.parametrize("name", OPTIONS["classification"].models)
def test_a_damaged_run_is_refused(name: str, files: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", name, one(files), max_epochs=1)
    (tmp_path / "run" / "labels.json").write_text('{"labels": ["no", "yes"]}')
    with pytest.raises(RunError, match=r"labels.json: not the one"):
        unrolled.load(tmp_path / "run")


def test_the_same_seed_gives_the_same_model(files: Path, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b", "c")]
    model = RecurrentClassifier(hidden_size=8, word_size=8, dropout=0.3, word_dropout=0.5)
    for path, seed in zip(paths, (3, 3, 4), strict=True):
        train(path, "recurrent", one(files), model, seed=seed, max_epochs=1, average=0.9)
    a, b, c = ((path / "model.safetensors").read_bytes() for path in paths)
    assert a == b
    assert a != c


def test_the_command_line(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    source = ("--data.train", str(files / "one.tsv"), "--data.text", "-1", "--data.label", "1")
    assert main(["train", "classification", "bag-of-words", *source, "--output", run]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert main(["evaluate", run, "--data.test", str(files / "one.tsv")]) == 0
    assert "truth \\ predicted" in capsys.readouterr().out
    assert main(["evaluate", run, "--data.test", str(files / "one.tsv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"model", "split", "examples", "metrics", "intervals"}
    assert found["examples"] == 300
    lines = tmp_path / "lines.txt"
    lines.write_text("a x\n\nb\n")
    assert main(["predict", run, str(lines)]) == 0
    assert capsys.readouterr().out == "with\n\nno\n"
    assert "classification" in (tmp_path / "run" / "README.md").read_text()


@pytest.mark.parametrize("interrupted_at", [3, 17, 30])
def test_an_interrupted_training_goes_on_exactly(
    interrupted_at: int, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = RecurrentClassifier(hidden_size=8, word_size=8, dropout=0.3, word_dropout=0.5)
    data = one(files)
    options = {"checkpoint_every": 5, "average": 0.9}
    train(tmp_path / "whole", "recurrent", data, model, **options)
    update = Trainer._update
    left = [interrupted_at]

    def dies(self: Trainer, group: list[Any]) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        update(self, group)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_update", dies)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", "recurrent", data, model, **options)
    train(tmp_path / "run", "recurrent", data, model, **options)
    for name in ("model.safetensors", "valid.jsonl", "evaluation.json", "labels.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_labels_unseen_in_training_are_errors(
    files: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = train(tmp_path / "run", "bag-of-words", one(files))
    test = write(tmp_path / "t.tsv", ["with\tx", "no\tb", "other\tx", "other\tb"])
    with caplog.at_level(logging.WARNING):
        found = trained.evaluate(test)
    assert found.metrics["accuracy"] == 0.5
    assert "2 of 4 examples have a label that training never saw" in caplog.text
    several = ClassificationData(files / "list.jsonl")
    trained = train(tmp_path / "several", "bag-of-words", several)
    test = write(
        tmp_path / "t.jsonl",
        ['{"text": "x", "label": ["x"]}', '{"text": "x", "label": ["x", "new"]}'],
    )
    assert trained.evaluate(test).metrics["exact_match"] == 0.5


def test_models_that_cannot_answer_say_so(files: Path, tmp_path: Path) -> None:
    several = ClassificationData(files / "list.jsonl")
    with pytest.raises(ConfigError, match="markov chooses one label"):
        train(tmp_path / "a", "markov", several)
    vectors = ClassificationData(files / "walks.npz", level="vectors")
    with pytest.raises(ConfigError, match="bag-of-words reads tokens"):
        train(tmp_path / "b", "bag-of-words", vectors)
