"""``metrics.jsonl``: one JSON object per line, in order, cut back when training resumes earlier."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from unrolled.data.atomic import explained
from unrolled.errors import RunError


class MetricsFile:
    """A file of records that grows at its end; opened at the first record.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     metrics = MetricsFile(Path(folder) / "metrics.jsonl")
    ...     metrics.append({"step": 1}); size = metrics.size()
    ...     metrics.append({"step": 2}); metrics.close()
    ...     metrics.cut(size)
    ...     print(metrics.path.read_text(), end="")
    {"step": 1}
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds a record; values that JSON lacks (NaN) are an error."""
        with explained(self.path):
            if self._file is None:
                self._file = open(self.path, "ab")  # noqa: SIM115 (closed by close)
            self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
            self._file.flush()

    def size(self) -> int:
        """Bytes so far, after forcing them to disk."""
        if self._file is not None:
            with explained(self.path):
                os.fsync(self._file.fileno())
        return self.path.stat().st_size if self.path.exists() else 0

    def cut(self, size: int) -> None:
        """Keeps the first ``size`` bytes.

        Raises:
            RunError: the file is shorter than that.
        """
        present = self.path.stat().st_size if self.path.exists() else 0
        if present < size:
            raise RunError(
                f"{self.path}: has {present} bytes, the checkpoint knows of {size}: truncated; "
                "start again with --overwrite"
            )
        if present > size:
            with explained(self.path):
                os.truncate(self.path, size)

    def close(self) -> None:
        """Closes the file; a later record opens it again."""
        if self._file is not None:
            file, self._file = self._file, None
            with explained(self.path):
                file.close()
