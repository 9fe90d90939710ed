"""Whole jobs, optimiser and clipping included, beside a plain torch loop that does the same steps.

    python benchmarks/jobs.py [--threads 1] [--repeats 9] [--only char|word|lstm|gru]

Table 9: a character model (2 x 256, B 32, T 128, V 65, Adam) and a word model (2 x 200, B 20, T 20, V 10,000,
SGD), truncated back-propagation with the state carried. Ours: LanguageModel and TruncatedBPTT, as `unrolled
train` runs them. torch: as its best users write it (time first, fused optimiser, foreach clipping, gradients
set to None), with F.cross_entropy or F.linear_cross_entropy in chunks of 256 rows. Both start from the same
weights and must agree on the losses of four steps. MiB: resident at most during projection, loss and their
backward pass, beyond inputs and weights.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timing
import torch
from timing import Table, interleaved, median, memory, ratio
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from unrolled.data.batch import LanguageBatch
from unrolled.models.language_model import LanguageModel
from unrolled.training.config import TrainingConfig
from unrolled.training.distributed import Workers
from unrolled.training.methods import TruncatedBPTT

LAYERS: dict[str, type[nn.Module]] = {"lstm": nn.LSTM, "gru": nn.GRU}
CHUNKS = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=256, chunking_method=None)
CHECKED = 4  # steps


@dataclass(frozen=True)
class Job:
    """The sizes of a language model's training."""

    hidden: int
    batch: int
    steps: int
    vocabulary: int
    config: TrainingConfig
    layers: int = 2

    def batches(self, count: int = 8) -> list[LanguageBatch]:
        generator = torch.Generator().manual_seed(1)
        text = torch.randint(
            self.vocabulary, (self.batch, count * self.steps + 1), generator=generator
        )
        starts = range(0, count * self.steps, self.steps)
        return [
            LanguageBatch(
                tokens=text[:, t : t + self.steps],
                targets=text[:, t + 1 : t + 1 + self.steps],
                fresh=False,
            )
            for t in starts
        ]

    def model(self, cell: str) -> LanguageModel:
        torch.manual_seed(2)
        return LanguageModel(
            self.vocabulary, cell=cell, hidden_size=self.hidden, num_layers=self.layers
        )


ADAM = TrainingConfig(optimiser="adam", learning_rate=2e-3, gradient_clip=1.0)
SGD = TrainingConfig(optimiser="sgd", learning_rate=1.0, gradient_clip=5.0)
JOBS = {"char": Job(256, 32, 128, 65, ADAM), "word": Job(200, 20, 20, 10_000, SGD)}
QUICK = {"char": Job(32, 4, 16, 65, ADAM), "word": Job(32, 4, 8, 500, SGD)}
LOSSES = {"char": ("plain",), "word": ("plain", "chunked")}


class TorchModel(nn.Module):
    """The same model in torch.nn, with our model's weights."""

    def __init__(self, job: Job, cell: str, ours: LanguageModel, loss: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(job.vocabulary, job.hidden)
        self.recurrent = LAYERS[cell](job.hidden, job.hidden, job.layers)
        self.linear = nn.Linear(job.hidden, job.vocabulary)
        self.chunked = loss == "chunked"
        with torch.no_grad():
            self.embedding.weight.copy_(ours.embedding)
            self.linear.weight.copy_(ours.head.weight)
            self.linear.bias.copy_(ours.head.bias)
        self.recurrent.load_state_dict(ours.recurrent.state_dict())

    def loss(self, h: Tensor, targets: Tensor) -> Tensor:
        """Mean nats of targets [N] from h [N, H]."""
        if not self.chunked:
            return F.cross_entropy(self.linear(h), targets)
        linear = self.linear
        return F.linear_cross_entropy(
            h, linear.weight, targets, linear_bias=linear.bias, options=CHUNKS
        )

    def forward(self, tokens: Tensor, targets: Tensor, state: Any) -> tuple[Tensor, Any]:
        h, state = self.recurrent(self.embedding(tokens), state)  # [T, B, H]
        return self.loss(h.flatten(0, 1), targets), state


def torch_steps(job: Job, cell: str, loss: str) -> Callable[[], float]:
    """One training step at each call; gives the loss."""
    model = TorchModel(job, cell, job.model(cell), loss)
    parameters = list(model.parameters())
    kind = torch.optim.Adam if job.config.optimiser == "adam" else torch.optim.SGD
    optimiser = kind(parameters, lr=job.config.learning_rate, fused=True)
    # Time first, and contiguous: what a loader of such a user gives.
    data = [(b.tokens.t().contiguous(), b.targets.t().reshape(-1)) for b in job.batches()]
    stream = itertools.cycle(data)
    state: Any = None

    def step() -> float:
        nonlocal state
        optimiser.zero_grad(set_to_none=True)
        loss, state = model(*next(stream), state)
        loss.backward()
        clip_grad_norm_(parameters, job.config.gradient_clip, foreach=True)
        optimiser.step()
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        return loss.item()

    return step


def our_steps(job: Job, cell: str) -> Callable[[], float]:
    model = job.model(cell)
    method = TruncatedBPTT(model, job.config, Workers.join("cpu"), precision="32")
    stream = itertools.cycle(job.batches())
    state: Any = None

    def step() -> float:
        nonlocal state
        state = method.update(model, [next(stream)], state)
        return method.last.nats / method.last.count

    return step


def loss_bytes(job: Job, side: str) -> int:
    """Resident at most during one pass of projection and loss, in this process."""
    ours = job.model("lstm")
    model = TorchModel(job, "lstm", ours, side)
    h = torch.randn(job.batch, job.steps, job.hidden, requires_grad=True)
    targets = torch.randint(job.vocabulary, (job.batch, job.steps))
    small = h[:1, :2].detach().requires_grad_()
    for warm in (True, False):
        rows, ids = (small, targets[:1, :2]) if warm else (h, targets)
        before = memory.reset_peak()
        if side == "unrolled":
            ours.head.loss(rows, ids).sum.backward()
        else:
            model.loss(rows.flatten(0, 1), ids.flatten()).backward()
        used = memory.peak() - before
        ours.zero_grad()
        model.zero_grad()
    return used


def measure(chosen: argparse.Namespace, table: Table, name: str, cell: str) -> None:
    job = (QUICK if chosen.quick else JOBS)[name]
    sides = {loss: torch_steps(job, cell, loss) for loss in LOSSES[name]}
    sides["unrolled"] = our_steps(job, cell)
    first = {side: [step() for _ in range(CHECKED)] for side, step in sides.items()}
    for side, losses in first.items():
        timing.check_equal(side, torch.tensor(losses), torch.tensor(first["plain"]), 1e-3)
    times = interleaved(sides, chosen.repeats, seconds=chosen.seconds)
    peaks = {}
    if memory.AVAILABLE:
        quick = "quick" if chosen.quick else "whole"
        peaks = {s: memory.in_subprocess(__file__, "--child", quick, name, s) for s in sides}
    columns = ("plain", "chunked", "unrolled")
    table.row(
        *(name, cell),
        *[f"{1 / median(times[side]):.2f}" if side in times else "–" for side in columns],
        *[ratio(times[s], times["unrolled"]) if s in times else "–" for s in columns[:2]],
        *[f"{peaks[s]['bytes'] / memory.MIB:.1f}" if s in peaks else "–" for s in columns],
    )


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        quick, name, side = sys.argv[2:]
        torch.set_num_threads(1)
        job = (QUICK if quick == "quick" else JOBS)[name]
        print(json.dumps({"bytes": loss_bytes(job, side)}))
        return
    chosen = timing.options(__doc__)
    table = Table(
        "9. Training steps a second; torch's time / ours; MiB of projection and loss.",
        *[("job", 5), ("cell", 4), ("plain", 8), ("chunked", 8), ("ours", 8)],
        *[("plain / ours", 18), ("chunked / ours", 18)],
        *[("MiB: plain", 10), ("chunked", 8), ("ours", 8)],
    )
    for name in JOBS:
        for cell in LAYERS:
            if timing.wanted(chosen, name, cell):
                measure(chosen, table, name, cell)


if __name__ == "__main__":
    main()
