"""Named arrays of a baseline with a checksum, so that what comes back from a file is what was written.

Text is kept as its UTF-8 bytes and where each string ends: nothing is pickled.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import RunError

Arrays = dict[str, NDArray[Any]]


def sealed(kind: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """The arrays of a model of some kind, and their checksum under the name of the kind.

    >>> list(sealed("dictionary", {"words": np.arange(2)}))
    ['dictionary', 'words']
    """
    return {kind: _checksum(arrays), **arrays}


def opened(kind: str, arrays: Mapping[str, Any], names: Iterable[str]) -> Arrays:
    """What :func:`sealed` was given.

    Raises:
        RunError: if arrays are missing, truncated, altered or of another kind of model.
    """
    strange = set(arrays) ^ {kind, *names}
    if strange:
        raise foreign(kind, f"array {min(strange)!r} is missing or not expected")
    found = {name: np.asarray(arrays[name]) for name in arrays if name != kind}
    if not np.array_equal(_checksum(found), np.asarray(arrays[kind])):
        raise foreign(kind, "the checksum differs")
    return found


def foreign(kind: str, what: str) -> RunError:
    """The error of arrays that are no model."""
    return RunError(f"the saved {kind} is damaged or foreign: {what}; train the model again")


def of_text(name: str, strings: Sequence[str]) -> Arrays:
    """Strings as two arrays, ``name`` and ``name.ends``.

    >>> [array.tolist() for array in of_text("words", ["ab", "", "c"]).values()]
    [[97, 98, 99], [2, 2, 3]]
    """
    coded = [string.encode("utf-8", "surrogatepass") for string in strings]
    return {
        name: np.frombuffer(b"".join(coded), np.uint8).copy(),
        f"{name}.ends": np.cumsum([len(code) for code in coded], dtype=np.int64),
    }


def text(arrays: Mapping[str, NDArray[Any]], name: str) -> tuple[str, ...]:
    """The strings that :func:`of_text` was given."""
    whole, ends = arrays[name].tobytes(), arrays[f"{name}.ends"].tolist()
    starts = [0, *ends[:-1]]
    parts = (whole[i:j] for i, j in zip(starts, ends, strict=len(ends) > 0))
    return tuple(part.decode("utf-8", "surrogatepass") for part in parts)


def within(prefix: str, arrays: Mapping[str, Any]) -> Arrays:
    """The arrays whose names begin with a prefix, without it: those of a model inside another.

    >>> list(within("lm.", {"lm.keys": 1, "words": 2}))
    ['keys']
    """
    size = len(prefix)
    return {name[size:]: array for name, array in arrays.items() if name.startswith(prefix)}


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    checksum = 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        checksum = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(array.tobytes(), checksum)
    return np.array([checksum], np.int64)
