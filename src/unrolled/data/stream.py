"""A text as one long array of token numbers on disk, mapped into memory, and its reading in
parallel tracks for truncated back-propagation through time: the text is cut into B tracks of equal
length, and batch k holds steps kW to (k+1)W of every track, so that the state of row b can be
carried from one batch to the next (Mikolov et al. 2010; Zaremba et al. 2014, section 4.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unrolled.data.atomic import replacing
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ConfigError, DataError, RunError

if TYPE_CHECKING:
    from unrolled.data.batch import LanguageBatch

# name, format version, bytes per token, tokens, vocabulary size, tokens that are <unk>, digest
_HEADER = struct.Struct("<8sIIQQQ16s8x")
_MAGIC = b"unrolled"
_FORMAT = 1
_CHUNK = 1 << 16


class TokenStream:
    """A flat text of token numbers, in memory or mapped from a file.

    Args:
        ids: one-dimensional unsigned or signed integers in ``[0, vocabulary_size)``.
        vocabulary_size: how many numbers there are.
        unknown: how many of the tokens are ``<unk>``; counted when None.

    ``stream[a:b]`` is a new int64 array, ``stream[i]`` an int; ``numpy.asarray(stream)`` is the
    stored array itself (not copied, in its narrow type).

    >>> stream = TokenStream(np.array([1, 2, 0]), vocabulary_size=3)
    >>> stream[1:], stream.unknown
    (array([2, 0]), 1)
    """

    def __init__(
        self, ids: npt.NDArray[Any], *, vocabulary_size: int, unknown: int | None = None
    ) -> None:
        if ids.ndim != 1 or ids.dtype.kind not in "ui":
            raise ValueError(f"a stream is [N] integers, not {ids.shape} of {ids.dtype}")
        self._ids = ids
        self.vocabulary_size = vocabulary_size
        self._unknown = unknown

    @property
    def unknown(self) -> int:
        """How many of the tokens are ``<unk>``."""
        if self._unknown is None:
            starts = range(0, len(self._ids), _CHUNK)
            self._unknown = sum(
                int(np.count_nonzero(self._ids[start : start + _CHUNK] == 0)) for start in starts
            )
        return self._unknown

    @classmethod
    def write(
        cls, tokens: Iterable[str], vocabulary: Vocabulary, path: str | PathLike[str]
    ) -> TokenStream:
        """Encode the tokens into a file and open it. Memory: one chunk of 65,536 tokens.

        One, two or four bytes per token, by the size of the vocabulary. The file appears whole or
        not at all.

        Raises:
            DataError: there are no tokens.
            RunError: the place cannot be written.
        """
        dtype = _dtype(len(vocabulary))
        length = unknown = 0
        digest = blake2b(digest_size=16)
        source = iter(tokens)
        with replacing(path) as file:
            file.write(bytes(_HEADER.size))  # its place; what it says is known at the end
            while chunk := list(islice(source, _CHUNK)):
                ids = vocabulary.encode(chunk)
                length += len(ids)
                unknown += int(np.count_nonzero(ids == 0))
                stored = ids.astype(dtype).tobytes()
                digest.update(stored)
                file.write(stored)
            if not length:
                raise DataError("the text has no tokens; expected at least one")
            file.seek(0)
            size = len(vocabulary)
            facts = (dtype.itemsize, length, size, unknown, digest.digest())
            file.write(_HEADER.pack(_MAGIC, _FORMAT, *facts))
        return cls.open(path)

    @classmethod
    def open(cls, path: str | PathLike[str]) -> TokenStream:
        """Map a file that :meth:`write` made, after reading it through once to compare its digest.

        Raises:
            RunError: the file is missing, truncated, altered, no token stream, or of another format.
        """
        try:
            with open(path, "rb") as file:
                header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or not header.startswith(_MAGIC):
                raise RunError(f"{path}: no token stream; delete the file and prepare it again")
            _, version, itemsize, length, size, unknown, sealed = _HEADER.unpack(header)
            if version > _FORMAT:
                raise RunError(f"{path}: format {version} is newer than {_FORMAT}; update unrolled")
            dtype = _dtype(size)
            expected = _HEADER.size + length * itemsize
            actual = Path(path).stat().st_size
            if version < 1 or itemsize != dtype.itemsize or not length or actual != expected:
                raise RunError(
                    f"{path}: the header says {length} tokens of {itemsize} bytes from a vocabulary"
                    f" of {size} ({expected} bytes), the file has {actual} bytes and such tokens "
                    f"take {dtype.itemsize}; delete the file and prepare it again"
                )
            ids = np.memmap(path, dtype=dtype, mode="r", offset=_HEADER.size, shape=(length,))
            digest = blake2b(digest_size=16)
            for start in range(0, length, _CHUNK):
                digest.update(ids[start : start + _CHUNK].tobytes())
            if digest.digest() != sealed:
                raise RunError(f"{path}: altered; delete the file and prepare it again")
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunError(f"{path}: the token stream cannot be read ({reason})") from error
        # A plain view: indexing the memmap class itself costs microseconds more.
        return cls(ids.view(np.ndarray), vocabulary_size=size, unknown=unknown)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, place: slice | int) -> Any:
        if isinstance(place, slice):
            return self._ids[place].astype(np.int64)
        return int(self._ids[place])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self._ids, dtype=dtype, copy=copy)

    def pairs(self, places: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
        """The tokens at the places (any shape) and the tokens that follow them, both int64."""
        return self._ids[places].astype(np.int64), self._ids[places + 1].astype(np.int64)


class StreamLoader:
    """The batches of a stream, one epoch per iteration, exactly resumable.

    The ``N - 1`` pairs (token, next token) are cut into tracks of equal length. In each epoch but
    the first the tracks begin a random number of tokens below ``window`` later, drawn from
    ``(seed, epoch)``, so that windows are cut elsewhere; the last track then runs on from the
    end of the text to its start. Every pair is seen once per epoch, but for the fewer than
    ``tracks`` that do not fill a track: with ``batch_size=1`` epoch 0 is the text from start to
    end. A short text has fewer tracks than ``batch_size`` (see :attr:`tracks`), so that each is at
    least one window long where possible.

    Args:
        stream: the text, at least two tokens.
        batch_size: how many tracks, over all processes.
        window: the most steps per batch; the last of an epoch may be shorter.
        seed: of the offsets, at least 0.
        rows: the tracks of this process, for instance ``slice(rank, None, processes)``; what the
            tracks are never depends on it.

    Raises:
        DataError: the text is too short, or has no track for this process.
        ConfigError: a size below 1 or a seed below 0.

    >>> stream = TokenStream(np.arange(7), vocabulary_size=7)
    >>> loader = StreamLoader(stream, batch_size=2, window=2, seed=1)
    >>> [(batch.tokens.tolist(), batch.fresh) for batch in loader]
    [([[0, 1], [3, 4]], True), ([[2], [5]], False)]
    >>> loader.state_dict()
    {'epoch': 1, 'position': 0}
    """

    def __init__(
        self,
        stream: TokenStream,
        *,
        batch_size: int,
        window: int,
        seed: int,
        rows: slice = slice(None),
    ) -> None:
        if batch_size < 1 or window < 1 or seed < 0:
            given = f"batch_size={batch_size}, window={window}, seed={seed}"
            raise ConfigError(f"batch size and window are at least 1, the seed 0; given {given}")
        if len(stream) < 2:
            raise DataError(
                f"the text has {len(stream)} token; at least 2 are needed to predict one from "
                "the other"
            )
        self.stream = stream
        self.window = window
        self.seed = seed
        self._pairs = len(stream) - 1
        self.tracks = max(1, min(batch_size, self._pairs // window))
        """How many parallel tracks there are, over all processes: at most ``batch_size``."""
        self._length = self._pairs // self.tracks
        self._rows = np.arange(self.tracks)[rows]
        if not len(self._rows):
            raise DataError(
                f"a text of {len(stream)} tokens gives {self.tracks} track(s) of {window} steps, "
                "none for this process; use fewer processes, a longer text or a smaller window"
            )
        self._epoch = 0
        self._position = 0

    def __len__(self) -> int:
        """Batches in a whole epoch, the same in each."""
        return -(-self._length // self.window)

    def __iter__(self) -> Iterator[LanguageBatch]:
        """The batches that remain of the epoch; at their end the next epoch begins.

        The place is moved on before a batch is handed out: saved while batch k is in use, it says
        that k has been taken. Saved with the last batch, the next iteration is empty, as the
        uninterrupted one would have been from there.
        """
        epoch = self._epoch
        starts = self._rows * self._length + self._offset(epoch)
        while self._epoch == epoch and self._position < len(self):
            position = self._position
            self._position += 1
            yield self._batch(starts, position)
        if self._epoch == epoch:
            self._epoch, self._position = epoch + 1, 0

    def _offset(self, epoch: int) -> int:
        if epoch == 0:
            return 0
        draw = np.random.default_rng((self.seed, epoch))
        return int(draw.integers(min(self.window, self._pairs)))

    def _batch(self, starts: npt.NDArray[np.int64], position: int) -> LanguageBatch:
        import torch  # here, so that writing and reading streams needs no torch

        from unrolled.data.batch import LanguageBatch

        first = position * self.window
        steps = np.arange(first, min(first + self.window, self._length))
        tokens, targets = self.stream.pairs((starts[:, None] + steps) % self._pairs)  # [B, T]
        return LanguageBatch(
            tokens=torch.from_numpy(tokens),
            targets=torch.from_numpy(targets),
            fresh=position == 0,
        )

    def state_dict(self) -> dict[str, int]:
        """The place: the epoch and how many of its batches have been taken."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to a place that :meth:`state_dict` gave.

        Raises:
            RunError: no such place in this stream.
        """
        epoch, position = state.get("epoch", -1), state.get("position", -1)
        if epoch < 0 or not 0 <= position <= len(self):
            raise RunError(
                f"no place {dict(state)} in a stream of {len(self)} batches per epoch; the data, "
                "batch size and window must be those of the checkpoint"
            )
        self._epoch, self._position = int(epoch), int(position)


def _dtype(vocabulary_size: int) -> np.dtype[Any]:
    """The narrowest little-endian unsigned type that holds the numbers."""
    if vocabulary_size <= 1 << 8:
        return np.dtype("<u1")
    return np.dtype("<u2" if vocabulary_size <= 1 << 16 else "<u4")
