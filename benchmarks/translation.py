"""Training and beam search of an encoder–decoder with attention, beside the same model in plain torch.

    python benchmarks/translation.py [--threads 1] [--repeats 9] [--only training|memory|beam]

Table 13: a bidirectional GRU encoder (2 x 256), a conditional GRU with additive attention, a GRU above (2 x
256), embeddings of 256, tied, 8000 symbols. Training: batches of 64 pairs of like length (generated: about
13 symbols a side), label smoothing 0.1, dropout 0.3, Adam, clipping; target symbols a second. Use: a beam of
5, one sentence at a time and 32 together; sentences a second. The peer is benchmarks/peers/translator.py.
Before anything is timed both must give the same loss; the share of equal outputs is printed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import timing
import torch
from timing import Table, interleaved, median, memory, ratio
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from unrolled.data.batch import PairsBatch, Sequences
from unrolled.decoding.beam import BeamOptions, beam
from unrolled.models.seq2seq import Seq2Seq
from unrolled.training.config import TrainingConfig
from unrolled.training.distributed import Workers
from unrolled.training.methods import TruncatedBPTT

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from translator import END, START, Translator

SYMBOLS, HIDDEN, BATCH, BEAM = 8000, 256, 64, 5
DROPOUT, SMOOTHING, RATE, CLIP = 0.3, 0.1, 1e-3, 1.0


def batches(count: int, size: int, symbols: int) -> list[PairsBatch]:
    """Batches of generated pairs of like length."""
    draw = np.random.default_rng(0)
    lengths = np.clip(draw.normal(13, 4, count * size).round().astype(int), 3, 40)
    made = []
    for group in np.sort(lengths).reshape(count, size)[draw.permutation(count)]:
        sides = []
        for noise in (0, 1):
            sizes = np.maximum(1, group + draw.integers(-noise, noise + 1, size))
            rows = np.zeros((size, sizes.max() + 1), np.int64)
            for row, n in zip(rows, sizes, strict=True):
                row[:n], row[n] = np.minimum(draw.zipf(1.2, n) + 2, symbols - 1), END
            sides.append((torch.from_numpy(rows), torch.from_numpy(sizes + 1)))
        (source, source_lengths), (target, target_lengths) = sides
        inputs = torch.cat([torch.full((size, 1), START), target[:, :-1]], 1)
        made.append(
            PairsBatch(Sequences(source, source_lengths), Sequences(inputs, target_lengths), target)
        )
    return made


def models(symbols: int, hidden: int) -> tuple[Seq2Seq, Translator]:
    torch.manual_seed(0)
    ours = Seq2Seq(
        symbols,
        symbols,
        cell="gru",
        hidden_size=hidden,
        num_layers=2,
        embedding_size=hidden,
        embedding_dropout=DROPOUT,
        dropout=DROPOUT,
        label_smoothing=SMOOTHING,
    )
    return ours, Translator(ours, dropout=DROPOUT)


def peer_loss(peer: Translator, batch: PairsBatch) -> Tensor:
    assert batch.inputs is not None
    assert batch.targets is not None
    source = batch.source
    outputs = peer(source.values, source.lengths, batch.inputs.values)
    smoothing = SMOOTHING if peer.training else 0.0
    return peer.loss(outputs, batch.targets, batch.inputs.mask, smoothing)


def training(chosen: argparse.Namespace, table: Table, symbols: int, hidden: int) -> None:
    ours, peer = models(symbols, hidden)
    data = batches(4 if chosen.quick else 16, BATCH, symbols)
    with torch.no_grad():
        found = ours.eval().loss(ours(data[0])[0], data[0]).sum
        timing.check_equal("loss", found, peer_loss(peer.eval(), data[0]))
    parameters = list(peer.parameters())
    optimiser = torch.optim.Adam(parameters, lr=RATE, fused=True)
    config = TrainingConfig(optimiser="adam", learning_rate=RATE, gradient_clip=CLIP)
    method = TruncatedBPTT(ours, config, Workers.join("cpu"), precision="32")
    stream, other = itertools.cycle(data), itertools.cycle(data)
    count = sum(int(b.inputs.lengths.sum()) for b in data if b.inputs) / len(data)
    ours.train(), peer.train()

    def theirs() -> None:
        batch = next(other)
        optimiser.zero_grad(set_to_none=True)
        assert batch.inputs is not None
        (peer_loss(peer, batch) / batch.inputs.lengths.sum()).backward()
        clip_grad_norm_(parameters, CLIP, foreach=True)
        optimiser.step()

    def mine() -> None:
        method.update(ours, [next(stream)], None)

    times = interleaved(
        {"torch": theirs, "unrolled": mine}, chosen.repeats, seconds=max(chosen.seconds, 1.0)
    )
    speeds = [f"{count / median(times[side]):,.0f}" for side in ("torch", "unrolled")]
    table.row("training", f"B {BATCH}", *speeds, ratio(times["torch"], times["unrolled"]))


def vocabulary_layer(side: str, symbols: int, hidden: int) -> int:
    """Bytes at most during one forward and backward pass of a side's vocabulary layer, in this process."""
    ours, peer = models(symbols, hidden)
    ours.train(), peer.train()
    before = 0
    for batch in batches(2, 2, symbols)[:1] + batches(4, BATCH, symbols)[:1]:  # the first to load
        assert batch.inputs is not None
        assert batch.targets is not None
        ours.zero_grad(set_to_none=True), peer.zero_grad(set_to_none=True)
        mask = batch.inputs.mask
        whole = torch.randn(*mask.shape, hidden)
        outputs = (whole if side == "torch" else whole[mask]).requires_grad_()
        before = memory.reset_peak()
        if side == "torch":
            peer.loss(outputs, batch.targets, mask, SMOOTHING).backward()
        else:
            ours.loss(outputs, batch).sum.backward()
    return memory.peak() - before


def memories(table: Table, symbols: int, hidden: int) -> None:
    if not memory.AVAILABLE:
        timing.absent("memory is measured on Linux alone")
        return
    arguments = (str(symbols), str(hidden))
    found = [
        memory.in_subprocess(__file__, "--child", side, *arguments)["bytes"] / memory.MIB
        for side in ("torch", "unrolled")
    ]
    share = f"{found[0] / found[1]:.2f}"
    table.row("memory", f"B {BATCH}", *[f"{each:.1f}" for each in found], share, "MiB")


def searching(chosen: argparse.Namespace, table: Table, symbols: int, hidden: int) -> None:
    ours, peer = models(symbols, hidden)
    with torch.no_grad():  # weights that learnt nothing would end anywhere: all run to the limit
        for bias in (ours.head.bias, peer.bias):
            bias[END] = -5.0
    ours.eval(), peer.eval()
    options = BeamOptions(size=BEAM, length_penalty=0.0, max_length=14)
    whole = batches(1, 8 if chosen.quick else 32, symbols)[0].source
    for size in (1, 32):
        parts = (
            [whole]
            if size == 32
            else [
                Sequences(v[None, :n], n[None])
                for v, n in zip(whole.values, whole.lengths, strict=True)
            ]
        )

        def theirs(parts: list[Sequences] = parts) -> list[list[int]]:
            return [
                path
                for s in parts
                for path in peer.beam(s.values, s.lengths, size=BEAM, limit=options.max_length)
            ]

        def mine(parts: list[Sequences] = parts) -> list[list[int]]:
            with torch.inference_mode():
                return [
                    list(best[0].tokens)
                    for s in parts
                    for best in beam(
                        ours, ours.start_from(s), start=START, end=END, options=options
                    )
                ]

        found, expected = mine(), theirs()
        same = sum(a == b for a, b in zip(found, expected, strict=True)) / len(found)
        steps = sum(len(path) + 1 for path in found) / len(found)
        times = interleaved(
            {"torch": theirs, "unrolled": mine}, chosen.repeats, seconds=chosen.seconds
        )
        speeds = [f"{len(found) / median(times[side]):,.1f}" for side in ("torch", "unrolled")]
        note = f"{same:.0%} equal, {steps:.1f} symbols"
        table.row("beam 5", f"B {size}", *speeds, ratio(times["torch"], times["unrolled"]), note)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        torch.set_num_threads(1)
        sizes = map(int, sys.argv[3:])
        print(json.dumps({"bytes": vocabulary_layer(sys.argv[2], *sizes)}))
        return
    chosen = timing.options(__doc__)
    symbols, hidden = (300, 16) if chosen.quick else (SYMBOLS, HIDDEN)
    table = Table(
        "13. Encoder and decoder, plain torch / unrolled, a second.",
        *[("", 10), ("", 5), ("torch", 9), ("ours", 9), ("torch / ours", 18), ("", 30)],
    )
    if timing.wanted(chosen, "training"):
        training(chosen, table, symbols, hidden)
    if timing.wanted(chosen, "memory"):
        memories(table, symbols, hidden)
    if timing.wanted(chosen, "beam"):
        searching(chosen, table, symbols, hidden)


if __name__ == "__main__":
    main()
