"""Turning an existing model's recurrent layers into this library's, in place."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from unrolled.layers.drop_ins import GRU, LSTM, RNN

DROP_INS: dict[type[nn.Module], type[nn.Module]] = {nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU}


@dataclass(frozen=True)
class Conversion:
    """What :func:`convert` did: module names with the class each had, and why others were left."""

    model: nn.Module
    converted: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{name}: {old} -> unrolled.{old}" for name, old in self.converted.items()]
        lines += [f"{name}: left as it is ({why})" for name, why in self.left.items()]
        return "\n".join(lines) or "no recurrent module found"


def convert(model: nn.Module) -> Conversion:
    """Swaps every torch.nn.RNN, LSTM and GRU of a model for the drop-in, in place.

    Modules stay the same objects: parameters, hooks, optimisers and references to them go on working.
    Subclasses of the three (your own, or parametrised ones) are left, as are single-step cells.

    >>> print(convert(nn.Sequential(nn.LSTM(3, 4), nn.Linear(4, 2))))
    0: LSTM -> unrolled.LSTM
    """
    result = Conversion(model)
    for name, module in model.named_modules():
        drop_in = DROP_INS.get(type(module))
        label = name or "(the model itself)"
        if drop_in is not None:
            module.__class__ = drop_in
            result.converted[label] = drop_in.__name__
        elif isinstance(module, nn.RNNBase) and type(module) not in DROP_INS.values():
            result.left[label] = f"{type(module).__name__} is a subclass of torch's"
        elif isinstance(module, nn.RNNCellBase):
            result.left[label] = f"{type(module).__name__} is one step; unrolled.cells has its like"
    return result
