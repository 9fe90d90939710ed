"""Tagging: a tag, or several, for each word, by a recurrent network, a window, or a hidden Markov model.

Parts of speech, spans of entities and slots, and residues of proteins are all words and tags here. A tag that
the training part lacks cannot be given: where it is the truth, that is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unrolled.config import RunConfig
from unrolled.data.buckets import BucketLoader
from unrolled.errors import RunError
from unrolled.metrics.evaluation import Evaluation
from unrolled.metrics.tagging import looks_like_spans
from unrolled.models.tagger import Tagger
from unrolled.tasks.lines import Lines
from unrolled.tasks.parts import Example, build, digests, examples_of, finish, held_out, open_model
from unrolled.tasks.tagging_data import (
    FILES,
    Corpus,
    Encoded,
    Sentence,
    Symbols,
    prepare_corpus,
    prepared_corpus,
    read_sentences,
    words_of,
)
from unrolled.tasks.tagging_models import (
    MODELS,
    CountedTags,
    NeuralTags,
    Tags,
    constraints,
    network,
    restored,
    sizes,
)
from unrolled.tasks.tagging_options import TaggingData
from unrolled.tasks.tagging_scores import Answers, evaluation_of, metrics_of
from unrolled.training.distributed import Workers
from unrolled.training.live import Outcome
from unrolled.training.run_directory import RunDirectory
from unrolled.training.snapshot import load_tensors
from unrolled.training.trainer import Trainer

TASK = "tagging"
TOKENS_PER_SENTENCE = 64  # of a batch's padded size: long sentences come in smaller batches


class Tagging:
    """The task: see :mod:`unrolled.tasks.tagging`."""

    @staticmethod
    def train(config: RunConfig, run: RunDirectory) -> Outcome:
        """Trains (or counts) the model that ``config`` names, into an open run directory."""
        workers = Workers.join(config.device)
        if workers.rank == 0:
            prepare_corpus(config.data, run.path, getattr(config.model, "vectors", None))
        workers.agree(0)  # the others wait here for the sentences
        corpus = prepared_corpus(config.data, run.path)
        if config.model_name in MODELS:
            outcome = _train_network(config, run, corpus, workers)
        else:
            outcome = Outcome(steps=0, epochs=0, reason="counted", best=None)
            if run.writer:
                _count(config, run, corpus)
        if not outcome.interrupted and run.writer:
            finish(config, run, TrainedTagger, unit="words")
        return outcome

    @staticmethod
    def load(path: str | PathLike[str]) -> TrainedTagger:
        """The trained model of a run directory."""
        return TrainedTagger(path)


class TrainedTagger:
    """A trained tagger with its vocabularies, from a run directory.

    Args:
        run: the run directory.

    Raises:
        RunError: if it is no run of this task, damaged, or of a newer format.
    """

    def __init__(self, run: str | PathLike[str]) -> None:
        self.path = Path(run)
        self.description, tensors = open_model(self.path, TASK)
        self.name: str = self.description["kind"]
        self.data = TaggingData(train=Path(), **_tuples(self.description["data"]))
        self.symbols = Symbols.load(self.path, lowercase=self.data.lowercase)
        self.model: Tags = self._build(tensors)

    def _build(self, tensors: Mapping[str, torch.Tensor]) -> Tags:
        if self.name in MODELS:
            model = restored(self.name, self.description["sizes"], self.symbols, tensors)
            load_tensors(model, tensors, self.path / "model.safetensors")
            return NeuralTags(model.eval(), self.symbols)
        if self.name != "hmm":
            raise RunError(f"{self.path}: holds a model of the unknown kind {self.name!r}")
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        posterior = self.description["decoding"] == "posterior"
        return CountedTags.from_arrays(arrays, self.symbols, posterior=posterior)

    def tag(self, sentences: Iterable[Sentence]) -> list[list[list[str]]]:
        """The tags of sentences (lists of words): of each sentence a list for each column."""
        given = list(sentences)
        found = iter(self.model.tags([words for words in given if len(words)]))
        return [next(found) if len(words) else [[] for _ in self.symbols.labels] for words in given]

    def evaluate(
        self, data: str | PathLike[str] | None = None, *, split: str = "test"
    ) -> Evaluation:
        """Accuracy of words and sentences, and F1 of spans, with 95 % bootstrap intervals.

        Args:
            data: a file in the form of the training file; None for the part that training held out under
                the name ``split``.
            split: ``"test"`` or ``"valid"``.
        """
        if data is None:
            examples = held_out(self.path, split)
        else:
            examples = examples_of(Path(data), lambda path: read_sentences(path, self.data))
        sentences = [example["tokens"] for example in examples]
        answers = self._answers(examples, self.tag(sentences))
        return evaluation_of(self.name, split, answers)

    def _answers(self, examples: Sequence[Example], found: Sequence[list[list[str]]]) -> Answers:
        learnt = self.description["learnt_words"]
        encoded = Encoded([example["tokens"] for example in examples], self.symbols)
        return Answers(
            names=_names(self.data, self.symbols),
            spans=tuple(self.description["spans"]),
            truth=[example["tags"] for example in examples],
            found=found,
            unknown=[((ids == 0) | (ids >= learnt)).tolist() for ids in encoded.words],
        )

    def predict(
        self,
        lines: Iterable[str],
        *,
        probabilities: bool = False,
        n_best: int = 0,
        batch_size: int = 1,
    ) -> Iterator[str]:
        """The tags of the words of each line, separated by spaces; columns separated by TABs.

        JSON objects have their words in ``tokens`` (a list, or a text to split) and come back with
        ``tags``. See :class:`unrolled.tasks.lines.Lines`.

        Args:
            lines: words separated by white space, or JSON objects.
            probabilities: add to each object the probabilities of each word's tags.
            n_best: add so many of the likeliest lists of tags.
            batch_size: lines that are tagged together.
        """
        if n_best and isinstance(self.model, CountedTags):
            self.model.n_best([], n_best)

        def answer(sentences: Sequence[Sentence]) -> list[dict[str, Any]]:
            return self._fields(sentences, probabilities, n_best)

        return Lines(
            text=str.split,
            record=words_of,
            answer=answer,
            plain=lambda fields: "\t".join(" ".join(column) for column in fields["columns"]),
            fields=self._object,
        ).run(lines, objects=probabilities or n_best > 0, batch_size=batch_size)

    def _fields(
        self, sentences: Sequence[Sentence], probabilities: bool, n_best: int
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{"columns": columns} for columns in self.tag(sentences)]
        full = [fields for fields, words in zip(found, sentences, strict=True) if words]
        asked = [words for words in sentences if words]
        if probabilities and asked:
            for fields, columns in zip(full, self.model.probabilities(asked), strict=True):
                fields["probabilities"] = [
                    [_chances(labels, row.tolist()) for row in column]
                    for labels, column in zip(self.symbols.labels, columns, strict=True)
                ]
        if n_best and asked:
            for fields, lists in zip(full, self.model.n_best(asked, n_best), strict=True):
                fields["n_best"] = [
                    [{"tags": tags, "probability": chance} for tags, chance in column]
                    for column in lists
                ]
        return found

    def _object(self, words: Sentence, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields to add to a JSON object; several columns by their names."""
        names = _names(self.data, self.symbols)
        added: dict[str, Any] = {"tokens": list(words)}
        for key, columns in fields.items():
            name = "tags" if key == "columns" else key
            added[name] = columns[0] if len(names) == 1 else dict(zip(names, columns, strict=True))
        return added


def _names(data: TaggingData, symbols: Symbols) -> tuple[str, ...]:
    """A name of each column; of a single one by default ``tags``."""
    return data.tags if len(data.tags) == len(symbols.labels) else ("tags",)


def _tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _chances(labels: Sequence[str], row: Sequence[float]) -> dict[str, float]:
    """Tags with their probabilities, the likeliest first, without those that round to 0."""
    ordered = sorted(zip(labels, row, strict=True), key=lambda item: -item[1])
    return {label: round(chance, 6) for label, chance in ordered if chance >= 5e-7}


def _train_network(
    config: RunConfig, run: RunDirectory, corpus: Corpus, workers: Workers
) -> Outcome:
    torch.manual_seed(config.seed)
    facts, allowed = sizes(config, corpus), constraints(config, corpus)
    model = build(lambda: network(config.model_name, facts, corpus.symbols, allowed))
    model.embedding.set_counts(torch.from_numpy(corpus.counts))
    if corpus.vectors is not None:
        rows = torch.arange(len(corpus.vectors))
        model.embedding.set_vectors(rows, torch.from_numpy(corpus.vectors))
    train = _encoded(corpus.parts.train, corpus.symbols)
    source = BucketLoader(
        train.lengths,
        train.batch,
        batch_size=config.training.batch_size,
        seed=config.seed,
        rows=workers.rows,
        max_tokens=TOKENS_PER_SENTENCE * config.training.batch_size,
    )
    valid = corpus.parts.valid
    outcome = Trainer(
        model,
        source,
        config=config.training,
        run=run,
        validate=None if valid is None else _Validation(config, corpus, valid),
        monitor="error",
        seed=config.seed,
        device=config.device,
        precision=config.precision,
    ).fit()
    if not outcome.interrupted:
        run.write_model(model, _description(config, corpus) | {"sizes": facts})
    return outcome


class _Validation:
    """The metrics of a model in training; ``error`` is what the first metric of each column lacks of 1."""

    def __init__(self, config: RunConfig, corpus: Corpus, examples: Sequence[Example]) -> None:
        self._symbols = corpus.symbols
        self._encoded = _encoded(examples, corpus.symbols)
        self._known = {
            "names": _names(config.data, corpus.symbols),
            "spans": _spans(config.data, corpus.symbols),
            "truth": [example["tags"] for example in examples],
        }

    def __call__(self, model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Tagger)
        found = NeuralTags(model, self._symbols).tags_of(self._encoded)
        return metrics_of(Answers(found=found, **self._known))


def _encoded(examples: Sequence[Example], symbols: Symbols) -> Encoded:
    sentences = [example["tokens"] for example in examples]
    return Encoded(sentences, symbols, [example["tags"] for example in examples])


def _count(config: RunConfig, run: RunDirectory, corpus: Corpus) -> None:
    model = CountedTags.fit(asdict(config.model), corpus)
    facts = {"decoding": config.model.decoding}
    run.write_model(model.arrays(), _description(config, corpus) | facts)


def _spans(data: TaggingData, symbols: Symbols) -> tuple[bool, ...]:
    """Which columns' tags mark spans."""
    if data.spans != "auto":
        return (data.spans == "yes",) * len(symbols.labels)
    return tuple(looks_like_spans(labels) for labels in symbols.labels)


def _description(config: RunConfig, corpus: Corpus) -> dict[str, Any]:
    data = config.data
    return {
        "task": TASK,
        "kind": config.model_name,
        "learnt_words": len(corpus.counts),
        "spans": list(_spans(data, corpus.symbols)),
        "data": {
            "token": data.token,
            "tags": list(data.tags),
            "spans": data.spans,
            "lowercase": data.lowercase,
        },
        "files": digests(config.output, FILES),
    }
