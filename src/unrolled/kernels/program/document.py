"""Programs as JSON: written canonically, read with suspicion."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

from unrolled.kernels.program.ir import (
    ROW,
    Field,
    Matrix,
    Node,
    Program,
    ShapeError,
    Signature,
    Vector,
)

T = TypeVar("T")

FORMAT = "unrolled program"
VERSION = 1
MOST = 10_000  # nodes, blocks, parameters: more is no cell


def write(program: Program) -> str:
    """The canonical text of a program."""
    s = program.signature
    document = {
        "format": FORMAT,
        "version": VERSION,
        "gates": s.gates,
        "recurrent_gates": s.recurrent_gates,
        "state": s.state,
        "matrices": s.matrices,
        "vectors": s.vectors,
        "scalars": s.scalars,
        "externs": s.externs,
        "nodes": [_node(node) for node in program.nodes],
        "results": program.results,
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _node(node: Node) -> list[Any]:
    details: dict[str, Any] = {}
    if node.op == "const":
        finite = math.isfinite(node.value)
        details["value"] = node.value if finite else repr(node.value)
    if node.source >= 0:
        details["source"] = node.source
    if node.blocks:
        details["blocks"] = node.blocks
    if node.size:
        details["size"] = node.size
    if node.init >= 0:
        details["init"] = node.init
    return [node.op, node.args, details] if details else [node.op, node.args]


def read(text: str) -> Program:
    """The program of a text; ValueError, saying what is wrong, for any other text."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a program is JSON text: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f'a program is a JSON object with "format": "{FORMAT}"')
    if document.get("version") != VERSION:
        version = document.get("version")
        raise ValueError(f"program version {version!r} is not {VERSION}; trace the cell again")
    try:
        return Program(*_contents(document))
    except ShapeError as error:
        raise ValueError(f"the program does not hold together: {error}") from None
    except (KeyError, TypeError, IndexError, OverflowError) as error:
        raise ValueError(f"the program is damaged: {type(error).__name__}: {error}") from None


def _contents(document: dict[str, Any]) -> tuple[Signature, tuple[Node, ...], tuple[int, ...]]:
    def table(key: str, make: Callable[..., T]) -> tuple[T, ...]:
        rows = document[key]
        if not isinstance(rows, list) or len(rows) > MOST:
            raise ValueError(f"the program's {key} are no list of at most {MOST}")
        return tuple(make(row) for row in rows)

    signature = Signature(
        gates=table("gates", _text),
        recurrent_gates=table("recurrent_gates", _text),
        state=table("state", _field),
        matrices=table("matrices", _matrix),
        vectors=table("vectors", _vector),
        scalars=table("scalars", _text),
        externs=table("externs", _field),
    )
    if not signature.matrices or signature.matrices[0].blocks != len(signature.gates):
        raise ShapeError("the first matrix has a block for each gate")
    parameters = (*signature.matrices, *signature.vectors)
    if any(ROW in parameter[1:] for parameter in parameters):
        raise ShapeError(f"a parameter has units, not {ROW}s")
    return signature, table("nodes", _read_node), table("results", _index)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"a name is text, not {value!r:.60}")
    return value


def _index(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(f"an index is a number from 0, not {value!r:.60}")
    return value


def _count(value: Any) -> int:
    if not 1 <= _index(value) <= MOST:
        raise ValueError(f"a number of blocks is from 1 to {MOST}, not {value!r:.60}")
    return int(value)


def _field(row: Any) -> Field:
    name, size = row
    return Field(_text(name), _text(size))


def _matrix(row: Any) -> Matrix:
    name, rows, blocks, columns = row
    return Matrix(_text(name), _text(rows), _count(blocks), _text(columns))


def _vector(row: Any) -> Vector:
    name, size, blocks = row
    return Vector(_text(name), _text(size), _count(blocks))


def _read_node(row: Any) -> Node:
    op, args, *more = row
    details = more[0] if more else {}
    known = {"value", "source", "blocks", "size", "init"}
    if len(more) > 1 or not isinstance(details, dict) or set(details) - known:
        raise ValueError(f"a node has details that no program has: {more!r:.60}")
    value = details.get("value", 0.0)
    if isinstance(value, str):
        value = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[value]
    if type(value) not in (int, float):
        raise ValueError(f"a constant is a number, not {value!r:.60}")
    size = details.get("size", "")
    return Node(
        _text(op),
        tuple(_index(a) for a in args),
        float(value),
        _index(details["source"]) if "source" in details else -1,
        tuple(_index(b) for b in details.get("blocks", ())),
        _text(size) if size else "",
        _index(details["init"]) if "init" in details else -1,
    )
