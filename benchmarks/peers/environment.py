"""The peers' own environment, which `make -C benchmarks/peers` makes: build/peers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "peers"
HINT = "the peers are not installed; install them with: make -C benchmarks/peers"


def enter() -> bool:
    """Runs this program anew in the peers' environment, unless it does already. False if there is none."""
    inside = Path(sys.prefix).resolve() == FOLDER
    python = FOLDER / "bin" / "python"
    if not inside and (FOLDER / ".created").is_file():
        os.execv(python, [str(python), *sys.argv])
    return inside
