r"""The mean of the weights in several checkpoints of one training.

.. math:: \bar w = \frac{1}{N} \sum_{n=1}^{N} w_n

The last checkpoints of a training lie around one minimum, their mean nearer to its middle (in translation:
Junczys-Dowmunt, Dwojak & Sennrich 2016, "The AMU-UEDIN submission to the WMT16 news translation task"; in
general: Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from unrolled.errors import RunError
from unrolled.training.checkpoint import Checkpoints
from unrolled.training.snapshot import unpack


def mean_weights(checkpoints: Checkpoints, steps: Sequence[int]) -> dict[str, Tensor]:
    """The mean of what these steps' checkpoints would keep: with a moving average on, that average.

    Args:
        checkpoints: those of a run.
        steps: at least one, each of a checkpoint.

    Raises:
        RunError: a checkpoint is damaged, or two do not hold the same tensors.
    """
    first, rest = steps[0], steps[1:]
    mean = Mean(kept_weights(checkpoints, first), checkpoints.path(first))
    for step in rest:
        mean.add(kept_weights(checkpoints, step), checkpoints.path(step))
    return mean.tensors()


def kept_weights(checkpoints: Checkpoints, step: int) -> dict[str, Tensor]:
    """The weights of a checkpoint, and in their place their moving averages where there are any.

    Raises:
        RunError: it is damaged.
    """
    files, place = checkpoints.read(step), checkpoints.path(step)
    found: dict[str, Tensor] = {}
    for name in ("weights.safetensors", "average.safetensors"):
        if name in files:
            found |= unpack(files[name], place / name)
    return found


class Mean:
    """The mean of sets of tensors, summed in float64.

    Floating-point tensors are averaged. Others must be equal, but for single whole numbers, which count
    updates or the like: of these the last is kept.

    Args:
        tensors: the first set.
        path: where it is from, for messages.

    >>> mean = Mean({"w": torch.tensor([1.0, 2.0])}, Path("one"))
    >>> mean.add({"w": torch.tensor([3.0, 2.0])}, Path("two"))
    >>> mean.tensors()
    {'w': tensor([2., 2.])}
    """

    def __init__(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        self._first, self._path = dict(tensors), path
        self._count = 1
        # Sums of differences from the first: the mean of equal tensors is exactly each.
        self._sums = {
            name: torch.zeros_like(tensor, dtype=torch.float64)
            for name, tensor in self._first.items()
            if tensor.is_floating_point()
        }

    def add(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Takes in one more set.

        Raises:
            RunError: other names, shapes or types than the first's, or other whole numbers.
        """
        if tensors.keys() != self._first.keys():
            differing = ", ".join(sorted(tensors.keys() ^ self._first.keys())[:3])
            raise self._differ(path, f"only one of them has {differing}")
        for name, tensor in tensors.items():
            first = self._first[name]
            if tensor.shape != first.shape or tensor.dtype != first.dtype:
                told = [
                    f"{t.dtype} {list(t.shape)}".removeprefix("torch.") for t in (first, tensor)
                ]
                raise self._differ(path, f"{name} is {told[0]} and {told[1]}")
            if name in self._sums:
                self._sums[name] += tensor.double() - first.double()
            elif not tensor.dim():
                self._first[name] = tensor
            elif not torch.equal(tensor, first):
                raise self._differ(path, f"{name} holds whole numbers that differ")
        self._count += 1

    def tensors(self) -> dict[str, Tensor]:
        """The mean, in the types that were given."""
        return {
            name: (first.double() + self._sums[name] / self._count).to(first.dtype)
            if name in self._sums
            else first
            for name, first in self._first.items()
        }

    def _differ(self, path: Path, how: str) -> RunError:
        return RunError(
            f"{path}: does not fit {self._path}: {how}; only checkpoints of one model are averaged"
        )
