"""The run directory: everything one training leaves behind, written so that no reader sees a part.

``config.toml``, ``model.safetensors``, ``model.json``, ``vocabulary.json`` and its like,
``metrics.jsonl``, ``evaluation.json``, ``README.md``, ``train.log`` and ``checkpoints/``; hidden
beside them ``.unrolled`` (the mark of a run, locked by the one process that writes) and ``.finished``.
No pickles. This file imports torch only when tensors are read or written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from unrolled.data.atomic import explained
from unrolled.errors import RunError
from unrolled.training.atomic import recover, write_file
from unrolled.training.checkpoint import FORMAT_VERSION, Checkpoints, check_version
from unrolled.training.earlier import ASIDE, FINISHED, LOCK, Earlier
from unrolled.training.lock import Lock
from unrolled.training.metrics_file import MetricsFile

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn


class RunDirectory:
    """One run on disk. Making the object touches nothing; :meth:`open` takes it for writing.

    Under torchrun only rank 0 writes: in the other processes :meth:`open` and all that writes do
    nothing, so that every rank may run the same lines.

    Args:
        path: The directory; need not exist.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, RunDirectory(folder + "/run").open() as run:
    ...     run.write_text("config.toml", "seed = 0")
    ...     run.finish()
    ...     print(run.status)
    finished
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.writer = int(os.environ.get("RANK", "0")) == 0
        self.checkpoints = Checkpoints(self.path / "checkpoints")
        self._lock: Lock | None = None
        self._earlier = Earlier(self.path)
        self._metrics = MetricsFile(self.path / "metrics.jsonl")

    @property
    def status(self) -> Literal["new", "resumable", "finished"]:
        """Whether there is no run yet, one to go on with (it has a checkpoint or a model), or a finished one.

        Raises:
            RunError: the path is a file, or a directory of other things.
        """
        with explained(self.path):
            if not self.path.exists():
                return "new"
            if not self.path.is_dir():
                raise RunError(f"{self.path}: is a file; choose another --output")
            names = {entry.name for entry in self.path.iterdir()}
        if FINISHED in names:
            return "finished"
        if names and LOCK not in names:
            raise RunError(
                f"{self.path}: not empty and no run of unrolled; choose another --output"
            )
        if ASIDE in names and self._lock is None:
            return "finished" if (self.path / ASIDE / FINISHED).exists() else "resumable"
        return "resumable" if "model.json" in names or self.checkpoints.steps() else "new"

    def open(self, *, overwrite: bool = False, longer: bool = False) -> RunDirectory:
        """Creates the directory where needed and takes it for writing until :meth:`close`.

        Args:
            longer: A finished run is to go on; it counts as interrupted until it is finished again.
            overwrite: Put an earlier run, finished or not, aside; it is removed as soon as this one has
                a checkpoint or a model.

        Raises:
            RunError: another process writes it, it holds a finished run and ``overwrite`` is False,
                it is no run, was written by a newer version, or cannot be written.
        """
        if not self.writer:
            return self
        self._refuse(overwrite, longer)
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(self.path / LOCK)
        try:
            self._refuse(overwrite, longer)  # again: another process may have finished it meanwhile
            self._earlier.restore()
            recover(self.path)
            self.checkpoints.recover()
            self._refuse(overwrite, longer)
            if longer and self.status == "finished":
                files = self.read_description().get("files", {})
                names = ("config.toml", "metrics.jsonl", *files, FINISHED)
                self._earlier.keep(names)
                (self.path / FINISHED).unlink()
            if overwrite or self.status == "new":
                self._earlier.put_aside()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Gives the directory back; done by leaving the ``with`` block, too."""
        self._metrics.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def recover(self) -> None:
        """Puts back the run that was put aside for one whose process died before it had anything.

        Raises:
            RunError: another process writes the run.
        """
        if self.writer and self._lock is None and (self.path / ASIDE).exists():
            self._lock = Lock(self.path / LOCK)
            try:
                self._earlier.restore()
            finally:
                self.close()

    def settle(self) -> None:
        """This run has something to lose: what was put aside for it is removed."""
        if self._lock is not None:
            self._earlier.settle()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.settle()
        elif self._lock is not None and not self._earlier.settled:
            self._metrics.close()
            self._earlier.undo()
        self.close()

    def finish(self) -> None:
        """Marks the run as finished: it is not trained again without ``overwrite``."""
        self.settle()
        self.write_json(FINISHED, {"format_version": FORMAT_VERSION})

    # ------------------------------------------------------------------------------ files

    def write_text(self, name: str, text: str) -> None:
        """Writes a UTF-8 file atomically."""
        self._write(name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file atomically."""
        self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> Any:
        """Reads a JSON file.

        Raises:
            RunError: missing, truncated or altered.
        """
        text = self._read(name)
        try:
            return json.loads(text)
        except ValueError:
            raise RunError(f"{self.path / name}: damaged: no JSON; train the model again") from None

    def write_tensors(
        self, name: str, tensors: Mapping[str, Tensor] | Mapping[str, np.ndarray]
    ) -> None:
        """Writes torch tensors or NumPy arrays as safetensors, atomically."""
        from unrolled.training.snapshot import pack

        self._write(name, pack(tensors))

    def read_tensors(self, name: str) -> dict[str, Tensor]:
        """Reads safetensors onto the CPU (NumPy arrays are had by ``.numpy()``).

        Raises:
            RunError: missing, truncated or altered.
        """
        from unrolled.training.snapshot import unpack

        return unpack(self._read(name), self.path / name)

    def write_model(
        self,
        model: nn.Module | Mapping[str, Tensor] | Mapping[str, np.ndarray],
        description: Mapping[str, Any],
    ) -> None:
        """Writes ``model.safetensors`` (tied tensors once) and ``model.json``.

        Args:
            model: A module, or tensors or arrays by name.
            description: What is needed to build the model again, as JSON values; at least ``kind``.
        """
        from unrolled.training.snapshot import pack, unique_tensors

        tensors = model if isinstance(model, Mapping) else unique_tensors(model)
        data = pack(tensors)
        self._write("model.safetensors", data)
        sealed = {
            **description,
            "format_version": FORMAT_VERSION,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        self.write_json("model.json", {**sealed, "seal": _seal(sealed)})
        self.settle()

    def read_model(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What :meth:`write_model` wrote: the description and the tensors by name.

        Raises:
            RunError: missing, truncated, altered, or of a newer format.
        """
        from unrolled.training.snapshot import unpack

        description = self.read_description()
        data = self._read("model.safetensors")
        if hashlib.sha256(data).hexdigest() != description.get("sha256"):
            raise RunError(
                f"{self.path / 'model.safetensors'}: truncated or altered; train the model again"
            )
        return description, unpack(data, self.path / "model.safetensors")

    def check_files(self) -> None:
        """That the files beside a model, whose digests ``model.json`` has as ``files``, are its own.

        Raises:
            RunError: one is missing or another; of a run that goes on, the data have changed.
        """
        if not (self.path / "model.json").exists():
            return
        for name, expected in self.read_description().get("files", {}).items():
            if hashlib.sha256(self._read(name)).hexdigest() != expected:
                raise RunError(
                    f"{self.path / name}: not the one that this model was trained with; give it the data "
                    "that it had, or train it anew with --overwrite"
                )

    # ---------------------------------------------------------------------------- metrics

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Adds one line to ``metrics.jsonl``."""
        if self.writer:
            self._metrics.append(record)

    def metrics_size(self) -> int:
        """Bytes of ``metrics.jsonl``, after forcing them to disk."""
        return self._metrics.size()

    def cut_metrics(self, size: int) -> None:
        """Cuts ``metrics.jsonl`` back to its first ``size`` bytes: where a checkpoint was.

        Raises:
            RunError: the file is shorter than that.
        """
        if self.writer:
            self._metrics.cut(size)

    # ---------------------------------------------------------------------------- inside

    def _write(self, name: str, data: bytes) -> None:
        if self.writer:
            write_file(self.path / name, data)

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            if self.path.is_dir() and self.status == "resumable":
                raise RunError(
                    f"{self.path}: this run is not finished; continue it with the command that "
                    f"began it (`unrolled train … --output {self.path}`), or end it with the same command "
                    "and --finish"
                ) from None
            raise RunError(
                f"{self.path / name}: no such file; expected the directory of a trained run"
            ) from None
        except OSError as error:
            raise RunError(
                f"{self.path / name}: cannot be read ({error.strerror}); expected the directory of "
                "a trained run"
            ) from None

    def read_description(self) -> dict[str, Any]:
        """``model.json`` alone.

        Raises:
            RunError: missing, damaged, or of a newer format.
        """
        description = self.read_json("model.json")
        if not isinstance(description, dict):
            raise RunError(f"{self.path / 'model.json'}: damaged; train the model again")
        check_version(description.get("format_version"), self.path / "model.json")
        if description.pop("seal", None) != _seal(description):
            raise RunError(f"{self.path / 'model.json'}: altered; train the model again")
        return description

    def _refuse(self, overwrite: bool, longer: bool) -> None:
        if self.status == "finished" and not (overwrite or longer):
            self._refuse_newer(FINISHED, overwrite)
            raise RunError(
                f"{self.path}: holds a finished run; look at it with `unrolled evaluate "
                f"{self.path}`, or train it again with --overwrite"
            )
        for name in ("model.json", FINISHED):
            if (self.path / name).exists():
                self._refuse_newer(name, overwrite)

    def _refuse_newer(self, name: str, overwrite: bool) -> None:
        try:
            version = self.read_json(name)["format_version"]
        except (RunError, KeyError, TypeError):
            if overwrite:  # damaged, and to be replaced
                return
            raise RunError(f"{self.path / name}: damaged; begin anew with --overwrite") from None
        check_version(version, self.path / name)


def _seal(description: Mapping[str, Any]) -> str:
    """The sha-256 of a description, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
