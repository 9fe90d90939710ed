r"""Scheduled sampling: a decoder learns from its own words, too (Bengio, Vinyals, Jaitly & Shazeer 2015).

With teacher forcing a decoder reads the true symbol before each it has to say; in use it reads its own. In
training batch i of N each input is, by a coin of its own, with probability

.. math:: \epsilon_i = \epsilon \min(1, i / N)

drawn from what the model would say there, having read the inputs before, drawn ones too ("Scheduled sampling
for sequence prediction with recurrent neural networks", section 2.4, the linear schedule). No gradient flows
through a drawn symbol, as there. It is drawn as in use: without dropout.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from unrolled.data.batch import Sequences


class Answering(Protocol):
    """A model that answers a source step by step."""

    training: bool

    def start_from(self, source: Sequences) -> Any: ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]: ...

    def train(self, mode: bool = True) -> Any: ...


class ScheduledSampling(nn.Module):
    """Replaces a share of a decoder's inputs; counts the batches it has seen in a buffer, ``batches``.

    Args:
        share: the probability to reach, from 0 to 1.
        steps: N, the batches until then, at least 1.

    Raises:
        ValueError: an argument out of its range.

    >>> sampling = ScheduledSampling(0.25, steps=100)
    >>> sampling.probability()
    0.0
    >>> sampling.batches += 50
    >>> sampling.probability()
    0.125
    """

    batches: Tensor

    def __init__(self, share: float, steps: int) -> None:
        super().__init__()
        if not 0 <= share <= 1:
            raise ValueError(f"the share of scheduled sampling must be in [0, 1], {share} given")
        if steps < 1:
            raise ValueError(f"the steps of scheduled sampling must be at least 1, {steps} given")
        self.share, self.steps = share, steps
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def probability(self) -> float:
        """Of an input to be drawn, in the next batch."""
        return self.share * min(1.0, int(self.batches) / self.steps)

    @torch.no_grad()
    def forward(self, model: Answering, source: Sequences, inputs: Tensor) -> Tensor:
        """The inputs [B, T] of the next batch; the first of each sequence, its start, stays."""
        chance = self.probability()
        self.batches += 1
        own = torch.rand(inputs.shape, device=inputs.device) < chance
        last = int(own.any(0).nonzero().max()) if bool(own.any()) else 0
        mixed, training = inputs.clone(), model.training
        model.train(False)
        try:
            state = model.start_from(source)
            for t in range(last):
                log_probs, state = model.step(mixed[:, t], state)
                drawn = torch.multinomial(log_probs.exp(), 1)[:, 0]
                mixed[:, t + 1] = torch.where(own[:, t + 1], drawn, mixed[:, t + 1])
        finally:
            model.train(training)
        return mixed
