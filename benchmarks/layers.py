"""Recurrent layers against torch.nn in one process: interleaved, process CPU time, medians and ratios.

    python benchmarks/layers.py [--threads 1] [--repeats 9] [--executor auto]

A ratio above 1 means that unrolled is faster. Both sides get the same weights and inputs, go through the
public API and allocate their own results; training includes the backward pass to inputs and weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import unrolled

SHAPES = [
    (64, 32, 64),
    (64, 32, 256),
    (512, 16, 128),
    (1024, 1, 128),
    (35, 20, 650),
    (100, 64, 100),
]
PEERS = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.RNN}
CUSTOM = ["lstm-peephole", "lstm-coupled", "gru-before"]


def clock() -> float:
    """CPU time where one thread works, wall time otherwise."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def interleaved(sides: list[Callable[[], None]], repeats: int) -> list[list[float]]:
    """Seconds of each side, one of each in turn, after one round that does not count."""
    times: list[list[float]] = [[] for _ in sides]
    for round_ in range(repeats + 1):
        for side, kept in zip(sides, times, strict=True):
            start = clock()
            side()
            if round_:
                kept.append(clock() - start)
    return times


def inference(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.no_grad():
            layer(x)

    return run


def training(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    x = x.clone().requires_grad_()

    def run() -> None:
        layer.zero_grad()
        layer(x)[0].sum().backward()

    return run


def row(
    name: str, shape: tuple[int, int, int], peer: nn.Module, mine: nn.Module, repeats: int
) -> str:
    steps, batch, hidden = shape
    x = torch.randn(steps, batch, hidden)
    cells = [f"{name:14} {steps:5} {batch:4} {hidden:4}"]
    for make in (inference, training):
        theirs, ours = interleaved([make(peer, x), make(mine, x)], repeats)
        ratios = sorted(a / b for a, b in zip(theirs, ours, strict=True))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        ratio = statistics.median(ratios)
        cells.append(
            f"{1e3 * statistics.median(ours):9.2f} ms {ratio:6.2f} [{low:.2f}, {high:.2f}]"
        )
    return "  ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--executor", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    unrolled.kernels.use(options.executor)
    print(f"torch {torch.__version__}, {options.threads} thread(s), executor {options.executor}, "
          f"medians of {options.repeats}; ratio torch.nn / unrolled [quartiles]")  # fmt: skip
    print(f"{'cell':14} {'T':>5} {'B':>4} {'H=I':>4}  {'inference':>29}  {'training':>29}")
    for name, kind in PEERS.items():
        for shape in SHAPES:
            peer = kind(shape[2], shape[2])
            mine = unrolled.Recurrent(name, shape[2], shape[2])
            mine.load_state_dict(peer.state_dict())
            print(row(name, shape, peer, mine, options.repeats), flush=True)
    for name in CUSTOM:  # torch has no such cell: beside its LSTM or GRU, for the cost of the loop
        kind = nn.GRU if "gru" in name else nn.LSTM
        for shape in SHAPES[:4]:
            peer, mine = kind(shape[2], shape[2]), unrolled.Recurrent(name, shape[2], shape[2])
            print(row(name, shape, peer, mine, options.repeats), flush=True)
    for hidden in (128, 256, 512):
        x = torch.randn(1, hidden)
        peer = nn.LSTM(hidden, hidden)
        session = unrolled.Recurrent("lstm", hidden, hidden).session()

        def one_step(peer: nn.Module = peer, x: Tensor = x) -> None:
            with torch.no_grad():
                for _ in range(100):
                    peer(x[None])

        def one_session_step(session: unrolled.Session = session, x: Tensor = x) -> None:
            for _ in range(100):
                session.step(x)

        theirs, ours = interleaved([one_step, one_session_step], options.repeats)
        ratio = statistics.median(a / b for a, b in zip(theirs, ours, strict=True))
        microseconds = 1e4 * statistics.median(ours)
        print(f"one LSTM step, B = 1, H = {hidden}: {microseconds:.0f} us, {ratio:.2f} x nn.LSTM")


if __name__ == "__main__":
    main()
