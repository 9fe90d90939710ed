"""Dialogue: the next turn from all before it, by a recurrent network, n-grams, or the most similar context.

Every model is measured on the replies of the same held-out dialogues and learns from the same others.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrolled.baselines.ngram import KneserNey
from unrolled.baselines.retrieval import Retrieval
from unrolled.config import RunConfig
from unrolled.data.buckets import BucketLoader
from unrolled.data.segment import START, Segmenter
from unrolled.errors import ConfigError, DataError
from unrolled.tasks import parts
from unrolled.tasks.dialogue_data import (
    NAMELESS,
    Cast,
    Coder,
    Encoded,
    Turns,
    alternate,
    from_json,
    read_examples,
)
from unrolled.tasks.dialogue_models import DialogueModel, Speaking, remembered_pairs
from unrolled.tasks.trained_dialogue import TASK, VOCABULARY, TrainedDialogue
from unrolled.training.distributed import Workers
from unrolled.training.live import Outcome
from unrolled.training.run_directory import RunDirectory
from unrolled.training.trainer import Trainer

_LOG = logging.getLogger("unrolled.tasks")
TOKENS = 20_000  # padded symbols in a batch of training, unless one dialogue alone has more
EXTRA = 10  # symbols that a reply may have beyond the longest turn of training
USE = ("evaluate {run} --data.test FILE", "predict {run} < FILE", "chat {run}")


class Dialogue:
    """The task: see :mod:`unrolled.tasks.dialogue`."""

    @staticmethod
    def train(config: RunConfig, run: RunDirectory) -> Outcome:
        """Trains (or counts) the model that ``config`` names, into an open run directory."""
        workers = Workers.join(config.device)
        if workers.rank == 0:
            _prepare(config, run.path)
        workers.agree(0)  # the others wait here for the files
        found = parts.prepared(run.path)
        whole = [from_json(example) for example in found.train]
        cast = Cast.fit(whole, config.data.speaker)
        train = [alternate(turns, NAMELESS) for turns in whole]
        if config.model_name == "recurrent":
            valid = None
            if found.valid is not None:
                valid = [cast.named(from_json(example)) for example in found.valid]
            outcome = _train(config, run, cast, train, valid, workers)
        else:
            outcome = Outcome(steps=0, epochs=0, reason="counted", best=None)
            if run.writer:
                _count(config, run, cast, train)
        if not outcome.interrupted and run.writer:
            parts.finish(config, run, TrainedDialogue, unit="replies", commands=USE)
        return outcome

    @staticmethod
    def load(path: str | PathLike[str]) -> TrainedDialogue:
        """The trained model of a run directory."""
        return TrainedDialogue(path)


def _prepare(config: RunConfig, folder: Path) -> None:
    """Reads the dialogues of all parts into the run's cache and learns the symbols of the first."""
    data = config.data
    parts.prepare(data, folder, read_examples)
    found = parts.prepared(folder)
    whole = [from_json(example) for example in found.train]
    cast = Cast.fit(whole, data.speaker)
    if found.valid is not None:
        held = [cast.named(from_json(example)) for example in found.valid]
        if not any(cast.replies(turns) for turns in held):
            who = f" of {data.speaker}" if data.speaker else ""
            raise DataError(
                f"no reply{who} in the dialogues held out: expected a turn{who} after another's; "
                "hold out more, or none (--data.valid-share 0)",
                path=data.valid or data.train,
            )
    if config.model_name != "retrieval" and not (folder / VOCABULARY).exists():
        segmenter = Segmenter.fit(
            (turn.text for turns in whole for turn in turns),
            kind=data.level,
            size=data.vocabulary_size,
            lowercase=data.lowercase,
        )
        segmenter.save(folder / VOCABULARY)


def _description(config: RunConfig, cast: Cast) -> dict[str, Any]:
    """What every model's ``model.json`` says."""
    return {
        "task": TASK,
        "kind": config.model_name,
        "cast": cast.to_json(),
        "lowercase": config.data.lowercase,
    }


def _symbols(run: RunDirectory, coder: Coder, train: Sequence[Turns]) -> dict[str, Any]:
    """What a model of symbols needs besides."""
    longest = max(len(coder.turn(turn)) for turns in train for turn in turns)
    return {"longest": longest + EXTRA, "files": parts.digests(run.path, (VOCABULARY,))}


def _encoded(config: RunConfig, coder: Coder, train: Sequence[Turns]) -> Encoded:
    """What the network learns from."""
    data, only = config.data, config.model.learn == "speaker"
    if only and not data.speaker:
        raise ConfigError("--model.learn speaker needs to know whom: give --data.speaker NAME")
    encoded = coder.encode(
        train, lambda _, turn: not only or turn.speaker == data.speaker, longest=data.max_length
    )
    if (cut := len(encoded.rows) - len(train)) > 0:
        _LOG.warning(
            "dialogues of more than %d symbols are learnt in pieces: %d pieces of %d dialogues; "
            "--data.max-length 0 learns all whole",
            data.max_length,
            cut + len(train),
            len(train),
        )
    return encoded


def _train(
    config: RunConfig,
    run: RunDirectory,
    cast: Cast,
    train: Sequence[Turns],
    valid: Sequence[Turns] | None,
    workers: Workers,
) -> Outcome:
    torch.manual_seed(config.seed)
    coder = Coder(Segmenter.load(run.path / VOCABULARY), cast.speakers)
    encoded = _encoded(config, coder, train)
    options = asdict(config.model)
    del options["learn"]
    sizes = {"vocabulary_size": len(coder), "start_token": START, **options}
    model = parts.build(lambda: DialogueModel(**sizes))
    source = BucketLoader(
        encoded.lengths,
        encoded.batch,
        batch_size=config.training.batch_size,
        seed=config.seed,
        rows=workers.rows,
        max_tokens=TOKENS,
    )
    held = None
    if valid is not None:
        held = Speaking(model, coder, 1).encoded(valid, cast)

    def validate(model: torch.nn.Module) -> dict[str, float]:
        assert isinstance(model, DialogueModel)
        assert held is not None
        return {"nats": float(np.concatenate(model.nats(held)).mean())}

    outcome = Trainer(
        model,
        source,
        config=config.training,
        run=run,
        validate=None if held is None else validate,
        seed=config.seed,
        device=config.device,
        precision=config.precision,
    ).fit()
    if not outcome.interrupted and run.writer:
        facts = {"sizes": sizes, **_symbols(run, coder, train)}
        run.write_model(model, _description(config, cast) | facts)
    return outcome


def _count(config: RunConfig, run: RunDirectory, cast: Cast, train: Sequence[Turns]) -> None:
    """Fits a model that counts."""
    facts = _description(config, cast)
    if config.model_name == "retrieval":
        context = config.model.context
        pairs = remembered_pairs(train, cast, context, lowercase=config.data.lowercase)
        if not pairs:
            raise DataError(
                "no reply to remember: expected turns after others", path=config.data.train
            )
        run.write_model(Retrieval().fit(pairs).arrays(), facts | {"context": context})
        return
    coder = Coder(Segmenter.load(run.path / VOCABULARY), cast.speakers)
    ids = np.concatenate(coder.encode(train, lambda *_: True).rows)
    model = KneserNey(config.model.order).fit(ids, len(coder))
    facts |= {"table_entries": model.table_entries, **_symbols(run, coder, train)}
    run.write_model(model.arrays(), facts)
