"""Files that are either the old ones or the new ones, whatever happens in between: written under a
temporary name beside their place, forced to disk (fsync) and renamed over it. An error of the file
system becomes one line that says what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import RunError

TEMPORARY = ".writing-"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def explained(path: str | PathLike[str]) -> Iterator[None]:
    """Turns an OSError in the block into a RunError about ``path``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        mend = "choose another --output"
        if error.errno in _FULL:
            mend = "free some space and run the same command again"
        elif error.errno in _CLOSED:
            mend = "make it writable or choose another --output"
        raise RunError(f"{path}: cannot be written ({reason}); {mend}") from None


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
    temporary = target.with_name(TEMPORARY + target.name)
    with explained(target):
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            with suppress(OSError):
                temporary.unlink()
        force(target.parent)


def force(path: Path) -> None:
    """Forces a file's content or a directory's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
