r"""A classifier without memory: a feedforward network sees a fixed window around each position.

.. math::
   h^{(t)} = \max(0, U [x^{(t-w)}; \dots; x^{(t+w)}] + a), \qquad
   z = W \, \mathrm{pool}(h^{(1)} \dots h^{(T)}) + b

What lies further apart than a window cannot be seen together, which is the review's case for recurrence
(Lipton 2015, section 1.2). With max pooling this is the sentence approach of Collobert et al. 2011
(section 3.3.2); before the first and after the last position stand zeros.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.layers.pooling import POOLINGS
from unrolled.models.classifier import SequenceClassifier


class WindowClassifier(SequenceClassifier):
    """The window classifier.

    Args:
        window: positions in a window, an odd number. hidden_size: units that look at it.
        pooling: ``mean``, ``max`` or ``attention``.
        options: those of :class:`SequenceClassifier`.

    >>> model = WindowClassifier(answer="label", outputs=3, input_size=2, hidden_size=4)
    >>> model.read(torch.zeros(2, 5, 2), torch.tensor([5, 3])).shape
    torch.Size([2, 4])
    """

    def __init__(
        self, *, window: int = 5, hidden_size: int = 256, pooling: str = "max", **options: Any
    ) -> None:
        super().__init__(**options)
        if window < 1 or window % 2 == 0:
            raise ValueError(f"window must be an odd number, {window} given")
        self.window = window
        self.hidden = nn.Linear(window * self.read_size, hidden_size)
        self.pooling = POOLINGS[pooling](hidden_size)
        self._add_head(hidden_size)

    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        """One vector [B, P] for each sequence x [B, T, E]."""
        side, steps = self.window // 2, torch.arange(x.shape[1], device=x.device)
        x = x.masked_fill((steps >= lengths[:, None])[:, :, None], 0.0)
        windows = F.pad(x, (0, 0, side, side)).unfold(1, self.window, 1)  # [B, T, E, window]
        pooled: Tensor = self.pooling(self.hidden(windows.flatten(2)).relu(), lengths)
        return pooled
