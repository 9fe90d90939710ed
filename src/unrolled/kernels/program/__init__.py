"""The compiler of cells: a step, traced once, becomes a program, and with sizes a plan for the engine."""

from __future__ import annotations

from unrolled.kernels.program.explaining import explain_program
from unrolled.kernels.program.hoisting import hoist
from unrolled.kernels.program.interface import sizes_of
from unrolled.kernels.program.ir import Program
from unrolled.kernels.program.planes import Plan
from unrolled.kernels.program.planning import plan
from unrolled.kernels.program.proxy import Untraceable
from unrolled.kernels.program.tracing import trace

__all__ = [
    "Plan",
    "Program",
    "Untraceable",
    "explain_program",
    "hoist",
    "plan",
    "sizes_of",
    "trace",
]
