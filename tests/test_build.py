"""The build of the engine: what pyproject.toml, CMakeLists.txt, Makefile and the pins say agrees."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("scikit-build-core", "nanobind", "cmake", "ninja")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


def canonical(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].replace("_", "-").lower()


def settings(*, failed: bool, require: str | None) -> Any:
    """What scikit-build-core does for a wheel; `failed`: on its second try."""
    reader = pytest.importorskip("scikit_build_core.settings.skbuild_read_settings").SettingsReader
    env = {name: value for name, value in os.environ.items() if name != "UNROLLED_REQUIRE_ENGINE"}
    if require is not None:
        env["UNROLLED_REQUIRE_ENGINE"] = require
    return reader(PYPROJECT, {}, state="wheel", retry=failed, env=env)


@pytest.mark.parametrize("tool", TOOLS)
def test_each_build_tool_is_pinned_installed_and_listed(tool: str) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [pin for pin in pins if canonical(pin) == tool and "==" in pin]
    assert tool in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"\n| {tool} " in (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")


def test_pip_is_asked_for_the_backend_and_the_bindings_only() -> None:
    """scikit-build-core itself asks for cmake and ninja where the system has none."""
    required = {canonical(each) for each in PYPROJECT["build-system"]["requires"]}
    assert required == {"scikit-build-core", "nanobind"}


def test_the_oldest_python_is_the_same_everywhere() -> None:
    (oldest,) = re.findall(r"find_package\(Python ([\d.]+) ", CMAKE)
    assert PYPROJECT["project"]["requires-python"] == f">={oldest}"


def test_cmake_is_as_new_as_the_makefile_asks() -> None:
    (major, minor), *_ = re.findall(r"cmake_minimum_required\(VERSION (\d+)\.(\d+)", CMAKE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"v[1] > {major} || v[2] >= {minor}" in makefile


def test_a_first_try_compiles() -> None:
    assert settings(failed=False, require=None).settings.wheel.cmake


@pytest.mark.parametrize("require", [None, "0", ""])
def test_a_failed_build_installs_pure_python_and_says_so(require: str | None) -> None:
    reader = settings(failed=True, require=require)
    assert "failed" in reader.overrides
    assert not reader.settings.wheel.cmake
    assert "WITHOUT its native engine" in reader.settings.messages.after_success


def test_a_failed_build_is_an_error_where_the_engine_is_required() -> None:
    reader = settings(failed=True, require="1")
    assert "failed" not in reader.overrides
    assert reader.settings.wheel.cmake


def test_instruction_sets_are_linked_in_rising_order() -> None:
    names = re.findall(r"^ *add_isa\((\w+) \d+", CMAKE, flags=re.MULTILINE)
    assert list(dict.fromkeys(names)) == ["baseline", "avx2", "wide", "avx512"]
    assert "-ffast-math" not in CMAKE.replace("Never -ffast-math", "")


def test_the_source_package_can_be_compiled(tmp_path: Path) -> None:
    pytest.importorskip("scikit_build_core")
    code = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        files = {name.partition("/")[2] for name in tar.getnames()}
    paths = [path for kind in ("*.cpp", "*.h") for path in (ROOT / "engine").rglob(kind)]
    sources = {path.relative_to(ROOT).as_posix() for path in paths}
    assert (
        sources | {"CMakeLists.txt", "src/unrolled/__init__.py", "src/unrolled/py.typed"} <= files
    )
    assert not [name for name in files if name.startswith((".venv", "build/"))]


@pytest.mark.parametrize("isa", ["baseline", "avx2", "wide", "avx512"])
def test_what_one_instruction_set_compiles_stays_in_its_namespace(isa: str) -> None:
    """Otherwise the linker may keep the copy of an instruction set that a machine lacks."""
    archive = ROOT / "build" / str(sys.implementation.cache_tag) / f"libengine_{isa}.a"
    nm = shutil.which("nm")
    if not archive.exists() or nm is None:
        pytest.skip("the engine was not built here, or there is no nm")
    listing = subprocess.run([nm, "-C", archive], check=True, capture_output=True, text=True).stdout
    shared = re.findall(r"^\w+ [VWu] (.*)$", listing, flags=re.MULTILINE)
    assert not [name for name in shared if f"unrolled::{isa}::" not in name]
