"""Ragged batches, forward and backward: useful tokens a second beside torch packed and torch padded.

    python benchmarks/ragged.py [--threads 1] [--repeats 9] [--only lstm|gru|random|bucketed] [--batches 8]

Table 4: lengths log-normal with mean 25, at most 150; B 64, I = H = 256. The sequences come in random
batches and bucketed (all of them sorted, then cut into batches: the most that bucketing can give). Every
side gets [T, B, I] with T the batch's longest and a gradient that is zero past each end. Packed: the
batch is sorted beforehand, packed inside the time taken, and the loss is that of the packed output, never
padded again. Padded: the padding is computed like everything else. Unrolled: `lengths=`, nothing sorted.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import timing
import torch
from timing import Table, check_equal, interleaved, ratio
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import unrolled

LAYERS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "lstm": (nn.LSTM, unrolled.LSTM),
    "gru": (nn.GRU, unrolled.GRU),
}
MEAN, SPREAD, LONGEST = 25, 0.65, 150


@dataclass(frozen=True)
class Ragged:
    """One batch, longest sequence first: x and gradient [T, B, H], lengths [B]; and as it came."""

    x: Tensor
    gradient: Tensor
    lengths: Tensor
    order: Tensor  # shuffles the rows for the sides that need no order

    @classmethod
    def draw(cls, lengths: np.ndarray, hidden: int) -> Ragged:
        sorted_ = torch.from_numpy(np.sort(lengths)[::-1].copy())
        steps = int(sorted_[0])
        x, gradient = torch.randn(2, steps, len(lengths), hidden)
        real = torch.arange(steps)[:, None] < sorted_  # [T, B]
        gradient = gradient * real[:, :, None]
        return cls(x.requires_grad_(), gradient, sorted_, torch.randperm(len(lengths)))

    def shuffled(self) -> Ragged:
        """The same batch with its rows in no order."""
        x, gradient = (
            part.detach()[:, self.order].contiguous() for part in (self.x, self.gradient)
        )
        return Ragged(x.requires_grad_(), gradient, self.lengths[self.order], self.order)


def drawn_lengths(count: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    found = generator.lognormal(np.log(MEAN) - SPREAD**2 / 2, SPREAD, count)
    return np.clip(np.rint(found), 1, LONGEST).astype(np.int64)


def clear(layer: nn.Module, batch: Ragged) -> None:
    batch.x.grad = None
    for parameter in layer.parameters():
        parameter.grad = None


def packed(layer: nn.Module, batches: list[Ragged]) -> timing.Side:
    gradients = [pack_padded_sequence(b.gradient, b.lengths).data for b in batches]

    def run() -> None:
        for batch, gradient in zip(batches, gradients, strict=True):
            clear(layer, batch)
            output, _ = layer(pack_padded_sequence(batch.x, batch.lengths))
            output.data.backward(gradient)

    return run


def padded(layer: nn.Module, batches: list[Ragged]) -> timing.Side:
    def run() -> None:
        for batch in batches:
            clear(layer, batch)
            layer(batch.x)[0].backward(batch.gradient)

    return run


def unsorted(layer: nn.Module, batches: list[Ragged]) -> timing.Side:
    batches = [batch.shuffled() for batch in batches]

    def run() -> None:
        for batch in batches:
            clear(layer, batch)
            layer(batch.x, lengths=batch.lengths)[0].backward(batch.gradient)

    return run


def check(name: str, peer: nn.Module, mine: nn.Module, batch: Ragged) -> None:
    """Padded torch and ours agree where the sequences are, in outputs and gradients."""
    results = []
    for layer in (peer, mine):
        clear(layer, batch)
        output = (
            layer(batch.x)[0] if layer is peer else layer(batch.x, lengths=batch.lengths)[0]
        ) * (batch.gradient != 0)
        output.backward(batch.gradient)
        results.append([output, batch.x.grad, *(p.grad for p in layer.parameters())])
    for theirs, ours in zip(*results, strict=True):
        check_equal(name, ours, theirs, 1e-3)


def measure(
    table: Table, chosen: argparse.Namespace, name: str, how: str, batches: list[Ragged]
) -> None:
    hidden = batches[0].x.shape[2]
    peer_type, type_ = LAYERS[name]
    peer, mine = peer_type(hidden, hidden), type_(hidden, hidden)
    mine.load_state_dict(peer.state_dict())
    check(name, peer, mine, batches[0])
    times = interleaved(
        {
            "packed": packed(peer, batches),
            "padded": padded(peer, batches),
            "unrolled": unsorted(mine, batches),
        },
        chosen.repeats,
        seconds=chosen.seconds,
    )
    tokens = sum(int(batch.lengths.sum()) for batch in batches)
    rates = [f"{tokens / timing.median(side):,.0f}" for side in times.values()]
    ratios = [ratio(times[side], times["unrolled"]) for side in ("packed", "padded")]
    steps = sum(batch.x.shape[0] * batch.x.shape[1] for batch in batches)
    table.row(name, how, f"{tokens / steps:.0%}", *rates, *ratios)


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--batches", type=int, default=8, help="batches in one pass")

    chosen = timing.options(__doc__, add=add)
    batch, hidden = (4, 32) if chosen.quick else (64, 256)
    lengths = drawn_lengths(batch * (2 if chosen.quick else chosen.batches))
    print(
        f"# lengths: mean {lengths.mean():.1f}, longest {lengths.max()}, {len(lengths)} sequences"
    )
    table = Table(
        f"4. Useful tokens a second, training, B {batch}, H = I = {hidden}.",
        *[("layer", 6), ("batches", 9), ("useful", 6), ("packed", 9), ("padded", 9)],
        *[("unrolled", 9), ("packed / unrolled", 18), ("padded / unrolled", 18)],
    )
    for name in LAYERS:
        for how in ("random", "bucketed"):
            if not (timing.wanted(chosen, name) or timing.wanted(chosen, how)):
                continue
            ordered = np.sort(lengths) if how == "bucketed" else lengths
            batches = [Ragged.draw(part, hidden) for part in ordered.reshape(-1, batch)]
            measure(table, chosen, name, how, batches)


if __name__ == "__main__":
    main()
