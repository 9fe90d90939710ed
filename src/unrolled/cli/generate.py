"""``unrolled generate RUN``: text from a language model, printed as it is drawn."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from cyclopts import App

from unrolled.cli import UsageError, single
from unrolled.cli.searching import Others, opened
from unrolled.errors import ConfigError


def command(arguments: Sequence[str] = ()) -> App:
    """The ``generate`` App."""
    return single(generate, "generate")


def generate(
    run: Path,
    /,
    *,
    prompt: str = "",
    length: int = 500,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    others: Others = None,
) -> int:
    """Draw text from a trained language model; the prompt is printed before it.

    Args:
        run: The run directory.
        prompt: What the text begins with.
        length: Tokens (characters or words) to draw after the prompt.
        temperature: Below 1 more likely, above 1 more varied text; 0 takes the likeliest.
        top_k: Draw among the k likeliest tokens only.
        top_p: Draw among the likeliest tokens that hold this share of the probability, in (0, 1].
        seed: Equal seeds draw equal texts.
        others: Runs whose models are averaged with the first, step by step.
    """
    _require(length >= 0, f"--length {length}: expected 0 or more")
    finite = 0 <= temperature < float("inf")
    _require(finite, f"--temperature {temperature}: expected 0 or more")
    _require(top_k is None or top_k >= 1, f"--top-k {top_k}: expected 1 or more")
    _require(top_p is None or 0 < top_p <= 1, f"--top-p {top_p}: expected above 0, at most 1")
    _require(0 <= seed < 2**63, f"--seed {seed}: expected 0 to 2^63 - 1")
    trained = opened(run, others)
    if not hasattr(trained, "generate"):
        raise ConfigError(f"{run}: this model draws no text; use: unrolled predict {run}")
    pieces = trained.generate(
        prompt=prompt, length=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
    )
    spaced = trained.level == "words" and prompt != "" and not prompt[-1].isspace()
    write_stream(prompt + " " if spaced else prompt, pieces)
    return 0


def write_stream(beginning: str, pieces: Iterable[str]) -> None:
    """Print a text as its pieces come, and end its last line."""
    sys.stdout.write(beginning)
    last = beginning
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
        last = piece or last
    if not last.endswith("\n"):
        sys.stdout.write("\n")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise UsageError(message)
