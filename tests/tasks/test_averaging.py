"""Runs of the mean of checkpoints, of every task that trains: they load, measure, and are what they say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import unrolled
from unrolled.cli import main
from unrolled.errors import ConfigError, RunError
from unrolled.tasks.averaging import average
from unrolled.training.checkpoint_average import kept_weights
from unrolled.training.run_directory import RunDirectory

WORDS = ("the", "cat", "saw", "a", "dog", "and", "the", "dog", "saw", "a", "cat")
LINES = [" ".join(WORDS[i % 7 : i % 7 + 5 + i % 4]) for i in range(60)]
TABLES: dict[str, str] = {
    "lines": "".join(f"{line}\n" for line in LINES),
    "pairs.tsv": "".join(f"{line}\t{line.upper()}\n" for line in LINES),
    "tags.txt": "".join(
        "".join(f"{word}\t{'DT' if word in ('the', 'a') else 'X'}\n" for word in line.split())
        + "\n"
        for line in LINES
    ),
    "labels.jsonl": "".join(
        json.dumps({"text": line, "labels": sorted(set(line.split()) & {"cat", "dog"})}) + "\n"
        for line in LINES
    ),
}
SIZES = ["--model.hidden-size", 8]
TASKS: dict[str, list[Any]] = {
    "language-modelling": ["lines", *SIZES, "--data.level", "words", "--training.window", 8],
    "translation": [
        *("pairs.tsv", "--data.source", 1, "--data.target", 2, "--data.level", "words"),
        *(*SIZES, "--model.embedding-size", 8),
    ],
    "tagging": ["tags.txt", *SIZES],
    "classification": ["labels.jsonl", *SIZES, "--data.text", "text", "--data.label", "labels"],
    "embeddings": ["lines", "--model.size", 8, "--data.min-count", 1, "--model.window", 2],
}
FEW = ["--training.max-epochs", 3, "--training.checkpoint-every", 3]


def train(folder: Path, task: str, *more: Any) -> Path:
    name, *options = TASKS[task]
    (folder / name).write_text(TABLES[name])
    run = folder / "run"
    shares = [] if task == "embeddings" else ["--data.valid-share", 0.2]
    size = ["--training.batch-size", 128 if task == "embeddings" else 16]
    given = [task, "--data.train", folder / name, "--output", run, *options, *shares, *FEW, *size]
    given += more
    assert main(["train", *map(str, given)]) == 0
    return run


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_means(tmp_path: Path, task: str) -> None:
    run = train(tmp_path, task, "--training.keep", 3)
    before = sorted(path.name for path in run.iterdir())
    steps = average(run, tmp_path / "mean")
    assert steps == RunDirectory(run).checkpoints.steps()[-3:]
    assert before == sorted(path.name for path in run.iterdir())
    description, tensors = RunDirectory(tmp_path / "mean").read_model()
    assert description["averaged_steps"] == ", ".join(map(str, steps))
    own, had = RunDirectory(run).read_model()
    assert {n: t.shape for n, t in tensors.items()} == {n: t.shape for n, t in had.items()}
    if task != "embeddings":
        kept = [kept_weights(RunDirectory(run).checkpoints, step) for step in steps]
        for name, tensor in tensors.items():
            mean = torch.stack([weights[name].double() for weights in kept]).mean(0)
            torch.testing.assert_close(tensor, mean.to(tensor.dtype))
        found = unrolled.load(tmp_path / "mean").evaluate(split="valid")
        stored = json.loads((tmp_path / "mean" / "evaluation.json").read_text())
        assert stored == json.loads(found.to_json())
    assert own.keys() | {"averaged_steps"} == description.keys()
    shutil.rmtree(run)  # nothing but the new run is needed
    assert len(list(unrolled.load(tmp_path / "mean").predict(["the cat saw"]))) == 1
    assert RunDirectory(tmp_path / "mean").status == "finished"


def test_equal_checkpoints_give_each(tmp_path: Path) -> None:
    """Without learning all checkpoints are alike, and so is their mean; so for vectors of words."""
    for task in ("language-modelling", "embeddings"):
        folder = tmp_path / task
        folder.mkdir()
        run = train(folder, task, "--training.keep", 4)
        checkpoints = RunDirectory(run).checkpoints
        last = checkpoints.steps()[-1]
        for step in checkpoints.steps()[:-1]:
            checkpoints.save(step, checkpoints.read(last), keep=9, best=None)
        average(run, folder / "mean", last=3)
        tensors = RunDirectory(folder / "mean").read_model()[1]
        weights = kept_weights(checkpoints, last)
        if task == "embeddings":
            own = RunDirectory(run).read_model()[1]
            assert torch.equal(tensors["vectors"], own["vectors"])
            assert (folder / "mean" / "vectors.txt").read_bytes() == (
                run / "vectors.txt"
            ).read_bytes()
        else:
            assert all(torch.equal(tensors[name], weights[name]) for name in weights)


def test_what_cannot_be_averaged_is_refused(tmp_path: Path) -> None:
    run = train(tmp_path, "tagging", "--training.keep", 2)
    with pytest.raises(
        ConfigError, match=r"has kept 2 checkpoints .* 3 are to be averaged; train with"
    ):
        average(run, tmp_path / "mean", last=3)
    with pytest.raises(ConfigError, match="--last 1: expected 2 or more"):
        average(run, tmp_path / "mean", last=1)
    with pytest.raises(ConfigError, match="is the run itself"):
        average(run, tmp_path / "x" / ".." / "run", overwrite=True)
    assert not (tmp_path / "mean").exists()
    average(run, tmp_path / "mean")
    with pytest.raises(RunError, match="holds a finished run"):
        average(run, tmp_path / "mean")
    average(run, tmp_path / "mean", overwrite=True)
    with pytest.raises(ConfigError, match="has kept 0 checkpoints"):
        average(tmp_path / "mean", tmp_path / "again")
    with pytest.raises(RunError, match="no such file"):
        average(tmp_path / "none", tmp_path / "again")
    other = RunDirectory(run).checkpoints
    files = other.read(other.steps()[-1])
    cut = unrolled.load(tmp_path / "mean")
    assert cut.description["averaged_steps"]
    RunDirectory(run).checkpoints.save(
        999, {**files, "weights.safetensors": b"?"}, keep=2, best=None
    )
    with pytest.raises(RunError, match=r"step-999/weights\.safetensors: truncated or altered"):
        average(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_one_checkpoint_is_too_few(tmp_path: Path) -> None:
    run = train(tmp_path, "tagging")
    with pytest.raises(ConfigError, match=r"has kept 1 checkpoint .*--training\.keep 5"):
        average(run, tmp_path / "mean")


def test_language_models_average_too(tmp_path: Path) -> None:
    """Several runs as one: with itself a model says what it says alone."""
    run = unrolled.load(train(tmp_path, "language-modelling"))
    twice = run.ensemble([run])
    assert list(twice.score(LINES[:5])) == pytest.approx(list(run.score(LINES[:5])), abs=1e-4)
    texts = ["".join(each.generate(length=20, seed=1)) for each in (run, twice)]
    assert texts[0] == texts[1]
    assert twice.evaluate(split="valid").model == "recurrent, 2 runs"
    (tmp_path / "other").mkdir()
    other = unrolled.load(train(tmp_path / "other", "translation"))
    with pytest.raises(ConfigError, match="a model of translation is not averaged with one of"):
        run.ensemble([other])
    with pytest.raises(ConfigError, match="recurrent of language-modelling is not averaged"):
        other.ensemble([run])
