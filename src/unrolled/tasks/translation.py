"""Translation: a text for a text, by an encoder and decoder, a dictionary, phrases, or the most like pair.

Every model is measured on the same held-out parts and learns from the same pairs, but for long ones, which a
network leaves out (``--data.max-length``) and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from unrolled.config import RunConfig
from unrolled.data.buckets import BucketLoader
from unrolled.data.pairs import PairFields
from unrolled.errors import ConfigError, DataError
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks import parts
from unrolled.tasks.trained_translator import TASK, TrainedTranslator
from unrolled.tasks.translation_data import SOURCE, TARGET, Encoder, Example, read_examples
from unrolled.tasks.translation_models import COUNTED, Network
from unrolled.training.distributed import Workers
from unrolled.training.live import Outcome
from unrolled.training.run_directory import RunDirectory
from unrolled.training.trainer import Trainer

_LOG = logging.getLogger("unrolled.tasks")
TOKENS = 20_000  # padded target symbols in a batch of training, unless one pair alone has more


class Translation:
    """The task: see :mod:`unrolled.tasks.translation`."""

    @staticmethod
    def train(config: RunConfig, run: RunDirectory) -> Outcome:
        """Trains (or counts) the model that ``config`` names, into an open run directory."""
        workers = Workers.join(config.device)
        if workers.rank == 0:
            _prepare(config, run.path)
        workers.agree(0)  # the others wait here for the files
        found = parts.prepared(run.path)
        train = [Example.from_json(example) for example in found.train]
        if config.model_name in COUNTED:
            outcome = Outcome(steps=0, epochs=0, reason="counted", best=None)
            if run.writer:
                _count(config, run, train)
        else:
            valid = None if found.valid is None else list(map(Example.from_json, found.valid))
            outcome = _train(config, run, train, valid, workers)
        if not outcome.interrupted and run.writer:
            parts.finish(config, run, TrainedTranslator, unit="pairs")
        return outcome

    @staticmethod
    def load(path: str | PathLike[str]) -> TrainedTranslator:
        """The trained model of a run directory."""
        return TrainedTranslator(path)


def _prepare(config: RunConfig, folder: Path) -> None:
    """Reads the pairs of all parts into the run's cache and learns the vocabularies of the first."""
    data = config.data
    fields = PairFields(data.source, data.target)

    def read(path: Path) -> Iterator[dict[str, Any]]:
        return (example.to_json() for example in read_examples(path, fields))

    parts.prepare(data, folder, read)
    if config.model_name not in COUNTED and not (folder / TARGET).exists():
        train = [Example.from_json(example) for example in parts.prepared(folder).train]
        encoder = Encoder.fit(train, data)
        if config.model.shared and not encoder.joint:
            raise ConfigError(
                "--model.shared needs one vocabulary for both sides: --data.joint, and one level"
            )
        encoder.save(folder)


def _description(config: RunConfig) -> dict[str, Any]:
    """What every model's ``model.json`` says."""
    data = config.data
    fields = {"source": data.source, "target": list(data.target), "header": None}
    return {
        "task": TASK,
        "kind": config.model_name,
        "fields": fields,
        "lowercase": data.lowercase,
        "reverse": data.reverse,
    }


def _train(
    config: RunConfig,
    run: RunDirectory,
    train: list[Example],
    valid: list[Example] | None,
    workers: Workers,
) -> Outcome:
    torch.manual_seed(config.seed)
    encoder = Encoder.load(run.path, reverse=config.data.reverse)
    pairs = encoder.encode(train, longest=config.data.max_length)
    if not pairs.targets:
        raise DataError(
            f"no pair has at most {config.data.max_length} symbols a side; "
            "give --data.max-length more, or 0",
            path=config.data.train,
        )
    if len(pairs.targets) < len(train):
        _LOG.warning(
            "%d of %d pairs have more than %d symbols a side and are left out; "
            "--data.max-length 0 takes all",
            len(train) - len(pairs.targets),
            len(train),
            config.data.max_length,
        )
    sizes: dict[str, Any] = {
        "source_size": len(encoder.source),
        "target_size": len(encoder.target),
    }
    sizes |= asdict(config.model)
    model = parts.build(lambda: Seq2Seq(**sizes))
    source = BucketLoader(
        pairs.lengths,
        pairs.batch,
        batch_size=config.training.batch_size,
        seed=config.seed,
        rows=workers.rows,
        max_tokens=TOKENS,
    )
    held = None if valid is None else encoder.encode(valid)

    def validate(model: torch.nn.Module) -> dict[str, float]:
        assert isinstance(model, Seq2Seq)
        assert held is not None
        sums, counts = zip(*Network(model, encoder).encoded_nats(held), strict=True)
        return {"nats": sum(sums) / sum(counts)}

    outcome = Trainer(
        model,
        source,
        config=config.training,
        run=run,
        validate=None if held is None else validate,
        monitor="nats",
        seed=config.seed,
        device=config.device,
        precision=config.precision,
    ).fit()
    if not outcome.interrupted and run.writer:
        files = {"files": parts.digests(run.path, (SOURCE, TARGET))}
        run.write_model(model, _description(config) | {"sizes": sizes} | files)
    return outcome


def _count(config: RunConfig, run: RunDirectory, train: list[Example]) -> None:
    """Fits a model that counts words."""

    def words(text: str) -> list[str]:
        return (text.lower() if config.data.lowercase else text).split()

    model = COUNTED[config.model_name](**asdict(config.model))
    model.fit([(words(e.source), words(e.references[0])) for e in train])
    run.write_model(model.arrays(), _description(config))
