"""Files that appear whole or not at all: written under a temporary name beside their place, flushed
to the disk, then renamed over it, which POSIX and Windows do in one indivisible step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import RunError


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file, open for writing and seeking, that takes the place of ``path`` at the end.

    If the block fails, ``path`` stays as it was and the temporary file is removed.

    Raises:
        RunError: the folder is missing or read-only, or the disk is full.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "a") as file:
    ...         _ = file.write(b"whole")
    ...     (Path(folder) / "a").read_bytes()
    b'whole'
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"{path}: cannot be written ({reason}); free or choose a place") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
