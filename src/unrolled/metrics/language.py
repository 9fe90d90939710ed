"""How well a text was predicted. With the nats ``-ln p(x_t | x_<t)`` of N tokens, the score is their
mean L; bits are ``L / ln 2`` and perplexity is ``exp(L)``. Neighbouring tokens depend on each
other, so the interval resamples whole blocks of consecutive tokens (the block bootstrap of
Carlstein 1986; percentile interval after Efron & Tibshirani 1993, chapter 13)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class LanguageScore:
    """The score of a text, which adds up over its parts.

    Attributes:
        total_nats: the sum of the tokens' nats; infinite if a token had probability zero.
        tokens: how many tokens were predicted, at least 1 to ask for a mean.

    >>> score = LanguageScore(math.log(8), 1) + LanguageScore(math.log(2), 1)
    >>> round(score.bits, 6), round(score.perplexity, 6)
    (2.0, 4.0)
    """

    total_nats: float
    tokens: int

    @classmethod
    def of(cls, nats: npt.ArrayLike) -> LanguageScore:
        """The score of tokens with these nats (any shape)."""
        values = np.asarray(nats, dtype=np.float64)
        return cls(float(values.sum()), values.size)

    def __add__(self, other: LanguageScore) -> LanguageScore:
        return LanguageScore(self.total_nats + other.total_nats, self.tokens + other.tokens)

    @property
    def nats(self) -> float:
        """Nats per token.

        Raises:
            ValueError: no token was predicted.
        """
        if self.tokens < 1:
            raise ValueError("no token was predicted; a score needs at least one")
        return self.total_nats / self.tokens

    @property
    def bits(self) -> float:
        """Bits per token."""
        return self.nats / math.log(2)

    @property
    def perplexity(self) -> float:
        """The exponential of the nats per token; infinite beyond the range of a float."""
        return _exp(self.nats)

    def metrics(self) -> dict[str, float]:
        """``nats``, ``bits`` and ``perplexity`` by name, as an evaluation reports them."""
        return {"nats": self.nats, "bits": self.bits, "perplexity": self.perplexity}


def bootstrap_interval(
    nats: npt.ArrayLike,
    *,
    block: int = 256,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of the mean nats per token, by resampling blocks of consecutive tokens.

    Args:
        nats: ``[N]``, one value per token in the order of the text, at least one.
        block: tokens per block; shortened so that there are at least ten, where possible.
        samples: how many texts are drawn.
        confidence: the probability the interval is to have, between 0 and 1.
        seed: the same seed gives the same interval.

    Returns:
        The lower and the upper end, in nats.

    Raises:
        ValueError: no tokens, or a parameter out of range.

    >>> low, high = bootstrap_interval(np.tile([1.0, 3.0], 5000))
    >>> low <= 2 <= high
    True
    """
    values = np.asarray(nats, dtype=np.float64).reshape(-1)
    if not values.size:
        raise ValueError("no nats were given; an interval needs at least one token")
    if block < 1 or samples < 1 or not 0 < confidence < 1:
        given = f"block={block}, samples={samples}, confidence={confidence}"
        raise ValueError(f"block and samples are at least 1, confidence within (0, 1); not {given}")
    block = max(1, min(block, values.size // 10))
    starts = np.arange(0, values.size, block)
    sums = np.add.reduceat(values, starts)
    counts = np.diff(starts, append=values.size)
    rng = np.random.default_rng(seed)
    means = np.empty(samples)
    for i in range(samples):  # one draw at a time: memory stays at one number per block
        drawn = rng.integers(len(starts), size=len(starts))
        means[i] = sums[drawn].sum() / counts[drawn].sum()
    means.sort()
    tail = (1 - confidence) / 2 * (samples - 1)
    return float(means[math.floor(tail)]), float(means[samples - 1 - math.floor(tail)])


def intervals(
    nats: npt.ArrayLike, *, block: int = 256, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The 95 % intervals of ``nats``, ``bits`` and ``perplexity`` for :func:`bootstrap_interval`.

    >>> intervals([1.0, 1.0])["perplexity"]
    (2.718281828459045, 2.718281828459045)
    """
    low, high = bootstrap_interval(nats, block=block, seed=seed)
    return {
        "nats": (low, high),
        "bits": (low / math.log(2), high / math.log(2)),
        "perplexity": (_exp(low), _exp(high)),
    }


def _exp(nats: float) -> float:
    """The exponential, infinite where a float ends instead of an error."""
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
