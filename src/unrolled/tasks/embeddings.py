"""Word vectors from plain text: skip-gram, continuous bag of words, GloVe, and a baseline that counts.

Every model learns from the same words and sentences, and is measured on the same questions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unrolled.baselines.ppmi import PpmiSvd
from unrolled.config import RunConfig
from unrolled.data.atomic import replacing
from unrolled.data.cooccurrence import Cooccurrences, EntryLoader
from unrolled.data.stream import TokenStream
from unrolled.data.text import EOS, read_lines, tokens
from unrolled.data.vocabulary import Vocabulary
from unrolled.data.windows import Sentences, WindowLoader
from unrolled.data.word_questions import from_json, read_questions, to_json
from unrolled.errors import ConfigError, DataError
from unrolled.metrics.evaluation import Evaluation
from unrolled.models.vector_space import VectorSpace
from unrolled.models.word_vectors import WORD_VECTORS
from unrolled.tasks.embeddings_options import EmbeddingsData
from unrolled.tasks.embeddings_scores import score
from unrolled.tasks.lines import Lines
from unrolled.tasks.parts import (
    Example,
    build,
    digests,
    finish,
    held_out,
    open_model,
    write_examples,
)
from unrolled.training.distributed import Workers
from unrolled.training.live import Outcome
from unrolled.training.run_directory import RunDirectory
from unrolled.training.snapshot import load_tensors
from unrolled.training.trainer import Trainer

TASK = "embeddings"
VOCABULARY, VECTORS = "vocabulary.json", "vectors.txt"
USE = ("evaluate {run} --data.test FILE", "predict {run} < FILE")
NEIGHBOURS = 10  # that a plain line is answered with


class Embeddings:
    """The task: see :mod:`unrolled.tasks.embeddings`."""

    @staticmethod
    def train(config: RunConfig, run: RunDirectory) -> Outcome:
        """Trains (or counts) the model that ``config`` names, into an open run directory."""
        if Workers.join(config.device).size > 1:
            raise ConfigError("word vectors are trained by one process; start it without torchrun")
        _prepare(config.data, run.path)
        vocabulary = Vocabulary.load(run.path / VOCABULARY)
        stream = TokenStream.open(run.path / "cache" / "train.tokens")
        try:
            text = Sentences(stream, end=int(vocabulary.encode([EOS])[0]))
        except DataError as error:
            raise DataError(str(error), path=config.data.train) from None
        if config.model_name in WORD_VECTORS:
            outcome, vectors = _train(config, run, text)
        else:
            outcome = Outcome(steps=0, epochs=0, reason="counted", best=None)
            vectors = _count(config, text)
        if not outcome.interrupted:
            _write(config, run, vocabulary, vectors)
            finish(config, run, TrainedEmbeddings, unit="questions", commands=USE)
        return outcome

    @staticmethod
    def write_averaged(
        config: RunConfig,
        run: RunDirectory,
        tensors: Mapping[str, Tensor],
        description: Mapping[str, Any],
    ) -> None:
        """Vectors of other weights: see :mod:`unrolled.tasks.averaging`."""
        vocabulary = Vocabulary.load(run.path / VOCABULARY)
        model = _built(config, len(vocabulary))
        load_tensors(model, tensors, run.path / "model.safetensors")
        _save(run, vocabulary, model.vectors().cpu().numpy(), description)

    @staticmethod
    def load(path: str | PathLike[str]) -> TrainedEmbeddings:
        """The trained model of a run directory."""
        return TrainedEmbeddings(path)


class TrainedEmbeddings:
    """Vectors of words, from a run directory.

    Args:
        run: the run directory.

    Raises:
        RunError: if it is no run of this task, damaged, or of a newer format.
    """

    def __init__(self, run: str | PathLike[str]) -> None:
        self.path = Path(run)
        self.description, tensors = open_model(self.path, TASK)
        self.lowercase: bool = self.description["lowercase"]
        vocabulary = Vocabulary.load(self.path / VOCABULARY)
        rows = _word_rows(vocabulary)
        words = [vocabulary.symbols[row] for row in rows]
        self.space = VectorSpace(words, tensors["vectors"].numpy()[rows])

    def evaluate(
        self, data: str | PathLike[str] | None = None, *, split: str = "test"
    ) -> Evaluation:
        """Spearman's rho on similarities, or the accuracy on analogies, with 95 % bootstrap intervals.

        Args:
            data: a file of either; None for the questions given to training under the name ``split``.
            split: ``"test"`` or ``"valid"``.
        """
        if data is None:
            questions: Sequence[Any] = [from_json(item) for item in held_out(self.path, split)]
        else:
            questions = read_questions(data)
        return score(self.description["kind"], split, self.space, questions, fold=self._folded)

    def predict(
        self,
        lines: Iterable[str],
        *,
        probabilities: bool = False,
        n_best: int = 0,
        batch_size: int = 1,
    ) -> Iterator[str]:
        """The ten nearest words of each word, the nearest first; a dash for a word that is not known.

        Objects have the ``word`` and gain ``neighbours``, ``n_best`` of them if that is given.
        See :class:`unrolled.tasks.parts.Trained`.
        """
        if probabilities:
            raise ConfigError(
                "--probabilities: vectors have cosines, no probabilities; --n-best 10 shows them"
            )
        rows = Lines[str, list[tuple[str, float]] | None](
            text=str.strip,
            record=_word_of,
            answer=partial(self._nearest, count=n_best or NEIGHBOURS),
            plain=_plain,
            fields=_gained,
        )
        return rows.run(lines, objects=n_best > 0, batch_size=batch_size)

    def _nearest(self, words: Sequence[str], *, count: int) -> list[Any]:
        folded = [self._folded(word) for word in words]
        found = iter(self.space.nearest([word for word in folded if word in self.space], count))
        return [next(found) if word in self.space else None for word in folded]

    def _folded(self, word: str) -> str:
        return word.lower() if self.lowercase else word


def _prepare(data: EmbeddingsData, folder: Path) -> None:
    """Reads the questions and the text into the run's cache; an interrupted run's cache is left as it is."""
    cache = folder / "cache"
    if (cache / "train.tokens").exists():
        return
    questions: dict[str, list[Example]] = {}
    for name, path in (("valid", data.valid), ("test", data.test)):
        if path is not None:
            questions[name] = [to_json(question) for question in read_questions(path)]
    words = Vocabulary.count(
        _words(data), max_size=data.vocabulary_size or None, min_count=data.min_count
    )
    if not _word_rows(words):
        raise DataError(
            f"no word occurs {data.min_count} times; lower --data.min-count", path=data.train
        )
    words.save(folder / VOCABULARY)
    cache.mkdir(exist_ok=True)
    for name, examples in questions.items():
        write_examples(cache / f"{name}.jsonl", examples)
    TokenStream.write(_words(data), words, cache / "train.tokens")  # the last: now all are there


def _words(data: EmbeddingsData) -> Iterator[str]:
    lines = read_lines(data.train)
    return tokens((line.lower() if data.lowercase else line for line in lines), "words")


def _word_rows(vocabulary: Vocabulary) -> list[int]:
    """The rows of the words: all but the first, which is unknown words', and that of the line ends."""
    return [row for row, word in enumerate(vocabulary.symbols) if row and word != EOS]


def _train(
    config: RunConfig, run: RunDirectory, text: Sentences
) -> tuple[Outcome, NDArray[np.float32]]:
    options, kind = config.model, WORD_VECTORS[config.model_name]
    batch_size = config.training.batch_size
    source: WindowLoader | EntryLoader
    if config.model_name == "glove":
        entries = Cooccurrences.count(text, window=options.window, weighting="inverse")
        source = EntryLoader(entries, batch_size=batch_size, seed=config.seed)
    else:
        source = WindowLoader(
            text,
            window=options.window,
            batch_size=batch_size,
            subsample=options.subsample,
            seed=config.seed,
        )
    model = _built(config, len(text.counts))
    outcome = Trainer(
        model,
        source,
        config=config.training.resolved(usual_rate=kind.usual_rate, falling=kind.falling),
        run=run,
        validate=None,
        seed=config.seed,
        device=config.device,
        precision=config.precision,
        method="own-updates",
    ).fit()
    return outcome, model.vectors().cpu().numpy()


def _built(config: RunConfig, size: int) -> Any:
    """The network of this configuration for so many words."""
    kind = WORD_VECTORS[config.model_name]
    own = {name: value for name, value in asdict(config.model).items() if name in kind.options}
    return build(lambda: kind(size, seed=config.seed, **own))


def _count(config: RunConfig, text: Sentences) -> NDArray[np.float32]:
    options = config.model
    entries = Cooccurrences.count(text, window=options.window, weighting="linear")
    model = PpmiSvd(options.size, negative=options.negative, power=options.power, seed=config.seed)
    return model.fit(entries)


def _write(
    config: RunConfig, run: RunDirectory, vocabulary: Vocabulary, vectors: NDArray[np.float32]
) -> None:
    """The model and what describes it."""
    description = {
        "task": TASK,
        "kind": config.model_name,
        "size": config.model.size,
        "words": len(_word_rows(vocabulary)),
        "lowercase": config.data.lowercase,
        "files": digests(run.path, [VOCABULARY]),
    }
    _save(run, vocabulary, vectors, description)


def _save(
    run: RunDirectory,
    vocabulary: Vocabulary,
    vectors: NDArray[np.float32],
    description: Mapping[str, Any],
) -> None:
    """The model, and its vectors as word2vec's text, the most frequent word first."""
    run.write_model({"vectors": vectors}, description)
    rows = _word_rows(vocabulary)
    with replacing(run.path / VECTORS) as file:
        file.write(f"{len(rows)} {vectors.shape[1]}\n".encode())
        for row in rows:
            numbers = " ".join([f"{value:.6g}" for value in vectors[row].tolist()])
            file.write(f"{vocabulary.symbols[row]} {numbers}\n".encode())


def _word_of(given: Mapping[str, Any]) -> str:
    word = given.get("word")
    if not isinstance(word, str):
        raise ValueError(f"word is {json.dumps(word)}; expected a field word that holds a text")
    return word.strip()


def _plain(found: list[tuple[str, float]] | None) -> str:
    return "-" if found is None else " ".join(word for word, _ in found)


def _gained(word: str, found: list[tuple[str, float]] | None) -> dict[str, Any]:
    if found is None:
        return {"word": word, "neighbours": None}
    return {"word": word, "neighbours": [{"word": near, "cosine": c} for near, c in found]}
