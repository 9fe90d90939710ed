"""Strings of the embedded Reber grammar in an endless stream, nothing marking where one ends
(Gers, Schmidhuber & Cummins 2000, section 4): LSTM with and without the forget gate.

Measured on streams without a reset: "long-term" is the share of strings whose last symbol but one,
the repetition of the second, is predicted (knowing all but that letter gives 50 %); "legal" the
share of steps, "strings" of whole strings, "streams" of whole test streams, whose most probable
symbol the grammar allows; "until error" the mean number of symbols up to the first illegal one.
The first 100 symbols of a stream are not scored: training sees the zero state only once.

Both nets differ in the forget gate alone: squashing functions g in [-2, 2] and h in [-1, 1], and
the learning rule of the papers, whose errors flow back in time through the cells' internal states
and not through the gates' recurrent inputs (Hochreiter & Schmidhuber 1997, section 4). "full
BPTT" lets them flow everywhere, which the papers did not. Run with ``--tune`` to compare learning
rates on other seeds. Run: python benchmarks/claims/continual_reber.py
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unrolled
from unrolled.cells import LSTM
from unrolled.data.synthetic import REBER_SYMBOLS, continual_reber

UNITS, BATCH, WINDOW, UNSCORED, TEST_LENGTH = 16, 32, 50, 100, 10_000
RATES = (5e-3, 1e-2, 2e-2, 5e-2, 1e-1)  # --tune tries these
SQUASHING = {"input_activation": "centred2", "output_activation": "centred1"}


class TruncatedLSTM(LSTM):
    """An LSTM with the 1997 gradient: none through what the gates see of the step before."""

    def recurrent_input(self, prev: Any) -> Tensor:
        """The output of the step before, as a constant."""
        return super().recurrent_input(prev).detach()


# name: (cell, with forget gate, learning rate: no other of RATES is better beyond noise)
MODELS: dict[str, tuple[type[LSTM], bool, float]] = {
    "forget gate": (TruncatedLSTM, True, 5e-2),
    "LSTM 1997": (TruncatedLSTM, False, 1e-1),
    "forget gate, full BPTT": (LSTM, True, 5e-2),
    "LSTM 1997, full BPTT": (LSTM, False, 5e-2),
}


def one_hot(symbols: Tensor) -> Tensor:
    """Symbols [T, B] as vectors [T, B, 7]."""
    return F.one_hot(symbols, len(REBER_SYMBOLS)).float()


def train(name: str, seed: int, rate: float, updates: int) -> tuple[nn.Module, nn.Module]:
    """Truncated BPTT with carried state over parallel endless streams, Adam, cosine schedule."""
    cell, forget_gate, _ = MODELS[name]
    torch.manual_seed(seed)
    size = len(REBER_SYMBOLS)
    layer = unrolled.Recurrent(cell, size, UNITS, forget_gate=forget_gate, **SQUASHING)
    head = nn.Linear(UNITS, size)
    optimiser = torch.optim.Adam(parameters := [*layer.parameters(), *head.parameters()], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    rng = np.random.default_rng([seed, 0])
    drawn = [continual_reber(updates * WINDOW + 1, rng).symbols for _ in range(BATCH)]
    symbols, state = torch.from_numpy(np.stack(drawn, 1)), None  # [T, B]
    for start in range(0, updates * WINDOW, WINDOW):
        window = symbols[start : start + WINDOW + 1]
        h, state = layer(one_hot(window[:-1]), state)
        state = unrolled.state.detach(state)
        loss = F.cross_entropy(head(h).flatten(0, 1), window[1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    return layer, head


@torch.no_grad()
def test(layer: nn.Module, head: nn.Module, seed: int) -> dict[str, float]:
    """The measures above, in per cent, on ten fresh streams."""
    rng = np.random.default_rng([seed, 1])
    texts = [continual_reber(TEST_LENGTH, rng) for _ in range(10)]
    symbols = torch.from_numpy(np.stack([text.symbols for text in texts], 1))
    chosen, state = [], None
    for inputs in symbols.split(500):
        h, state = layer(one_hot(inputs), state)
        chosen.append(head(h).argmax(-1))
    predicted = torch.cat(chosen)[UNSCORED:-1].numpy()  # [T, B], of the symbol after
    legal = np.stack([text.successors for text in texts], 1)[UNSCORED:-1]
    right = np.take_along_axis(legal, predicted[..., None], -1)[..., 0]
    # A string ends with the E before a B; one symbol before that E stands the long-term one.
    following = symbols.numpy()[UNSCORED + 1 :]
    is_end, is_begin = (following == REBER_SYMBOLS.index(symbol) for symbol in "EB")
    close = np.zeros_like(right)
    close[:-2] = is_end[1:-1] & is_begin[2:]
    whole = [
        part.all()
        for track, last in zip(right.T, close.T, strict=True)
        for part in np.split(track, np.flatnonzero(last) + 2)[1:-1]
    ]
    shares = {"long-term": right[close], "legal": right, "strings": whole, "streams": right.all(0)}
    scores = {key: 100 * float(np.mean(share)) for key, share in shares.items()}
    return {**scores, "until error": float(right.cumprod(0).sum(0).mean())}


def main() -> None:
    """Trains, tests, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--updates", type=int, default=1000, help=f"of {BATCH} x {WINDOW} symbols")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--tune", action="store_true", help="all learning rates, seeds from 1000")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, results = time.perf_counter(), {}
    seeds = range(1000 * options.tune, 1000 * options.tune + options.seeds)
    runs = [(m, r) for m in options.models for r in (RATES if options.tune else MODELS[m][2:])]
    for name, rate in runs:
        scores = []
        for seed in seeds:
            nets = train(name, seed, rate, options.updates)
            scores.append(test(*nets, seed))
            shown = ", ".join(f"{key} {value:.1f}" for key, value in scores[-1].items())
            print(f"{name}, rate {rate}, seed {seed}: {shown}", file=sys.stderr)
        table = np.array([list(score.values()) for score in scores])  # [seeds, measures]
        moments = zip(table.mean(0), table.std(0, ddof=len(table) > 1), strict=True)
        spread = {key: list(map(float, pair)) for key, pair in zip(scores[0], moments, strict=True)}
        results[f"{name}, rate {rate}" if options.tune else name] = spread
    print("| model | " + " | ".join(spread) + " |\n|---" + "|---" * len(spread) + "|")
    for name, spread in results.items():
        cells = [f"{mean:.1f} ± {deviation:.1f}" for mean, deviation in spread.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")
    result: dict[str, Any] = {"claim": "continual-reber", "seeds": options.seeds}
    if {"forget gate", "LSTM 1997"} <= results.keys():
        gated, plain = (results[name]["long-term"][0] for name in ("forget gate", "LSTM 1997"))
        result["met"] = gated >= 99 and plain <= 70
    result["minutes"] = round((time.perf_counter() - began) / 60, 2)
    print(json.dumps({**result, "updates": options.updates, "models": results}))


if __name__ == "__main__":
    main()
