"""Dense layers: kernels.linear beside F.linear, kernels.linear_cross_entropy beside torch's ways to the same.

    python benchmarks/dense.py [--threads 1] [--repeats 9] [--only linear|loss]

Table 10: (rows, K, V) of a word model, a character model and a translation model. Training goes forward and
backward to inputs, weight and bias. The loss beside `F.cross_entropy(F.linear(...))` and beside
`F.linear_cross_entropy` in chunks of 256 rows (much quicker on a processor than the chunks that torch chooses
itself), the quicker of the two being `best torch`; its memory is what is resident at most during one pass,
beyond inputs and weights (gradients included).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

import timing
import torch
from timing import Table, check_equal, interleaved, median, memory, ratio
from torch import Tensor
from torch.nn import functional as F

import unrolled

SHAPES = [(400, 200, 10_000), (4096, 256, 65), (2048, 256, 8000)]
QUICK = [(64, 32, 500)]


class Given:
    """Inputs of one shape; gradients are dropped before each pass."""

    def __init__(self, rows: int, inner: int, outer: int) -> None:
        self.x = torch.randn(rows, inner, requires_grad=True)
        self.weight = (torch.randn(outer, inner) / inner**0.5).requires_grad_()
        self.bias = torch.randn(outer, requires_grad=True)
        self.targets = torch.randint(outer, (rows,))
        self.gradient: Tensor | None = None

    def leaves(self) -> list[Tensor]:
        return [self.x, self.weight, self.bias]

    def pass_(self, call: Callable[[Given], Tensor]) -> timing.Side:
        def run() -> None:
            for leaf in self.leaves():
                leaf.grad = None
            call(self).backward(self.gradient)

        return run

    def forward(self, call: Callable[[Given], Tensor]) -> timing.Side:
        def run() -> None:
            with torch.inference_mode():
                call(self)

        return run


def linear(given: Given) -> Tensor:
    return F.linear(given.x, given.weight, given.bias)


def our_linear(given: Given) -> Tensor:
    return unrolled.kernels.linear(given.x, given.weight, given.bias)


def loss(given: Given) -> Tensor:
    return F.cross_entropy(linear(given), given.targets, reduction="sum")


def chunked_loss(given: Given) -> Tensor:
    return F.linear_cross_entropy(
        given.x,
        given.weight,
        given.targets,
        linear_bias=given.bias,
        reduction="sum",
        options=torch.nn.LinearCrossEntropyOptions(batch_chunk_size=256, chunking_method=None),
    )


def our_loss(given: Given) -> Tensor:
    return unrolled.kernels.linear_cross_entropy(
        given.x, given.weight, given.bias, given.targets
    ).sum()


def check(name: str, given: Given, calls: list[Callable[[Given], Tensor]]) -> None:
    results = []
    for call in calls:
        given.pass_(call)()
        results.append([leaf.grad for leaf in given.leaves()])
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            check_equal(name, found, expected, 1e-3)


LOSSES = {"plain": loss, "chunked": chunked_loss, "unrolled": our_loss}


def peak_of(name: str, shape: tuple[int, ...]) -> int:
    """Bytes at most during one pass, in this process."""
    given = Given(*shape)
    Given(8, shape[1], 16).pass_(LOSSES[name])()  # loads what is loaded once
    for leaf in given.leaves():
        leaf.grad = None
    before = memory.reset_peak()
    given.pass_(LOSSES[name])()
    return memory.peak() - before


def linears(chosen: argparse.Namespace) -> None:
    if not hasattr(unrolled.kernels, "linear"):
        timing.absent("unrolled has no kernels.linear yet")
        return
    table = Table(
        "10. F.linear / kernels.linear.",
        *[
            ("rows", 5),
            ("K", 4),
            ("V", 6),
            ("mode", 9),
            ("ours", 11),
            ("GFLOP/s", 7),
            ("ratio", 18),
        ],
    )
    for rows, inner, outer in QUICK if chosen.quick else SHAPES:
        given = Given(rows, inner, outer)
        given.gradient = torch.randn(rows, outer)
        check("linear", given, [linear, our_linear])
        for passes, mode, make in ((1, "inference", given.forward), (3, "training", given.pass_)):
            sides = {"torch": make(linear), "unrolled": make(our_linear)}
            times = interleaved(sides, chosen.repeats, seconds=chosen.seconds)
            ours = median(times["unrolled"])
            rate = passes * 2e-9 * rows * inner * outer / ours
            table.row(
                *(rows, inner, outer, mode, f"{1e3 * ours:.2f} ms", f"{rate:.0f}"),
                ratio(times["torch"], times["unrolled"]),
            )


def losses(chosen: argparse.Namespace) -> None:
    exists = hasattr(unrolled.kernels, "linear_cross_entropy")
    if not exists:
        timing.absent("unrolled has no kernels.linear_cross_entropy yet; torch's own follow")
    sides = {name: call for name, call in LOSSES.items() if exists or name != "unrolled"}
    table = Table(
        "10. Linear layer and cross-entropy, training: torch / kernels.linear_cross_entropy; MiB at most.",
        *[("rows", 5), ("K", 4), ("V", 6), ("plain", 11), ("chunked", 11), ("ours", 11)],
        *[("best torch / ours", 18), ("MiB: plain", 10), ("chunked", 8), ("ours", 8)],
    )
    for shape in QUICK if chosen.quick else SHAPES:
        given = Given(*shape)
        check("linear_cross_entropy", given, list(sides.values()))
        passes = {name: given.pass_(call) for name, call in sides.items()}
        times = interleaved(passes, chosen.repeats, seconds=chosen.seconds)
        best = min((times["plain"], times["chunked"]), key=median)
        peaks = {}
        if memory.AVAILABLE:
            arguments = [str(size) for size in shape]
            peaks = {n: memory.in_subprocess(__file__, "--peak", n, *arguments) for n in sides}
        table.row(
            *shape,
            *[f"{1e3 * median(times[n]):.2f} ms" if n in times else "–" for n in LOSSES],
            ratio(best, times["unrolled"]) if exists else "–",
            *[f"{peaks[n]['bytes'] / memory.MIB:.1f}" if n in peaks else "–" for n in LOSSES],
        )


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        torch.set_num_threads(1)
        print(json.dumps({"bytes": peak_of(sys.argv[2], tuple(map(int, sys.argv[3:])))}))
        return
    chosen = timing.options(__doc__)
    if timing.wanted(chosen, "linear"):
        linears(chosen)
    if timing.wanted(chosen, "loss"):
        losses(chosen)


if __name__ == "__main__":
    main()
