"""bfloat16 weights beside float32, in inference: time and error.

    python benchmarks/precision.py [--threads 1] [--repeats 9] [--only lstm|gru]

Table 7: `kernels.weights("bfloat16")` halves what is read of the weights; inputs, states and sums stay
float32. Error: largest difference of the outputs from float32's over their largest magnitude. `torch bf16` is
what torch offers: a layer and inputs converted to bfloat16.
"""

from __future__ import annotations

import argparse
from typing import Any

import timing
import torch
from timing import Table, interleaved, ratio
from torch import Tensor, nn

import unrolled

LAYERS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "lstm": (nn.LSTM, unrolled.LSTM),
    "gru": (nn.GRU, unrolled.GRU),
}


def with_weights(dtype: str, layer: nn.Module, x: Tensor) -> Any:
    """A call of the layer with its weights read in that type; gives the outputs."""
    weights = unrolled.kernels.weights

    def run() -> Tensor:
        with torch.inference_mode(), weights(dtype):
            return layer(x)[0]

    return run


def in_bfloat16(layer: nn.Module, x: Tensor) -> Any:
    layer, x = layer.to(torch.bfloat16), x.to(torch.bfloat16)

    def run() -> Tensor:
        with torch.inference_mode():
            return layer(x)[0]

    return run


def error(found: Tensor, expected: Tensor) -> str:
    return f"{float((found.float() - expected).abs().max() / expected.abs().max()):.1e}"


def measure(chosen: argparse.Namespace, table: Table, name: str) -> None:
    peer_type, type_ = LAYERS[name]
    for steps, batch, hidden in chosen.shapes:
        peer, mine = peer_type(hidden, hidden), type_(hidden, hidden)
        mine.load_state_dict(peer.state_dict())
        x = torch.randn(steps, batch, hidden)
        with torch.inference_mode():
            expected = peer(x)[0].clone()
        halved = peer_type(hidden, hidden)
        halved.load_state_dict(peer.state_dict())
        sides = {
            "torch": timing.inference(peer, x),
            "torch bf16": in_bfloat16(halved, x),
            "float32": with_weights("float32", mine, x),
            "bfloat16": with_weights("bfloat16", mine, x),
        }
        errors = [error(sides[side](), expected) for side in ("bfloat16", "torch bf16")]
        times = interleaved(sides, chosen.repeats, seconds=chosen.seconds)
        ours = times["bfloat16"]
        table.row(
            *(name, steps, batch, hidden, f"{1e3 * timing.median(ours):.2f} ms"),
            *[ratio(times[side], ours) for side in ("float32", "torch", "torch bf16")],
            *errors,
        )


def main() -> None:
    chosen = timing.options(__doc__)
    if not hasattr(unrolled.kernels, "weights"):
        timing.absent('unrolled has no kernels.weights("bfloat16") yet')
        return
    table = Table(
        "7. bfloat16 weights in inference: time of the others over ours with bfloat16 weights.",
        *[("layer", 5), ("T", 5), ("B", 4), ("H=I", 4), ("ours", 11), ("ours, float32", 18)],
        *[("torch, float32", 18), ("torch bf16", 20), ("error", 8), ("torch's", 8)],
    )
    for name in LAYERS:
        if timing.wanted(chosen, name):
            measure(chosen, table, name)


if __name__ == "__main__":
    main()
