"""Options of searches, and runs as one, on the command line: passed on, or refused in one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from unrolled import tasks
from unrolled.cli import _one_line
from unrolled.decoding.lattice_rescoring import RescoredPath
from unrolled.errors import DataError
from unrolled.metrics.evaluation import Evaluation
from unrolled.tasks.search import Search


class Searching:
    """Answers with how it was asked."""

    def __init__(self, run: Path) -> None:
        self.names = [Path(run).name]
        self.description = {"task": "translation"}

    def predict(
        self, lines: Iterable[str], *, search: Search | None = None, **options: Any
    ) -> Iterator[str]:
        return (f"{line} {'+'.join(self.names)} {search}" for line in lines)

    def evaluate(
        self, data: Path | None = None, *, split: str = "test", search: Search | None = None
    ) -> Evaluation:
        return Evaluation("recurrent", split, 9, {"nats": 1.5}, search=str(search or Search()))

    def score(self, pairs: Iterable[Any]) -> Iterator[float]:
        return (-float(len(self.names)) for _ in pairs)

    def ensemble(self, others: list[Any]) -> Any:
        self.names += [each.names[0] for each in others]
        return self

    def rescore(self, lattice: Any, options: Any, *, source: str) -> list[Any]:
        return [RescoredPath((source, *(arc.word or "" for arc in lattice.arcs)), (), 0, 0, 0, 0)]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tasks, "load", Searching)
    (tmp_path / "lines").write_text("a\tb\n")
    return tmp_path


def test_options_become_a_search(unrolled: Any, runs: Path) -> None:
    given = ["--beam-size", 7, "--length-penalty", 1, "--coverage-penalty", 0.25]
    given += ["--min-length", 2, "--max-length", 50, "--no-repeat-ngram", 3]
    said = "beam of 7, length penalty 1, coverage penalty 0.25, min-length 2, max-length 50, "
    ended = unrolled("predict", runs / "one", runs / "lines", *given)
    assert ended.out == f"a\tb one {said}no-repeat-ngram 3\n"
    given = ["--sample", "--temperature", 0.5, "--top-k", 4, "--top-p", 0.9, "--seed", 3]
    ended = unrolled("evaluate", runs / "one", *given)
    assert "search    sampled with temperature 0.5, top-k 4, top-p 0.9, seed 3\n" in ended.out
    plain = unrolled("predict", runs / "one", runs / "lines")
    assert plain.out == "a\tb one None\n"
    assert "search    beam of 5" in unrolled("evaluate", runs / "one").out
    assert '"search": "beam of 2' in unrolled("evaluate", "r", "--json", "--beam-size", 2).out


def test_runs_together(unrolled: Any, runs: Path) -> None:
    more = ["--with", runs / "two", runs / "three"]
    ended = unrolled("predict", runs / "one", runs / "lines", *more)
    assert ended.out == "a\tb one+two+three None\n"
    assert unrolled("score", runs / "one", runs / "lines", *more).out == "-3.0000\n"
    again = ["--with", runs / "two", "--with", runs / "three"]
    assert unrolled("score", runs / "one", runs / "lines", *again).out == "-3.0000\n"


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--length-penalty", "-1"], "--length-penalty -1.0: expected 0 or more"),
        (["--sample", "--top-p", "0"], "--top-p 0.0: expected above 0, at most 1"),
        (["--top-p", "0.5"], "--top-p is of samples; give --sample, too"),
        (["--sample", "--beam-size", "2"], "--beam-size is of a beam, and --sample draws"),
        (["--min-length", "5", "--max-length", "4"], "--min-length 5 is above --max-length 4"),
        (["--beam-size", "1.6"], '"1.6" is not a whole number'),
        (["--top-k", "2.5", "--sample"], '"2.5" is not a whole number'),
        (["--beam-sze", "2"], "Did you mean --beam-size?"),
        (["--no-sample"], "Unknown option: --no-sample"),
        (["--with"], "--with: expected one or more runs after it"),
    ],
)
def test_bad_options_are_refused(
    unrolled: Any, runs: Path, command: str, given: list[str], message: str
) -> None:
    ended = unrolled(command, runs, *given)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert message in ended.err


def test_a_model_that_does_not_search_says_so(unrolled: Any, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\n")
    for command in (["predict", tmp_path, tmp_path / "lines"], ["evaluate", tmp_path]):
        ended = unrolled(*command, "--beam-size", 3, "--min-length", 2)
        told = f"--beam-size, --min-length: no option of this command for the model {tmp_path}; leave it out"
        assert (ended.code, ended.out, ended.err) == (1, "", f"unrolled: error: {told}\n")
        ended = unrolled(*command, "--with", tmp_path)
        told = f"--with: {tmp_path} is not averaged with other runs; leave it out"
        assert (ended.code, ended.err) == (1, f"unrolled: error: {told}\n")
        ended = unrolled(*command, "--with", tmp_path / "none")
        assert ended.code == 1


def test_help_has_a_group_of_searches(unrolled: Any) -> None:
    for command in ("predict", "evaluate"):
        out = unrolled(command, "--help").out
        before, search = out.split("╭─ Search ")
        assert "--with" in before
        assert "--temperature" in search
        assert "--no-sample" not in out


def test_a_file_is_no_other_run(unrolled: Any, runs: Path) -> None:
    ended = unrolled("predict", runs / "one", "--with", runs / "two", runs / "lines")
    assert (ended.code, ended.out) == (2, "")
    assert "lines is a file and no run directory; give files before --with" in ended.err


def test_average_needs_two(unrolled: Any, tmp_path: Path) -> None:
    ended = unrolled("average", tmp_path, "--output", tmp_path / "new", "--last", 1)
    assert (ended.code, ended.out) == (2, "")
    assert "--last 1: expected 2 or more" in ended.err
    assert "--output is missing" in unrolled("average", tmp_path).err
    ended = unrolled("average", tmp_path / "none", "--output", tmp_path / "new")
    assert ended.code == 1
    assert "none/model.json: no such file; expected the directory of a trained run" in ended.err


def test_lattices_of_a_translation_need_sources(unrolled: Any, runs: Path) -> None:
    (runs / "lattices").write_text("0 1 a -1\n\n0 1 b -1\n")
    command = ["rescore", runs / "lattices", "--model", runs / "one"]
    ended = unrolled(*command)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "a translation is told its source; give --source FILE, a line for each" in ended.err
    sources = runs / "sources"
    sources.write_text("x y\n")
    ended = unrolled(*command, "--source", sources)
    assert (ended.code, ended.out) == (1, "")
    assert "sources: 1 lines for 2 lattices; expected one each" in ended.err
    sources.write_text("x y\n\nz\n")
    ended = unrolled(*command, "--source", sources)
    assert (ended.code, ended.out) == (1, "")
    assert "sources: 3 lines for 2 lattices; expected one each" in ended.err
    sources.write_text("x\nz\n")
    assert unrolled(*command, "--source", sources, "--with", runs / "two").out == "x a\nz b\n"
    missing = unrolled(*command, "--source", runs / "missing")
    assert "missing: no such file" in missing.err


def test_what_does_not_fit_in_memory_is_no_defect() -> None:
    told = _one_line(MemoryError("Unable to allocate 745. GiB"))
    assert told == "not enough memory (Unable to allocate 745. GiB); ask for less at once"
    assert "a defect of unrolled" in _one_line(KeyError("x"))


def test_a_bad_line_of_a_file_is_named_by_the_file(
    unrolled: Any, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(self: Searching, lines: Iterable[str], **options: Any) -> Iterator[str]:
        yield next(iter(lines))
        raise DataError("no JSON object", path="<input>", line=2)

    monkeypatch.setattr(Searching, "predict", predict)
    file = runs / "lines"
    file.write_text("{}\n[1]\n")
    ended = unrolled("predict", runs / "one", file)
    assert (ended.code, ended.out) == (1, "{}\n")
    assert ended.err == f"unrolled: error: {file}:2: no JSON object\n"
