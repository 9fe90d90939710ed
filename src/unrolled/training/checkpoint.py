"""Checkpoints on disk: ``checkpoints/step-N/``, each whole, sealed by the sha-256 of its files.

A directory ``step-N`` appears by one rename, after all its files are on disk; so the one with the
largest N is always whole, and training resumes there. ``last`` and ``best`` are small text files
that name two of them for the reader. Older ones are removed only after the newer is in place.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled.data.atomic import explained
from unrolled.errors import RunError
from unrolled.training.atomic import recover, write_directory, write_file

FORMAT_VERSION = 1
MANIFEST = "manifest.json"

_NAME = re.compile(r"step-(\d+)")


class Checkpoints:
    """The checkpoints of one run; files are bytes under names, their meaning is the trainer's.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(Path(folder))
    ...     checkpoints.save(5, {"state.json": b"{}"}, keep=1, best=None)
    ...     checkpoints.save(10, {"state.json": b"{}"}, keep=1, best=None)
    ...     print(checkpoints.steps(), checkpoints.read(10))
    [10] {'state.json': b'{}'}
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[int]:
        """The steps of which there is a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        names = (_NAME.fullmatch(entry.name) for entry in self.folder.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def path(self, step: int) -> Path:
        """The directory of a step's checkpoint."""
        return self.folder / f"step-{step}"

    def recover(self) -> None:
        """Clears away what a killed writer left; call it under the run's lock, before resuming."""
        recover(self.folder)

    def save(self, step: int, files: Mapping[str, bytes], *, keep: int, best: int | None) -> None:
        """Writes a checkpoint, then removes all but the ``keep`` newest and the ``best``.

        Raises:
            RunError: the disk is full or refuses; the checkpoints before are still there.
        """
        seals = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in files.items()
        }
        manifest = {"format_version": FORMAT_VERSION, "step": step, "files": seals}
        sealed = {**files, MANIFEST: (json.dumps(manifest, indent=1) + "\n").encode()}
        write_directory(self.path(step), sealed)
        write_file(self.folder / "last", f"{self.path(step).name}\n".encode())
        if best is not None:
            write_file(self.folder / "best", f"{self.path(best).name}\n".encode())
        for old in self.steps()[:-keep]:
            if old != best:
                with explained(self.path(old)):
                    shutil.rmtree(self.path(old))

    def read(self, step: int) -> dict[str, bytes]:
        """The files of a checkpoint, after comparing each with its seal.

        Raises:
            RunError: missing, truncated, altered, or of a newer format.
        """
        place = self.path(step)
        manifest = self._manifest(step)
        files = {}
        for name, seal in manifest["files"].items():
            try:
                data = (place / name).read_bytes()
            except OSError as error:
                raise self._damaged(step, f"{name} cannot be read ({error.strerror})") from None
            if len(data) != seal["bytes"]:
                reason = f"{name} has {len(data)} bytes instead of {seal['bytes']}"
                raise self._damaged(step, reason)
            if hashlib.sha256(data).hexdigest() != seal["sha256"]:
                raise self._damaged(step, f"{name} was altered")
            files[name] = data
        return files

    def _manifest(self, step: int) -> dict[str, Any]:
        try:
            manifest = json.loads((self.path(step) / MANIFEST).read_bytes())
            version, files = manifest["format_version"], manifest["files"]
            sealed = all({"sha256", "bytes"} <= seal.keys() for seal in files.values())
        except OSError as error:
            reason = f"{MANIFEST} cannot be read ({error.strerror})"
            raise self._damaged(step, reason) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._damaged(step, f"{MANIFEST} was altered") from None
        check_version(version, self.path(step))
        if not sealed:
            raise self._damaged(step, f"{MANIFEST} was altered")
        return dict(manifest)

    def _damaged(self, step: int, reason: str) -> RunError:
        others = [other for other in self.steps() if other < step]
        mend = "start again with --overwrite"
        if others:
            mend = f"remove {self.path(step)} to continue from step {others[-1]}, or {mend}"
        return RunError(f"{self.path(step)}: damaged checkpoint: {reason}; {mend}")


def check_version(version: object, path: Path) -> None:
    """Refuses what a later version of this program wrote.

    Raises:
        RunError: the format is newer than this program's, or no version at all.
    """
    if not isinstance(version, int) or isinstance(version, bool):
        raise RunError(f"{path}: format_version {version!r}: expected a whole number")
    if version > FORMAT_VERSION:
        raise RunError(
            f"{path}: written in format {version} by a newer unrolled, this one reads up to "
            f"{FORMAT_VERSION}; update unrolled"
        )
