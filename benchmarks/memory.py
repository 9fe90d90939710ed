"""Memory of training on a long sequence, and what recomputing costs in time.

    python benchmarks/memory.py [--threads 1] [--repeats 9] [--only lstm|gru|memory|time] [--steps 20000]

Table 8: T 20,000, B 16, I = H = 256, each row in a process of its own. Held: resident memory between forward
and backward pass, beyond input and output; `/ TBH` the same in floats for each step, sequence and unit.
Saved: what was allocated for the graph (saved_tensors_hooks; the engine's own count), resident or not: torch
fills a part of its workspace in the backward pass only. At most: resident during both passes, beyond
input, output and the input's gradient. `checkpoints` is nn.LSTM as its users save memory: pieces of √T steps
under torch.utils.checkpoint, which saves nothing else. Times are interleaved in one process, T 4,000.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import timing
import torch
from timing import Table, interleaved, memory, ratio
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import unrolled

LAYERS: dict[str, type[nn.Module]] = {"lstm": nn.LSTM, "gru": nn.GRU}
SIDES = ("torch", "checkpoints", "unrolled", "recompute")
SEED = 3


class Checkpointed(nn.Module):
    """A layer of torch.nn that keeps its state every √T steps and computes the rest again."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Any]:
        outputs, state = [], None
        for piece in x.split(math.isqrt(len(x))):
            output, state = checkpoint(self.layer, piece, state, use_reentrant=False)
            outputs.append(output)
        return torch.cat(outputs), state


def made(side: str, name: str, hidden: int) -> nn.Module | None:
    """The layer of a side; None if unrolled cannot recompute yet."""
    torch.manual_seed(SEED)
    if side in ("torch", "checkpoints"):
        layer = LAYERS[name](hidden, hidden)
        return layer if side == "torch" else Checkpointed(layer)
    try:
        options = {"recompute": True} if side == "recompute" else {}
        return unrolled.Recurrent(name, hidden, hidden, **options)
    except TypeError:
        return None


def engine() -> Any:
    try:
        return importlib.import_module("unrolled._engine")
    except ImportError:
        return None


def engine_bytes() -> int:
    """What the engine's workspaces hold, its idle ones given back; 0 without an engine."""
    native = engine()
    if native is None or not hasattr(native, "memory"):
        return 0
    native.release()
    return int(native.memory()[0])


def measured(side: str, name: str, steps: int, batch: int, hidden: int) -> dict[str, Any]:
    """The bytes of one row, in this process."""
    layer = made(side, name, hidden)
    if layer is None:
        return {"absent": True}
    timing.training(layer, torch.randn(9, batch, hidden), torch.randn(9, batch, hidden))()
    layer.zero_grad()
    x, gradient = torch.randn(2, steps, batch, hidden)
    x.requires_grad_()
    workspaces = engine_bytes()
    before = memory.reset_peak()
    output = layer(x)[0]
    saved = engine_bytes() - workspaces
    held = memory.resident() - before - output.numel() * 4
    output.backward(gradient)
    peak = memory.peak() - before - 2 * output.numel() * 4  # of output and of the input's gradient
    del output
    if not saved:
        layer.zero_grad()
        x.grad = None
        with memory.saved_tensors([x, *layer.parameters()]) as found:
            output = layer(x)[0]
            found.pop(output.untyped_storage().data_ptr(), None)
            saved = sum(found.values())
    return {"held": held, "saved": saved, "peak": peak}


def memories(chosen: argparse.Namespace, name: str, shape: tuple[int, int, int]) -> None:
    steps, batch, hidden = shape
    table = Table(
        f"8. Memory of {name}, training, T {steps}, B {batch}, H = I = {hidden}, MiB.",
        *[("side", 12), ("held", 8), ("/ TBH", 6), ("saved", 8), ("at most", 8)],
    )
    for side in SIDES:
        found = memory.in_subprocess(
            __file__, "--child", side, name, *map(str, shape), str(chosen.threads), chosen.executor
        )
        if "absent" in found:
            timing.absent(f"{side}: unrolled.Recurrent has no recompute= yet")
            continue
        floats = found["held"] / (4 * steps * batch * hidden)
        bytes_ = [f"{found[key] / memory.MIB:.1f}" for key in ("held", "saved", "peak")]
        table.row(side, bytes_[0], f"{floats:.2f}", *bytes_[1:])


def times(chosen: argparse.Namespace, name: str, shape: tuple[int, int, int]) -> None:
    x, gradient = torch.randn(2, *shape)
    layers = {side: made(side, name, shape[2]) for side in SIDES}
    sides: dict[str, Callable[[], object]] = {
        side: timing.training(layer, x, gradient) for side, layer in layers.items() if layer
    }
    found = interleaved(sides, chosen.repeats, seconds=chosen.seconds)
    table = Table(
        f"8. Time of {name}, training, T {shape[0]}, B {shape[1]}, H = I = {shape[2]}: others / ours.",
        *[("side", 12), ("seconds", 9), ("/ unrolled", 20), ("/ recompute", 20)],
    )
    for side, taken in found.items():
        ratios = [ratio(taken, found[own]) if own in found else "–" for own in SIDES[2:]]
        table.row(side, f"{timing.median(taken):.3f}", *ratios)


def child(arguments: list[str]) -> None:
    side, name, *sizes, threads, executor = arguments
    torch.set_num_threads(int(threads))
    unrolled.kernels.use(executor)
    print(json.dumps(measured(side, name, *map(int, sizes))))


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
        return

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--steps", type=int, default=20_000, help="T of the memory")
        parser.add_argument("--time-steps", type=int, default=4000, help="T of the times")

    chosen = timing.options(__doc__, add=add)
    shape = (500, 4, 32) if chosen.quick else (chosen.steps, 16, 256)
    for name in LAYERS:
        if timing.wanted(chosen, "memory", name):
            if memory.AVAILABLE:
                memories(chosen, name, shape)
            else:
                timing.absent("memory: it is read from Linux's /proc")
        if timing.wanted(chosen, "time", name):
            times(chosen, name, shape if chosen.quick else (chosen.time_steps, *shape[1:]))


if __name__ == "__main__":
    main()
