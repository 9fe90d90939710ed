"""Directories that are either the old ones or the new ones, as :mod:`unrolled.data.atomic` does files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from unrolled.data.atomic import TEMPORARY, explained, force, replacing

REPLACED = ".replaced-"


def write_file(path: Path, data: bytes) -> None:
    """Writes a file; a reader sees the old content or the new one, never a part.

    Raises:
        RunError: the disk is full, read-only or otherwise refuses.
    """
    with replacing(path) as file:
        file.write(data)


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
                force(temporary / name)
            force(temporary)
            if path.exists():
                os.rename(path, replaced)
            os.rename(temporary, path)
        except OSError:
            shutil.rmtree(temporary, ignore_errors=True)
            recover(path.parent)
            raise
        force(path.parent)
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


def clear(directory: Path, names: Iterable[str]) -> None:
    """Removes these entries of a directory."""
    for name in names:
        entry = directory / name
        with explained(entry):
            is_folder = entry.is_dir() and not entry.is_symlink()
            shutil.rmtree(entry) if is_folder else entry.unlink()
