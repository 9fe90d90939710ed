"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from unrolled.data.atomic import replacing
from unrolled.errors import RunError


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "disk full")])
def test_a_failure_leaves_the_old_file_alone(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    expected = RunError if isinstance(failure, OSError) else KeyboardInterrupt

    def rewrite() -> None:
        with replacing(path) as file:
            file.write(b"new")
            raise failure

    with pytest.raises(expected):
        rewrite()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    with replacing(tmp_path / "a") as file:
        file.write(b"new")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"new"
    assert (tmp_path / "a").stat().st_mode == usual.stat().st_mode


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent" / "a"):
        with pytest.raises(RunError, match="cannot be written") as caught, replacing(place):
            pass
        assert str(place) in str(caught.value)
    assert list(tmp_path.iterdir()) == []
