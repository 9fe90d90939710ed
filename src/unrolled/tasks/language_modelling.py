"""Language modelling: the next character or word, by a recurrent network, a chain, n-grams, or a mixture.

Every model of this task scores the same symbols: each of a text given all before it. The recurrent model
reads the symbol that ends a line before the first; models that count know nothing before it.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from unrolled.baselines import BASELINES
from unrolled.baselines.mixture import Mixture, fit_weights, mix
from unrolled.config import RunConfig, read_toml, to_mapping
from unrolled.data.stream import StreamLoader, TokenStream
from unrolled.data.text import text_of, tokens
from unrolled.data.vocabulary import Vocabulary
from unrolled.decoding.lattice import Lattice
from unrolled.decoding.lattice_rescoring import RescoredPath, RescoringOptions, rescore
from unrolled.decoding.sample import stream
from unrolled.errors import ConfigError, RunError
from unrolled.layers.session import Session
from unrolled.metrics.evaluation import Evaluation
from unrolled.metrics.language import LanguageScore, intervals
from unrolled.models import LanguageModel
from unrolled.tasks.corpus import VOCABULARY, Corpus, encode, line_end, prepare, prepared
from unrolled.tasks.language_scores import spelling, sums
from unrolled.tasks.parts import build, conclude, digests, open_model
from unrolled.training.distributed import Workers
from unrolled.training.live import Outcome
from unrolled.training.run_directory import RunDirectory
from unrolled.training.snapshot import load_tensors
from unrolled.training.trainer import Trainer

TASK = "language-modelling"
VALIDATION_TRACKS = 16
USE = (
    "evaluate {run} --data.test FILE",
    "predict {run} < FILE",
    "generate {run} --length 500",
)


class Scorer(Protocol):
    """What every model of this task can do."""

    def log_probabilities(self, ids: Any) -> NDArray[np.float64]:
        """ln p of every symbol of a text [N]."""

    def start(self, batch_size: int) -> Any:
        """The state before any symbol."""

    def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        """Log-probabilities [B, V] after one symbol more."""


class LanguageModelling:
    """The task: see :mod:`unrolled.tasks.language_modelling`."""

    @staticmethod
    def train(config: RunConfig, run: RunDirectory) -> Outcome:
        """Trains (or counts) the model that ``config`` names, into an open run directory."""
        workers = Workers.join(config.device)
        if workers.rank == 0:
            prepare(config.data, run.path)
        workers.agree(0)  # the others wait here for the streams
        corpus = prepared(config.data, run.path)
        if config.model_name == "recurrent":
            outcome = _train_recurrent(config, run, corpus, workers)
        else:
            outcome = Outcome(steps=0, epochs=0, reason="counted", best=None)
            if run.writer:
                _count(config, run, corpus)
        if not outcome.interrupted and run.writer:
            _finish(config, run, corpus)
        return outcome

    @staticmethod
    def load(path: str | PathLike[str]) -> TrainedLanguageModel:
        """The trained model of a run directory."""
        return TrainedLanguageModel(path)


class _MixtureScorer(Mixture):
    """A mixture that scores whole texts, too."""

    def log_probabilities(self, ids: Any) -> NDArray[np.float64]:
        """ln p of every symbol of a text [N]."""
        return mix([model.log_probabilities(ids) for model in self.models], self.weights)  # type: ignore[attr-defined]


class TrainedLanguageModel:
    """A trained language model with its vocabulary, from a run directory.

    Args:
        run: the run directory.

    Raises:
        RunError: if it is no run of this task, damaged, or of a newer format.
    """

    def __init__(self, run: str | PathLike[str]) -> None:
        self.path = Path(run)
        self.description, arrays = open_model(self.path, TASK)
        self.vocabulary = Vocabulary.load(self.path / VOCABULARY)
        self.level: str = self.description["level"]
        self.name: str = self.description["kind"]
        self.model = self._build(arrays)

    def _build(self, tensors: dict[str, Tensor]) -> Scorer:
        if self.name == "recurrent":
            model = LanguageModel(**self.description["sizes"])
            with torch.no_grad():
                load_tensors(model, tensors, self.path / "model.safetensors")
            return model.eval()
        if self.name == "mixture":
            members = [
                TrainedLanguageModel(self.path / member) for member in self.description["members"]
            ]
            return _MixtureScorer([m.model for m in members], self.description["weights"])
        if self.name not in BASELINES:
            raise RunError(f"{self.path}: holds a model of the unknown kind {self.name!r}")
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        return BASELINES[self.name].from_arrays(arrays)

    def log_probabilities(self, text: Iterable[str]) -> NDArray[np.float64]:
        """ln p of every symbol of a text given as lines (line ends are symbols, too)."""
        return self.model.log_probabilities(self._ids(text))

    def evaluate(
        self, data: str | PathLike[str] | None = None, *, split: str = "test"
    ) -> Evaluation:
        """Nats, bits and perplexity per symbol, with 95 % block-bootstrap intervals.

        Args:
            data: a text; None for the part that training held out under the name ``split``.
            split: ``"test"`` or ``"valid"``.
        """
        if data is not None:
            part: TokenStream = encode(Path(data), self.vocabulary, self.level)
        else:
            part = self._held_out(split)
        return score(self.name, self.model, part, split)

    def predict(
        self,
        lines: Iterable[str],
        *,
        probabilities: bool = False,
        n_best: int = 0,
        batch_size: int = 1,
    ) -> Iterator[str]:
        """For each line: ln p of it with its end, its number of symbols, and the line, TAB-separated."""
        if probabilities or n_best:
            flag = "--probabilities" if probabilities else "--n-best"
            raise ConfigError(f"{flag}: a language model scores whole lines; leave it out")
        return self._scored(lines)

    def _scored(self, lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            found = self.log_probabilities([line])
            yield f"{found.sum():.4f}\t{len(found)}\t{line}"

    def score(self, texts: Iterable[str | tuple[str | None, str]]) -> Iterator[float]:
        """ln p of each text with its end, in nats, in order.

        Args:
            texts: lines, or pairs as conditional models score them; what stands before a text is not read.
        """
        lines = (given if isinstance(given, str) else given[1] for given in texts)
        return sums(self.model, (self._ids([line]) for line in lines))

    def ensemble(self, others: Sequence[Any]) -> Self:
        """This model and others as one: the average of their distributions.

        Raises:
            ConfigError: one is no language model, or of another vocabulary.
        """
        for each in others:
            task = each.description["task"]
            if task != TASK:
                raise ConfigError(
                    f"{each.path}: a model of {task} is not averaged with one of {TASK}"
                )
            if each.vocabulary != self.vocabulary or each.level != self.level:
                raise ConfigError(
                    f"{each.path / VOCABULARY} differs from {self.path / VOCABULARY}: the models of an "
                    "ensemble need one vocabulary; train them on the same data"
                )
        whole = copy.copy(self)
        models = [self.model, *(each.model for each in others)]
        whole.model = _MixtureScorer(models, [1 / len(models)] * len(models))
        whole.name = f"{self.name}, {len(models)} runs"
        return whole

    def rescore(
        self, lattice: Lattice, options: RescoringOptions | None = None
    ) -> list[RescoredPath]:
        """The best word sequences of a lattice, of :mod:`unrolled.decoding.lattice_rescoring`."""
        [end] = self.vocabulary.encode([line_end(self.level)]).tolist()
        spell = spelling(self.vocabulary, self.level)
        return rescore(lattice, self.model, spell=spell, end=end, options=options)

    def generate(
        self,
        *,
        prompt: str = "",
        length: int = 500,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Samples a text that continues ``prompt``, piece by piece, without unknown symbols.

        Args:
            prompt: where to go on from; empty for the beginning of a line.
            length: how many symbols. temperature, top_k, top_p: see :mod:`unrolled.decoding.sample`.
            seed: for the same text again; None draws one.
        """
        generator = Generator()
        generator.seed() if seed is None else generator.manual_seed(seed)
        symbols = [line_end(self.level), *tokens(prompt.split("\n"), self.level)][:-1]  # type: ignore[arg-type]
        drawn = stream(
            _Known(self.model),
            prompt=torch.from_numpy(self.vocabulary.encode(symbols))[None],
            length=length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generator=generator,
        )
        names = (self.vocabulary.symbols[int(token[0])] for token in drawn)
        return text_of(names, self.level)  # type: ignore[arg-type]

    def session(self, batch_size: int = 1) -> Session:
        """A session: ``step(ids [B], or None at the start) -> log-probabilities [B, V]``."""
        return Session(self.model.step, self.model.start, batch_size)

    def _ids(self, lines: Iterable[str]) -> NDArray[np.int64]:
        return self.vocabulary.encode(tokens(lines, self.level))  # type: ignore[arg-type]

    def _held_out(self, split: str) -> TokenStream:
        place = self.path / f"{split}.tokens"
        if not place.exists():
            raise ConfigError(
                f"{self.path} holds out no {split} part; name a text: "
                f"unrolled evaluate {self.path} --data.test FILE"
            )
        return TokenStream.open(place)


class _Known:
    """A scorer that never draws the unknown symbol."""

    def __init__(self, model: Scorer) -> None:
        self._model = model
        self.start = model.start

    def step(self, tokens: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        log_probs, state = self._model.step(tokens, state)
        log_probs = log_probs.clone()
        log_probs[:, 0] = -torch.inf
        return log_probs, state


def score(name: str, model: Scorer, part: TokenStream, split: str) -> Evaluation:
    """The evaluation of a model on a stream."""
    nats = -model.log_probabilities(part)
    metrics = LanguageScore.of(nats).metrics() | {"unknown": part.unknown / len(part)}
    return Evaluation(name, split, len(part), metrics, intervals(nats))


def _train_recurrent(
    config: RunConfig, run: RunDirectory, corpus: Corpus, workers: Workers
) -> Outcome:
    torch.manual_seed(config.seed)
    start = int(corpus.vocabulary.encode([line_end(config.data.level)])[0])
    sizes = {
        "vocabulary_size": len(corpus.vocabulary),
        "start_token": start,
        **asdict(config.model),
    }
    model = build(lambda: LanguageModel(**sizes))
    source = StreamLoader(
        corpus.train,
        batch_size=config.training.batch_size,
        window=config.training.window,
        seed=config.seed,
        rows=workers.rows,
    )

    valid = corpus.valid

    def validate(model: torch.nn.Module) -> dict[str, float]:
        assert isinstance(model, LanguageModel)
        assert valid is not None
        tracks = min(VALIDATION_TRACKS, max(1, len(valid) // 1000))
        nats = -model.log_probabilities(valid, tracks=tracks)
        return LanguageScore.of(nats).metrics()

    outcome = Trainer(
        model,
        source,
        config=config.training,
        run=run,
        validate=None if valid is None else validate,
        seed=config.seed,
        device=config.device,
        precision=config.precision,
    ).fit()
    if not outcome.interrupted:
        run.write_model(model, _description(config) | {"sizes": sizes})
    return outcome


def _count(config: RunConfig, run: RunDirectory, corpus: Corpus) -> None:
    if config.model_name == "mixture":
        _mix(config, run, corpus)
        return
    model = BASELINES[config.model_name](**asdict(config.model))
    model.fit(corpus.train, len(corpus.vocabulary))
    facts = {"table_entries": model.table_entries}
    run.write_model(model.arrays(), _description(config) | facts)


def _mix(config: RunConfig, run: RunDirectory, corpus: Corpus) -> None:
    if corpus.valid is None:
        raise ConfigError("a mixture fits its weights on a validation part; give --data.valid")
    members = [TrainedLanguageModel(source) for source in config.model.runs]
    for member in members:
        _refuse_other_data(member, config, corpus)
    weights = fit_weights([m.model.log_probabilities(corpus.valid) for m in members])
    names = [f"members/{i}" for i in range(len(members))]
    left = shutil.ignore_patterns("cache", "checkpoints", "*.tokens", "tensorboard", ".unrolled")
    for name, member in zip(names, members, strict=True):
        shutil.rmtree(run.path / name, ignore_errors=True)
        shutil.copytree(member.path, run.path / name, ignore=left)
    facts = {"members": names, "weights": [float(w) for w in weights]}
    run.write_model({"weights": np.asarray(weights)}, _description(config) | facts)


def _refuse_other_data(member: TrainedLanguageModel, config: RunConfig, corpus: Corpus) -> None:
    """A member that learnt from another part of the text might have seen what the mixture is tested on."""
    own = to_mapping(config.data)
    theirs = read_toml(member.path / "config.toml").get("data", {})
    differing = sorted(key for key in own.keys() | theirs.keys() if own.get(key) != theirs.get(key))
    if differing or member.vocabulary != corpus.vocabulary:
        names = ", ".join(f"data.{key}" for key in differing) or "the vocabulary"
        raise ConfigError(
            f"--model.runs {member.path}: trained with other data ({names}); train all members and "
            "the mixture with the same --data options"
        )


def _description(config: RunConfig) -> dict[str, Any]:
    return {
        "task": TASK,
        "kind": config.model_name,
        "level": config.data.level,
        "files": digests(config.output, [VOCABULARY]),
    }


def _finish(config: RunConfig, run: RunDirectory, corpus: Corpus) -> None:
    """Keeps the held-out parts, measures on the validation part, writes the card.

    The test part is left to ``unrolled evaluate``: it is looked at when all choices are made.
    """
    for name, part in (("valid", corpus.valid), ("test", corpus.test)):
        if part is not None:
            symbols = (corpus.vocabulary.symbols[i] for i in np.asarray(part))
            TokenStream.write(symbols, corpus.vocabulary, run.path / f"{name}.tokens")
    conclude(config, run, TrainedLanguageModel, unit="symbols", commands=USE)
