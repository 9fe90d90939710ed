"""What the pages show is real: Python examples run, commands and relative links exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path
    for path in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
    if "_build" not in path.parts
]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
PROGRAMS = ("unrolled ", "make ", "pytest ", "python ")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, *languages: str) -> list[str]:
    found = FENCE.findall(path.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def commands(path: Path) -> set[str]:
    """The command lines of console blocks, and those between backticks that are concrete."""
    shown = [
        line.removeprefix("$ ").partition("  #")[0].strip()
        for block in blocks(path, "console")
        for line in re.sub(r"\\\n\s*", " ", block).splitlines()
        if line.startswith("$ ")
    ]
    prose = FENCE.sub("", path.read_text(encoding="utf-8"))
    inline = [text for text in re.findall(r"`([^`\n]+)`", prose) if text.startswith(PROGRAMS)]
    return {text for text in [*shown, *inline] if not re.search(r"\b[A-Z]{3,}\b(?!=)|…|<", text)}


RUNNABLE = [path for path in PAGES if blocks(path, "python") and path.name != "CONTRIBUTING.md"]
ALL_COMMANDS = sorted({(name(path), text) for path in PAGES for text in commands(path)})


@pytest.mark.parametrize("path", RUNNABLE, ids=name)
def test_python_examples_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blocks of a page, in order, in one namespace; what `print(…)  # comment` says is checked."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks(path, "python"):
        exec(compile(block, name(path), "exec"), namespace)
        printed = capsys.readouterr().out
        for promised in re.findall(r"^print\(.*\)\s+# (.+)$", block, flags=re.MULTILINE):
            assert promised in printed


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_relative_links_resolve(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    targets += re.findall(r"^\[[^\]]+\]: (\S+)$", text, flags=re.MULTILINE)
    for target in targets:
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize(("page", "command"), ALL_COMMANDS)
def test_command_exists(page: str, command: str) -> None:
    words = shlex.split(command)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    program, *arguments = words
    if program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert arguments[0] in targets
    elif program == "pytest":
        for argument in arguments:
            path = ROOT / argument
            assert path.is_file() or list(path.glob("test_*.py")), f"no tests in {argument}"
    elif program == "python":
        assert arguments[0].startswith("-") or (ROOT / arguments[0]).is_file()
    elif program == "unrolled":
        check_unrolled(arguments)


def check_unrolled(arguments: list[str]) -> None:
    """The command, the task, the model and every dotted option are known."""
    from unrolled.cells import CELLS
    from unrolled.cli import COMMANDS
    from unrolled.tasks import OPTIONS
    from unrolled.training.config import FittedAtOnce

    if arguments[0].startswith("-"):
        assert arguments[0] in ("--help", "--version")
        return
    assert arguments[0] in COMMANDS
    if arguments[0] != "train" or arguments[1:2] == ["--config"] or len(arguments) == 1:
        return
    options = OPTIONS[arguments[1]]
    named = arguments[2] if len(arguments) > 2 and not arguments[2].startswith("-") else None
    model = options.models[named or next(iter(options.models))]
    sections = {"data": options.data, "model": model}
    if not issubclass(model, FittedAtOnce):
        sections["training"] = options.training
    for option in arguments[2:]:
        if option.startswith("--") and "." in option:
            section, field = option[2:].split(".")
            known = sections[section].__dataclass_fields__
            assert field.replace("-", "_") in known, f"{option} is no option"
    if "--model.cell" in arguments:
        assert arguments[arguments.index("--model.cell") + 1] in {*CELLS, "mgu"}


def test_every_claim_has_a_row_of_results() -> None:
    rows = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks" / "claims").glob("*.py"):
        if "__main__" in path.read_text(encoding="utf-8"):
            assert f"`python {name(path)}`" in rows, f"{name(path)} has no row"


# Imports the copy, not the installed package; runs tests on it, then what the page shows.
ADDED = """
import sys
import pytest
folder, root, contracts, use = sys.argv[1:]
sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
sys.path.insert(0, folder)
import unrolled
assert unrolled.__file__.startswith(folder), unrolled.__file__
options = ["-p", "no:cacheprovider", "--rootdir", root, "-k", "mgu"]
code = pytest.main([*options, contracts, f"{folder}/unrolled/cells/mgu.py"])
assert code == 0, code
exec(use)
from unrolled.cli import main
assert main(["info", "--seconds", "0"]) == 0
"""


def test_contributing_adds_a_cell(tmp_path: Path) -> None:
    """The three steps of CONTRIBUTING.md, in a copy of the package: one file, one row, that is all."""
    file, row, use = blocks(ROOT / "CONTRIBUTING.md", "python")
    package = tmp_path / "unrolled"
    shutil.copytree(ROOT / "src" / "unrolled", package)
    engine = find_spec("unrolled._engine")
    if engine is not None and engine.origin is not None:  # compiled beside the installed package
        shutil.copy(engine.origin, package)
    (package / "cells" / "mgu.py").write_text(file, encoding="utf-8")
    with (package / "cells" / "__init__.py").open("a", encoding="utf-8") as table:
        table.write("\n" + row)
    contracts = str(ROOT / "tests" / "contracts" / "test_cells.py")
    done = subprocess.run(
        [sys.executable, "-c", ADDED, str(tmp_path), str(ROOT), contracts, use],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_ADDOPTS": "-v"},  # undoes -q, so that it says "passed"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert f"mgu: the {'loop' if engine is None else 'engine'}" in done.stdout
