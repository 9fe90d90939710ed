"""What a model is given at once: frozen named fields, batch first. Masks are boolean, True where a
position is real and False where it is padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """Sequences of unequal length in one padded tensor.

    Attributes:
        values: ``[B, T, ...]``, anything after each sequence's end.
        lengths: ``[B]``, int64, from 0 to T.

    Raises:
        ValueError: the shapes do not fit, or a length is out of range.

    >>> Sequences(torch.zeros(2, 3), torch.tensor([3, 1])).mask.tolist()
    [[True, True, True], [True, False, False]]
    """

    values: Tensor
    lengths: Tensor

    def __post_init__(self) -> None:
        if self.values.dim() < 2 or self.lengths.shape != self.values.shape[:1]:
            given = f"{tuple(self.values.shape)} and {tuple(self.lengths.shape)}"
            raise ValueError(f"sequences are values [B, T, ...] and lengths [B], not {given}")
        if self.lengths.device.type == "cpu" and len(self.lengths):  # no synchronising elsewhere
            low, high = int(self.lengths.min()), int(self.lengths.max())
            if low < 0 or high > self.values.shape[1]:
                longest = self.values.shape[1]
                raise ValueError(f"lengths are from 0 to {longest} here, not {low} to {high}")

    @property
    def mask(self) -> Tensor:
        """``[B, T]``, boolean, True = real."""
        steps = torch.arange(self.values.shape[1], device=self.lengths.device)
        return steps < self.lengths[:, None]

    def to(self, device: torch.device | str) -> Sequences:
        """The same sequences on that device."""
        return Sequences(self.values.to(device), self.lengths.to(device))


@dataclass(frozen=True)
class LanguageBatch:
    """A window of a text in parallel tracks.

    Attributes:
        tokens: ``[B, T]``, int64: what is read.
        targets: ``[B, T]``, int64: ``targets[b, t]`` follows ``tokens[b, t]`` in the text.
        fresh: True if the carried state must start anew here; otherwise row b continues row b of
            the batch before.

    >>> text = torch.arange(5)[None]
    >>> LanguageBatch(tokens=text[:, :-1], targets=text[:, 1:], fresh=True).targets.tolist()
    [[1, 2, 3, 4]]
    """

    tokens: Tensor
    targets: Tensor
    fresh: bool

    def to(self, device: torch.device | str) -> LanguageBatch:
        """The same batch on that device."""
        return LanguageBatch(self.tokens.to(device), self.targets.to(device), self.fresh)


@dataclass(frozen=True)
class TokensBatch:
    """Sentences.

    Attributes:
        words: ``[B, T]``, int64.
        characters: ``[N, C]``, int64: the N distinct spellings of the batch; None without spellings.
        spelling: ``[B, T]``, int64: which of them each word has.
        tags: of each column ``[B, T]``, int64; -1 past the end and where a tag is not known.

    >>> words = Sequences(torch.tensor([[5, 7], [5, 0]]), torch.tensor([2, 1]))
    >>> TokensBatch(words, None, None, ()).words.mask.sum().item()
    3
    """

    words: Sequences
    characters: Sequences | None
    spelling: Tensor | None
    tags: tuple[Tensor, ...]

    def to(self, device: torch.device | str) -> TokensBatch:
        """The same batch on that device."""
        return TokensBatch(
            self.words.to(device),
            None if self.characters is None else self.characters.to(device),
            None if self.spelling is None else self.spelling.to(device),
            tuple(column.to(device) for column in self.tags),
        )


@dataclass(frozen=True)
class LabelBatch:
    """Whole sequences, each with one answer.

    Attributes:
        tokens: the sequences if they are of words or symbols; else None.
        vectors: ``[B, T, F]``, float32, if they are of vectors; else None.
        targets: ``[B]``, int64, the number of the label, -1 for one that is not known; or ``[B, K]``,
            float32, 1 for each label that an example has; or ``[B]``, float32, a number. None where
            they are to be predicted.

    Raises:
        ValueError: both or neither of tokens and vectors are given.

    >>> vectors = Sequences(torch.zeros(2, 3, 4), torch.tensor([3, 1]))
    >>> LabelBatch(None, vectors, torch.tensor([0, 1])).lengths.tolist()
    [3, 1]
    """

    tokens: TokensBatch | None
    vectors: Sequences | None
    targets: Tensor | None

    def __post_init__(self) -> None:
        if (self.tokens is None) == (self.vectors is None):
            raise ValueError("a batch of labels has either tokens or vectors")

    @property
    def lengths(self) -> Tensor:
        """``[B]``, int64, of the sequences."""
        if self.tokens is not None:
            return self.tokens.words.lengths
        assert self.vectors is not None
        return self.vectors.lengths

    def to(self, device: torch.device | str) -> LabelBatch:
        """The same batch on that device."""
        return LabelBatch(
            None if self.tokens is None else self.tokens.to(device),
            None if self.vectors is None else self.vectors.to(device),
            None if self.targets is None else self.targets.to(device),
        )


@dataclass(frozen=True)
class PairsBatch:
    """Sources and what they are mapped to.

    Attributes:
        source: ``[B, S]``, int64, each with its end symbol.
        inputs: ``[B, T]``, int64: what the decoder reads, the start symbol and the target; None where
            there is nothing but sources.
        targets: ``[B, T]``, int64: what it must say next, the target and its end symbol; of the same
            lengths as ``inputs``.
        fresh: no state is carried from batch to batch.
    """

    source: Sequences
    inputs: Sequences | None = None
    targets: Tensor | None = None
    fresh: bool = True

    def to(self, device: torch.device | str) -> PairsBatch:
        """The same batch on that device."""
        return PairsBatch(
            self.source.to(device),
            None if self.inputs is None else self.inputs.to(device),
            None if self.targets is None else self.targets.to(device),
        )
