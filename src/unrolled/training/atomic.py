"""Files that are either the old ones or the new ones, whatever happens in between.

Everything is written under a temporary name, forced to disk (fsync) and renamed; the directory's
entry is forced to disk as well. An error of the file system becomes one line that says what to do.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unrolled.errors import RunError

TEMPORARY = ".writing-"
REPLACED = ".replaced-"

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def explained(path: Path) -> Iterator[None]:
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


def write_file(path: Path, data: bytes) -> None:
    """Writes a file; a reader sees the old content or the new one, never a part.

    Raises:
        RunError: the disk is full, read-only or otherwise refuses.
    """
    temporary = path.with_name(TEMPORARY + path.name)
    with explained(path):
        try:
            temporary.write_bytes(data)
            _sync(temporary)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)


def write_directory(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes a directory of files that appears under its name only when it is whole.

    A directory already there is moved aside before and removed afterwards; :func:`recover` puts it
    back if the process died in between.

    Raises:
        RunError: the disk is full, read-only or otherwise refuses.
    """
    temporary = path.with_name(TEMPORARY + path.name)
    replaced = path.with_name(REPLACED + path.name)
    with explained(path):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for name, data in files.items():
                (temporary / name).write_bytes(data)
            for name in files:  # all at once is several times quicker than one after the other
                _sync(temporary / name)
            _sync(temporary)
            if path.exists():
                os.rename(path, replaced)
            os.rename(temporary, path)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            recover(path.parent)
            raise
        _sync(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def recover(directory: Path) -> None:
    """Clears away what a killed writer left in a directory, and puts back what it had moved aside."""
    if not directory.is_dir():
        return
    with explained(directory):
        for entry in list(directory.iterdir()):
            if entry.name.startswith(REPLACED):
                whole = entry.with_name(entry.name.removeprefix(REPLACED))
                if whole.exists():
                    shutil.rmtree(entry)
                else:
                    os.rename(entry, whole)
            elif entry.name.startswith(TEMPORARY):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def clear(directory: Path, *, keep: str) -> None:
    """Removes everything in a directory but the entry ``keep``."""
    with explained(directory):
        for entry in list(directory.iterdir()):
            if entry.name != keep:
                is_folder = entry.is_dir() and not entry.is_symlink()
                shutil.rmtree(entry) if is_folder else entry.unlink()


def _sync(path: Path) -> None:
    """Forces a file's content or a directory's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
