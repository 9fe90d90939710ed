r"""The squashing functions of the recurrent literature, by name.

``centred2`` and ``centred1`` are those of Hochreiter & Schmidhuber (1997, section 4): the logistic
sigmoid stretched to [-2, 2], :math:`g(x) = 4\sigma(x) - 2`, and to [-1, 1], :math:`h(x) = 2\sigma(x) - 1`.
``positive`` keeps a candidate above zero, so that its logarithm exists (Feng et al. 2024, appendix B):
:math:`g(x) = x + 0.5` where :math:`x \ge 0`, else :math:`\sigma(x)`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def identity(x: Tensor) -> Tensor:
    """x itself."""
    return x


def centred1(x: Tensor) -> Tensor:
    """The logistic sigmoid stretched to [-1, 1]."""
    return 2 * torch.sigmoid(x) - 1


def centred2(x: Tensor) -> Tensor:
    """The logistic sigmoid stretched to [-2, 2]."""
    return 4 * torch.sigmoid(x) - 2


def positive(x: Tensor) -> Tensor:
    """x + 1/2 where x is not negative, the logistic sigmoid elsewhere: continuous and above zero."""
    return torch.where(x >= 0, x + 0.5, torch.sigmoid(x))


def softmax(x: Tensor) -> Tensor:
    """Exponentials over their sum, along the last dimension."""
    return torch.softmax(x, -1)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "identity": identity,
    "softmax": softmax,
    "positive": positive,
    "centred1": centred1,
    "centred2": centred2,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function of that name; ValueError, listing the names, for any other."""
    try:
        return ACTIVATIONS[name]
    except KeyError:
        raise ValueError(
            f"no activation {name!r}; choose one of {', '.join(ACTIVATIONS)}"
        ) from None
