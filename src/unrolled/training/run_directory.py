"""The run directory: everything one training leaves behind, written so that no reader sees a part.

``config.toml``, ``model.safetensors``, ``model.json``, ``vocabulary.json`` and its like,
``metrics.jsonl``, ``evaluation.json``, ``README.md``, ``train.log`` and ``checkpoints/``; hidden
beside them ``.unrolled`` (the mark of a run, locked by the one process that writes) and ``.finished``.
No pickles. This file imports torch only when tensors are read or written.

A run that is begun anew is first moved aside, and comes back if the new one fails, or its process dies,
before it has a checkpoint or a model. A finished run that goes on is as it was if that fails before its next
checkpoint. Nothing that is not a run's is ever removed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from unrolled.data.atomic import TEMPORARY, explained
from unrolled.errors import RunError
from unrolled.training.atomic import clear, recover, write_file
from unrolled.training.checkpoint import FORMAT_VERSION, Checkpoints, check_version
from unrolled.training.lock import Lock
from unrolled.training.metrics_file import MetricsFile

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

_LOCK, _FINISHED, _ASIDE = ".unrolled", ".finished", ".aside"
_OWN = frozenset(
    (
        *("config.toml", "model.safetensors", "model.json", "evaluation.json", "README.md"),
        *("vocabulary.json", "source.json", "target.json"),
        *("characters.json", "scaler.json", "labels.json"),
        *("valid.tokens", "test.tokens", "valid.jsonl", "test.jsonl", "vectors.txt"),
        *("metrics.jsonl", "train.log", "tensorboard", "checkpoints", "cache", "members"),
        _FINISHED,
    )
)


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
        self._settled = True
        self._before: dict[str, bytes] = {}  # what a finished run that goes on was
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
        if _FINISHED in names:
            return "finished"
        if names and _LOCK not in names:
            raise RunError(
                f"{self.path}: not empty and no run of unrolled; choose another --output"
            )
        if _ASIDE in names and self._lock is None:
            return "finished" if (self.path / _ASIDE / _FINISHED).exists() else "resumable"
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
        self._lock = Lock(self.path / _LOCK)
        try:
            self._refuse(overwrite, longer)  # again: another process may have finished it meanwhile
            self._restore()
            recover(self.path)
            self.checkpoints.recover()
            self._refuse(overwrite, longer)
            if longer and self.status == "finished":
                files = self.read_description().get("files", {})
                names = ("config.toml", "metrics.jsonl", *files, _FINISHED)
                there = [name for name in names if (self.path / name).exists()]
                self._before = {name: self._read(name) for name in there}
                (self.path / _FINISHED).unlink()
            if overwrite or self.status == "new":
                self._begin()
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
        if self.writer and self._lock is None and (self.path / _ASIDE).exists():
            self._lock = Lock(self.path / _LOCK)
            try:
                self._restore()
            finally:
                self.close()

    def settle(self) -> None:
        """This run has something to lose: what was put aside for it is removed."""
        self._before = {}
        if self._lock is None or self._settled:
            return
        self._settled = True
        aside = self.path / _ASIDE
        if aside.exists():
            with explained(aside):
                aside.rename(self.path / (TEMPORARY + "aside"))
            recover(self.path)

    def _begin(self) -> None:
        """Makes room for a new run: what a finished or interrupted one left is put aside."""
        names = {entry.name for entry in self.path.iterdir()} - {_LOCK}
        if strangers := names - _OWN:
            raise RunError(
                f"{self.path}: holds {min(strangers)}, which no run wrote; move it away or choose "
                "another --output"
            )
        self._settled = False
        worthless = not names & {"model.json", "checkpoints", _FINISHED}
        with explained(self.path):
            if names and worthless:
                clear(self.path, names)
            elif names:
                (self.path / _ASIDE).mkdir()
                for name in names:
                    (self.path / name).rename(self.path / _ASIDE / name)

    def _restore(self) -> None:
        """Puts back what was put aside for a run that came to nothing."""
        aside = self.path / _ASIDE
        if not aside.exists():
            return
        with explained(self.path):
            clear(self.path, {entry.name for entry in self.path.iterdir()} & _OWN)
            for entry in list(aside.iterdir()):
                entry.rename(self.path / entry.name)
            aside.rmdir()

    def _undo(self) -> None:
        """As if this run had not been tried."""
        with explained(self.path):
            recover(self.path)
            clear(self.path, {entry.name for entry in self.path.iterdir()} & _OWN)
            self._restore()
            if {entry.name for entry in self.path.iterdir()} == {_LOCK}:
                (self.path / _LOCK).unlink()
                self.path.rmdir()

    def _put_back(self) -> None:
        """As if the finished run had not been told to go on."""
        self._metrics.close()
        with explained(self.path):
            clear(self.path, {"cache"} & {entry.name for entry in self.path.iterdir()})
            for name, data in self._before.items():
                self._write(name, data)

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
        elif not self._settled and self._lock is not None:
            self._metrics.close()
            self._undo()
        elif self._before:
            self._put_back()
        self.close()

    def finish(self) -> None:
        """Marks the run as finished: it is not trained again without ``overwrite``."""
        self.settle()
        self.write_json(_FINISHED, {"format_version": FORMAT_VERSION})

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
                    f"began it (`unrolled train … --output {self.path}`)"
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
            self._refuse_newer(_FINISHED, overwrite)
            raise RunError(
                f"{self.path}: holds a finished run; look at it with `unrolled evaluate "
                f"{self.path}`, or train it again with --overwrite"
            )
        for name in ("model.json", _FINISHED):
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
