"""Between live objects and the bytes of a checkpoint: weights, optimiser, random generators, state.

Everything becomes safetensors or plain JSON values; nothing is pickled, so a checkpoint from a
stranger can be opened without running code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Optimizer

from unrolled.errors import RunError
from unrolled.state import leaves, rebuild


def pack(tensors: Mapping[str, Tensor] | Mapping[str, np.ndarray]) -> bytes:
    """Tensors or arrays by name as the bytes of one safetensors file.

    >>> unpack(pack({"w": torch.ones(2)}), Path("w.safetensors"))
    {'w': tensor([1., 1.])}
    """
    arrays = {n: np.ascontiguousarray(t) for n, t in tensors.items() if isinstance(t, np.ndarray)}
    if arrays:
        return bytes(safetensors.numpy.save(arrays))
    own = {name: _own(tensor) for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    return bytes(safetensors.torch.save(own))


def unpack(data: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file; ``path`` is for the message.

    Raises:
        RunError: truncated or no safetensors.
    """
    try:
        return dict(safetensors.torch.load(data))
    except SafetensorError as error:
        raise RunError(f"{path}: truncated or altered ({error}); train the model again") from None


def unique_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, each tied tensor once, under its first name."""
    seen: set[int] = set()
    unique = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and id(tensor) not in seen:
            seen.add(id(tensor))
            unique[name] = tensor.detach()
    return unique


@torch.no_grad()
def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copies tensors into a module's parameters and buffers; tied ones follow.

    Raises:
        RunError: names or shapes are not the module's.
    """
    own = unique_tensors(module)
    if own.keys() != tensors.keys():
        differing = ", ".join(sorted(own.keys() ^ tensors.keys())[:3])
        raise RunError(f"{path}: holds another model (they differ in {differing}, …)")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            given, expected = list(tensors[name].shape), list(tensor.shape)
            raise RunError(f"{path}: {name} has shape {given}, the model's has {expected}")
        tensor.copy_(tensors[name])


def optimiser_tensors(
    optimiser: Optimizer, module: nn.Module
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors ``key/parameter`` and plain values under the same names.

    Learning rates and other options are not in it: they are the configuration's.
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for parameter, state in optimiser.state.items():
        for key, value in state.items():
            place = f"{key}/{names[id(parameter)]}"
            if isinstance(value, Tensor):
                tensors[place] = value
            else:
                values[place] = value
    return tensors, values


def load_optimiser(
    optimiser: Optimizer,
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    values: Mapping[str, Any],
) -> None:
    """Continues an optimiser from what :func:`optimiser_tensors` gave."""
    described = optimiser.state_dict()
    indices: dict[int, int] = {}
    for group, packed in zip(optimiser.param_groups, described["param_groups"], strict=True):
        indices.update(zip(map(id, group["params"]), packed["params"], strict=True))
    by_name = {name: indices.get(id(parameter)) for name, parameter in module.named_parameters()}
    state: dict[int | None, dict[str, Any]] = {}
    for place, value in [*tensors.items(), *values.items()]:
        key, name = place.split("/", 1)
        state.setdefault(by_name[name], {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": described["param_groups"]})


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's default generators on the CPU and, when used, the CUDA device."""
    states = {"random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["random.cuda"] = torch.cuda.get_rng_state(device)
    return states


def load_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Continues torch's default generators from what :func:`random_states` gave."""
    torch.set_rng_state(states["random.cpu"])
    if device.type == "cuda" and "random.cuda" in states:
        torch.cuda.set_rng_state(states["random.cuda"], device)


def carried_tensors(state: Any) -> dict[str, Tensor]:
    """A carried recurrent state as tensors under numbers; None is no tensor at all."""
    tensors = [] if state is None else leaves(state)
    return {f"carried.{number}": tensor for number, tensor in enumerate(tensors)}


def load_carried(template: Any, tensors: Mapping[str, Tensor], device: torch.device) -> Any:
    """The state of ``template``'s structure from what :func:`carried_tensors` gave."""
    count = sum(name.startswith("carried.") for name in tensors)
    return rebuild(template, [tensors[f"carried.{n}"].to(device) for n in range(count)])


def _own(tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU that shares memory with nothing, as safetensors demands."""
    return tensor.detach().to("cpu", copy=True).contiguous()
