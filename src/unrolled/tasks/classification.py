"""Classification: one label, several labels or a number for a text, a string of symbols or a sequence of
vectors, by a recurrent network, a network on windows, a bag of words, or a chain for each class.

Every model sees the same examples, in the same tokens, and is measured on the same held-out parts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.baselines.class_chains import ClassChains
from unrolled.config import RunConfig
from unrolled.data.buckets import BucketLoader
from unrolled.errors import ConfigError
from unrolled.models.bag_of_words import BagOfWords, ngrams
from unrolled.models.classifier import SequenceClassifier
from unrolled.tasks import parts
from unrolled.tasks.classification_data import Encoder, write_json
from unrolled.tasks.classification_examples import Fields, held_examples, read_raw, understood
from unrolled.tasks.classification_models import NETWORKS, Bag, Network, Predictor
from unrolled.tasks.classification_scores import Outputs, choose_thresholds, error
from unrolled.tasks.tagging_data import with_vectors
from unrolled.tasks.trained_classifier import TASK, TrainedClassifier
from unrolled.training.distributed import Workers
from unrolled.training.live import Outcome
from unrolled.training.run_directory import RunDirectory
from unrolled.training.trainer import Trainer

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
DECIDED, VECTORS = "decided.json", "vectors.npy"
OF_TOKENS = {
    "word_size",
    "character_size",
    "character_hidden",
    "word_dropout",
    "vectors",
    "tune_vectors",
}
USUAL: dict[str, dict[str, Any]] = {
    "words": {"word_size": 128, "dropout": 0.5},
    "characters": {"word_size": 64, "dropout": 0.2},
    "symbols": {"word_size": 0, "dropout": 0.2},
    "vectors": {"word_size": 0, "dropout": 0.2},
}
TOKENS = 50_000  # padded tokens in a batch of training, unless one example alone has more
_LOG = logging.getLogger("unrolled.tasks")


class Classification:
    """The task: see :mod:`unrolled.tasks.classification`."""

    @staticmethod
    def train(config: RunConfig, run: RunDirectory) -> Outcome:
        """Trains (or counts) the model that ``config`` names, into an open run directory."""
        _refuse_unfit(config)
        workers = Workers.join(config.device)
        if workers.rank == 0:
            _prepare(config, run.path)
        workers.agree(0)  # the others wait here for the files
        data = _Data(config)
        if config.model_name in NETWORKS:
            outcome = _train_network(config, run, data, workers)
        else:
            outcome = Outcome(steps=0, epochs=0, reason="counted", best=None)
            if run.writer:
                (_train_bag if config.model_name == "bag-of-words" else _count)(config, run, data)
        if not outcome.interrupted and run.writer:
            parts.finish(config, run, TrainedClassifier, unit="examples")
        return outcome

    @staticmethod
    def write_averaged(
        config: RunConfig,
        run: RunDirectory,
        tensors: Mapping[str, torch.Tensor],
        description: Mapping[str, Any],
    ) -> None:
        """A model of other weights (:mod:`unrolled.tasks.averaging`), with thresholds of its own."""
        run.write_model(tensors, description)
        trained = TrainedClassifier(run.path)  # also sees that the tensors fit
        if trained.encoder.answer == "labels" and (run.path / "valid.jsonl").exists():
            valid = held_examples(parts.held_out(run.path, "valid"))
            outputs = Outputs.of(trained.model.outputs(valid), trained.encoder, valid)
            found = choose_thresholds(config.data.thresholds, outputs, trained.encoder, valid)
            run.write_model(tensors, {**description, "thresholds": found})

    @staticmethod
    def load(path: str | PathLike[str]) -> TrainedClassifier:
        """The trained model of a run directory."""
        return TrainedClassifier(path)


class _Data:
    """What training reads: the examples of the parts, and the encoder fitted on the first of them."""

    def __init__(self, config: RunConfig) -> None:
        folder = config.output
        found = parts.prepared(folder)
        self.train = held_examples(found.train)
        self.valid = None if found.valid is None else held_examples(found.valid)
        decided = json.loads((folder / "cache" / DECIDED).read_bytes())
        self.fields, self.encoder = (
            Fields.from_json(decided["fields"]),
            Encoder.load(folder, decided),
        )
        table = folder / "cache" / VECTORS
        self.vectors: NDArray[np.float32] | None = np.load(table) if table.exists() else None

    def description(self, config: RunConfig) -> dict[str, Any]:
        """What every model's ``model.json`` says."""
        return {
            "task": TASK,
            "kind": config.model_name,
            "fields": asdict(self.fields),
            "files": parts.digests(config.output, self.encoder.files),
            **self.encoder.description(),
        }

    def thresholds(self, config: RunConfig, model: Predictor) -> dict[str, list[float]]:
        """Where several labels are chosen, from which probability on: what validation says."""
        if self.encoder.answer != "labels":
            return {}
        if not self.valid:
            return {"thresholds": [0.5]}
        outputs = Outputs.of(model.outputs(self.valid), self.encoder, self.valid)
        chosen = choose_thresholds(config.data.thresholds, outputs, self.encoder, self.valid)
        return {"thresholds": chosen}


def _prepare(config: RunConfig, folder: Path) -> None:
    """Reads the files of all parts into the run's cache, and fits all that is fitted on the first."""
    cache, data = folder / "cache", config.data
    if (cache / DECIDED).exists():
        return
    raws = list(read_raw(data.train, Fields.of(data)))
    fields = Fields.of(data).decided(raw.values for raw in raws)
    if fields.answer != "label" and config.model_name == "markov":
        raise ConfigError("markov chooses one label; for several or a number take another model")

    def read(path: Path) -> Iterator[dict[str, Any]]:
        given = raws if path == data.train else read_raw(path, fields)
        return (example.to_json() for example in understood(given, fields, path))

    parts.prepare(data, folder, read)
    train = held_examples(parts.prepared(folder).train)
    symbols = None
    if config.model_name == "bag-of-words":
        data = replace(data, vocabulary_size=config.model.max_features)
        symbols = partial(ngrams, longest=_longest(config), letters=data.level != "words")
    encoder = Encoder.fit(train, data, fields.answer, symbols=symbols)
    if (source := getattr(config.model, "vectors", None)) is not None:
        assert encoder.vocabulary is not None
        words, table = with_vectors(encoder.vocabulary, source, encoder.lowercase)
        encoder = replace(encoder, vocabulary=words)
        np.save(cache / VECTORS, table)
    encoder.save(folder)
    decided = {"fields": asdict(fields), "files": encoder.files, **encoder.description()}
    write_json(cache / DECIDED, decided)


def _train_network(config: RunConfig, run: RunDirectory, data: _Data, workers: Workers) -> Outcome:
    torch.manual_seed(config.seed)
    encoder = data.encoder
    train = encoder.encode(data.train)
    sizes = {"answer": encoder.answer, "outputs": len(encoder.labels), **asdict(config.model)}
    usual = USUAL[encoder.level]
    sizes |= {name: value for name, value in usual.items() if sizes[name] == -1}
    if encoder.vocabulary is not None:
        sizes["words"] = encoder.learnt
        if "vectors" in sizes:
            sizes["vectors"] = None if data.vectors is None else data.vectors.shape
            sizes["characters"] = len(encoder.characters or ())
    else:
        assert encoder.scaler is not None
        sizes = {name: size for name, size in sizes.items() if name not in OF_TOKENS}
        sizes["input_size"] = len(encoder.scaler.mean)
    model = parts.build(lambda: NETWORKS[config.model_name](**sizes))
    if model.embedding is not None:
        assert train.tokens is not None
        known = [ids[ids < encoder.learnt] for ids in train.tokens.words]
        counts = np.bincount(np.concatenate(known), minlength=encoder.learnt)
        model.embedding.set_counts(torch.from_numpy(counts))
        if data.vectors is not None:
            table = torch.from_numpy(data.vectors)
            model.embedding.set_vectors(torch.arange(len(table)), table)
    source = BucketLoader(
        train.lengths,
        train.batch,
        batch_size=config.training.batch_size,
        seed=config.seed,
        rows=workers.rows,
        max_tokens=TOKENS,
    )
    valid = None if data.valid is None else encoder.encode(data.valid)

    def validate(model: torch.nn.Module) -> dict[str, float]:
        assert isinstance(model, SequenceClassifier)
        assert valid is not None
        assert data.valid is not None
        chunks = Network(model, encoder).encoded_outputs(valid)
        return error(Outputs.of(chunks, encoder, data.valid), encoder, data.valid)

    outcome = Trainer(
        model,
        source,
        config=config.training,
        run=run,
        validate=None if valid is None else validate,
        monitor="criterion",
        seed=config.seed,
        device=config.device,
        precision=config.precision,
    ).fit()
    if not outcome.interrupted and run.writer:
        facts = {"sizes": sizes} | data.thresholds(config, Network(model.eval(), encoder))
        run.write_model(model, data.description(config) | facts)
    return outcome


def _train_bag(config: RunConfig, run: RunDirectory, data: _Data) -> None:
    """Fits the bag of words, the strongest penalty first, and keeps what does best on validation."""
    encoder, options = data.encoder, config.model
    assert encoder.vocabulary is not None
    outputs = max(1, len(encoder.labels))
    model = BagOfWords(len(encoder.vocabulary) - 1, outputs, kind=encoder.answer)
    bag = Bag(model, encoder, longest=_longest(config), presence=options.counts == "presence")
    encoded, bags = encoder.answers(data.train), bag.bags(data.train)
    choose = data.valid is not None and not options.strength
    best: tuple[float, float, dict[str, Any]] | None = None
    for strength in STRENGTHS if choose else (options.strength or 1.0,):
        model.fit(bags, encoded, strength=strength)
        value = 0.0
        if data.valid is not None:
            found = Outputs.of(bag.outputs(data.valid), encoder, data.valid)
            value = error(found, encoder, data.valid)["criterion"]
            _LOG.info("strength %g: validation error %.4f", strength, value)
        if best is None or value < best[0]:
            best = value, strength, {n: array.copy() for n, array in model.arrays().items()}
    assert best is not None
    kept = BagOfWords.from_arrays(best[2], kind=encoder.answer)
    bag = Bag(kept, encoder, longest=bag.longest, presence=bag.presence)
    facts: dict[str, Any] = {"ngrams": bag.longest, "presence": bag.presence, "strength": best[1]}
    facts |= data.thresholds(config, bag)
    run.write_model(kept.arrays(), data.description(config) | facts)


def _count(config: RunConfig, run: RunDirectory, data: _Data) -> None:
    """Counts the chains of all classes."""
    encoder, options = data.encoder, config.model
    assert encoder.vocabulary is not None
    order = options.order if options.order >= 0 else 1 if config.data.level == "words" else 3
    chains = ClassChains(order, estimate=options.estimate, smoothing=options.smoothing)
    encoded = encoder.encode(data.train)
    assert encoded.tokens is not None
    chains.fit(
        encoded.tokens.words,
        np.array(encoded.targets),
        len(encoder.labels),
        vocabulary_size=len(encoder.vocabulary),
    )
    run.write_model(chains.arrays(), data.description(config) | {"order": order})


def _refuse_unfit(config: RunConfig) -> None:
    """Options that do not fit together, before the long work."""
    if config.data.level == "vectors" and config.model_name not in NETWORKS:
        raise ConfigError(
            f"{config.model_name} reads tokens, not --data.level vectors; choose recurrent or window"
        )
    if getattr(config.model, "vectors", None) and config.data.level != "words":
        raise ConfigError("--model.vectors are of words; they need --data.level words")


def _longest(config: RunConfig) -> int:
    """The longest n-gram of a bag of words."""
    return config.model.ngrams or (2 if config.data.level == "words" else 4)
