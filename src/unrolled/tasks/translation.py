"""Translation: a text for a text, by an encoder and decoder, a dictionary, phrases, or the most like pair.

Every model is measured on the same held-out parts and learns from the same pairs, but for long ones, which a
network leaves out (``--data.max-length``) and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import torch

from unrolled.config import RunConfig
from unrolled.data.buckets import BucketLoader
from unrolled.data.pairs import PairFields
from unrolled.errors import ConfigError, DataError
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks import parts
from unrolled.tasks.trained_translator import TrainedTranslator
from unrolled.tasks.translation_data import SOURCE, TARGET, Encoded, Encoder, Example, read_examples
from unrolled.tasks.translation_models import COUNTED, Network
from unrolled.training.distributed import Workers
from unrolled.training.live import Outcome
from unrolled.training.run_directory import RunDirectory
from unrolled.training.trainer import Trainer

_LOG = logging.getLogger("unrolled.tasks")
TOKENS = 20_000  # padded target symbols in a batch of training, unless one pair alone has more


class Translation:
    """The task: see :mod:`unrolled.tasks.translation`.

    Another task of pairs overrides what it does otherwise.

    Attributes:
        trained: what a run directory is opened as.
        monitor: the metric of validation by which the best weights are chosen; lower is better.
        unit: what an evaluation counts.
    """

    trained: ClassVar[type[TrainedTranslator]] = TrainedTranslator
    monitor: ClassVar[str] = "nats"
    unit: ClassVar[str] = "pairs"

    @classmethod
    def train(cls, config: RunConfig, run: RunDirectory) -> Outcome:
        """Trains (or counts) the model that ``config`` names, into an open run directory."""
        workers = Workers.join(config.device)
        if workers.rank == 0:
            cls._prepare(config, run.path)
        workers.agree(0)  # the others wait here for the files
        found = parts.prepared(run.path)
        train = cls.learnt(config.data, list(map(Example.from_json, found.train)))
        if config.model_name in COUNTED:
            outcome = Outcome(steps=0, epochs=0, reason="counted", best=None)
            if run.writer:
                cls._count(config, run, train)
        else:
            valid = None if found.valid is None else list(map(Example.from_json, found.valid))
            outcome = cls._fit(config, run, train, valid, workers)
        if not outcome.interrupted and run.writer:
            parts.finish(config, run, cls.trained, unit=cls.unit)
        return outcome

    @classmethod
    def load(cls, path: str | PathLike[str]) -> TrainedTranslator:
        """The trained model of a run directory."""
        return cls.trained(path)

    @classmethod
    def check(cls, config: RunConfig) -> None:
        """ConfigError for options of the data that the model would not heed."""
        if config.model_name not in COUNTED:
            return
        usual = type(config.data).level
        levels = {"level": config.data.level, "target-level": config.data.target_level}
        given = [f"--data.{k} {v}" for k, v in levels.items() if v not in (None, usual, "words")]
        given += ["--data.reverse"] * config.data.reverse
        if given:
            raise ConfigError(
                f"{', '.join(given)}: {config.model_name} reads words between white space, in their order; "
                "leave it out"
            )

    @classmethod
    def read_parts(cls, data: Any, folder: Path) -> None:
        """Reads the pairs of all parts into the run's cache."""
        fields = PairFields(data.source, data.target)

        def read(path: Path) -> Iterator[dict[str, Any]]:
            return (example.to_json() for example in read_examples(path, fields))

        parts.prepare(data, folder, read)

    @classmethod
    def learnt(cls, data: Any, examples: list[Example]) -> list[Example]:
        """The pairs to learn from; of each its first reference is learnt."""
        return examples

    @classmethod
    def description(cls, config: RunConfig) -> dict[str, Any]:
        """What every model's ``model.json`` says."""
        data = config.data
        return {
            "task": cls.trained.TASK,
            "kind": config.model_name,
            "fields": {"source": data.source, "target": list(data.target), "header": None},
            "lowercase": data.lowercase,
            "reverse": data.reverse,
        }

    @classmethod
    def validate(cls, model: Network, examples: Sequence[Example]) -> dict[str, float]:
        """The metrics by which training is watched, :attr:`monitor` among them."""
        sums, counts = zip(*cls.trained.nats_of(model, examples) or (), strict=True)
        return {"nats": sum(sums) / sum(counts)}

    @classmethod
    def _prepare(cls, config: RunConfig, folder: Path) -> None:
        """The parts into the run's cache; the vocabularies of the first."""
        data = config.data
        cls.check(config)
        cls.read_parts(data, folder)
        if config.model_name not in COUNTED and not (folder / TARGET).exists():
            train = list(map(Example.from_json, parts.prepared(folder).train))
            encoder = Encoder.fit(cls.learnt(data, train), data)
            if getattr(config.model, "shared", False) and not encoder.joint:
                raise ConfigError(
                    "--model.shared needs one vocabulary for both sides: --data.joint, and one level"
                )
            encoder.save(folder)

    @classmethod
    def _fit(
        cls,
        config: RunConfig,
        run: RunDirectory,
        train: list[Example],
        valid: list[Example] | None,
        workers: Workers,
    ) -> Outcome:
        torch.manual_seed(config.seed)
        encoder = Encoder.load(run.path, reverse=config.data.reverse)
        pairs = _short(config, encoder, train)
        sizes: dict[str, Any] = {
            "source_size": len(encoder.source),
            "target_size": len(encoder.target),
        }
        sizes |= asdict(config.model)
        model = parts.build(lambda: Seq2Seq(**sizes))
        longest = int(pairs.lengths.max())
        source = BucketLoader(
            pairs.lengths,
            pairs.batch,
            batch_size=config.training.batch_size,
            seed=config.seed,
            rows=workers.rows,
            max_tokens=TOKENS,
        )

        def validate(model: torch.nn.Module) -> dict[str, float]:
            assert isinstance(model, Seq2Seq)
            assert valid is not None
            return cls.validate(Network(model, encoder, longest), valid)

        outcome = Trainer(
            model,
            source,
            config=config.training,
            run=run,
            validate=None if valid is None else validate,
            monitor=cls.monitor,
            seed=config.seed,
            device=config.device,
            precision=config.precision,
        ).fit()
        if not outcome.interrupted and run.writer:
            facts = {"sizes": sizes, "longest": longest}
            files = {"files": parts.digests(run.path, (SOURCE, TARGET))}
            run.write_model(model, cls.description(config) | facts | files)
        return outcome

    @classmethod
    def _count(cls, config: RunConfig, run: RunDirectory, train: list[Example]) -> None:
        """Fits a model that counts symbols."""
        description = cls.description(config)
        counted = cls.trained.counted(
            COUNTED[config.model_name](**asdict(config.model)), description
        )
        counted.fit(train)
        run.write_model(counted.model.arrays(), description)


def _short(config: RunConfig, encoder: Encoder, train: Sequence[Example]) -> Encoded:
    """The pairs in numbers, without the long ones, of which there is a word in the log."""
    longest = config.data.max_length
    pairs = encoder.encode(train, longest=longest)
    if not pairs.targets:
        raise DataError(
            f"no pair has at most {longest} symbols a side; give --data.max-length more, or 0",
            path=config.data.train,
        )
    if len(pairs.targets) < len(train):
        _LOG.warning(
            "%d of %d pairs have more than %d symbols a side and are left out; "
            "--data.max-length 0 takes all",
            len(train) - len(pairs.targets),
            len(train),
            longest,
        )
    return pairs
