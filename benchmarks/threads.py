"""Two threads beside one, and beside two of torch's: wall time.

    python benchmarks/threads.py [--threads 2] [--repeats 9] [--only lstm|gru|rnn|inference|training]

Table 6: shapes of B >= 16. Speed-up is the time of one thread over that of `--threads`, of the same layer.
Both sides run with both counts in turn, in one process. Needs as many idle cores as threads.
"""

from __future__ import annotations

import argparse
import functools
import os
import time

import timing
import torch
from timing import Table, interleaved, ratio
from torch import nn

import unrolled

LAYERS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "lstm": (nn.LSTM, unrolled.LSTM),
    "gru": (nn.GRU, unrolled.GRU),
    "rnn": (nn.RNN, unrolled.RNN),
}
MODES = ("inference", "training")


def with_threads(threads: int, side: timing.Side) -> timing.Side:
    def run() -> None:
        torch.set_num_threads(threads)
        side()

    return run


def measure(chosen: argparse.Namespace, table: Table, name: str) -> None:
    peer_type, type_ = LAYERS[name]
    kept: dict[str, list[timing.Ratio]] = {mode: [] for mode in MODES}
    for steps, batch, hidden in chosen.shapes:
        if batch < (4 if chosen.quick else 16):
            continue
        peer, mine = peer_type(hidden, hidden), type_(hidden, hidden)
        mine.load_state_dict(peer.state_dict())
        x, gradient = torch.randn(2, steps, batch, hidden)
        train = functools.partial(timing.training, gradient=gradient)
        for mode, make in zip(MODES, (timing.inference, train), strict=True):
            if not (timing.wanted(chosen, name) or timing.wanted(chosen, mode)):
                continue
            sides = {
                f"{side} {threads}": with_threads(threads, make(layer, x))
                for side, layer in (("torch", peer), ("unrolled", mine))
                for threads in (1, chosen.threads)
            }
            times = interleaved(
                sides, chosen.repeats, seconds=chosen.seconds, now=time.perf_counter
            )
            one, many = times["unrolled 1"], times[f"unrolled {chosen.threads}"]
            torchs = times[f"torch {chosen.threads}"]
            kept[mode].append(ratio(one, many))
            table.row(
                *(name, steps, batch, hidden, mode, f"{1e3 * timing.median(many):.2f} ms"),
                kept[mode][-1],
                ratio(times["torch 1"], torchs),
                ratio(torchs, many),
            )
    for mode, ratios in kept.items():
        if ratios:
            mean, lowest = timing.geometric_mean(ratios), min(r.low for r in ratios)
            print(f"  {name}, {mode}: geometric mean {mean}, lowest bound {lowest:.2f}", flush=True)


def main() -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.set_defaults(threads=2)

    chosen = timing.options(__doc__, wall=True, add=add)
    if chosen.threads < 2:
        timing.absent("one thread was asked for; this table compares it with --threads 2")
        return
    if (os.cpu_count() or 1) < chosen.threads:
        timing.absent(f"{chosen.threads} threads need as many cores")
        return
    table = Table(
        f"6. {chosen.threads} threads, B >= 16, wall time.",
        *[("layer", 5), ("T", 5), ("B", 4), ("H=I", 4), ("mode", 9), ("ours", 11)],
        *[("our speed-up", 18), ("torch's speed-up", 18), ("torch / unrolled", 18)],
    )
    for name in LAYERS:
        if timing.wanted(chosen, name, *MODES):
            measure(chosen, table, name)


if __name__ == "__main__":
    main()
