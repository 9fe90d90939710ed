"""Several processes under torchrun, each with its rows of every batch.

With ``L_r`` the loss summed over the ``n_r`` targets of process r of R, the gradient of the mean over
all targets is ``(sum_r dL_r) / (sum_r n_r)``. DistributedDataParallel averages, so that what it
leaves behind is scaled by ``R / sum_r n_r``: exact, however unequal the processes' shares are.
"""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unrolled.errors import ConfigError


@dataclass(frozen=True)
class Workers:
    """The processes that train one model together, seen from one of them.

    Attributes:
        rank: This process, from 0; rank 0 writes.
        size: How many there are.
        device: Where this one computes.

    >>> workers = Workers.join("cpu")
    >>> workers.size, workers.agree(3)
    (1, 3)
    """

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls, device: Literal["auto", "cpu", "cuda"] | str | torch.device) -> Workers:
        """Joins the others that torchrun started, or stays alone outside torchrun.

        Args:
            device: ``auto`` takes CUDA when there is a device. Under torchrun each local process
                takes the CUDA device of its local rank.

        Raises:
            ConfigError: CUDA is asked for where there is none.
        """
        name = str(device)
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError("--device cuda: torch finds no CUDA device; choose --device cpu")
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            place = torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else name
            return cls(rank=0, size=1, device=torch.device(place))
        place = torch.device(name)
        if place.type == "cuda":
            place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(place)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
        return cls(rank=dist.get_rank(), size=dist.get_world_size(), device=place)

    @property
    def rows(self) -> slice:
        """Which rows of a global batch are this process's."""
        return slice(self.rank, None, self.size)

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model on the device, its gradients averaged over the processes if there are several."""
        model.to(self.device)
        return model if self.size == 1 else DistributedDataParallel(model)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def agree(self, code: int) -> int:
        """The largest code that any process gives: the same answer everywhere."""
        if self.size == 1:
            return code
        value = torch.tensor(code, device=self.device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return int(value)

    def broadcast(self, data: bytes | None) -> bytes:
        """Rank 0's bytes, in every process; the others give None."""
        if self.size == 1:
            return data or b""
        length = torch.tensor(len(data or b""), device=self.device)
        dist.broadcast(length, src=0)
        values = torch.zeros(int(length), dtype=torch.uint8, device=self.device)
        if data and self.rank == 0:
            values.copy_(_tensor(data))
        if len(values):
            dist.broadcast(values, src=0)
        return values.cpu().numpy().tobytes()

    def broadcast_files(self, files: dict[str, bytes]) -> dict[str, bytes]:
        """Rank 0's files, in every process; what the others give is not looked at."""
        if self.size == 1:
            return files
        names = json.loads(self.broadcast(json.dumps(list(files)).encode()))
        return {name: self.broadcast(files.get(name)) for name in names}

    def gather(self, data: bytes) -> list[bytes]:
        """Every process's bytes by rank, in every process."""
        if self.size == 1:
            return [data]
        lengths = torch.zeros(self.size, dtype=torch.int64, device=self.device)
        lengths[self.rank] = len(data)
        dist.all_reduce(lengths)
        own = torch.zeros(int(lengths.max()), dtype=torch.uint8, device=self.device)
        own[: len(data)] = _tensor(data)
        parts = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own)
        pairs = zip(parts, lengths.tolist(), strict=True)
        return [part[:length].cpu().numpy().tobytes() for part, length in pairs]

    def leave(self) -> None:
        """Waits for the others: what comes after is each process's own.

        The group is not destroyed: on a CPU torch now and then aborts while it tears one down. The
        command line ends such processes at once instead (``unrolled.__main__``).
        """
        if self.size > 1 and dist.is_initialized():
            dist.barrier()


def whole(model: nn.Module) -> nn.Module:
    """The model itself, without DistributedDataParallel around it."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def local_gradients(model: nn.Module) -> AbstractContextManager[None]:
    """Within the block, processes add up their own gradients and do not exchange them."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def _tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
