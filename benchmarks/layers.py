"""Recurrent layers beside torch.nn, and cells that torch lacks beside eager loops and our own LSTM.

    python benchmarks/layers.py [--threads 1] [--repeats 9] [--only layers|cells|lstm|lstm-peephole|…]

Table 1: LSTM, GRU and RNN, the drop-ins, with torch's weights; results and gradients are compared first.
Table 2: other cells, among them one written here, beside the loop of `kernels.use("loop")` and the best
loop written by hand. Inference runs under `torch.inference_mode`; training goes forward and backward to
inputs and weights. Both sides go through the public API and allocate their own results.
"""

from __future__ import annotations

import argparse
import functools

import timing
import torch
from peers import loops
from timing import Table, check_equal, interleaved, ratio
from timing.peak import peak
from torch import Tensor, nn

import unrolled
from unrolled.cells import CELLS

LAYERS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "lstm": (nn.LSTM, unrolled.LSTM),
    "gru": (nn.GRU, unrolled.GRU),
    "rnn": (nn.RNN, unrolled.RNN),
}

# Names in CELLS, and the loop by hand.
CUSTOM: dict[str, loops.Loop] = {
    "lstm-peephole": loops.peephole,
    "lstm-coupled": loops.coupled,
    "lstm-review": loops.review,
    "gru-before": loops.gru_before,
    "mut1": loops.mut1,
    "lstm-layer-norm": loops.layer_norm,
    "own": loops.leaky,
}
CUSTOM_SHAPES = [(64, 32, 256), (512, 16, 128), (1024, 1, 128), (100, 64, 100)]


def gradients(layer: nn.Module, x: Tensor, output: Tensor, gradient: Tensor) -> list[Tensor]:
    """Of the input and each parameter of a layer of torch's names."""
    wanted = [x, *layer.parameters()]
    return list(torch.autograd.grad(output, wanted, gradient))


def check_layers(name: str, peer: nn.Module, mine: nn.Module, x: Tensor, gradient: Tensor) -> None:
    x = x.clone().requires_grad_()
    outputs = [layer(x)[0] for layer in (peer, mine)]
    check_equal(name, outputs[1], outputs[0])
    pair = [
        gradients(layer, x, output, gradient)
        for layer, output in zip((peer, mine), outputs, strict=True)
    ]
    for theirs, ours in zip(*pair, strict=True):
        check_equal(f"{name}, a gradient", ours, theirs, 1e-3)


def torch_layers(chosen: argparse.Namespace) -> None:
    """Table 1."""
    top, how = peak(chosen.threads)
    head = [("layer", 6), ("T", 5), ("B", 4), ("H=I", 4)]
    for mode in ("inference", "training"):
        head += [(mode, 12), ("ratio", 18), ("peak", 5)]
    table = Table(
        f"1. torch.nn / unrolled. Peak: {top / 1e9:.0f} GFLOP/s ({how}).",
        *head,
    )
    for name, (peer_type, type_) in LAYERS.items():
        if not timing.wanted(chosen, "layers", name):
            continue
        means: tuple[list[timing.Ratio], ...] = ([], [])
        for steps, batch, hidden in chosen.shapes:
            peer, mine = peer_type(hidden, hidden), type_(hidden, hidden)
            mine.load_state_dict(peer.state_dict())
            x, gradient = torch.randn(2, steps, batch, hidden)
            check_layers(name, peer, mine, x, gradient)
            cells: list[object] = [name, steps, batch, hidden]
            for make, passes, kept in (
                (timing.inference, 1, means[0]),
                (functools.partial(timing.training, gradient=gradient), 3, means[1]),
            ):
                times = interleaved(
                    {"torch": make(peer, x), "unrolled": make(mine, x)},
                    chosen.repeats,
                    seconds=chosen.seconds,
                )
                kept.append(ratio(times["torch"], times["unrolled"]))
                ours = timing.median(times["unrolled"])
                share = passes * timing.matrix_flops(mine, steps, batch) / ours / top
                cells += [f"{1e3 * ours:.2f} ms", kept[-1], f"{share:.0%}"]
            table.row(*cells)
        for mode, kept in zip(("inference", "training"), means, strict=True):
            lowest = min(kept, key=lambda r: r.low)
            print(
                f"  {name}, {mode}: geometric mean {timing.geometric_mean(kept)}, lowest bound "
                f"{lowest.low:.2f}",
                flush=True,
            )


def custom_cell(name: str, hidden: int) -> nn.Module | None:
    if name != "own" and name not in CELLS:
        return None
    return unrolled.Recurrent(loops.Leaky if name == "own" else name, hidden, hidden)


def with_executor(executor: str, side: timing.Side) -> timing.Side:
    def run() -> None:
        with unrolled.kernels.use(executor):
            side()

    return run


def custom_sides(
    name: str, mine: nn.Module, lstm: nn.Module, x: Tensor, gradient: Tensor
) -> dict[str, dict[str, timing.Side]]:
    """The four sides of table 2, in both modes."""
    loop, values = CUSTOM[name], loops.parameters(mine)

    def by_hand(x: Tensor) -> Tensor:
        return loop(values, x)

    first = x[:16]  # layer norm starts chaotic: rounding grows tenfold in every ten or twenty steps
    with torch.inference_mode():
        in_place = by_hand(first)
    with torch.no_grad():
        check_equal(name, mine(first)[0], by_hand(first))
        check_equal(name, in_place, by_hand(first))
    train = functools.partial(timing.training, gradient=gradient)
    return {
        "inference": {
            "lstm": timing.inference(lstm, x),
            "loop": with_executor("loop", timing.inference(mine, x)),
            "hand": timing.inference(by_hand, x),
            "unrolled": timing.inference(mine, x),
        },
        "training": {
            "lstm": train(lstm, x),
            "loop": with_executor("loop", train(mine, x)),
            "hand": train(mine, x, call=by_hand),
            "unrolled": train(mine, x),
        },
    }


def custom_cells(chosen: argparse.Namespace) -> None:
    """Table 2."""
    if not timing.wanted(chosen, "cells", *CUSTOM):
        return
    table = Table(
        "2. Cells that torch lacks. Share: GFLOP/s over those of our LSTM; loop: the time of "
        'kernels.use("loop") over ours; by hand: that of the best eager loop.',
        *[("cell", 15), ("T", 5), ("B", 4), ("H=I", 4), ("mode", 9), ("ours", 12), ("GFLOP/s", 7)],
        *[("share", 18), ("loop", 21), ("by hand", 21)],
    )
    for name in CUSTOM:
        if not timing.wanted(chosen, "cells", name):
            continue
        for steps, batch, hidden in chosen.shapes[:2] if chosen.quick else CUSTOM_SHAPES:
            mine = custom_cell(name, hidden)
            if mine is None:
                timing.absent(f"{name}: unrolled has no such cell yet")
                break
            lstm = unrolled.Recurrent("lstm", hidden, hidden)
            x, gradient = torch.randn(2, steps, batch, hidden)
            modes = custom_sides(name, mine, lstm, x, gradient)
            for passes, (mode, sides) in zip((1, 3), modes.items(), strict=True):
                times = interleaved(sides, chosen.repeats, seconds=chosen.seconds)
                work = passes * timing.matrix_flops(mine, steps, batch)
                of_lstm = passes * timing.matrix_flops(lstm, steps, batch) / work
                share = ratio([t / of_lstm for t in times["lstm"]], times["unrolled"])
                ours = timing.median(times["unrolled"])
                table.row(
                    *(name, steps, batch, hidden, mode, f"{1e3 * ours:.2f} ms"),
                    f"{work / ours / 1e9:.1f}",
                    share,
                    ratio(times["loop"], times["unrolled"]),
                    ratio(times["hand"], times["unrolled"]),
                )


def main() -> None:
    chosen = timing.options(__doc__)
    if timing.wanted(chosen, "layers", *LAYERS):
        torch_layers(chosen)
    custom_cells(chosen)


if __name__ == "__main__":
    main()
