r"""Label smoothing without a row of the vocabulary's size.

With smoothing :math:`\epsilon` (Szegedy et al. 2016, section 7) the target is
:math:`(1 - \epsilon)` on the true symbol y and :math:`\epsilon / V` on all, and the loss

.. math::
   L &= -(1 - \epsilon) \log p_y - \frac{\epsilon}{V} \sum_k \log p_k \\
     &= -\log p_y + \epsilon \, (z_y - \bar z), \qquad
   z_k = w_k^\top h + b_k, \quad \bar z = \bar w^\top h + \bar b

where :math:`\bar w, \bar b` are means over the vocabulary: the second summand needs one row of W for each
target and no softmax.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def smoothing_term(h: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    r"""The sum over rows of :math:`z_y - \bar z`.

    Args:
        h: [rows, K]. weight: [V, K]. bias: [V]. targets: [rows], ids in 0..V-1.

    >>> import torch
    >>> h, weight, bias = torch.ones(1, 2), torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.zeros(2)
    >>> float(smoothing_term(h, weight, bias, torch.tensor([1])))
    1.0
    """
    apart = F.embedding(targets, weight) - weight.mean(0)
    return (h * apart).sum() + (F.embedding(targets, bias[:, None])[:, 0] - bias.mean()).sum()
