"""Explaining: a cell's program and plan in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unrolled.cells.cell import Cell, GatedCell
from unrolled.kernels.program.interface import sizes_of
from unrolled.kernels.program.ir import Node, Program
from unrolled.kernels.program.planes import Operand, Plan, PlanStage
from unrolled.kernels.program.planning import plan
from unrolled.kernels.program.tracing import trace

BYTES = 4  # of one float32


def explain_program(cell: Cell) -> str:
    """A cell's program, value by value, and what its plan for training does and costs.

    The program, one line for each value; the stages of both passes; operations for one step of one row,
    those of products (a multiplication and an addition are two) apart from those on single numbers; the
    bytes kept for the backward pass for each step and row, in float32.

    Raises:
        Untraceable: if the cell's step cannot be a program.
    """
    program = trace(cell)
    assert isinstance(cell, GatedCell)
    sizes = sizes_of(cell)
    made = plan(program, sizes, training=True)
    names = ", ".join(f"{name} = {sizes[name]}" for name in program.sizes)
    lines = [f"{type(cell).__name__}, {names}, program {program.hash[:12]}"]
    lines += ["", *_listing(program)]
    for title, stages in (("forward", made.forward), ("backward", made.backward)):
        lines += ["", f"{title}, {len(stages)} {'stage' if len(stages) == 1 else 'stages'}"]
        for number, stage in enumerate(stages):
            lines += [f"  {number}: {text}" for text in _stage(program, made, stage)]
    projection = 2 * len(made.gates) * cell.hidden_size * cell.input_size
    lines += ["", "operations per step and row"]
    for title, stages, times in (("forward", made.forward, 1), ("backward", made.backward, 2)):
        products = sum(_multiplications(made, stage) for stage in stages)
        gradients = _gradients(program, made) if stages is made.backward else 0
        lines.append(
            f"  {title}: products {products + gradients + times * projection} "
            f"(of the input {times * projection}), pointwise {_pointwise(made, stages)}"
        )
    lines += ["", f"kept per step and row: {_kept(made)}"]
    return "\n".join(lines)


def _listing(program: Program) -> Iterator[str]:
    width = len(str(len(program.nodes)))
    for index, (node, shape) in enumerate(zip(program.nodes, program.shapes, strict=True)):
        yield f"  %{index:<{width}} = {_node(program, node):<40} {shape}".rstrip()
    for field, result in zip(program.signature.state, program.results, strict=True):
        yield f"  {field.name}(t) = %{result}"


def _node(program: Program, node: Node) -> str:
    signature, args = program.signature, ", ".join(f"%{a}" for a in node.args)
    if node.op == "input":
        return f"input {signature.gates[node.source]}"
    if node.op == "state":
        return f"{signature.state[node.source].name}(t-1)"
    if node.op == "extern":
        return f"given {signature.externs[node.source].name}"
    if node.op == "scalar":
        return signature.scalars[node.source]
    if node.op == "vector":
        vector = signature.vectors[node.source]
        return vector.name if vector.blocks == 1 else f"{vector.name}[{node.blocks[0]}]"
    if node.op == "const":
        return f"{node.value:g}"
    if node.op == "product":
        bias = f" + %{node.init}" if node.init >= 0 else ""
        return f"{signature.matrices[node.source].name}[{node.blocks[0]}] @ {args}{bias}"
    return f"{node.op} {args}{node.size and ' over ' + node.size}"


def _stage(program: Program, made: Plan, stage: PlanStage) -> Iterator[str]:
    for product in stage.products:
        name = program.signature.matrices[product.weight].name
        blocks = ", ".join(map(str, product.blocks))
        inputs = ", ".join(_operand(program, made, i) for i in product.inputs)
        outputs = ", ".join(_operand(program, made, o.to) for o in product.outputs)
        verb = "+=" if any(o.init == 1 for o in product.outputs) else "="
        turned = " transposed" if product.transposed else ""
        yield f"{outputs} {verb} {name}[{blocks}]{turned} @ {inputs}"
    for reduction in stage.reductions:
        to = _operand(program, made, reduction.to)
        yield f"{to} = {reduction.op} over units of {_operand(program, made, reduction.source)}"
    for each in stage.programs:
        size = "rows" if each.size < 0 else f"{made.sizes[each.size]} units"
        written = {each.bindings[c.d] for c in each.code if c.d < len(each.bindings)}
        outputs = ", ".join(sorted(_operand(program, made, o) for o in written))
        yield f"{len(each.code)} instructions on {size}, {each.temps} temporaries -> {outputs}"


def _operand(program: Program, made: Plan, operand: Operand) -> str:
    plane, signature = made.planes[operand.plane], program.signature
    if plane.kind == "gate":
        return f"gate {signature.gates[plane.source]}"
    if plane.kind in ("state", "carry"):
        name = signature.state[plane.source].name
        return f"d{name}" if plane.kind == "carry" else f"{name}(t{operand.shift or ''})"
    return f"{plane.kind} {operand.plane}"


def _units(made: Plan, size: int) -> int:
    return 1 if size < 0 else made.sizes[size]


def _multiplications(made: Plan, stage: PlanStage) -> int:
    total = 0
    for product in stage.products:
        rows = made.sizes[product.block_size] * len(product.blocks)
        other = product.outputs[0].to if product.transposed else product.inputs[0]
        total += 2 * rows * _units(made, made.planes[other.plane].size)
    return total


def _gradients(program: Program, made: Plan) -> int:
    arguments = ((g.size, made.planes[g.argument.plane].size) for g in made.weight_gradients)
    return sum(2 * _units(made, a) * _units(made, b) for a, b in arguments)


def _pointwise(made: Plan, stages: Sequence[PlanStage]) -> int:
    programs = (program for stage in stages for program in stage.programs)
    total = sum(len(p.code) * _units(made, p.size) for p in programs)
    reductions = (reduction for stage in stages for reduction in stage.reductions)
    return total + sum(_units(made, made.planes[r.source.plane].size) for r in reductions)


def _kept(made: Plan) -> str:
    total, parts = 0, []
    for title, kinds in (
        ("gates", ("gate",)),
        ("states", ("state",)),
        ("further values", ("saved",)),
        ("gradients during the backward pass", ("grad",)),
    ):
        numbers = sum(_units(made, p.size) for p in made.planes if p.kind in kinds)
        total += numbers if "grad" not in kinds else 0
        if numbers:
            parts.append(f"{title} {BYTES * numbers}")
    return f"{BYTES * total} bytes ({', '.join(parts)})"
