"""Scores of a corpus that are functions of sums over its sentences, as BLEU's is, and tests of them.

A draw of the bootstrap is a row of weights, how often each sentence counts, so a thousand draws cost one
product of matrices. So do a thousand random swaps. Approximate randomisation (Noreen 1989; Riezler & Maxwell
2005, "On some pitfalls in automatic evaluation and significance testing for MT") swaps the outputs of two
systems, sentence by sentence: if it did not matter which of them an output is from, the scores would differ
as much after a swap. The p value is the share of swaps after which they do. The paired bootstrap (Koehn
2004) instead takes the sample for the population; it tells how large the difference is, and rejects
somewhat too often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unrolled.metrics.significance import Floats, Measure

_HELD = 1_000_000  # swaps held at once: 8 MB


@dataclass(frozen=True)
class Summed:
    """Scores of corpora that are functions of sums over their N examples, of one or more systems.

    Attributes:
        names: the M scores, the chief one first.
        rows: ``[systems, N, C]`` what is summed up.
        of: from sums ``[..., C]`` to scores ``[..., M]``.

    >>> summed = Summed(("rate",), np.array([[[1, 2], [0, 2]]]), lambda sums: sums[..., :1] / sums[..., 1:])
    >>> summed.measure().metrics(), summed.examples().tolist()
    ({'rate': 0.25}, [[[0.5], [0.0]]])
    """

    names: tuple[str, ...]
    rows: npt.NDArray[np.generic]
    of: Callable[[Floats], Floats]

    @classmethod
    def joined(cls, parts: Sequence[Summed]) -> Summed:
        """The scores of all parts, which are of the same systems and examples."""
        ends = np.cumsum([part.rows.shape[2] for part in parts])[:-1]

        def of(sums: Floats) -> Floats:
            each = np.split(sums, ends, axis=-1)
            return np.concatenate([p.of(s) for p, s in zip(parts, each, strict=True)], axis=-1)

        names = tuple(name for part in parts for name in part.names)
        rows = np.concatenate([part.rows.astype(np.float64) for part in parts], axis=2)
        return cls(names, rows, of)

    def examples(self) -> Floats:
        """The scores ``[systems, N, M]`` of each example by itself."""
        return self.of(self.rows.astype(np.float64))

    def measure(self) -> Measure:
        """The scores as functions of how often each example counts; every example is a kind."""
        systems, examples, columns = self.rows.shape
        flat = self.rows.transpose(1, 0, 2).reshape(examples, -1).astype(np.float64)

        def of(weights: Floats) -> Floats:
            return self.of((weights @ flat).reshape(len(weights), systems, columns))

        return Measure(self.names, np.ones(examples, dtype=np.int64), of)

    def randomised(self, *, samples: int = 10_000, seed: int = 0) -> dict[str, float]:
        """Two-sided p values, by name, of the first two systems' differences: approximate randomisation.

        The swap that is none is counted as one more, so that no p value is 0. A score that is not a
        number after a swap counts as a difference.

        >>> rows = np.stack([np.ones((20, 1)), np.zeros((20, 1))])
        >>> Summed(("sum",), rows, lambda sums: sums).randomised(samples=999)
        {'sum': 0.001}
        """
        if samples < 1:
            raise ValueError(f"samples={samples}; expected at least 1")
        first, second = self.rows[:2].astype(np.float64)
        totals, apart = (first.sum(axis=0), second.sum(axis=0)), first - second
        observed = np.abs(self.of(totals[0]) - self.of(totals[1]))
        rng = np.random.default_rng(seed)
        as_far = np.zeros(len(self.names), dtype=np.int64)
        held = max(1, _HELD // len(apart))
        for start in range(0, samples, held):
            size = (min(held, samples - start), len(apart))
            moved = rng.integers(2, size=size, dtype=np.int8).astype(np.float64) @ apart
            drawn = np.abs(self.of(totals[0] - moved) - self.of(totals[1] + moved))
            as_far += (~(drawn < observed * (1 - 1e-12))).sum(axis=0)
        return dict(zip(self.names, ((as_far + 1) / (samples + 1)).tolist(), strict=True))
