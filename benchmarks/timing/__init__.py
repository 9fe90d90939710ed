"""What all benchmarks share: options, interleaved timing, ratios with an interval, rows.

Times are process CPU seconds where one thread works and wall seconds otherwise. Every side is called twice
before the clock counts; then in each round every side runs once (often enough to last ``MIN_SECONDS``), in
odd rounds in the opposite order, without Python's garbage collector. A ratio is the quotient of two medians,
its interval the central 95 % of the same quotient over bootstrap samples of the rounds; above 1, unrolled is
faster.
"""

from __future__ import annotations

import argparse
import gc
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import unrolled

# T, B and H = I of the tables.
SHAPES = [
    (64, 32, 64),
    (64, 32, 256),
    (64, 32, 512),
    (512, 16, 128),
    (1024, 1, 128),
    (1024, 1, 512),
    (128, 128, 256),
    (35, 20, 650),
    (50, 20, 200),
    (100, 64, 100),
]
QUICK_SHAPES = [(8, 4, 32), (16, 1, 32)]
MIN_SECONDS = 0.02
SAMPLES = 2000  # of the bootstrap

Side = Callable[[], object]
Times = dict[str, list[float]]


def options(
    description: str | None, *, wall: bool = False, add: Callable[..., None] | None = None
) -> argparse.Namespace:
    """Parses the options that every benchmark has, sets torch up and prints the conditions.

    Args:
        description: the module's docstring.
        wall: whether the benchmark measures wall time whatever the threads.
        add: adds options of its own to the parser.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=0, help="rounds; default 9, or 3 if --quick")
    parser.add_argument("--only", default="", help="names of tables or rows, separated by commas")
    parser.add_argument("--quick", action="store_true", help="tiny shapes: does it run?")
    parser.add_argument("--executor", default="auto", help="unrolled.kernels.use(...)")
    if add:
        add(parser)
    chosen = parser.parse_args()
    chosen.repeats = chosen.repeats or (3 if chosen.quick else 9)
    chosen.shapes = QUICK_SHAPES if chosen.quick else SHAPES
    chosen.seconds = MIN_SECONDS / 10 if chosen.quick else MIN_SECONDS
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    unrolled.kernels.use(chosen.executor)
    what = "wall time" if wall or chosen.threads > 1 else "process CPU time"
    print(f"# {conditions(chosen.threads)}, executor {chosen.executor}")
    print(f"# medians of {chosen.repeats} interleaved rounds, {what}; a ratio is the opponent's time "
          "divided by unrolled's [95 % of a bootstrap]", flush=True)  # fmt: skip
    return chosen


def conditions(threads: int) -> str:
    """Versions, processor, instruction set and threads, in one line."""
    return (
        f"torch {torch.__version__}, unrolled {unrolled.__version__}, Python "
        f"{platform.python_version()}, {processor()}, {instructions()}, {threads} thread(s), float32"
    )


def processor() -> str:
    """The processor's name and family, as Linux gives them."""
    found = {}
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    if "model name" not in found:
        return platform.processor() or platform.machine()
    return f"{found['model name']} (family {found['cpu family']}, model {found['model']})"


def instructions() -> str:
    """The instruction set that the engine took; torch's where there is no engine."""
    torchs = torch.backends.cpu.get_cpu_capability()
    isa = getattr(unrolled.kernels, "isa", None)
    return f"engine {isa()} (torch {torchs})" if isa else f"no engine in use (torch {torchs})"


def wanted(chosen: argparse.Namespace, *names: str) -> bool:
    """Whether ``--only`` names one of these, or nothing."""
    return not chosen.only or any(name in names for name in chosen.only.split(","))


def clock() -> float:
    """CPU time where one thread works, wall time otherwise."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def interleaved(
    sides: Mapping[str, Side],
    repeats: int,
    *,
    seconds: float = MIN_SECONDS,
    now: Callable[[], float] = clock,
) -> Times:
    """Seconds of one call of each side, a sample of each in every round."""
    calls = {}
    for name, side in sides.items():
        side()  # compiles, fills caches and pools
        start = now()
        side()
        calls[name] = max(1, round(seconds / max(now() - start, 1e-7)))
    times: Times = {name: [] for name in sides}
    gc.collect()
    gc.disable()
    try:
        for round_ in range(repeats):
            for name in list(sides)[:: -1 if round_ % 2 else 1]:
                side, n = sides[name], calls[name]
                start = now()
                for _ in range(n):
                    side()
                times[name].append((now() - start) / n)
    finally:
        gc.enable()
    return times


def median(times: Sequence[float]) -> float:
    return float(np.median(times))


class Ratio:
    """The median time of one side over another's, with the central 95 % of its bootstrap samples."""

    def __init__(self, value: float, samples: np.ndarray) -> None:
        self.value, self.samples = value, samples
        self.low, self.high = (float(q) for q in np.quantile(samples, [0.025, 0.975]))

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Theirs over ours. The rounds of a bootstrap sample are drawn for both sides together."""
    pair = np.array([theirs, ours])
    rounds = np.random.default_rng(0).integers(pair.shape[1], size=(SAMPLES, pair.shape[1]))
    top, bottom = np.median(pair[:, rounds], axis=2)
    return Ratio(median(theirs) / median(ours), top / bottom)


def geometric_mean(ratios: Sequence[Ratio]) -> Ratio:
    """Of several shapes' ratios; their bootstrap samples are independent."""
    generator = np.random.default_rng(1)
    logs = [np.log(generator.permutation(r.samples)) for r in ratios]
    value = float(np.exp(np.mean(np.log([r.value for r in ratios]))))
    return Ratio(value, np.exp(np.mean(logs, axis=0)))


class Table:
    """Rows printed as they come.

    Args:
        title: a line above the table.
        columns: each column's head and its least width; the first is set flush left.
    """

    def __init__(self, title: str, *columns: tuple[str, int]) -> None:
        self._widths = [width for _, width in columns]
        print(f"\n{title}")
        self.row(*(head for head, _ in columns))

    def row(self, *cells: object) -> None:
        texts = [str(cell) for cell in cells]
        first = texts[0].ljust(self._widths[0])
        rest = [text.rjust(width) for text, width in zip(texts[1:], self._widths[1:], strict=False)]
        print("  ".join([first, *rest]).rstrip(), flush=True)


def inference(layer: Callable[[Tensor], object], x: Tensor) -> Side:
    """One call without autograd."""

    def run() -> None:
        with torch.inference_mode():
            layer(x)

    return run


def training(
    layer: nn.Module,
    x: Tensor,
    gradient: Tensor,
    call: Callable[[Tensor], Tensor] | None = None,
) -> Side:
    """One pass forward and backward, to the input and every parameter.

    Args:
        layer: whose gradients are dropped before each pass.
        x: the input. gradient: that of the output.
        call: from the input to the output; the first of the layer's results if None.
    """
    x = x.clone().requires_grad_()
    parameters = list(layer.parameters())

    def run() -> None:
        x.grad = None
        for parameter in parameters:
            parameter.grad = None
        output = call(x) if call else layer(x)[0]
        output.backward(gradient)

    return run


def matrix_flops(layer: nn.Module, steps: int, batch: int) -> float:
    """Multiplications and additions of one forward pass's matrix products; training takes 3 times those."""
    return 2.0 * steps * batch * sum(p.numel() for p in layer.parameters() if p.dim() > 1)


def check_equal(name: str, found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Both sides of a comparison compute the same: largest difference over largest magnitude.

    Raises:
        SystemExit: if they do not.
    """
    found, expected = found.detach(), expected.detach()
    error = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
    if not error <= tolerance:
        raise SystemExit(f"{name}: the two sides differ by {error:.1e} (allowed {tolerance:.0e})")


def absent(what: str) -> None:
    """Says in one line that there is nothing to measure yet."""
    print(f"  not measured: {what}", flush=True)
