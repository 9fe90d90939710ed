"""One streaming step from Python: a session beside nn.LSTM with T = 1, nn.LSTMCell and ONNX Runtime.

    python benchmarks/streaming.py [--threads 1] [--repeats 9] [--only lstm|gru]

Table 5: B 1, I = H, microseconds for each step, its call included. torch runs under `inference_mode`, entered
once for all steps. nn.LSTM also stands there with oneDNN switched off, which puts the weights in order anew
at each call. ONNX Runtime gets inputs, outputs and states bound to memory once and only runs; its column
needs the peers' environment (`make -C benchmarks/peers`).
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import timing
import torch
from peers import environment
from timing import Table, check_equal, interleaved, ratio
from torch import Tensor, nn

import unrolled

LAYERS: dict[str, tuple[type[nn.Module], type[nn.Module], type[nn.Module]]] = {
    "lstm": (nn.LSTM, nn.LSTMCell, unrolled.LSTM),
    "gru": (nn.GRU, nn.GRUCell, unrolled.GRU),
}
STEPS = 50  # of one call; even, for ONNX Runtime's two bindings


def torch_layer(layer: nn.Module, x: Tensor, *, onednn: bool = True) -> Callable[[], Tensor]:
    x = x[None]  # [1, B, I]

    def run() -> Tensor:
        with torch.inference_mode(), torch.backends.mkldnn.flags(enabled=onednn):
            output, state = layer(x)
            for _ in range(STEPS - 1):
                output, state = layer(x, state)
        return output[0]

    return run


def torch_cell(layer: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """As nn.LSTMCell or nn.GRUCell."""

    def run() -> Tensor:
        with torch.inference_mode():
            state = layer(x)
            for _ in range(STEPS - 1):
                state = layer(x, state)
        return state[0] if isinstance(state, tuple) else state

    return run


def session(layer: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    made = layer.session(x.shape[0])

    def run() -> Tensor:
        made.reset()
        for _ in range(STEPS):
            output = made.step(x)
        return output

    return run


def runtime(layer: nn.Module, x: Tensor, threads: int, expected: Tensor) -> Callable[[], object]:
    """ONNX Runtime's steps; its state simply goes on."""
    from peers.onnx_layers import runtime_step

    two_steps, output = runtime_step(layer, x, threads)

    def run() -> None:
        for _ in range(STEPS // 2):
            two_steps()

    run()
    check_equal("ONNX Runtime", output[1], expected)
    return run


def measure(chosen: argparse.Namespace, table: Table, name: str, hidden: int, peers: bool) -> None:
    peer_type, cell_type, type_ = LAYERS[name]
    peer, cell, mine = (made(hidden, hidden) for made in (peer_type, cell_type, type_))
    mine.load_state_dict(peer.state_dict())
    cell.load_state_dict({n.removesuffix("_l0"): p for n, p in peer.state_dict().items()})
    x = torch.randn(1, hidden)
    layer_run, cell_run, session_run = torch_layer(peer, x), torch_cell(cell, x), session(mine, x)
    expected = layer_run()
    check_equal(f"{name} session", session_run(), expected)
    check_equal(f"{name} cell", cell_run(), expected)
    sides: dict[str, timing.Side] = {"layer": layer_run, "cell": cell_run}
    if name == "lstm":
        sides["plain"] = torch_layer(peer, x, onednn=False)
    if peers:
        sides["runtime"] = runtime(peer, x, chosen.threads, expected)
    sides["unrolled"] = session_run
    times = interleaved(sides, chosen.repeats, seconds=chosen.seconds)
    ours = times["unrolled"]
    others = ("layer", "plain", "cell", "runtime")
    each = [f"{1e6 * timing.median(t) / STEPS:.1f}" if (t := times.get(side)) else "–"
            for side in (*others, "unrolled")]  # fmt: skip
    ratios = [ratio(times[side], ours) if side in times else "–" for side in others]
    table.row(name, hidden, *each, *ratios)


def main() -> None:
    peers = environment.enter()
    chosen = timing.options(__doc__)
    warnings.filterwarnings("ignore", "TF32 acceleration")  # said when oneDNN is switched off
    if not peers:
        timing.absent(f"ONNX Runtime: {environment.HINT}")
    table = Table(
        "5. One step, B 1, microseconds; time of the others over that of session.step.",
        *[("cell", 5), ("H=I", 4), ("nn.layer", 8), ("no oneDNN", 9), ("nn.cell", 8), ("ORT", 7)],
        *[("session", 8), ("nn.layer / ours", 20), ("no oneDNN / ours", 18)],
        *[("nn.cell / ours", 18), ("ORT / ours", 18)],
    )
    for name in LAYERS:
        for hidden in (32,) if chosen.quick else (128, 256, 512):
            if timing.wanted(chosen, name):
                measure(chosen, table, name, hidden, peers)


if __name__ == "__main__":
    main()
