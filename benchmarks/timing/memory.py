"""Resident memory of this process, in bytes."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MIB = 2**20
AVAILABLE = Path("/proc/self/clear_refs").exists()  # Linux


def resident() -> int:
    """What is resident now, after memory that nobody holds was given back."""
    gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


def reset_peak() -> int:
    """What is resident now; :func:`peak` counts from here."""
    now = resident()
    Path("/proc/self/clear_refs").write_text("5")
    return now


def peak() -> int:
    """The most that was resident since :func:`reset_peak`."""
    return _status("VmHWM")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}: memory is measured on Linux alone")


@contextmanager
def saved_tensors(apart_from: Sequence[Tensor]) -> Iterator[dict[int, int]]:
    """Collects what autograd saves: address of each storage -> its bytes, but for given tensors'."""
    known = {tensor.untyped_storage().data_ptr() for tensor in apart_from}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield found


def in_subprocess(script: str, *arguments: str) -> dict[str, Any]:
    """Runs a script in a fresh interpreter; what the JSON of its last line says.

    Raises:
        SystemExit: if the script fails.
    """
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} {' '.join(arguments)} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
