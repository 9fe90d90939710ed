"""``unrolled info``: what is installed, what this machine offers, and how fast it is here."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cyclopts import App

from unrolled import __version__
from unrolled.cli import single

if TYPE_CHECKING:
    import torch

T, B, H = 64, 32, 256  # shape of the comparison


def command(arguments: Sequence[str] = ()) -> App:
    """The ``info`` App."""
    return single(info, "info")


def info(*, seconds: float = 5.0) -> int:
    """Show versions, instruction set, threads, executors, extras, and a comparison with torch.nn.

    Args:
        seconds: How long the comparison may take; 0 leaves it out.
    """
    import platform

    import torch

    from unrolled.cells import CELLS
    from unrolled.kernels import EXECUTORS, executor_of, isa

    rows = [
        ("unrolled", f"{__version__}, Python {platform.python_version()}"),
        ("torch", torch.__version__),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("instruction set", torch.backends.cpu.get_cpu_capability()),
        ("threads", str(torch.get_num_threads())),
        ("CUDA", _cuda()),
        ("engine", isa() or "not built; cells that torch lacks run in a loop"),
        ("executors", ", ".join(name for name in EXECUTORS if isa() or name != "engine")),
        *((f"extra {name}", state) for name, state in extras().items()),
    ]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{name:{width}}  {text}")
    print("\ncells, and what runs them over a whole sequence:")
    for name in CELLS:
        print(f"  {executor_of(name)}")
    if seconds > 0:
        print(f"\ntraining step (forward and backward), T={T} B={B} H={H}, float32, median:")
        _compare(seconds)
    return 0


def extras() -> dict[str, str]:
    """Extra → ``installed``, or the command that installs it."""
    import importlib.metadata  # 40 ms that `unrolled --help` need not pay

    found: dict[str, str] = {}
    for requirement in importlib.metadata.requires("unrolled") or ():
        match = re.match(r"\s*([\w.-]+).*;.*extra\s*==\s*['\"]([\w-]+)['\"]", requirement)
        if match is None:
            continue
        package, extra = match.groups()
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[extra] = f"not installed ({package}); pip install 'unrolled[{extra}]'"
        else:
            found.setdefault(extra, "installed")
    return found


def _cuda() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no device"


def _compare(seconds: float) -> None:
    """Time each layer of ours beside torch's, turn by turn, so that both see the same machine."""
    import torch

    import unrolled

    torch.manual_seed(0)
    x = torch.randn(T, B, H)
    pairs: list[tuple[str, torch.nn.Module, torch.nn.Module]] = [
        ("LSTM", torch.nn.LSTM(H, H), unrolled.LSTM(H, H)),
        ("GRU", torch.nn.GRU(H, H), unrolled.GRU(H, H)),
        ("RNN", torch.nn.RNN(H, H), unrolled.RNN(H, H)),
    ]
    for name, theirs, ours in pairs:
        turns = [functools.partial(_training_step, layer, x) for layer in (theirs, ours)]
        there, here = (1e3 * median for median in interleaved(turns, seconds / len(pairs)))
        ratio = f"{there / here:.2f} x as fast"
        print(
            f"  {name:18} torch.nn {there:7.2f} ms   unrolled {here:7.2f} ms   {ratio}", flush=True
        )


def _training_step(layer: torch.nn.Module, x: torch.Tensor) -> None:
    layer.zero_grad(set_to_none=True)
    layer(x)[0].sum().backward()


def interleaved(functions: Sequence[Callable[[], object]], seconds: float) -> list[float]:
    """Median seconds of each function, called in turns for about so long; one round warms up."""
    import statistics

    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + seconds
    while not times[0] or time.perf_counter() < end:
        for function, record in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            record.append(time.perf_counter() - start)
    return [statistics.median(record) for record in times]
