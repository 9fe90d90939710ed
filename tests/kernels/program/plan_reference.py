"""A slow executor of plans in numpy: what the engine does, one small tile of units after the other.

Every plane holds NaN until it is written, scratch planes again at each step, so that reading what a plan has
not written shows. Products and programs of a stage run tile by tile, as in the engine: a product still reads
its operand when the first tiles of its stage's programs are done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.kernels.program.planes import Operand, Plan, PlanStage, PointwiseProgram

Array = NDArray[Any]
TILE = 2  # units
PER_STEP = ("gate", "saved", "extern", "dy", "grad")

OPERATIONS: dict[str, Any] = {
    "copy": lambda a, b, c, n: a,
    "add": lambda a, b, c, n: a + b,
    "sub": lambda a, b, c, n: a - b,
    "mul": lambda a, b, c, n: a * b,
    "div": lambda a, b, c, n: a / b,
    "fma": lambda a, b, c, n: a * b + c,
    "fnma": lambda a, b, c, n: c - a * b,
    "fms": lambda a, b, c, n: a * b - c,
    "addc": lambda a, b, c, n: a + n,
    "mulc": lambda a, b, c, n: a * n,
    "rsubc": lambda a, b, c, n: n - a,
    "const": lambda a, b, c, n: n,
    "sigmoid": lambda a, b, c, n: 0.5 + 0.5 * np.tanh(0.5 * a),
    "tanh": lambda a, b, c, n: np.tanh(a),
    "relu": lambda a, b, c, n: np.maximum(a, 0),
    "exp": lambda a, b, c, n: np.exp(a),
    "log": lambda a, b, c, n: np.log(a),
    "log1p": lambda a, b, c, n: np.log1p(a),
    "sqrt": lambda a, b, c, n: np.sqrt(a),
    "rsqrt": lambda a, b, c, n: 1 / np.sqrt(a),
    "abs": lambda a, b, c, n: np.abs(a),
    "recip": lambda a, b, c, n: 1 / a,
    "max": lambda a, b, c, n: np.maximum(a, b),
    "min": lambda a, b, c, n: np.minimum(a, b),
    "maxc": lambda a, b, c, n: np.maximum(a, n),
    "minc": lambda a, b, c, n: np.minimum(a, n),
    "lt": lambda a, b, c, n: a < b,
    "le": lambda a, b, c, n: a <= b,
    "eq": lambda a, b, c, n: a == b,
    "ltc": lambda a, b, c, n: a < n,
    "lec": lambda a, b, c, n: a <= n,
    "eqc": lambda a, b, c, n: a == n,
    "gtc": lambda a, b, c, n: a > n,
    "gec": lambda a, b, c, n: a >= n,
    "where": lambda a, b, c, n: np.where(a != 0, b, c),
    "dsigmoid": lambda a, b, c, n: a * b * (1 - b),
    "dtanh": lambda a, b, c, n: a * (1 - b * b),
    "drelu": lambda a, b, c, n: np.where(b > 0, a, 0),
    "lerp": lambda a, b, c, n: c + a * (b - c),
    "softplus": lambda a, b, c, n: np.where(a > 20, a, np.log1p(np.exp(a))),
    "neg": lambda a, b, c, n: -a,
    "dabs": lambda a, b, c, n: a * np.sign(b),
}


class PlanRun:
    """One call: forward, then, of a training plan, backward.

    Args:
        plan: what to run.
        x: [T, B, I]. state: the fields before the first step, [B, n] each. lengths: [B].
        weights: [blocks * n, k] each, by slot. vectors: [blocks * n] each. externs: [T, B, n] each.
    """

    def __init__(
        self,
        plan: Plan,
        x: Array,
        state: Sequence[Array],
        lengths: Array,
        weights: Sequence[Array],
        vectors: Sequence[Array],
        externs: Sequence[Array],
    ) -> None:
        self.plan, self.weights, self.vectors = plan, weights, vectors
        self.order = np.argsort(-lengths, kind="stable")
        self.lengths = lengths[self.order]
        self.x = np.nan_to_num(x[:, self.order])
        self.steps = int(lengths.max(initial=0))
        self.active = [int((self.lengths > s).sum()) for s in range(self.steps)]
        self.state = [field[self.order] for field in state]
        self.externs = [extern[:, self.order] for extern in externs]
        self.planes: list[Array] = [self._plane(p.kind, p.size) for p in plan.planes]
        for index, plane in enumerate(plan.planes):
            if plane.kind == "vector":
                n = plan.sizes[plane.size]
                self.planes[index] = vectors[plane.source][plane.source2 * n :][:n]
            if plane.kind == "extern":
                self.planes[index] = self.externs[plane.source]
            if plane.kind == "vecgrad":
                self.planes[index][:] = 0

    def units(self, size: int) -> int:
        """The number of units of a size."""
        return 1 if size < 0 else self.plan.sizes[size]

    def _plane(self, kind: str, size: int) -> Array:
        n, rows = self.units(size), self.x.shape[1]
        shape: tuple[int, ...] = (rows, n)
        if kind in PER_STEP:
            shape = (self.steps, rows, n)
        elif kind == "state":
            shape = (self.steps + 1, rows, n)
        elif kind in ("vector", "vecgrad"):
            shape = (n,)
        return np.full(shape, np.nan, dtype=self.x.dtype)

    def at(self, operand: Operand, s: int) -> Array:
        """The active rows of a plane at step s."""
        kind = self.plan.planes[operand.plane].kind
        plane = self.planes[operand.plane]
        assert operand.shift == 0 or kind == "state"
        if kind in PER_STEP:
            return plane[s, : self.active[s]]
        if kind == "state":
            return plane[s + 1 + operand.shift, : self.active[s]]
        return plane if kind in ("vector", "vecgrad") else plane[: self.active[s]]

    def forward(self) -> tuple[Array, list[Array]]:
        """The outputs [T, B, n], zero past each length, and the final state."""
        plan = self.plan
        hidden = self.units(plan.planes[plan.gates[0][0]].size)
        for (plane, _), field in zip(plan.states, self.state, strict=True):
            self.planes[plane][0] = field
        for s in range(self.steps):
            self._poison(("step",))
            for g, (plane, biases) in enumerate(plan.gates):
                rows = self.weights[0][g * hidden : (g + 1) * hidden]
                gate = self.x[s, : self.active[s]] @ rows.T
                for bias in biases:
                    assert plan.planes[bias].kind == "vector"
                    gate = gate + self.planes[bias]
                self.planes[plane][s, : self.active[s]] = gate
            for stage in plan.forward:
                self._stage(stage, s)
        first = self.planes[plan.states[0][0]]
        output = np.zeros((self.x.shape[0], *first.shape[1:]), dtype=self.x.dtype)
        for row, length in enumerate(self.lengths):
            output[:length, self.order[row]] = first[1 : length + 1, row]
        return output, [self._last(self.planes[plane]) for plane, _ in plan.states]

    def _last(self, plane: Array) -> Array:
        final = np.empty_like(plane[0])
        for row, length in enumerate(self.lengths):
            final[self.order[row]] = plane[length, row]
        return final

    def _poison(self, kinds: Sequence[str]) -> None:
        for plane, values in zip(self.plan.planes, self.planes, strict=True):
            if plane.kind in kinds:
                values[:] = np.nan

    def backward(self, dy: Array, dstate: Sequence[Array]) -> Mapping[str, Any]:
        """Gradients ``x``, ``state``, ``weights`` and ``vectors``."""
        plan = self.plan
        self.planes[plan.dy] = dy[:, self.order]
        for (_, carry), gradient in zip(plan.states, dstate, strict=True):
            self.planes[carry] = gradient[self.order].copy()
        for s in reversed(range(self.steps)):
            self._poison(("bstep",))
            for stage in plan.backward:
                self._stage(stage, s)
        weights = [np.zeros_like(w) for w in self.weights]
        vectors = [np.zeros_like(v) for v in self.vectors]
        dx = np.zeros_like(self.x)
        for s in range(self.steps):
            self._gather(s, weights, vectors, dx)
        for plane, values in zip(plan.planes, self.planes, strict=True):
            if plane.kind == "vecgrad":
                n = len(values)
                vectors[plane.source][plane.source2 * n :][:n] += values
        unsorted = np.argsort(self.order)
        state = [self.planes[carry][unsorted] for _, carry in plan.states]
        return {"x": dx[:, unsorted], "state": state, "weights": weights, "vectors": vectors}

    def _gather(self, s: int, weights: list[Array], vectors: list[Array], dx: Array) -> None:
        plan, m = self.plan, self.active[s]
        for g, plane in enumerate(plan.gate_gradients):
            assert plan.planes[plane].kind == "grad"
            gradient = self.planes[plane][s, :m]
            rows = slice(g * gradient.shape[1], (g + 1) * gradient.shape[1])
            weights[0][rows] += gradient.T @ self.x[s, :m]
            dx[s, :m] += gradient @ self.weights[0][rows]
        for slot, block, size, plane, argument in plan.weight_gradients:
            kind = plan.planes[argument.plane].kind
            assert kind == "saved" or (kind == "state" and argument.shift == -1)
            assert plan.planes[plane].kind == "grad"
            n = self.units(size)
            gradient = self.planes[plane][s, :m]
            weights[slot][block * n : (block + 1) * n] += gradient.T @ self.at(argument, s)
        for tensor, block, plane in plan.vector_gradients:
            gradient = self.planes[plane][s, :m]
            n = gradient.shape[1]
            vectors[tensor][block * n : (block + 1) * n] += gradient.sum(0)

    def _stage(self, stage: PlanStage, s: int) -> None:
        reduce = {"sum": np.sum, "mean": np.mean, "amax": np.max}
        for op, source, to in stage.reductions:
            assert self.plan.planes[to.plane].size == -1
            self.at(to, s)[:] = reduce[op](self.at(source, s), axis=1, keepdims=True)
        for program in stage.programs:
            if program.size == -1:
                self._program(program, s, slice(0, 1))
        for size, n in enumerate(self.plan.sizes):
            for start in range(0, n, TILE):
                tile = slice(start, min(start + TILE, n))
                for product in stage.products:
                    if self.plan.planes[product.outputs[0].to.plane].size == size:
                        self._product(product, s, tile)
                for program in stage.programs:
                    if program.size == size:
                        self._program(program, s, tile)

    def _product(self, product: Any, s: int, tile: slice) -> None:
        n = self.units(product.block_size)
        weight = self.weights[product.weight]
        blocks = [weight[b * n : (b + 1) * n] for b in product.blocks]
        if product.transposed:
            terms = zip(product.inputs, blocks, strict=True)
            results = [sum(self.at(i, s) @ block[:, tile] for i, block in terms)]
        else:
            results = [self.at(product.inputs[0], s) @ block[tile].T for block in blocks]
        for output, result in zip(product.outputs, results, strict=True):
            kind = self.plan.planes[output.to.plane].kind
            assert kind not in ("vector", "extern", "dy", "vecgrad")
            assert output.to.shift == 0
            if output.init == 1:
                result = result + self.at(output.start, s)[:, tile]
            elif output.init == 2:
                result = result + self.at(output.start, s)[tile]
            self.at(output.to, s)[:, tile] = result

    def _program(self, program: PointwiseProgram, s: int, tile: slice) -> None:
        registers: list[Array] = []
        for operand in program.bindings:
            plane, values = self.plan.planes[operand.plane], self.at(operand, s)
            if plane.kind in ("vector", "vecgrad"):
                registers.append(values[tile])
            else:
                registers.append(values[:, tile] if plane.size == program.size else values)
        shape = (self.active[s], tile.stop - tile.start)
        registers += [np.full(shape, np.nan, dtype=self.x.dtype) for _ in range(program.temps)]
        for op, d, a, b, c, number in program.code:
            if op in ("vecacc", "vecsum"):
                assert self.plan.planes[program.bindings[d].plane].kind == "vecgrad"
                term = registers[a] * registers[b] if op == "vecacc" else registers[a]
                registers[d] += np.broadcast_to(term, shape).sum(0)
            else:
                if d < len(program.bindings):
                    written = self.plan.planes[program.bindings[d].plane]
                    assert written.kind not in ("vector", "extern", "dy", "vecgrad")
                    assert written.size == program.size
                    assert program.bindings[d].shift == 0
                registers[d][:] = OPERATIONS[op](registers[a], registers[b], registers[c], number)
