"""Small runs of classification, for its tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import unrolled
from unrolled.config import RunConfig
from unrolled.tasks.classification import Classification
from unrolled.tasks.classification_options import (
    BagOfWordsModel,
    ClassChainsModel,
    ClassificationData,
    ClassificationTraining,
    RecurrentClassifier,
    WindowClassifier,
)
from unrolled.training.run_directory import RunDirectory

SMALL = {"max_epochs": 4, "batch_size": 16, "learning_rate": 0.02, "average": 0.0}
RECURRENT = RecurrentClassifier(hidden_size=12, word_size=8, dropout=0.0)
MODELS = {
    "recurrent": RECURRENT,
    "window": WindowClassifier(hidden_size=16, word_size=8, dropout=0.0),
    "bag-of-words": BagOfWordsModel(),
    "markov": ClassChainsModel(),
}


def train(
    output: Path,
    name: str,
    data: ClassificationData,
    model: Any = None,
    seed: int = 0,
    **training: Any,
) -> Any:
    """A finished run, loaded."""
    chosen = model or MODELS[name]
    options = ClassificationTraining(**{**SMALL, **training})
    config = RunConfig("classification", name, data, chosen, options, output, seed=seed)
    with RunDirectory(output).open() as run:
        run.write_text("config.toml", config.to_toml())
        Classification.train(config, run)
    return unrolled.load(output)


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def plain(path: Path, **options: Any) -> ClassificationData:
    return ClassificationData(path, text=("2",), label=("1",), **options)
