"""What was the input ten steps ago? (Lipton 2015, section 1.2.)

Random symbols; the target at every step is the symbol ten steps before. Recurrent networks learn
to answer; a feed-forward window of five inputs and a Markov chain of order five see nothing of
the answer and stay at chance. The chain that could answer needs a table of
``symbols ** (delay + 1)`` contexts. Run: python benchmarks/claims/delayed_recall.py
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
from unrolled.baselines import Markov
from unrolled.data.synthetic import delayed_recall

DELAY, SYMBOLS, ORDER, BATCH, WINDOW = 10, 8, 5, 32, 50
Batch = tuple[Tensor, Tensor, Tensor]  # inputs, targets, known: [T, B]


class Window(nn.Module):
    """A feed-forward network of 128 tanh units over the last five inputs; its state is the tail."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(ORDER * SYMBOLS, 128)

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Hidden units [T, B, 128] of inputs x [T, B, symbols] after those in ``state``."""
        before = x.new_zeros(ORDER - 1, *x.shape[1:]) if state is None else state
        seen = torch.cat([before, x])  # [T + 4, B, symbols]
        frames = torch.cat([seen[i : i + len(x)] for i in range(ORDER)], -1)
        return torch.tanh(self.layer(frames)), seen[len(seen) - ORDER + 1 :]


# name: (layer, units, learning rate, updates)
MODELS: dict[str, tuple[Any, int, float, int]] = {
    "elman": (
        lambda: unrolled.Recurrent("elman", SYMBOLS, 100, recurrent_init="orthogonal"),
        100,
        2e-3,
        1000,
    ),
    "lstm": (lambda: unrolled.Recurrent("lstm", SYMBOLS, 64), 64, 1e-2, 2000),
    "window-5": (Window, 128, 2e-3, 1000),
}


def streams(length: int, batch: int, rng: np.random.Generator) -> Batch:
    """Parallel streams of the task, each field [T, B]."""
    drawn = [delayed_recall(length, DELAY, SYMBOLS, rng) for _ in range(batch)]
    inputs, targets, known = (
        torch.from_numpy(np.stack(field, 1)) for field in zip(*drawn, strict=True)
    )
    return inputs, targets, known


def train_and_test(name: str, seed: int, test: Batch) -> float:
    """Truncated BPTT with carried state; accuracy (%) on the known targets of ``test``."""
    build, units, learning_rate, updates = MODELS[name]
    torch.manual_seed(seed)
    layer, head = build(), nn.Linear(units, SYMBOLS)
    parameters = [*layer.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    inputs, targets, known = streams(updates * WINDOW, BATCH, np.random.default_rng([seed, 0]))
    state: Any = None
    for start in range(0, updates * WINDOW, WINDOW):
        now = slice(start, start + WINDOW)
        h, state = layer(F.one_hot(inputs[now], SYMBOLS).float(), state)
        state = unrolled.state.detach(state)
        loss = F.cross_entropy(head(h)[known[now]], targets[now][known[now]])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        h, _ = layer(F.one_hot(test[0], SYMBOLS).float(), None)
        right = head(h).argmax(-1) == test[1]
    return 100 * float(right[test[2]].float().mean())


def markov(seed: int, test: Batch, tokens: int) -> tuple[float, int]:
    """Counts of the target after each run of five inputs: accuracy (%) and table entries.

    Each row, five inputs and their target (numbered from ``SYMBOLS`` on), is a stretch of the chain.
    """

    def rows(inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        runs = np.lib.stride_tricks.sliding_window_view(inputs, ORDER)
        return np.column_stack([runs, SYMBOLS + targets[ORDER - 1 :]])[DELAY:]

    drawn = delayed_recall(tokens, DELAY, SYMBOLS, np.random.default_rng([seed, 2]))
    chain = Markov(ORDER, smoothing=1.0).fit(rows(drawn.inputs, drawn.targets).ravel(), 2 * SYMBOLS)
    asked = rows(test[0][:, 0].numpy(), test[1][:, 0].numpy())
    state = chain.start(len(asked))
    for column in torch.from_numpy(asked[:, :ORDER]).unbind(1):
        log_probs, state = chain.step(column, state)
    right = log_probs.argmax(-1).numpy() == asked[:, ORDER]
    return 100 * float(right.mean()), SYMBOLS**ORDER


def main() -> None:
    """Trains, tests, prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--test-steps", type=int, default=2000, help="per stream, of 20")
    parser.add_argument("--markov-tokens", type=int, default=500_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    scores: dict[str, list[float]] = {name: [] for name in [*MODELS, f"markov-{ORDER}"]}
    for seed in range(options.seeds):
        test = streams(options.test_steps, 20, np.random.default_rng([seed, 1]))
        for name in MODELS:
            scores[name].append(train_and_test(name, seed, test))
        accuracy, contexts = markov(seed, test, options.markov_tokens)
        scores[f"markov-{ORDER}"].append(accuracy)
        line = ", ".join(f"{name} {values[-1]:.2f}" for name, values in scores.items())
        print(f"seed {seed}: {line} %", file=sys.stderr)
    models = {
        name: [float(np.mean(v)), float(np.std(v, ddof=len(v) > 1))] for name, v in scores.items()
    }
    chance, needed = 100 / SYMBOLS, SYMBOLS ** (DELAY + 1)
    print(f"| model | input {DELAY} steps ago, {SYMBOLS} symbols, % |\n|---|---|")
    for name, (mean, deviation) in models.items():
        print(f"| {name} | {mean:.2f} ± {deviation:.2f} |")
    print(f"| chance | {chance:.2f} |")
    print(f"Markov table: {contexts:,} contexts at order {ORDER}; order {DELAY + 1}: {needed:,}")
    met = min(models["elman"][0], models["lstm"][0]) >= 99 and all(
        abs(models[name][0] - chance) < 1 for name in ("window-5", f"markov-{ORDER}")
    )
    result = {"claim": "delayed-recall", "seeds": options.seeds, "models": models, "met": met}
    result |= {"chance": chance, "markov_contexts": contexts, "markov_contexts_needed": needed}
    print(json.dumps({**result, "minutes": round((time.perf_counter() - began) / 60, 2)}))


if __name__ == "__main__":
    main()
