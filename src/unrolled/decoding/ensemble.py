r"""Several models as one: their probabilities, or their logarithms, averaged.

.. math::
   p(w) = \frac{1}{M} \sum_m p_m(w) \quad \text{(linear)}, \qquad
   p(w) \propto \exp \frac{1}{M} \sum_m \log p_m(w) \quad \text{(log)}

The logarithmic average trusts a token only if all do; the linear one if some do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor

from unrolled.decoding.sample import StepModel
from unrolled.errors import ConfigError


class Ensemble:
    """Models of one vocabulary that decode together, under the step protocol.

    Its state is the tuple of theirs: ``(first, second)`` of started states is a started state. It has
    ``attention``, the average of theirs, if all have it. Log-probabilities come on the first model's
    device, of the widest dtype.

    Args:
        models: at least one, each with ``step`` (and ``start``, if :meth:`start` is to be used).
        mode: "linear" or "log".

    Raises:
        ConfigError: there is no model, or their vocabularies are known to differ.

    >>> from unrolled.baselines import Markov
    >>> import numpy as np
    >>> chains = [Markov(0, smoothing=a).fit(np.array([0, 1, 1]), 2) for a in (0.0, 1.0)]
    >>> both = Ensemble(chains)
    >>> both.step(None, both.start(1))[0].exp()
    tensor([[0.3667, 0.6333]], dtype=torch.float64)
    """

    def __init__(
        self, models: Sequence[StepModel], *, mode: Literal["linear", "log"] = "linear"
    ) -> None:
        if not models:
            raise ConfigError("an ensemble of no models given; at least one is needed")
        if mode not in ("linear", "log"):
            raise ConfigError(f"an ensemble's mode is 'linear' or 'log', not {mode!r}")
        self.models = tuple(models)
        self.mode = mode
        sizes = [getattr(model, "vocabulary_size", None) for model in self.models]
        _check_sizes([size for size in sizes if isinstance(size, int)])
        if all(callable(getattr(model, "attention", None)) for model in self.models):
            self.attention = self._attention

    def start(self, batch_size: int) -> tuple[Any, ...]:
        """The states of all models for ``batch_size`` sequences of which nothing was read."""
        return tuple(model.start(batch_size) for model in self.models)

    def step(self, tokens: Tensor | None, state: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        """Reads tokens [B] (None at the very start); log-probabilities [B, V] and the new state."""
        if len(state) != len(self.models):
            raise ConfigError(
                f"an ensemble of {len(self.models)} models needs as many states, not {len(state)}"
            )
        steps = [model.step(tokens, part) for model, part in zip(self.models, state, strict=True)]
        after = tuple(new for _, new in steps)
        tables = [log_probs for log_probs, _ in steps]
        _check_sizes([table.shape[-1] for table in tables])
        total = tables[0]
        if len(tables) == 1:
            return total, after
        for table in tables[1:]:
            dtype = torch.promote_types(total.dtype, table.dtype)
            total, table = total.to(dtype), table.to(total.device, dtype)
            total = torch.logaddexp(total, table) if self.mode == "linear" else total + table
        if self.mode == "linear":
            return total - math.log(len(tables)), after
        return torch.log_softmax(total / len(tables), dim=-1), after

    def _attention(self, state: tuple[Any, ...]) -> Tensor:
        found = [
            cast(Any, model).attention(part) for model, part in zip(self.models, state, strict=True)
        ]
        return torch.stack([weights.to(found[0]) for weights in found]).mean(0)


def _check_sizes(sizes: Sequence[int]) -> None:
    if len(set(sizes)) > 1:
        raise ConfigError(
            f"the models of an ensemble have vocabularies of {', '.join(map(str, sizes))} tokens; "
            "they must share one vocabulary"
        )
