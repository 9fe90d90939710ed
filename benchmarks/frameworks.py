"""LSTM, GRU and RNN beside other frameworks: JAX, Flax, Equinox, ONNX Runtime, OpenVINO, in one process.

    make -C benchmarks/peers
    python benchmarks/frameworks.py [--threads 1] [--repeats 9] [--only lstm|gru|rnn|inference|training]

Table 11. Every side gets torch's weights and its outputs (in training: the input's gradient) are compared
with torch's before anything is timed. JAX: everything is jitted and called once before; the best of its forms
(`peers/jax_layers.py`) is also given as one column. ONNX Runtime and OpenVINO run one operator with bound
memory. The process is confined to as many cores as there are threads, so that no framework takes more.
"""

from __future__ import annotations

import argparse
import os
import sys

from peers import environment


def confine(threads: int) -> None:
    """Before JAX starts: its cores, its threads, no asynchronous dispatch."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_CPU_ENABLE_ASYNC_DISPATCH"] = "false"
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if threads == 1:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def requested_threads() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--threads", type=int, default=1)
    return int(parser.parse_known_args()[0].threads)


if not environment.enter():
    sys.exit(print(f"  not measured: {environment.HINT}"))
confine(requested_threads())

import numpy as np  # noqa: E402
import timing  # noqa: E402
import torch  # noqa: E402
from peers import jax_layers, onnx_layers  # noqa: E402
from timing import Table, check_equal, interleaved, median, ratio  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import unrolled  # noqa: E402

LAYERS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "lstm": (nn.LSTM, unrolled.LSTM),
    "gru": (nn.GRU, unrolled.GRU),
    "rnn": (nn.RNN, unrolled.RNN),
}
FORMS = ("scan", "scan of 8", "outside", "units first", "flax", "equinox")
COLUMNS = {
    "inference": ("torch", "best JAX", *(f for f in FORMS if f != "outside"), "ORT", "OpenVINO"),
    "training": ("torch", "best JAX", *FORMS),
}


def inference_sides(peer: nn.Module, x: Tensor, threads: int) -> dict[str, timing.Side]:
    with torch.inference_mode():
        expected = peer(x)[0].clone()
    sides: dict[str, timing.Side] = {}
    for name, (form, weights) in jax_layers.layers(peer).items():
        if name.startswith("outside"):  # differs in training alone
            continue
        sides[name] = run = jax_layers.inference(form, weights, x)
        check_equal(name, torch.from_numpy(np.array(run())), expected)
    for name, make in (("ORT", onnx_layers.runtime), ("OpenVINO", onnx_layers.openvino_layer)):
        run, output = make(peer, x, threads)
        run()
        check_equal(name, output, expected)
        sides[name] = run
    return sides


def training_sides(peer: nn.Module, x: Tensor, gradient: Tensor) -> dict[str, timing.Side]:
    given = x.clone().requires_grad_()
    wanted = [given, peer.weight_hh_l0, peer.weight_ih_l0]
    expected = torch.autograd.grad(peer(given)[0], wanted, gradient)
    sides: dict[str, timing.Side] = {}
    for name, (form, weights) in jax_layers.layers(peer).items():
        sides[name] = run = jax_layers.training(form, weights, x, gradient)
        _, (of_weights, of_x) = run()
        check_equal(f"{name}, dx", torch.from_numpy(np.array(of_x)), expected[0])
        if isinstance(of_weights, dict):
            for key, value in zip(("wh", "wi"), expected[1:], strict=True):
                found = torch.from_numpy(np.array(of_weights[key]))
                found = found if name == "units first" else found.t()
                check_equal(f"{name}, d{key}", found, value, 1e-3)
    return sides


def measure(chosen: argparse.Namespace, table: Table, name: str, mode: str) -> None:
    peer_type, type_ = LAYERS[name]
    best: list[timing.Ratio] = []
    for steps, batch, hidden in chosen.shapes:
        peer, mine = peer_type(hidden, hidden), type_(hidden, hidden)
        if name == "gru":  # Flax's GRU has no bias there
            nn.init.zeros_(peer.bias_hh_l0[2 * hidden :].detach())
        mine.load_state_dict(peer.state_dict())
        x, gradient = torch.randn(2, steps, batch, hidden)
        if mode == "inference":
            sides = inference_sides(peer, x, chosen.threads)
            sides = {"torch": timing.inference(peer, x), **sides}
            sides["unrolled"] = timing.inference(mine, x)
        else:
            sides = training_sides(peer, x, gradient)
            sides = {"torch": timing.training(peer, x, gradient), **sides}
            sides["unrolled"] = timing.training(mine, x, gradient)
        times = interleaved(sides, chosen.repeats, seconds=chosen.seconds)
        times["best JAX"] = min((times[f] for f in FORMS if f in times), key=median)
        ours = times["unrolled"]
        ratios = {side: ratio(times[side], ours) for side in COLUMNS[mode] if side in times}
        best.append(ratios["best JAX"])
        cells = [
            str(ratios.get(s, "–")) if s in ("torch", "best JAX", "ORT", "OpenVINO")
            else f"{ratios[s].value:.2f}" if s in ratios else "–"
            for s in COLUMNS[mode]
        ]  # fmt: skip
        table.row(name, steps, batch, hidden, f"{1e3 * median(ours):.2f} ms", *cells)
    mean, lowest = timing.geometric_mean(best), min(r.low for r in best)
    print(
        f"  {name}, {mode}, best JAX: geometric mean {mean}, lowest bound {lowest:.2f}", flush=True
    )


def main() -> None:
    chosen = timing.options(__doc__)
    for mode, columns in COLUMNS.items():
        asked = [n for n in LAYERS if timing.wanted(chosen, n) or timing.wanted(chosen, mode)]
        if not asked or (chosen.only in COLUMNS and chosen.only != mode):
            continue
        wide = {"torch", "best JAX", "ORT", "OpenVINO"}
        table = Table(
            f"11. {mode.capitalize()}: time of the others over ours.",
            *[("layer", 5), ("T", 5), ("B", 4), ("H=I", 4), ("ours", 11)],
            *[(column, 18 if column in wide else len(column)) for column in columns],
        )
        for name in asked:
            measure(chosen, table, name, mode)


if __name__ == "__main__":
    main()
