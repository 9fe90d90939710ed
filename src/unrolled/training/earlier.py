"""What a run directory held before, until the training that is under way has something to lose.

A run that is begun anew is first moved aside, and comes back if the new one fails, or its process dies,
before it has a checkpoint or a model. A finished run that goes on is as it was if that fails before its next
checkpoint. Nothing that is not a run's is ever removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from unrolled.data.atomic import TEMPORARY, explained
from unrolled.errors import RunError
from unrolled.training.atomic import clear, recover, write_file

LOCK, FINISHED, ASIDE = ".unrolled", ".finished", ".aside"
_OWN = frozenset(
    (
        *("config.toml", "model.safetensors", "model.json", "evaluation.json", "README.md"),
        *("vocabulary.json", "source.json", "target.json"),
        *("characters.json", "scaler.json", "labels.json"),
        *("valid.tokens", "test.tokens", "valid.jsonl", "test.jsonl", "vectors.txt"),
        *("metrics.jsonl", "train.log", "tensorboard", "checkpoints", "cache", "members"),
        FINISHED,
    )
)


class Earlier:
    """The earlier run of a directory that the caller has locked.

    Args:
        path: the run directory.

    Attributes:
        settled: nothing is to come back.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.settled = path, True
        self._before: dict[str, bytes] = {}  # of a finished run that goes on

    def keep(self, names: Iterable[str]) -> None:
        """The finished run goes on: these of its files may change before it has gone anywhere."""
        there = [name for name in names if (self.path / name).exists()]
        with explained(self.path):
            self._before = {name: (self.path / name).read_bytes() for name in there}
        self.settled = False

    def settle(self) -> None:
        """Removes what was put aside."""
        if self.settled:
            return
        self.settled, self._before = True, {}
        aside = self.path / ASIDE
        if aside.exists():
            with explained(aside):
                aside.rename(self.path / (TEMPORARY + "aside"))
            recover(self.path)

    def put_aside(self) -> None:
        """Makes room for a new run: what a finished or interrupted one left is put aside."""
        names = {entry.name for entry in self.path.iterdir()} - {LOCK}
        if strangers := names - _OWN:
            raise RunError(
                f"{self.path}: holds {min(strangers)}, which no run wrote; move it away or choose "
                "another --output"
            )
        self.settled = False
        worthless = not names & {"model.json", "checkpoints", FINISHED}
        with explained(self.path):
            if names and worthless:
                clear(self.path, names)
            elif names:
                (self.path / ASIDE).mkdir()
                for name in names:
                    (self.path / name).rename(self.path / ASIDE / name)

    def restore(self) -> None:
        """Puts back what was put aside for a run that came to nothing."""
        aside = self.path / ASIDE
        if not aside.exists():
            return
        with explained(self.path):
            clear(self.path, {entry.name for entry in self.path.iterdir()} & _OWN)
            for entry in list(aside.iterdir()):
                entry.rename(self.path / entry.name)
            aside.rmdir()

    def undo(self) -> None:
        """As if this training had not been tried."""
        with explained(self.path):
            if self._before:
                clear(self.path, {"cache"} & {entry.name for entry in self.path.iterdir()})
                for name, data in self._before.items():
                    write_file(self.path / name, data)
                return
            recover(self.path)
            clear(self.path, {entry.name for entry in self.path.iterdir()} & _OWN)
            self.restore()
            if {entry.name for entry in self.path.iterdir()} == {LOCK}:
                (self.path / LOCK).unlink()
                self.path.rmdir()
