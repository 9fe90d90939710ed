"""Examples of learning to execute: additions, programs and digits to copy, as hard as a curriculum says.

Zaremba & Sutskever (2014, "Learning to execute", arXiv:1410.4615). An example is a text and what is to be
written after it. Each is drawn from (seed, index) alone, so that training can stop and go on anywhere. The
hash of its text says to which part an example belongs, for every seed: of the texts, 8 in 10 are in
``train``, 1 in ``valid`` and 1 in ``test``, and none is in two.

Curricula (section 4), towards a target (length, nesting) = (a, b):

- ``none``: every example is as hard as the target;
- ``naive``: by stages from (1, 1): first longer, then, from length 1 again, nested more deeply;
- ``mix``: every example has a length of 1 to a and a nesting of 1 to b, drawn uniformly;
- ``combined``: of five examples four as ``naive``, one as ``mix``, drawn at random.

:class:`ExampleLoader` makes batches of them, every one new, and moves along the curriculum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np

from unrolled.data.programs import check_sizes, draw_program, execute
from unrolled.errors import ConfigError, DataError, RunError

B = TypeVar("B")

CurriculumName = Literal["none", "naive", "mix", "combined"]
Kind = Literal["programs", "addition", "copying"]
Part = Literal["train", "valid", "test"]

MIXED = 0.2  # of the combined curriculum; the authors' program has one in five
ATTEMPTS = 1_000  # draws of which not one fell into the part: there are too few texts
BETWEEN = ";"  # what stands between the two readings of a text


@dataclass(frozen=True)
class Curriculum:
    """How hard the next example is.

    Args:
        name: ``none``, ``naive``, ``mix`` or ``combined``.
        length: a, the digits to reach.
        nesting: b, the operations to reach.

    >>> [Curriculum("naive", 2, 2).at(stage) for stage in range(4)]
    [(1, 1), (2, 1), (1, 2), (2, 2)]
    """

    name: CurriculumName
    length: int
    nesting: int = 1

    def __post_init__(self) -> None:
        if self.name not in get_args(CurriculumName):
            expected = ", ".join(get_args(CurriculumName))
            raise ConfigError(f"--data.curriculum is one of {expected}, not {self.name!r}")
        check_sizes(length=self.length, nesting=self.nesting)

    @property
    def stages(self) -> int:
        """The number of stages: a · b, or 1 for a curriculum without stages."""
        return self.length * self.nesting if self.name in ("naive", "combined") else 1

    def stage(self, progress: float) -> int:
        """The stage after a part of the training, ``progress`` from 0 to 1: all take equally long."""
        return min(max(int(progress * self.stages), 0), self.stages - 1)

    def at(self, stage: int) -> tuple[int, int]:
        """(length, nesting) of a stage from 0; those after the last are as the last.

        Raises:
            ConfigError: if the stage is negative.
        """
        if stage < 0:
            raise ConfigError(f"a curriculum's stage is at least 0, not {stage}")
        if stage >= self.stages - 1:
            return self.length, self.nesting
        return stage % self.length + 1, stage // self.length + 1

    def draw(self, rng: np.random.Generator, stage: int) -> tuple[int, int]:
        """(length, nesting) of one example."""
        current = self.at(stage)
        if self.name == "mix" or (self.name == "combined" and rng.random() < MIXED):
            return int(rng.integers(self.length)) + 1, int(rng.integers(self.nesting)) + 1
        return current


@dataclass(frozen=True, slots=True)
class Example:
    """A text, what follows it, and how hard it is.

    >>> Example("a=5\\nprint((a+6))", "11", 1, 1).stream
    'a=5#print((a+6))@11.'
    """

    source: str
    target: str
    length: int
    nesting: int

    @property
    def stream(self) -> str:
        """The form of the authors' stream of characters: # ends a line, @ the source, a dot the target."""
        return self.source.replace("\n", "#") + "@" + self.target + "."


@dataclass(frozen=True)
class Execution:
    """An endless source of examples that can be read anywhere.

    Args:
        kind: ``programs``; ``addition``, of two numbers; ``copying``, digits to repeat.
        length: the digits of numbers, or how many digits to copy.
        nesting: the operations of programs; 1 for the other kinds.
        curriculum: of the training part; the others are as hard as the target.
        part: ``train``, ``valid`` or ``test``.
        seed: examples of different seeds are different, but stay in their parts.
        up_to: numbers to add have any number of digits up to ``length``, each as often, instead of
            exactly so many.
        reverse: texts are read from the last character to the first, see :func:`as_read`.
        double: texts are read twice.

    >>> additions = Execution("addition", length=3)
    >>> additions[0].source, additions[0].target
    ('print(865+673)', '1538')
    >>> Execution("copying", length=5, reverse=True, double=True)[7].stream
    '96019;96019@91069.'

    Raises:
        ConfigError: if an option is out of its range or does not go with the kind.
    """

    kind: Kind = "programs"
    length: int = 4
    nesting: int = 1
    curriculum: CurriculumName = "none"
    part: Part = "train"
    seed: int = 0
    up_to: bool = False
    reverse: bool = False
    double: bool = False

    def __post_init__(self) -> None:
        for flag, given, expected in (
            ("kind", self.kind, get_args(Kind)),
            ("part", self.part, get_args(Part)),
        ):
            if given not in expected:
                raise ConfigError(f"--data.{flag} is one of {', '.join(expected)}, not {given!r}")
        Curriculum(self.curriculum, self.length, self.nesting)
        if self.kind != "programs" and self.nesting != 1:
            raise ConfigError(
                f"--data.nesting is 1 for {self.kind}, not {self.nesting}; only programs are nested"
            )
        if self.kind != "addition" and self.up_to:
            raise ConfigError(f"--data.up-to is for additions, not for {self.kind}")
        if self.seed < 0:
            raise ConfigError(f"the seed of examples is at least 0, not {self.seed}")

    @property
    def path(self) -> Curriculum:
        """The curriculum of this part."""
        name: CurriculumName = self.curriculum if self.part == "train" else "none"
        return Curriculum(name, self.length, self.nesting)

    @property
    def characters(self) -> str:
        """All characters that sources and targets may have, in order."""
        found = {
            "programs": "\n ()*+-0123456789:<=>abcdefghijklmnopqrstuvwxyz",
            "addition": "()+0123456789inprt",
            "copying": "0123456789",
        }[self.kind]
        return "".join(sorted(found + BETWEEN)) if self.double else found

    def __getitem__(self, index: int) -> Example:
        """Example ``index``, as hard as the last stage of the curriculum says."""
        return self.example(index, self.path.stages - 1)

    def example(self, index: int, stage: int) -> Example:
        """Example ``index`` at a stage of the curriculum; the same for the same arguments.

        Raises:
            ConfigError: if the stage is negative.
            DataError: if the index is negative, or there are so few texts that none is in this part.
        """
        if index < 0:
            raise DataError(f"examples are counted from 0; there is no example {index}")
        rng = np.random.default_rng([self.seed, get_args(Part).index(self.part), index])
        length, nesting = self.path.draw(rng, stage)
        for _ in range(ATTEMPTS):
            plain, target, digits = self._draw(rng, length, nesting)
            if part_of(plain) == self.part:
                source = as_read(plain, reverse=self.reverse, double=self.double)
                return Example(source, target, digits, nesting)
        raise DataError(
            f"of {ATTEMPTS} texts of {self.kind} with length {length} none is in the part {self.part!r}; "
            "give a greater --data.length"
        )

    def _draw(self, rng: np.random.Generator, length: int, nesting: int) -> tuple[str, str, int]:
        """A text before any change, its target, and its length: of numbers to add the longer's."""
        if self.kind == "programs":
            program = draw_program(rng, length=length, nesting=nesting)
            return str(program), str(execute(program)), length
        if self.kind == "addition":
            digits = rng.integers(1, length + 1, 2).tolist() if self.up_to else [length] * 2
            low = (10 ** (n - 1) if n > 1 else 0 for n in digits)
            a, b = (int(rng.integers(least, 10**n)) for least, n in zip(low, digits, strict=True))
            return f"print({a}+{b})", str(a + b), max(digits)
        text = "".join(map(str, rng.integers(0, 10, length).tolist()))
        return text, text, length


def part_of(text: str) -> Part:
    """The part that a text belongs to, by its hash.

    >>> part_of("print(1+1)")
    'train'
    """
    place = int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) % 10
    return "test" if place == 0 else "valid" if place == 1 else "train"


def as_read(text: str, *, reverse: bool = False, double: bool = False) -> str:
    """A text as a network reads it (section 3.3): backwards, or twice with ``;`` between, or both.

    >>> as_read("123", reverse=True, double=True)
    '321;321'
    """
    read = text[::-1] if reverse else text
    return f"{read}{BETWEEN}{read}" if double else read


def distinct(source: Execution, count: int) -> list[Example]:
    """The first examples of a source that have different texts, at most so many.

    There are fewer where there are not so many texts: after a thousand draws without a new one none is
    looked for any more.

    >>> len(distinct(Execution("addition", length=1, part="test"), 5000))
    6
    """
    found: dict[str, Example] = {}
    index = idle = 0
    while len(found) < count and idle < ATTEMPTS:
        example = source[index]
        index, idle = index + 1, idle + 1
        if example.source not in found:
            found[example.source], idle = example, 0
    return list(found.values())


class ExampleLoader(Generic[B]):
    """Batches of examples of which every one is new, exactly resumable.

    Batch ``k`` of all epochs holds the examples from ``k * batch_size`` on, at the stage of the curriculum
    that comes after ``k / total`` of its stages.

    Args:
        source: the examples.
        collate: makes a batch of some of them.
        batch_size: examples of a batch, over all processes.
        batches: of an epoch.
        total: batches in which the stages of the curriculum pass; None where that is not known.
        rows: those of each batch that are this process's, for instance ``slice(rank, None, processes)``.

    Raises:
        ConfigError: a size below 1, fewer examples in a batch than processes, or a curriculum with stages
            and no ``total``.

    >>> loader = ExampleLoader(Execution("copying", length=2), list, batch_size=2, batches=3, total=6)
    >>> len([example.target for batch in loader for example in batch]), loader.state_dict()
    (6, {'epoch': 1, 'position': 0})
    """

    def __init__(
        self,
        source: Execution,
        collate: Callable[[Sequence[Example]], B],
        *,
        batch_size: int,
        batches: int,
        total: int | None,
        rows: slice = slice(None),
    ) -> None:
        if batch_size < 1 or batches < 1:
            given = f"batch_size={batch_size}, batches={batches}"
            raise ConfigError(f"a batch and an epoch have at least one example; given {given}")
        if batch_size < (rows.step or 1):
            raise ConfigError(
                f"--training.batch-size {batch_size} leaves none for one of the {rows.step} processes"
            )
        if total is None and source.path.stages > 1:
            raise ConfigError(
                f"--data.curriculum {source.curriculum} must know the end of training; give "
                "--training.max-epochs or --training.max-steps, or the curriculum mix or none"
            )
        self._source, self._collate = source, collate
        self._batch_size, self._batches, self._total = batch_size, batches, total
        self._rows = range(batch_size)[rows]
        self._epoch = 0
        self._position = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._batches

    def __iter__(self) -> Iterator[B]:
        """The batches that remain of the epoch; at their end the next epoch begins.

        The place is moved on before a batch is handed out, as in
        :class:`unrolled.data.buckets.BucketLoader`.
        """
        epoch = self._epoch
        while self._epoch == epoch and self._position < self._batches:
            number = epoch * self._batches + self._position
            self._position += 1
            yield self._collate(self.examples(number))
        if self._epoch == epoch:
            self._epoch, self._position = epoch + 1, 0

    def examples(self, number: int) -> list[Example]:
        """This process's examples of batch ``number``, counted over all epochs from 0."""
        stage = self._source.path.stage(number / self._total if self._total else 0.0)
        first = number * self._batch_size
        return [self._source.example(first + row, stage) for row in self._rows]

    def state_dict(self) -> dict[str, int]:
        """The place: the epoch and how many of its batches have been taken."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place that :meth:`state_dict` gave.

        Raises:
            RunError: no such place.
        """
        epoch, position = (
            value if type(value := state.get(name)) is int else -1 for name in ("epoch", "position")
        )
        if epoch < 0 or not 0 <= position <= self._batches:
            raise RunError(
                f"no place {dict(state)} in epochs of {self._batches} batches; the data and the batch "
                "size must be those of the checkpoint"
            )
        self._epoch, self._position = epoch, position
