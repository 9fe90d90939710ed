"""The parts of a task's data (train, valid, test), and what every task does around a training.

Examples here are JSON objects of raw strings, so that what a run holds out can be read by anyone and with any
later vocabulary. :func:`prepare` writes them once into the run's ``cache``; a training that goes on reads
them from there, whatever has become of the files. :func:`finish` moves the held-out parts to
``valid.jsonl`` and ``test.jsonl``, from which ``evaluate`` reads.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unrolled.config import RunConfig
from unrolled.data.atomic import replacing
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.metrics.evaluation import Evaluation
from unrolled.tasks.card import model_card
from unrolled.training.run_directory import RunDirectory

T = TypeVar("T")
Example = dict[str, Any]
Module = TypeVar("Module", bound=nn.Module)

PARTS = ("train", "valid", "test")
SPLIT_SEED = 0  # not the run's: runs of several seeds must hold out the same examples


class PartOptions(Protocol):
    """What a task's data options say about the parts."""

    @property
    def train(self) -> Path: ...

    @property
    def valid(self) -> Path | None: ...

    @property
    def test(self) -> Path | None: ...

    @property
    def valid_share(self) -> float: ...

    @property
    def test_share(self) -> float: ...


class Trained(Protocol):
    """A trained model of any task, from a run directory."""

    @property
    def description(self) -> Mapping[str, Any]:
        """What ``model.json`` says."""

    def evaluate(
        self, data: str | PathLike[str] | None = None, *, split: str = "test"
    ) -> Evaluation:
        """The quality on a file, or on the part that training held out under the name ``split``."""

    def predict(
        self,
        lines: Iterable[str],
        *,
        probabilities: bool = False,
        n_best: int = 0,
        batch_size: int = 1,
    ) -> Iterator[str]:
        """A line of output for each line of input, as they come.

        Args:
            lines: plain lines, or JSON objects.
            probabilities, n_best: answer with objects that hold them.
            batch_size: lines that may be read before the first is answered.

        Raises:
            DataError: a line that is no example.
            ConfigError: probabilities or n-best lists that the model cannot give.
        """


@dataclass(frozen=True)
class Parts:
    """The examples of each part; ``valid`` and ``test`` are None where there is no such part."""

    train: list[Example]
    valid: list[Example] | None
    test: list[Example] | None


def split(
    count: int, *, valid_share: float, test_share: float, seed: int = SPLIT_SEED
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Which of ``count`` examples are train, valid and test: whole ones drawn at random, in order.

    The test share is of all, the valid share of the rest; a share above 0 gives at least one example where
    that leaves two.

    >>> [part.tolist() for part in split(6, valid_share=0.2, test_share=0.3)]
    [[0, 1, 4], [5], [2, 3]]
    """

    def size(share: float, of: int) -> int:
        return max(round(share * of), int(share > 0 and of > 2))

    order = np.random.default_rng(seed).permutation(count)
    test = size(test_share, count)
    valid = size(valid_share, count - test)
    bounds = (order[test + valid :], order[test : test + valid], order[:test])
    train_rows, valid_rows, test_rows = (np.sort(part) for part in bounds)
    return train_rows, valid_rows, test_rows


def prepare(data: PartOptions, folder: Path, read: Callable[[Path], Iterable[Example]]) -> None:
    """Reads the files of all parts and writes their examples to ``folder/cache``.

    A folder that an interrupted run prepared is left as it is.

    Args:
        data: the files, and the shares to hold out of train where a file is missing.
        folder: the run directory.
        read: the examples of a file.

    Raises:
        DataError: what ``read`` finds; a file without examples.
    """
    cache = folder / "cache"
    if (cache / "train.jsonl").exists():
        return
    found: dict[str, list[Example]] = {}
    for name in ("valid", "test", "train"):
        path: Path | None = getattr(data, name)
        if path is not None:
            found[name] = examples_of(path, read)
    valid, test = (
        share if name not in found else 0.0
        for name, share in (("valid", data.valid_share), ("test", data.test_share))
    )
    if valid or test:
        whole = found["train"]
        rows = split(len(whole), valid_share=valid, test_share=test)
        for name, chosen in zip(PARTS, rows, strict=True):
            if name == "train" or len(chosen):
                found[name] = [whole[row] for row in chosen]
    if not found["train"]:
        raise DataError("no example is left to learn from; hold fewer out", path=data.train)
    cache.mkdir(exist_ok=True)
    for name in ("valid", "test", "train"):  # train last: its presence says that all are there
        if name in found:
            write_examples(cache / f"{name}.jsonl", found[name])


def prepared(folder: Path) -> Parts:
    """What :func:`prepare` wrote; reads nothing but that.

    Raises:
        RunError: there is nothing prepared, or it is damaged.
    """
    cache = folder / "cache"

    def part(name: str) -> list[Example] | None:
        path = cache / f"{name}.jsonl"
        return read_examples(path) if path.exists() else None

    return Parts(read_examples(cache / "train.jsonl"), part("valid"), part("test"))


def examples_of(path: Path, read: Callable[[Path], Iterable[Example]]) -> list[Example]:
    """All examples of a file.

    Raises:
        DataError: what ``read`` finds, or that there are none.
    """
    found = list(read(path))
    if not found:
        raise DataError("the file holds no example; expected at least one", path=path)
    return found


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Writes examples as JSON lines; the file appears whole or not at all."""
    with replacing(path) as file:
        for example in examples:
            file.write(json.dumps(example, ensure_ascii=False).encode() + b"\n")


def read_examples(path: Path) -> list[Example]:
    """What :func:`write_examples` wrote.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise RunError(f"{path}: damaged: no JSON lines; train the model again") from None


def held_out(run: Path, name: str) -> list[Example]:
    """The examples that a finished run held out under a name.

    Raises:
        ConfigError: it holds out no such part.
        RunError: they are damaged.
    """
    place = run / f"{name}.jsonl"
    if not place.exists():
        raise ConfigError(
            f"{run} holds out no {name} part; name a file: unrolled evaluate {run} --data.test FILE"
        )
    return read_examples(place)


def digest(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from None


def digests(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """The digests of a run's files that its model needs, for its description."""
    return {name: digest(folder / name) for name in names}


def open_model(path: Path, task: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The description and tensors of a run, after a look at what they must fit.

    The description's ``files`` are what :func:`digests` gave.

    Raises:
        RunError: no run of this task, damaged, or with files that are not the model's.
    """
    run = RunDirectory(path)
    description, tensors = run.read_model()
    if description.get("task") != task:
        raise RunError(f"{path}: a run of {description.get('task')}, not of {task}")
    run.check_files()
    return description, tensors


def build(make: Callable[[], Module]) -> Module:
    """A model to be trained.

    Raises:
        ConfigError: its options do not fit together, or there is no memory for it.
    """
    try:
        return make()
    except ValueError as error:
        raise ConfigError(f"--model: {error}") from error
    except RuntimeError as error:
        if "alloc" not in str(error):
            raise
        raise ConfigError(
            "--model: no memory for a model of this size; choose a smaller one"
        ) from None


def finish(
    config: RunConfig,
    run: RunDirectory,
    load: Callable[[Path], Trained],
    *,
    unit: str,
    commands: Sequence[str] = ("evaluate {run} --data.test FILE", "predict {run} < FILE"),
) -> None:
    """Keeps the held-out parts, measures on the validation part, writes the card, ends the run.

    The test part is left to ``unrolled evaluate``: it is looked at when all choices are made.

    Args:
        load: makes the trained model from the run directory.
        unit: what an evaluation counts, in the plural (``"tokens"``).
        commands: how the model is used, for the card.
    """
    cache = run.path / "cache"
    for name in ("valid", "test"):
        if (cache / f"{name}.jsonl").exists():
            shutil.copyfile(cache / f"{name}.jsonl", run.path / f"{name}.jsonl")
    conclude(config, run, load, unit=unit, commands=commands)


def conclude(
    config: RunConfig,
    run: RunDirectory,
    load: Callable[[Path], Trained],
    *,
    unit: str,
    commands: Sequence[str],
) -> None:
    """The last part of :func:`finish`, for tasks that keep their parts in another form."""
    trained = load(run.path)
    evaluation = None
    if any((run.path / f"valid.{kind}").exists() for kind in ("jsonl", "tokens")):
        evaluation = trained.evaluate(split="valid")
        run.write_text("evaluation.json", evaluation.to_json() + "\n")
    card = model_card(config, trained.description, evaluation, unit=unit, commands=commands)
    run.write_text("README.md", card)
    run.finish()
    shutil.rmtree(run.path / "cache", ignore_errors=True)
