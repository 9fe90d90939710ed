"""First-order optimisers, all of them torch.optim's, under the names of ``--training.optimiser``.

Review section 2.4 names stochastic gradient descent with momentum and Nesterov's momentum, AdaGrad
(Duchi et al. 2011), AdaDelta (Zeiler 2012) and RMSprop (Tieleman and Hinton 2012); Adam is Kingma
and Ba 2015, AdamW Loshchilov and Hutter 2019. Torch's fused updates are taken where it has them:
one pass over each weight instead of a dozen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from unrolled.training.config import TrainingConfig

Builder = Callable[[list[nn.Parameter], TrainingConfig], Optimizer]


def _sgd(parameters: list[nn.Parameter], config: TrainingConfig) -> Optimizer:
    return torch.optim.SGD(
        parameters,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=_fusable(parameters),
    )


def _adagrad(parameters: list[nn.Parameter], config: TrainingConfig) -> Optimizer:
    return torch.optim.Adagrad(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay
    )


def _adadelta(parameters: list[nn.Parameter], config: TrainingConfig) -> Optimizer:
    return torch.optim.Adadelta(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay
    )


def _rmsprop(parameters: list[nn.Parameter], config: TrainingConfig) -> Optimizer:
    return torch.optim.RMSprop(
        parameters,
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def _adam(parameters: list[nn.Parameter], config: TrainingConfig) -> Optimizer:
    return torch.optim.Adam(
        parameters,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=_fusable(parameters),
    )


def _adamw(parameters: list[nn.Parameter], config: TrainingConfig) -> Optimizer:
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=_fusable(parameters),
    )


OPTIMISERS: dict[str, Builder] = {
    "sgd": _sgd,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adamw,
}


def optimiser(parameters: Iterable[nn.Parameter], config: TrainingConfig) -> Optimizer:
    """The optimiser that the configuration names, over the parameters that need a gradient.

    >>> weight = nn.Parameter(torch.zeros(2))
    >>> type(optimiser([weight], TrainingConfig(optimiser="sgd"))).__name__
    'SGD'
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return OPTIMISERS[config.optimiser](trained, config)


def _fusable(parameters: list[nn.Parameter]) -> bool:
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
