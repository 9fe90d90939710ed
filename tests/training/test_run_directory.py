"""The run directory: whole files, one writer, nothing of others written over."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from unrolled.errors import RunError
from unrolled.training.atomic import recover, write_directory, write_file
from unrolled.training.run_directory import RunDirectory
from unrolled.training.snapshot import load_tensors


def test_status_over_a_life(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "a" / "run")
    assert run.status == "new"
    with run.open():
        assert run.status == "new"
        run.write_text("config.toml", "")
        assert run.status == "new"  # nothing yet that would be lost
        run.write_model({}, {"kind": "toy"})
        assert run.status == "resumable"
    with RunDirectory(run.path).open() as again:
        again.finish()
    assert run.status == "finished"
    with pytest.raises(RunError, match=r"finished run.*--overwrite"):
        RunDirectory(run.path).open()
    with RunDirectory(run.path).open(overwrite=True) as fresh:
        assert fresh.status == "new"
    assert {entry.name for entry in run.path.iterdir()} == {".unrolled"}


def finished(path: Path) -> RunDirectory:
    with RunDirectory(path).open() as run:
        run.write_text("config.toml", "old")
        run.write_model({}, {"kind": "old"})
        run.finish()
    return run


def test_a_new_run_that_fails_gives_the_old_one_back(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    before = sorted(entry.name for entry in run.path.iterdir())
    new = RunDirectory(run.path).open(overwrite=True)
    new.write_text("config.toml", "new")
    new.__exit__(ZeroDivisionError, None, None)
    assert run.status == "finished"
    assert sorted(entry.name for entry in run.path.iterdir()) == before
    assert (run.path / "config.toml").read_text() == "old"
    with RunDirectory(run.path).open(overwrite=True) as new:
        new.write_model({}, {"kind": "new"})
    assert run.read_description()["kind"] == "new"
    assert run.status == "resumable"


def test_a_new_run_that_is_killed_gives_the_old_one_back(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    killed = RunDirectory(run.path).open(overwrite=True)
    killed.write_text("config.toml", "new")
    killed.close()  # as the end of its process would, without leaving the block
    assert run.status == "finished"
    RunDirectory(run.path).recover()
    assert (run.path / "config.toml").read_text() == "old"
    assert not (run.path / ".aside").exists()


def test_a_first_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run").open()
    run.write_text("config.toml", "")
    run.__exit__(ZeroDivisionError, None, None)
    assert not (tmp_path / "run").exists()


def test_nothing_but_a_run_is_ever_removed(tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    (run.path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"holds thesis\.tex, which no run wrote"):
        RunDirectory(run.path).open(overwrite=True)
    assert run.status == "finished"
    assert (run.path / "thesis.tex").exists()
    folder = tmp_path / "project"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.toml").write_text("theirs")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="no run of unrolled"):
            RunDirectory(folder).open(overwrite=overwrite)


def test_what_is_no_run_is_refused_even_with_overwrite(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="no run of unrolled"):
            RunDirectory(tmp_path).open(overwrite=overwrite)
        with pytest.raises(RunError, match="is a file"):
            RunDirectory(tmp_path / "thesis.tex").open(overwrite=overwrite)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_writers(tmp_path: Path) -> None:
    code = (
        "import sys; from unrolled.training.run_directory import RunDirectory\n"
        "try: RunDirectory(sys.argv[1]).open(overwrite=True)\n"
        "except ValueError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with RunDirectory(tmp_path / "run").open() as run:
        run.write_text("config.toml", "mine")
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert other.returncode == 1
        assert f"another process (pid {os.getpid()}) is writing this run" in other.stderr
        assert (run.path / "config.toml").read_text() == "mine"
        with pytest.raises(RunError, match="another process"):
            RunDirectory(run.path).open()
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_read_only_directory() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        closed = Path(folder) / "closed"
        closed.mkdir(mode=0o555)
        assert_refused(closed)
        assert_refused(closed / "run")
        (closed / "run").mkdir(mode=0o700)  # another user's
        assert_refused(closed / "run" / "deeper")


def assert_refused(place: Path) -> None:
    code = (
        "import os, sys\n"
        "from unrolled.training.run_directory import RunDirectory\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: RunDirectory(sys.argv[1]).open()\n"
        "except ValueError as error: sys.exit(str(error))"
    )
    command = [sys.executable, "-c", code, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be written (Permission denied); make it writable or" in done.stderr
    assert done.stderr.count("\n") == 1


def test_full_disk_keeps_the_old(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk."""
    code = (
        "import resource, signal, sys\n"
        "from unrolled.training.run_directory import RunDirectory\n"
        "run = RunDirectory(sys.argv[1]).open()\n"
        "run.write_text('config.toml', 'old')\n"
        "run.checkpoints.save(1, {'a': b'old'}, keep=1, best=None)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "for write in (lambda: run.write_text('config.toml', 'n' * 2000),\n"
        "              lambda: run.checkpoints.save(1, {'a': b'n' * 2000}, keep=1, best=None),\n"
        "              lambda: run.checkpoints.save(2, {'a': b'n' * 2000}, keep=1, best=None),\n"
        "              lambda: run.append_metrics({'a': 'n' * 2000})):\n"
        "    try: write()\n"
        "    except ValueError as error: assert 'free some space' in str(error), error\n"
        "    else: sys.exit('no error')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = RunDirectory(tmp_path / "run")
    assert (run.path / "config.toml").read_text() == "old"
    assert run.checkpoints.steps() == [1]
    assert run.checkpoints.read(1) == {"a": b"old"}
    assert not list(run.path.rglob(".writing-*"))


def test_model_round_trip_and_damage(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3))
    model[1].weight = model[0].weight
    with RunDirectory(tmp_path / "run").open() as run:
        run.write_model(model, {"kind": "test", "size": 3})
    description, tensors = run.read_model()
    assert description["kind"] == "test"
    assert description["format_version"] == 1
    other = nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 3))
    other[1].weight = other[0].weight
    load_tensors(other, tensors, run.path)
    assert torch.equal(other[1].weight, model[0].weight)
    with pytest.raises(RunError, match="another model"):
        load_tensors(nn.Linear(2, 3), tensors, run.path)
    with pytest.raises(RunError, match="has shape"):
        load_tensors(
            nn.Linear(9, 9), {k[2:]: t for k, t in tensors.items() if k[0] == "0"}, run.path
        )

    place = run.path / "model.safetensors"
    data = place.read_bytes()
    for damaged in (data[:-1], data[:-1] + bytes([data[-1] ^ 1])):
        place.write_bytes(damaged)
        with pytest.raises(RunError, match="truncated or altered"):
            run.read_model()
    (run.path / "model.json").write_text('{"format_version": 2}')
    with pytest.raises(RunError, match="newer unrolled"):
        run.read_model()
    with pytest.raises(RunError, match="newer unrolled"):
        RunDirectory(run.path).open()
    for text in ("{", "[]", "{}"):
        (run.path / "model.json").write_text(text)
        with pytest.raises(RunError, match=r"model\.json"):
            run.read_model()
    place.unlink()
    with pytest.raises(RunError, match=r"not finished|no such file"):
        run.read_tensors("model.safetensors")


def test_arrays_as_model(tmp_path: Path) -> None:
    arrays = {"keys": np.arange(3, dtype=np.uint64), "p": np.array([0.5, 0.25])[::-1]}
    with RunDirectory(tmp_path / "run").open() as run:
        run.write_model(arrays, {"kind": "markov"})
        run.write_tensors("empty.safetensors", {})
    _, tensors = run.read_model()
    for name, array in arrays.items():
        np.testing.assert_array_equal(tensors[name].numpy(), array)
    assert run.read_tensors("empty.safetensors") == {}


def test_recovery_after_a_killed_writer(tmp_path: Path) -> None:
    write_directory(tmp_path / "step-1", {"a": b"1"})
    (tmp_path / "step-1").rename(tmp_path / ".replaced-step-1")  # killed between two renames
    (tmp_path / ".writing-step-1").mkdir()
    (tmp_path / ".writing-last").write_text("")
    recover(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-1"]
    (tmp_path / ".replaced-step-1").mkdir()  # killed after both
    recover(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-1"]
    assert (tmp_path / "step-1" / "a").read_bytes() == b"1"
    recover(tmp_path / "absent")
    write_file(tmp_path / "last", b"x")
    assert (tmp_path / "last").read_bytes() == b"x"


def test_other_ranks_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with RunDirectory(tmp_path / "run").open() as run:
        run.write_text("a", "b")
        run.append_metrics({})
        run.cut_metrics(0)
        run.finish()
    assert not run.path.exists()
