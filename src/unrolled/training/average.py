"""An exponential moving average of the weights (Polyak and Juditsky 1992; Ruppert 1988).

After update t = 1, 2, …: ``a_t = d_t a_{t-1} + (1 - d_t) w_t`` with ``d_t = min(decay, (1 + t) / (10 + t))``,
so that the random first weights are forgotten early, whatever the decay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The moving average of a module's parameters; buffers are not averaged.

    Args:
        module: The module whose parameters are followed. Tied parameters are followed once.
        decay: d, from 0 to below 1.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> average = Average(layer, decay=0.9)
    >>> with torch.no_grad():
    ...     before = layer.weight.item(); _ = layer.weight.fill_(before + 11)
    >>> average.update()
    >>> with average.swapped():
    ...     print(round(layer.weight.item() - before, 4))
    9.0
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._parameters = dict(module.named_parameters())
        self._average = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights after one more update."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, average in self._average.items():
            average.lerp_(self._parameters[name], 1 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Within the block the module's parameters hold the average."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        self.copy_to_module()
        try:
            yield
        finally:
            self._assign(own)

    def copy_to_module(self) -> None:
        """Puts the average into the module's parameters for good."""
        self._assign(self._average)

    def tensors(self) -> dict[str, Tensor]:
        """The averages by parameter name, not copies."""
        return dict(self._average)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Continues from :meth:`tensors` and the number of updates of another time."""
        for name, average in self._average.items():
            average.copy_(tensors[name])
        self.updates = updates

    @torch.no_grad()
    def _assign(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
