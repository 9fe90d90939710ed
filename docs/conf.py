"""Sphinx: the pages of this folder, and a reference that finds new modules and cells by itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import unrolled

project = "unrolled"
author = "The unrolled contributors"
project_copyright = author
release = version = unrolled.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Type aliases and names of torch that have no page here are left as plain text.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = "unrolled"


def modules(package: str) -> Iterator[str]:
    """A room, then the modules in it and in rooms below, by name."""
    yield package
    path = importlib.import_module(package).__path__
    for found in pkgutil.walk_packages(path, f"{package}."):
        if not found.name.rpartition(".")[2].startswith("_"):
            yield found.name


class Room(SphinxDirective):
    """``{room} unrolled.cells``: the reference of every module in a room of the house."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One heading and one automodule for each module."""
        lines = []
        for module in modules(self.arguments[0]):
            lines += [f"## {module}", "", "```{eval-rst}", f".. automodule:: {module}", "```", ""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


class Cells(SphinxDirective):
    """``{cells}``: the table of cells, read from the code."""

    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """One row for each cell: name, what it is, gates, executor."""
        from unrolled.cells import CELLS, describe
        from unrolled.kernels import executor_of, isa

        lines = ["| name | what it is | gates | over a sequence |", "|---|---|---|---|"]
        for name, factory in CELLS.items():
            gates = ", ".join(getattr(factory(2, 2), "gates", ())) or "–"
            runs = executor_of(name).partition(": ")[2].removesuffix(f" ({isa()})")
            preset = getattr(factory, "keywords", {})
            given = ", ".join(f"`{key}={value!r}`" for key, value in preset.items())
            about = describe(factory) + (f" With {given}." if given else "")
            lines.append(f"| `{name}` | {about} | {gates} | {runs} |")
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> None:
    """Makes the two directives known."""
    app.add_directive("room", Room)
    app.add_directive("cells", Cells)
