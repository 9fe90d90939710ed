"""One writer per directory: an exclusive flock on a file, given back when its process ends, even by kill."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from unrolled.data.atomic import explained
from unrolled.errors import RunError


class Lock:
    """An exclusive lock on a file, held from construction to :meth:`release`.

    Args:
        path: The file; created where needed. It holds the number of the owner's process.

    Raises:
        RunError: another process holds it, or the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Lock(Path(folder) / ".lock").release()
    """

    def __init__(self, path: Path) -> None:
        with explained(path.parent):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with explained(path):
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            owner = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            self.release()
            raise RunError(
                f"{path.parent}: another process (pid {owner or 'unknown'}) is writing this run; "
                "wait for it or choose another --output"
            ) from None
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Gives the lock back."""
        os.close(self._descriptor)
