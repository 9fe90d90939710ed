"""minGRU and minLSTM (Feng et al. 2024) in training, beside an eager loop and our own LSTM.

    python benchmarks/minimal.py [--threads 1] [--repeats 9] [--only mingru|minlstm]

Table 3: T 4096, B 8, H 256. Neither cell has a recurrent product, so all but one `lerp` a step is computed
for the whole sequence at once. Beside that loop stands the paper's parallel form, a scan in logarithms with
its positive g. `lstm` is the time of our LSTM over that of the cell.
"""

from __future__ import annotations

import functools

import timing
import torch
from peers import loops
from timing import Table, check_equal, interleaved, ratio
from torch import Tensor

import unrolled
from unrolled.cells import CELLS

MINIMAL: dict[str, tuple[loops.Loop, loops.Loop]] = {  # the eager loop, the paper's scan
    "mingru": (loops.min_gru, loops.min_gru_scan),
    "minlstm": (loops.min_lstm, loops.min_lstm_scan),
}


def sides(name: str, x: Tensor, gradient: Tensor) -> dict[str, timing.Side]:
    """The loop and unrolled compute the same; so do the scan and unrolled's cell of positive candidates."""
    hidden = x.shape[2]
    mine = unrolled.Recurrent(name, hidden, hidden)
    positive = unrolled.Recurrent(name, hidden, hidden, candidate="positive")
    found: dict[str, timing.Side] = {}
    for key, form, layer in zip(("loop", "scan"), MINIMAL[name], (mine, positive), strict=True):
        call = functools.partial(form, loops.parameters(layer))
        with torch.no_grad():
            check_equal(f"{name}, {key}", layer(x[:64])[0], call(x[:64]))
        found[key] = timing.training(layer, x, gradient, call)
    lstm = unrolled.Recurrent("lstm", hidden, hidden)
    found["lstm"] = timing.training(lstm, x, gradient)
    found["unrolled"] = timing.training(mine, x, gradient)
    return found


def main() -> None:
    chosen = timing.options(__doc__)
    steps, batch, hidden = (64, 2, 32) if chosen.quick else (4096, 8, 256)
    table = Table(
        f"3. Training, T {steps}, B {batch}, H = I = {hidden}: times of the others over ours.",
        *[("cell", 8), ("ours", 11), ("eager loop", 22), ("paper's scan", 22), ("lstm", 20)],
    )
    x, gradient = torch.randn(2, steps, batch, hidden)
    for name in MINIMAL:
        if not timing.wanted(chosen, name):
            continue
        if name not in CELLS:
            timing.absent(f"{name}: unrolled has no such cell yet")
            continue
        times = interleaved(sides(name, x, gradient), chosen.repeats, seconds=chosen.seconds)
        ours = times["unrolled"]
        others = [ratio(times[side], ours) for side in ("loop", "scan", "lstm")]
        table.row(name, f"{1e3 * timing.median(ours):.1f} ms", *others)


if __name__ == "__main__":
    main()
