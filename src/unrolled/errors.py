"""The error tree: every failure a user can mend is an :class:`UnrolledError` whose text is one line.

The command line prints that line and exits with 1; anything else is a defect of the program.
"""

from __future__ import annotations

from os import PathLike


class UnrolledError(ValueError):
    """Something the user can mend. The message says what was given, what was expected, and the mend."""


class DataError(UnrolledError):
    """Bad input data: names the file and, where there is one, the line (counted from 1)."""

    def __init__(
        self, message: str, *, path: str | PathLike[str] | None = None, line: int | None = None
    ) -> None:
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(where + message)
        self.path = path
        self.line = line


class ConfigError(UnrolledError):
    """An option or a TOML file that cannot be used."""


class RunError(UnrolledError):
    """A run directory or checkpoint that is missing, altered, locked, or of another format."""


class TrainingError(UnrolledError):
    """Training cannot go on: a loss or gradient is not finite."""
