"""A tiny language model on a tiny text, trained as a script: ``python toy_training.py RUN KEY=VALUE …``."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import unrolled
from unrolled.errors import UnrolledError
from unrolled.training.config import TrainingConfig
from unrolled.training.distributed import Workers
from unrolled.training.run_directory import RunDirectory
from unrolled.training.trainer import Outcome, Trainer

SYMBOLS = 7


@dataclass(frozen=True)
class Batch:
    tokens: torch.Tensor
    targets: torch.Tensor
    fresh: bool

    def to(self, device: torch.device) -> Batch:
        return Batch(self.tokens.to(device), self.targets.to(device), self.fresh)


class Source:
    """Windows of ``window`` tokens from ``tracks`` parallel tracks; optionally slow."""

    def __init__(
        self, *, tracks: int = 6, windows: int = 7, window: int = 5, rows: slice = slice(None)
    ) -> None:
        generator = torch.Generator().manual_seed(3)
        length = windows * window + 1
        text = torch.randint(SYMBOLS, (tracks, 1), generator=generator)
        text = (text + torch.arange(length) ** 2) % SYMBOLS
        self.text, self.window, self.windows = text[rows], window, windows
        self.epoch = self.position = 0
        self.pause = 0.0

    def __len__(self) -> int:
        return self.windows

    def __iter__(self) -> Any:
        while self.position < self.windows:
            start = self.position * self.window
            self.position += 1
            time.sleep(self.pause)
            piece = self.text[:, start : start + self.window + 1]
            yield Batch(piece[:, :-1], piece[:, 1:], fresh=start == 0)
        self.epoch, self.position = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]


@dataclass
class Loss:
    sum: torch.Tensor
    count: int


class Toy(nn.Module):
    """Embedding, dropout, LSTM, and an output layer tied to the embedding."""

    def __init__(self, *, size: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, size)
        self.lstm = unrolled.LSTM(size, size, batch_first=True)  # torch's has no bf16 on some CPUs
        self.output = nn.Linear(size, SYMBOLS)
        self.output.weight = self.embedding.weight
        self.dropout = dropout
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch, state: Any) -> tuple[torch.Tensor, Any]:
        if self.training:
            self.seen += 1
        x = F.dropout(self.embedding(batch.tokens), self.dropout, self.training)
        h, state = self.lstm(x, state)
        return self.output(h), state

    def loss(self, outputs: torch.Tensor, batch: Batch) -> Loss:
        total = F.cross_entropy(outputs.flatten(0, 1), batch.targets.flatten(), reduction="sum")
        return Loss(total, batch.targets.numel())


def validate(model: nn.Module) -> dict[str, float]:
    """Consumes random numbers on purpose: training must not notice."""
    torch.rand(3)
    batch = next(iter(Source(tracks=3, windows=1, window=20))).to(model.seen.device)
    outputs, _ = model(batch, None)
    loss = model.loss(outputs, batch)
    return {"nats": float(loss.sum) / loss.count}


def trainer(
    run: RunDirectory, *, dropout: float = 0.2, pause: float = 0.0, **options: Any
) -> Trainer:
    torch.manual_seed(0)
    device = options.pop("device", "cpu")
    precision = options.pop("precision", "32")
    validated = options.pop("validate", validate)
    source = Source(rows=Workers.join(device).rows)
    source.pause = pause
    defaults = {"max_epochs": 6, "checkpoint_every": 4, "learning_rate": 0.02}
    return Trainer(
        Toy(dropout=dropout),
        source,
        config=TrainingConfig(**(defaults | options)),
        run=run,
        validate=validated,
        seed=5,
        device=device,
        precision=precision,
    )


def train(path: str | Path, **options: Any) -> Outcome:
    """A whole run, as a task does it."""
    with RunDirectory(path).open() as run:
        toy = trainer(run, **options)
        outcome = toy.fit()
        if not outcome.interrupted:
            run.write_model(toy.live.model, {"kind": "toy"})
            run.finish()
    return outcome


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = dict(item.split("=", 1) for item in sys.argv[2:])
    try:
        done = train(sys.argv[1], **{key: json.loads(value) for key, value in given.items()})
    except UnrolledError as error:
        sys.exit(str(error))
    if os.environ.get("RANK", "0") == "0":
        print(done.reason)
    if "RANK" in os.environ:  # as the command line ends under torchrun
        sys.stdout.flush()
        os._exit(0)
