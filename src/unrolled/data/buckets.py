"""Batches of examples of like length, so that little is padded.

In each epoch the examples are sorted by their length with some noise, ``L + u (1 + L/20)`` with u drawn
uniformly from [-1, 1], cut into batches, and the batches are shuffled (bucketing: Khomenko et al. 2016,
"Accelerating recurrent neural network training using sequence bucketing and multi-GPU data
parallelization"). The noise makes batches differ from epoch to epoch and costs a few per cent of padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ConfigError, DataError, RunError

B = TypeVar("B")
Ids = NDArray[np.int64]

_NOISE = 0.05  # of the length; and one step


def in_order(lengths: Ids, batch_size: int, *, max_tokens: int = 0) -> list[Ids]:
    """All examples in batches by length, shortest first, those of one length in their order.

    Args:
        lengths: ``[N]``, at least 0.
        batch_size: the most examples of a batch.
        max_tokens: the most steps of a batch, padding included; a longer example is alone. 0: no limit.

    Raises:
        ConfigError: a size out of range.

    >>> [batch.tolist() for batch in in_order(np.array([3, 1, 9, 2]), 2)]
    [[1, 3], [0, 2]]
    >>> [batch.tolist() for batch in in_order(np.array([3, 1, 9, 2]), 2, max_tokens=6)]
    [[1], [3, 0], [2]]
    """
    _check(lengths, batch_size, max_tokens)
    order = np.argsort(lengths, kind="stable")
    sizes = _cut(lengths[order], batch_size, max_tokens, fewest=1)
    return np.split(order, np.cumsum(sizes)[:-1]) if len(sizes) else []


class BucketLoader(Generic[B]):
    """The batches of examples, one epoch per iteration, exactly resumable.

    Every example is in exactly one batch of an epoch; what the batches are follows from the lengths,
    ``seed`` and epoch. All epochs have equally many. Without ``max_tokens`` they are of equal size, or
    differ by one.

    Args:
        lengths: ``[N]``, at least 0, of the examples.
        collate: makes a batch of the examples with the given numbers, ``[n]`` from 0.
        batch_size: the most examples of a batch, over all processes.
        seed: of the order, at least 0.
        rows: those of each batch that are this process's, for instance ``slice(rank, None,
            processes)``. Every process gets equally many batches, none of them empty: a batch has at
            least as many examples as ``rows`` has steps, whatever the sizes say.
        shuffle: False takes them by length, shortest first, the same in each epoch.
        max_tokens: the most steps of a batch over all processes, padding included, but for an
            example that is longer by itself. 0: no limit.

    Raises:
        DataError: there are no examples, or none for this process.
        ConfigError: a size out of range, or a seed below 0.

    >>> loader = BucketLoader(np.array([2, 9, 1, 8]), lambda rows: rows.tolist(), batch_size=2, seed=0)
    >>> list(loader)
    [[2, 0], [3, 1]]
    >>> loader.state_dict()
    {'epoch': 1, 'position': 0}
    """

    def __init__(
        self,
        lengths: Ids,
        collate: Callable[[Ids], B],
        *,
        batch_size: int,
        seed: int,
        rows: slice = slice(None),
        shuffle: bool = True,
        max_tokens: int = 0,
    ) -> None:
        _check(lengths, batch_size, max_tokens)
        if seed < 0:
            raise ConfigError(f"the seed is at least 0, not {seed}")
        fewest = max(1, rows.step or 1)
        if not len(lengths):
            raise DataError("there are no examples; expected at least one")
        if len(lengths) < fewest or not len(range(fewest)[rows]):
            raise DataError(
                f"{len(lengths)} example(s) leave none for one of the processes; use fewer "
                "processes or more data"
            )
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self._collate = collate
        self._seed = seed
        self._rows = rows
        self._shuffle = shuffle
        # Noise may put an example in the place of a shorter one: of which length at most?
        longest = np.sort(self.lengths)
        if shuffle:
            highest = (longest + 1 + _NOISE * longest + 1) / (1 - _NOISE)
            longest = np.minimum(np.floor(highest).astype(np.int64), longest[-1])
        self._sizes = _cut(longest, batch_size, max_tokens, fewest=fewest)
        self._epoch = 0
        self._position = 0

    def __len__(self) -> int:
        """Batches in a whole epoch, the same in each."""
        return len(self._sizes)

    def __iter__(self) -> Iterator[B]:
        """The batches that remain of the epoch; at their end the next epoch begins.

        The place is moved on before a batch is handed out: saved while batch k is in use, it says
        that k has been taken. Saved with the last batch, the next iteration is empty, as the
        uninterrupted one would have been from there.
        """
        epoch = self._epoch
        batches: list[Ids] | None = None
        while self._epoch == epoch and self._position < len(self):
            batches = self._batches(epoch) if batches is None else batches
            position = self._position
            self._position += 1
            yield self._collate(batches[position][self._rows])
        if self._epoch == epoch:
            self._epoch, self._position = epoch + 1, 0

    def _batches(self, epoch: int) -> list[Ids]:
        """The examples of every batch of an epoch."""
        cuts = np.cumsum(self._sizes)[:-1]
        if not self._shuffle:
            return np.split(np.argsort(self.lengths, kind="stable"), cuts)
        draw = np.random.default_rng((self._seed, epoch))
        noise = draw.uniform(-1, 1, len(self.lengths))
        order = np.argsort(self.lengths + noise * (1 + _NOISE * self.lengths), kind="stable")
        batches = np.split(order, cuts)
        return [batches[place] for place in draw.permutation(len(batches))]

    def state_dict(self) -> dict[str, int]:
        """The place: the epoch and how many of its batches have been taken."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place that :meth:`state_dict` gave.

        Raises:
            RunError: no such place in these examples.
        """
        epoch, position = (
            value if type(value := state.get(name)) is int else -1 for name in ("epoch", "position")
        )
        if epoch < 0 or not 0 <= position <= len(self):
            raise RunError(
                f"no place {dict(state)} in examples of {len(self)} batches per epoch; the data, "
                "batch size and number of processes must be those of the checkpoint"
            )
        self._epoch, self._position = epoch, position


def _check(lengths: Ids, batch_size: int, max_tokens: int) -> None:
    if lengths.ndim != 1 or (
        len(lengths) and (lengths.dtype.kind not in "ui" or lengths.min() < 0)
    ):
        given = f"{lengths.shape} of {lengths.dtype}"
        raise ValueError(f"lengths are [N] integers, at least 0, not {given}")
    if batch_size < 1 or max_tokens < 0:
        given = f"batch_size={batch_size}, max_tokens={max_tokens}"
        raise ConfigError(
            f"the batch size is at least 1, the most tokens at least 0; given {given}"
        )


def _cut(longest: Ids, batch_size: int, max_tokens: int, *, fewest: int) -> list[int]:
    """The sizes of the batches, each between ``fewest`` and ``batch_size`` if both can be had.

    Args:
        longest: ``[N]``, ascending: the greatest length that can stand at each place of the order.
    """
    count = len(longest)
    batch_size = max(batch_size, fewest)
    if not max_tokens:
        batches = max(1, min(-(-count // batch_size), count // fewest)) if count else 0
        return [count // batches + (place < count % batches) for place in range(batches)]
    sizes: list[int] = []
    left = count
    while left:  # from the longest to the shortest
        fitting = min(batch_size, max_tokens // max(1, int(longest[left - 1])))
        sizes.append(min(left, max(fewest, fitting)))
        left -= sizes[-1]
    if len(sizes) > 1 and sizes[-1] < sizes[-2]:  # the last two share what they have
        both = sizes.pop() + sizes.pop()
        sizes += [both] if both < 2 * fewest else [both - both // 2, both // 2]
    return sizes[::-1]
