"""The finite alphabet of a model: symbols numbered from 0, where 0 is ``<unk>``, what every symbol
outside the vocabulary becomes. Counted on the training part only; the most frequent symbols stay
and the rare ones are merged into one (as in the experiments of Bengio et al. 2003, section 4)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data.atomic import replacing
from unrolled.data.text import EOS
from unrolled.errors import ConfigError, RunError

UNKNOWN = "<unk>"
_FORMAT = 1


class Vocabulary:
    """Symbols and their numbers. ``<unk>`` is put first unless it is the first symbol already.

    Raises:
        ValueError: a symbol is given twice.

    >>> vocabulary = Vocabulary.count("abracadabra", max_size=2)
    >>> vocabulary.symbols
    ('<unk>', 'a', 'b')
    >>> vocabulary.encode("bad").tolist()
    [2, 1, 0]
    >>> vocabulary.decode([1, 2])
    ['a', 'b']
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        first = () if symbols and symbols[0] == UNKNOWN else (UNKNOWN,)
        self._symbols = (*first, *symbols)
        self._index = {symbol: i for i, symbol in enumerate(self._symbols)}
        if len(self._index) != len(self._symbols):
            [(twice, _)] = Counter(self._symbols).most_common(1)
            raise ValueError(f"the symbol {twice!r} is given twice; each needs one number")

    @classmethod
    def count(
        cls, tokens: Iterable[str], *, max_size: int | None = None, min_count: int = 1
    ) -> Vocabulary:
        """The most frequent symbols of a text, most frequent first, ties in order of appearance.

        Args:
            tokens: read once, never held.
            max_size: at most so many symbols besides ``<unk>`` and ``<eos>``; None keeps all.
            min_count: rarer symbols are left out; ``<eos>`` stays whenever it was seen.

        Raises:
            ConfigError: a limit below 1.
        """
        if min_count < 1 or (max_size is not None and max_size < 1):
            given = f"max_size={max_size}, min_count={min_count}"
            raise ConfigError(f"the limits of a vocabulary are at least 1, not {given}")
        counts = Counter(tokens)
        counts.pop(UNKNOWN, None)
        kept: list[str] = []
        room = len(counts) if max_size is None else max_size
        for symbol, count in counts.most_common():  # stable: ties keep the order of appearance
            if symbol == EOS:
                kept.append(symbol)
            elif room and count >= min_count:
                kept.append(symbol)
                room -= 1
        return cls(kept)

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, ``<unk>`` first; the place is the number."""
        return self._symbols

    def __len__(self) -> int:
        return len(self._symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._symbols == other._symbols

    def __hash__(self) -> int:
        return hash(self._symbols)

    def __repr__(self) -> str:
        return f"Vocabulary of {len(self)} symbols"

    def encode(self, tokens: Iterable[str]) -> npt.NDArray[np.int64]:
        """The numbers of the tokens, int64; unknown ones become 0."""
        known = self._index.get
        return np.fromiter((known(token, 0) for token in tokens), dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The symbols of the numbers.

        Raises:
            ValueError: a number that no symbol has.
        """
        numbers = [int(i) for i in ids]
        if numbers and not (min(numbers) >= 0 and max(numbers) < len(self)):
            raise ValueError(
                f"the numbers of this vocabulary go from 0 to {len(self) - 1}; "
                f"{min(numbers)} to {max(numbers)} were given"
            )
        return [self._symbols[i] for i in numbers]

    def save(self, path: str | PathLike[str]) -> None:
        """Write JSON with a checksum; the file appears whole or not at all.

        Raises:
            RunError: the place cannot be written.
        """
        content = {
            "format_version": _FORMAT,
            "sha256": _digest(self._symbols),
            "symbols": self._symbols,
        }
        text = json.dumps(content, ensure_ascii=False, indent=0)
        with replacing(path) as file:
            file.write(text.encode("utf-8") + b"\n")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Vocabulary:
        """Read what :meth:`save` wrote.

        Raises:
            RunError: the file is missing, truncated, altered, or of a newer format.
        """
        try:
            content: Any = json.loads(Path(path).read_bytes())
            version, digest = content["format_version"], content["sha256"]
            symbols: Any = content["symbols"]
            newer = int(version) > _FORMAT
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunError(f"{path}: the vocabulary cannot be read ({reason})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: {_damaged('no vocabulary, or cut short')}") from error
        if newer:
            raise RunError(
                f"{path}: format {version} is newer than {_FORMAT}, the newest known here; "
                "update unrolled"
            )
        strings = isinstance(symbols, list) and all(isinstance(symbol, str) for symbol in symbols)
        if not strings or symbols[:1] != [UNKNOWN] or _digest(symbols) != digest:
            raise RunError(f"{path}: {_damaged('the symbols do not fit their checksum')}")
        return cls(symbols)


def _digest(symbols: Sequence[str]) -> str:
    """SHA-256 over the symbols as JSON, where lengths and order cannot be confused."""
    return hashlib.sha256(json.dumps(list(symbols)).encode("ascii")).hexdigest()


def _damaged(what: str) -> str:
    return f"{what}; restore the file from a copy or train again"
