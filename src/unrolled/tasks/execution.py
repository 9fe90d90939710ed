"""Learning to execute: read a program, a sum or digits, and write what it prints (Zaremba & Sutskever 2014).

The examples are generated while a network learns, and none comes twice; see :mod:`unrolled.data.execution`.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrolled.baselines import KneserNey
from unrolled.config import RunConfig
from unrolled.data.execution import Example, ExampleLoader, distinct
from unrolled.models.reader import Reader
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks import parts
from unrolled.tasks.execution_data import CHARACTERS, Characters, from_json, generator, to_json
from unrolled.tasks.execution_models import Network, made
from unrolled.tasks.trained_execution import TASK, TrainedExecutor
from unrolled.training.distributed import Workers
from unrolled.training.live import Outcome
from unrolled.training.run_directory import RunDirectory
from unrolled.training.trainer import Trainer

_LOG = logging.getLogger("unrolled.tasks")
USE = ("evaluate {run}", "predict {run} < FILE")


class Execution:
    """The task: see :mod:`unrolled.tasks.execution`."""

    @staticmethod
    def train(config: RunConfig, run: RunDirectory) -> Outcome:
        """Trains (or counts) the model that ``config`` names, into an open run directory."""
        workers = Workers.join(config.device)
        if workers.rank == 0:
            _prepare(config, run.path)
        workers.agree(0)  # the others wait here for the files
        if config.model_name == "ngram":
            outcome = Outcome(steps=0, epochs=0, reason="counted", best=None)
            if run.writer:
                _count(config, run)
        else:
            outcome = _train(config, run, workers)
        if not outcome.interrupted and run.writer:
            parts.finish(config, run, TrainedExecutor, unit="examples", commands=USE)
        return outcome

    @staticmethod
    def load(path: str | PathLike[str]) -> TrainedExecutor:
        """The trained model of a run directory."""
        return TrainedExecutor(path)


def _prepare(config: RunConfig, folder: Path) -> None:
    """Writes the held-out parts, the same for every seed, and the characters."""
    data = config.data
    if (folder / CHARACTERS).exists():
        return
    cache = folder / "cache"
    cache.mkdir(exist_ok=True)
    for part, count in (("valid", data.valid_examples), ("test", data.test_examples)):
        if not count:
            continue
        found = distinct(generator(data, part), count)
        if len(found) < count:
            _LOG.warning(
                "the %s part has %d examples, not %d: there are no more texts",
                part,
                len(found),
                count,
            )
        parts.write_examples(cache / f"{part}.jsonl", map(to_json, found))
    Characters.of(data).vocabulary.save(folder / CHARACTERS)  # last: it says that all are there


def _held(folder: Path) -> list[Example] | None:
    """The validation part; None if there is none."""
    path = folder / "cache" / "valid.jsonl"
    return [from_json(e) for e in parts.read_examples(path)] if path.exists() else None


def _description(config: RunConfig, run: RunDirectory) -> dict[str, Any]:
    """What every model's ``model.json`` says."""
    data = config.data
    return {
        "task": TASK,
        "kind": config.model_name,
        "examples": data.train,
        "reverse": data.reverse,
        "double": data.double,
        "reverse_target": data.reverse_target,
        "files": parts.digests(run.path, (CHARACTERS,)),
    }


def _train(config: RunConfig, run: RunDirectory, workers: Workers) -> Outcome:
    torch.manual_seed(config.seed)
    training = config.training
    characters = Characters.of(config.data)
    model: Reader | Seq2Seq = parts.build(lambda: made(config.model, len(characters.vocabulary)))
    batches = max(1, config.data.examples // training.batch_size)
    updates = training.max_epochs * -(-batches // training.accumulate)
    limits = [limit for limit in (training.max_steps, updates) if limit]
    staged = config.data.curriculum_share * training.accumulate
    source = ExampleLoader(
        generator(config.data, "train", seed=config.seed),
        characters.batch,
        batch_size=training.batch_size,
        batches=batches,
        total=max(1, round(min(limits) * staged)) if limits else None,
        rows=workers.rows,
    )
    examples = _held(run.path)
    held = None if examples is None else characters.encode(examples)

    def validate(model: torch.nn.Module) -> dict[str, float]:
        assert isinstance(model, (Reader, Seq2Seq))
        assert held is not None
        found = Network(model, characters).foresee_encoded(held)
        count = int(found.count.sum())
        return {
            "nats": float(found.nats.sum()) / count,
            "characters": float(found.right.sum()) / count,
            "exact": float(np.mean(found.right == found.count)),
        }

    outcome = Trainer(
        model,
        source,
        config=training,
        run=run,
        validate=None if held is None else validate,
        monitor="nats",
        seed=config.seed,
        device=config.device,
        precision=config.precision,
    ).fit()
    if not outcome.interrupted and run.writer:
        sizes = {"size": len(characters.vocabulary), "options": asdict(config.model)}
        run.write_model(model, _description(config, run) | {"sizes": sizes})
    return outcome


def _count(config: RunConfig, run: RunDirectory) -> None:
    """Counts the n-grams of the stream of an epoch's examples, at the target's difficulty."""
    characters = Characters.of(config.data)
    source = generator(config.data, "train", seed=config.seed)
    stage = source.path.stages - 1
    ids: list[int] = []
    for index in range(config.data.examples):
        ids += characters.stream(source.example(index, stage))
    model = KneserNey(config.model.order).fit(np.array(ids), len(characters.vocabulary))
    facts = {"table_entries": model.table_entries}
    run.write_model(model.arrays(), _description(config, run) | facts)
