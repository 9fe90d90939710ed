r"""Pooling: one vector for a whole sequence, from the outputs of a recurrent layer at all its steps.

With outputs :math:`h^{(1)} \dots h^{(T)}` of one sequence, T being its own length,

.. math::
   \text{last:} \quad & [\overrightarrow{h}^{(T)}; \overleftarrow{h}^{(1)}] \\
   \text{mean:} \quad & \tfrac{1}{T} \textstyle\sum_t h^{(t)} \\
   \text{max:} \quad & \max_t h^{(t)}_i \text{ for each unit } i \\
   \text{attention:} \quad & \textstyle\sum_t \alpha_t h^{(t)}, \quad
       \alpha = \mathrm{softmax}_t(v^\top \tanh(W h^{(t)} + b))

Last takes what each direction computed at its own end (Sutskever, Vinyals & Le 2014 for one direction),
max is that of Collobert & Weston 2008, attention that of Yang et al. 2016, section 2.2. Padding changes
nothing, and a sequence of no steps gives zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _mask(output: Tensor, lengths: Tensor) -> Tensor:
    """``[B, T, 1]``, True where a step is real."""
    steps = torch.arange(output.shape[1], device=output.device)
    return (steps < lengths.to(output.device)[:, None])[:, :, None]


class LastPooling(nn.Module):
    """What each direction computed at its own end.

    Args:
        size: O, the size of an output. directions: 2 if its second half runs backwards, otherwise 1.

    >>> output = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]])
    >>> LastPooling(2, directions=2)(output, torch.tensor([2])).tolist()
    [[3.0, 2.0]]
    """

    def __init__(self, size: int, *, directions: int = 1) -> None:
        super().__init__()
        self.forward_size = size // directions

    def forward(self, output: Tensor, lengths: Tensor) -> Tensor:
        """[B, O] from outputs [B, T, O] and lengths [B]."""
        lengths = lengths.to(output.device)
        if not output.shape[1]:
            return output.new_zeros(output.shape[0], output.shape[2])
        place = (lengths - 1).clamp_min(0)[:, None, None]
        ends = output.gather(1, place.expand(-1, 1, output.shape[2]))[:, 0]
        pooled = torch.cat([ends[:, : self.forward_size], output[:, 0, self.forward_size :]], -1)
        return torch.where(lengths[:, None] > 0, pooled, pooled.new_zeros(()))


class MeanPooling(nn.Module):
    """The mean over a sequence's steps.

    Args:
        size: O, the size of an output. directions: of no consequence here.

    >>> output = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> MeanPooling(1)(output, torch.tensor([2])).tolist()
    [[2.0]]
    """

    def __init__(self, size: int, *, directions: int = 1) -> None:
        super().__init__()

    def forward(self, output: Tensor, lengths: Tensor) -> Tensor:
        """[B, O] from outputs [B, T, O] and lengths [B]."""
        real = torch.where(_mask(output, lengths), output, output.new_zeros(()))
        return real.sum(1) / lengths.to(output.device).clamp_min(1)[:, None]


class MaxPooling(nn.Module):
    """The largest value of each unit over a sequence's steps.

    Args:
        size: O, the size of an output. directions: of no consequence here.

    >>> output = torch.tensor([[[1.0, -2.0], [3.0, -4.0], [9.0, 9.0]]])
    >>> MaxPooling(2)(output, torch.tensor([2])).tolist()
    [[3.0, -2.0]]
    """

    def __init__(self, size: int, *, directions: int = 1) -> None:
        super().__init__()

    def forward(self, output: Tensor, lengths: Tensor) -> Tensor:
        """[B, O] from outputs [B, T, O] and lengths [B]."""
        if not output.shape[1]:
            return output.new_zeros(output.shape[0], output.shape[2])
        real = torch.where(_mask(output, lengths), output, output.new_full((), -torch.inf))
        pooled = real.amax(1)
        return torch.where(lengths.to(output.device)[:, None] > 0, pooled, pooled.new_zeros(()))


class AttentionPooling(nn.Module):
    """A mean over a sequence's steps with learned weights.

    Args:
        size: O, the size of an output. directions: of no consequence here.

    >>> pool = AttentionPooling(4)
    >>> pool(torch.ones(2, 3, 4), torch.tensor([3, 1])).shape
    torch.Size([2, 4])
    """

    def __init__(self, size: int, *, directions: int = 1) -> None:
        super().__init__()
        self.hidden = nn.Linear(size, size)
        self.weight = nn.Parameter(torch.empty(size).uniform_(-(size**-0.5), size**-0.5))

    def forward(self, output: Tensor, lengths: Tensor) -> Tensor:
        """[B, O] from outputs [B, T, O] and lengths [B]."""
        weights = self.weights(output, lengths)[:, :, None]
        real = torch.where(_mask(output, lengths), output, output.new_zeros(()))
        return (weights * real).sum(1)

    def weights(self, output: Tensor, lengths: Tensor) -> Tensor:
        """The weight of every step, [B, T]: 0 past a sequence's end, their sum 1 where there are steps."""
        scores = torch.tanh(self.hidden(output)) @ self.weight
        real = _mask(output, lengths)[:, :, 0]
        lowest = torch.finfo(scores.dtype).min  # not minus infinity: a row of no steps stays finite
        shares = torch.where(real, scores, scores.new_full((), lowest)).softmax(1)
        return torch.where(real, shares, shares.new_zeros(()))


POOLINGS: dict[str, type[nn.Module]] = {
    "last": LastPooling,
    "mean": MeanPooling,
    "max": MaxPooling,
    "attention": AttentionPooling,
}
