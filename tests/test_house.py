"""The house keeps its form: sizes, names, imports, and the public surface."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYTHON = [
    path
    for room in ("src", "tests", "benchmarks", "examples")
    for path in sorted((ROOT / room).rglob("*.py"))
]
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "modules", "misc"}
HELP_BUDGET = 0.25  # seconds of CPU, user and system

# The public surface of `import unrolled`. A change here is a change for users: say so in CHANGELOG.md.
PUBLIC = {
    "CELLS",
    "Cell",
    "GRU",
    "GatedCell",
    "LSTM",
    "RNN",
    "Recurrent",
    "Session",
    "__version__",
    "convert",
    "kernels",
    "load",
}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    """The absolute names of the modules that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    limit = 40 if name(path).startswith("examples/") else 400
    assert len(text.splitlines()) <= limit
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < 80, f"{node.name} is over 80 lines"


def test_no_room_or_file_has_a_name_that_says_nothing() -> None:
    for path in PYTHON:
        parts = {*path.relative_to(ROOT).parts[:-1], path.stem}
        assert not parts & FORBIDDEN_NAMES, name(path)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert len(docstring) > 20


def test_sources_import_only_declared_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    requirements = [*project["dependencies"], *(r for group in extras.values() for r in group)]
    declared = {re.split(r"[^\w.-]", r, maxsplit=1)[0].replace("-", "_") for r in requirements}
    declared.add("rich")  # comes with cyclopts
    for path in SOURCES:
        for module in imports(ast.parse(path.read_text(encoding="utf-8"))):
            top = module.partition(".")[0]
            known = top in declared or top in sys.stdlib_module_names or top == "unrolled"
            assert known, f"{name(path)} imports {module}, which pyproject.toml does not declare"


def test_nothing_is_pickled() -> None:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert not {"pickle", "shelve", "marshal"} & set(imports(ast.parse(text))), name(path)
        for call in re.findall(r"(?<!safetensors\.)torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, name(path)


def test_no_path_of_one_machine_in_the_product() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    examples = (ROOT / "examples").rglob("*.py")
    for path in [*SOURCES, *examples, *(p for p in pages if "_build" not in p.parts)]:
        found = re.search(r"\.\./shared|/(?:home|root|work|Users)/\w+", path.read_text("utf-8"))
        assert not found, f"{name(path)}: {found and found.group()}"


def test_help_imports_no_torch() -> None:
    script = (
        "import sys; sys.argv = ['unrolled', '--help']\n"
        "from unrolled.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(3 if 'torch' in sys.modules or 'numpy' in sys.modules else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "importing the command line imports torch or numpy"
    assert "train" in done.stdout


def test_help_is_quick() -> None:
    """The least of several runs: another program on the machine is not the product's time."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([Path(sys.executable).with_name("unrolled"), "--help"], capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert any(seconds() <= HELP_BUDGET for _ in range(25))


def test_the_public_surface_is_what_was_agreed() -> None:
    import unrolled

    assert set(unrolled.__all__) == PUBLIC
    for public in PUBLIC:
        assert getattr(unrolled, public) is not None
