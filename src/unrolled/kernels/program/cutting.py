"""Cutting: a program with more operands than the engine takes becomes several, one after the other."""

from __future__ import annotations

from collections.abc import Collection

from unrolled.kernels.program.instructions import Instruction
from unrolled.kernels.program.planes import BINDINGS, TEMPS


def cut(
    code: list[Instruction], copied: Collection[int], stored: Collection[int]
) -> tuple[list[Instruction], list[int], set[int]]:
    """Where a program is cut.

    Args:
        code: its instructions.
        copied: the values it writes to places, then or at its end.
        stored: the values it writes to planes.

    Returns:
        The instructions, with constants computed again in each part; the positions at which a part begins,
        the first left out; and the values that must be written to planes to reach a later part.
    """
    return _Cutter(code, copied, stored).run()


class _Cutter:
    def __init__(
        self, code: list[Instruction], copied: Collection[int], stored: Collection[int]
    ) -> None:
        self.code, self.copied, self.stored = code, copied, stored
        self.constants = {i.value: i for i in code if i.op == "const" and i.value not in stored}
        self.constants = {v: i for v, i in self.constants.items() if v not in copied}
        self.last: dict[int, int] = {}
        for position, instruction in enumerate(code):
            self.last.update(dict.fromkeys(instruction.args, position))
        self.last |= dict.fromkeys(copied, len(code))
        self.made: list[Instruction] = []
        self.cuts: list[int] = []
        self.crossing: set[int] = set()
        self.computed: set[int] = set()
        self._begin()

    def run(self) -> tuple[list[Instruction], list[int], set[int]]:
        for position, instruction in enumerate(self.code):
            if instruction.value not in self.constants:
                self._instruction(position, instruction)
        return self.made, self.cuts, self.crossing

    def _begin(self) -> None:
        self.bindings: set[tuple[str, int]] = set()
        self.temps: set[int] = set()

    def _instruction(self, position: int, instruction: Instruction) -> None:
        planes, temps = self._operands(instruction)
        room = BINDINGS - 2 * len(self.copied)  # for the copies at the end
        alive = {v for v in self.temps if self.last.get(v, -1) >= position} | temps
        if len(self.bindings | planes) > max(room, BINDINGS // 2) or len(alive) > TEMPS:
            self.crossing |= {v for v in alive if v in self.computed and v not in self.stored}
            self.cuts.append(len(self.made))
            self._begin()
            planes, alive = self._operands(instruction)
        for value in instruction.args:
            if value in self.constants and value not in self.temps:
                self.made.append(self.constants[value])
        self.made.append(instruction)
        self.bindings |= planes
        self.temps = alive
        if not instruction.sums:
            self.computed.add(instruction.value)

    def _operands(self, instruction: Instruction) -> tuple[set[tuple[str, int]], set[int]]:
        """The planes and temporaries of an instruction."""
        planes, temps = set(), set()
        for value in instruction.args:
            if value in self.temps or value in self.constants:
                temps.add(value)
            else:
                planes.add(("value", value))
        if instruction.sums:
            planes.add(("sum", instruction.value))
        elif instruction.value in self.stored or instruction.value in self.copied:
            planes.add(("value", instruction.value))
        if not instruction.sums and instruction.value not in self.stored:
            temps.add(instruction.value)
        return planes, temps
