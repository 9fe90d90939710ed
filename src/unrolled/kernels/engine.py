"""The native engine: any traced cell over time, forward and backward, in C++ (engine/).

The forward pass hands the engine plain addresses; what it keeps for the backward pass lives in the
engine's own pooled memory until autograd drops it. Derivatives of the derivative go through the loop,
of which this is an acceleration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.kernels import loop
from unrolled.kernels.native import batched, missing
from unrolled.kernels.native import engine as _engine
from unrolled.kernels.prepared import Ready, Runner, ready
from unrolled.kernels.segments import Segments, segments
from unrolled.state import check_like, leaves, map_state, rebuild


def obstacle(
    cell: Cell,
    x: Tensor,
    state: Any,
    *,
    zoneout: Any = None,
    feedback: Tensor | None = None,
    context: Any = None,
    resets: Tensor | None = None,
) -> str | None:
    """Why the engine cannot run this call, or None."""
    if missing():
        return "the engine is not built"
    if not x.is_cpu:
        return f"the engine runs on the CPU, not on {x.device.type}"
    if x.dtype is not torch.float32:
        return f"the engine computes in float32, not {str(x.dtype).removeprefix('torch.')}"
    if feedback is not None or context is not None:
        return "the engine has neither feedback nor context"
    if 0 in x.shape:
        return "there is nothing to compute"
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return "forward mode, vmap and higher derivatives go through the loop"
    if torch.compiler.is_compiling():
        return "torch.compile traces the loop"
    if torch.is_autocast_enabled("cpu"):
        return "the engine computes in float32 throughout"
    found = ready(cell, zoneout=zoneout is not None)
    if isinstance(found, str):
        return found
    steps, batch = x.shape[:2]
    states, parameters = leaves(state), found.parameters(cell)
    for tensor in (*states, *parameters):
        if tensor.dtype is not torch.float32 or not tensor.is_cpu:
            return "the engine needs every state and parameter in float32 on the CPU"
    _check_shapes("a state", states, [(batch, n) for n in found.fields])
    _check_shapes("parameters", parameters, found.shapes)
    return _extern_obstacle(cell.recurrent_mask, zoneout, found, steps, batch)


def _check_shapes(what: str, given: list[Tensor], expected: list[tuple[int, ...]]) -> None:
    """Other shapes would let the engine (or torch's fused layers) read past the end of memory."""
    shapes = [tuple(t.shape) for t in given]
    if shapes != expected:
        raise ValueError(f"{what} of shapes {shapes} given, {expected} expected")


def _extern_obstacle(
    mask: Tensor | None, zoneout: Any, runner: Ready, steps: int, batch: int
) -> str | None:
    """Why the engine cannot take this mask or these shares."""
    given: list[tuple[Tensor, tuple[int, ...]]] = [] if mask is None else [(mask, (batch,))]
    given += [] if zoneout is None else [(share, (steps, batch)) for share in leaves(zoneout)]
    for (tensor, shape), units in zip(given, runner.externs, strict=True):
        if tensor.shape != (*shape, units):
            return "the engine needs a mask of [B, n] and zoneout of [T, B, n]"
        if tensor.dtype is not torch.float32 or not tensor.is_cpu or tensor.requires_grad:
            return "the engine needs mask and zoneout in float32 on the CPU, without gradients"
    return None


def run(
    cell: Cell,
    x: Tensor,
    state: Any,
    *,
    lengths: Tensor | None = None,
    reverse: bool = False,
    zoneout: Any = None,
    resets: Tensor | None = None,
    reset_state: Any = None,
) -> tuple[Tensor, Any]:
    """Runs ``cell`` over time; arguments and result as :func:`unrolled.kernels.run`."""
    runner = cast(Ready, ready(cell, zoneout=zoneout is not None))
    steps, batch = x.shape[:2]
    if lengths is not None:
        ends = lengths.tolist()
        if len(ends) != batch or not all(0 <= n <= steps for n in ends):
            raise ValueError(f"lengths must be {batch} of 0..{steps} (the input's T), {ends} given")
    parts: Segments | None = None
    start = state
    if resets is not None:
        parts = segments(resets, lengths, steps=steps, batch=batch, reverse=reverse)
        check_like(reset_state, state, name="reset_state")
        start = parts.begin(state, map_state(lambda t: t.to(x), reset_state))
        sequences, whole = parts.sequences, parts.whole
    else:
        sequences, whole = sequences_of(steps, batch, lengths, reverse)
    externs = [] if cell.recurrent_mask is None else [cell.recurrent_mask]
    externs += [] if zoneout is None else leaves(zoneout)
    externs = [extern(e, steps) for e in externs]
    parameters = runner.parameters(cell)
    call = Call(cell, runner, sequences, whole, lengths, reverse, parts, len(leaves(state)))
    tensors = [*leaves(start), *parameters, *externs]
    tracked = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *tensors))
    if tracked:
        apply: Callable[..., tuple[Tensor, ...]] = _Engine.apply
        y, *final = apply(call, x, *tensors)
    else:
        y, *final = call.forward(x, tensors, training=False)
    finished = rebuild(state, final) if parts is None else parts.end(rebuild(state, final))
    return y, finished


def sequences_of(
    steps: int, batch: int, lengths: Tensor | None, reverse: bool
) -> tuple[_engine.Sequences, bool]:
    if lengths is None:
        return _even(steps, batch, reverse), True
    zeros, rows = [0] * batch, list(range(batch))
    return _engine.Sequences.pieces(rows, zeros, lengths.tolist(), reverse), False


@lru_cache(maxsize=256)
def _even(steps: int, batch: int, reverse: bool) -> Any:
    return _engine.Sequences.even(steps, batch, reverse)


def extern(tensor: Tensor, steps: int) -> Tensor:
    """A mask or share as [T, B, n] with contiguous units."""
    tensor = tensor.detach()
    if tensor.dim() == 2:
        tensor = tensor.expand(steps, *tensor.shape)
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def _units_contiguous(x: Tensor) -> Tensor:
    x = x.resolve_neg()
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def like_input(x: Tensor, units: int, *, zeros: bool) -> Tensor:
    """A new [T, B, units], batch first in memory where x is."""
    steps, batch = x.shape[:2]
    make = torch.zeros if zeros else torch.empty
    if x.stride(0) < x.stride(1):
        return make(batch, steps, units).transpose(0, 1)
    return make(steps, batch, units)


def _place(x: Tensor | None) -> tuple[int, int, int]:
    """Address and strides of time and batch of a [T, B, n] (zeros for none)."""
    return (0, 0, 0) if x is None else (x.data_ptr(), x.stride(0), x.stride(1))


@dataclass
class Call:
    """One call: the cell, what runs it, and which steps of which sequences run."""

    cell: Cell | None  # None where no derivative of the derivative will be asked for
    ready: Runner
    sequences: Any
    whole: bool
    lengths: Tensor | None
    reverse: bool
    segments: Segments | None
    fields: int

    def split(self, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """States, parameters and externs."""
        first, second = self.fields, self.fields + len(self.ready.names)
        return list(tensors[:first]), list(tensors[first:second]), list(tensors[second:])

    def matrices(self, parameters: list[Tensor]) -> list[Tensor]:
        named = dict(zip(self.ready.names, parameters, strict=True))
        return [named[name].contiguous() for name in self.ready.matrices]

    def vectors(self, parameters: list[Tensor]) -> list[Tensor]:
        return self.ready.all_vectors(dict(zip(self.ready.names, parameters, strict=True)))

    def forward(
        self,
        x: Tensor,
        tensors: Sequence[Tensor],
        *,
        training: bool,
        vectors: list[Tensor] | None = None,
        saved: list[Any] | None = None,
    ) -> tuple[Tensor, ...]:
        """Output and final states; what the engine kept is appended to ``saved``."""
        states, parameters, externs = self.split(tensors)
        executable = self.ready.executable(training=training)
        x = _units_contiguous(x)
        states = [s.contiguous() for s in states]
        matrices = self.matrices(parameters)
        vectors = self.vectors(parameters) if vectors is None else vectors
        y = like_input(x, states[0].shape[-1], zeros=not self.whole)
        final = [torch.empty_like(s) for s in states]
        arguments = [*_place(x), *_place(y)]
        for e in externs[: executable.counts[2]]:
            arguments += _place(e)
        for v in vectors[: executable.counts[1]]:
            arguments += (v.data_ptr(), v.numel())
        arguments += [s.data_ptr() for s in states]
        arguments += [s.data_ptr() for s in final]
        packs = self.ready.packs(matrices, training=training)
        kept = executable.forward(self.sequences, packs, arguments, torch.get_num_threads())
        if saved is not None:
            saved.append(kept)
        return (y, *final)


class _Engine(torch.autograd.Function):
    """The engine under autograd; ``call`` holds all that is no tensor."""

    @staticmethod
    def forward(ctx: Any, call: Call, x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        _, parameters, _ = call.split(tensors)
        ctx.leaves = parameters
        if call.ready.program.hoisted:  # vectors of vectors are torch's to differentiate
            with torch.enable_grad():
                ctx.leaves = [p.detach().requires_grad_() if p.dim() < 2 else p for p in parameters]
                ctx.vectors = call.vectors(ctx.leaves)
        else:
            ctx.vectors = call.vectors(parameters)
        saved: list[Any] = []
        with torch.no_grad():
            result = call.forward(x, tensors, training=True, vectors=ctx.vectors, saved=saved)
        ctx.call = call
        # What the engine kept goes when autograd lets go of what it saved: after the backward pass.
        holder = cast(Any, torch.empty(0))
        holder.kept = saved[0]
        ctx.save_for_backward(x, *tensors, holder)
        return result

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *d_final: Tensor | None) -> Any:
        if torch.is_grad_enabled() or batched(dy, *d_final):  # create_graph=True, or vmap
            return _through_the_loop(ctx, dy, d_final)
        return backward(ctx, dy, d_final)


def backward(ctx: Any, dy: Tensor | None, d_final: Sequence[Tensor | None]) -> Any:
    """The engine's gradients of x, states, parameters and (none) externs."""
    call: Call = ctx.call
    x, *tensors, holder = ctx.saved_tensors
    states, parameters, externs = call.split(tensors)
    wanted = ctx.needs_input_grad[1:]
    x = _units_contiguous(x)
    dy = None if dy is None else _units_contiguous(dy)
    d_final = [None if d is None else d.contiguous() for d in d_final]
    dx = like_input(x, x.shape[-1], zeros=not call.whole) if wanted[0] else None
    d_states = [
        torch.empty_like(s, memory_format=torch.contiguous_format) if want else None
        for s, want in zip(states, wanted[1:], strict=False)
    ]
    matrices = call.matrices(parameters)
    after = wanted[1 + len(states) :]
    wants = dict(zip(call.ready.names, after, strict=False))
    d_matrices = {
        name: torch.zeros_like(m, memory_format=torch.contiguous_format) if wants[name] else None
        for name, m in zip(call.ready.matrices, matrices, strict=True)
    }
    vectors: list[Tensor] = ctx.vectors
    some = any(p.dim() < 2 and wants[n] for n, p in zip(wants, parameters, strict=True))
    d_vectors = [torch.zeros(v.shape) if some else None for v in vectors]
    executable = call.ready.executable(training=True)
    weight_count, vector_count, _, _ = executable.counts
    arguments = [*_place(x), *_place(dy), *_place(dx)]
    for d, m in list(zip(d_matrices.values(), matrices, strict=True))[:weight_count]:
        arguments += (0 if d is None else d.data_ptr(), m.numel())
    for d, v in list(zip(d_vectors, vectors, strict=True))[:vector_count]:
        arguments += (0 if d is None else d.data_ptr(), v.numel())
    arguments += [0 if d is None else d.data_ptr() for d in d_final]
    arguments += [0 if d is None else d.data_ptr() for d in d_states]
    packs = call.ready.packs(matrices, training=True, transposed=True)
    executable.backward(holder.kept, packs, arguments)
    named: dict[str, Tensor | None] = dict(d_matrices)
    if some:
        named |= _vector_gradients(ctx, call, wants, d_vectors)
    gradients = [named.get(name) if wants[name] else None for name in call.ready.names]
    return None, dx, *d_states, *gradients, *(None for _ in externs)


def _vector_gradients(
    ctx: Any, call: Call, wants: dict[str, bool], d_vectors: list[Tensor | None]
) -> dict[str, Tensor | None]:
    """From the gradients of the plan's vectors to those of the cell's parameters of one dimension."""
    own = len(call.ready.vectors)
    found = dict(zip(call.ready.vectors, d_vectors[:own], strict=True))
    computed = [
        (v, d) for v, d in zip(ctx.vectors[own:], d_vectors[own:], strict=True) if v.requires_grad
    ]
    if not computed:
        return found
    named = dict(zip(call.ready.names, ctx.leaves, strict=True))
    names = [name for name, leaf in named.items() if wants[name] and leaf.dim() < 2]
    parts = torch.autograd.grad(
        [v for v, _ in computed],
        [named[name] for name in names],
        [d for _, d in computed],
        retain_graph=True,
        allow_unused=True,
    )
    for name, part in zip(names, parts, strict=True):
        before = found.get(name)
        found[name] = part if before is None else before if part is None else before + part
    return found


def _through_the_loop(ctx: Any, dy: Tensor | None, d_final: Sequence[Tensor | None]) -> Any:
    """The same gradients as a differentiable function of inputs and gradients: the loop's."""
    call: Call = ctx.call
    x, *tensors, _ = ctx.saved_tensors
    states, parameters, externs = call.split(tensors)
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        outputs = _replay(call, x, states, parameters, externs)
    given = [(o, d) for o, d in zip(outputs, (dy, *d_final), strict=True) if d is not None]
    inputs = [x, *states, *parameters]
    wanted = [t for t, want in zip(inputs, ctx.needs_input_grad[1:], strict=False) if want]
    found = torch.autograd.grad(
        [o for o, _ in given],
        wanted,
        [d for _, d in given],
        create_graph=create_graph,
        allow_unused=True,
    )
    remaining = iter(found)
    ordered = [
        next(remaining) if want else None
        for _, want in zip(inputs, ctx.needs_input_grad[1:], strict=False)
    ]
    return None, *ordered, *(None for _ in externs)


def _replay(
    call: Call, x: Tensor, states: list[Tensor], parameters: list[Tensor], externs: list[Tensor]
) -> list[Tensor]:
    """Output and final states of the loop, from the very tensors of the call."""
    template = cast(Cell, call.cell)
    cell = template.bind(dict(zip(call.ready.names, parameters, strict=True)))
    left = list(externs)
    if template.recurrent_mask is not None:
        left.pop(0)
    template = cell.initial_state(1)
    zoneout = rebuild(template, left) if left else None
    start = rebuild(template, states)
    if call.segments is None:
        y, final = loop.run(
            cell, x, start, lengths=call.lengths, reverse=call.reverse, zoneout=zoneout
        )
    else:
        y, final = call.segments.replay(cell, x, start, zoneout=zoneout)
    return [y, *leaves(map_state(lambda t: t, final))]
