"""How a model that says texts finds them: the options of a search by a beam, or of drawing samples.

One small dataclass is handed down from the command line to the decoders of :mod:`unrolled.decoding`. What is
None was not asked for, so that an option which does nothing is refused and not passed over. This file imports
no torch.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unrolled.errors import ConfigError

if TYPE_CHECKING:
    from unrolled.decoding.beam import BeamOptions
    from unrolled.decoding.draws import DrawOptions

BEAM_SIZE = 5  # outputs followed together, unless told otherwise
LENGTH_PENALTY = 0.6
GREATEST = 2**31 - 1  # of whole numbers but the seed
LONGEST = 10_000  # symbols of an output that no limit was given for

_BEAM = ("beam_size", "length_penalty", "coverage_penalty")
_SAMPLE = ("temperature", "top_k", "top_p", "seed")


@dataclass(frozen=True)
class Search:
    """How outputs are found. Lengths count symbols, whatever the model's texts are cut into.

    Attributes:
        beam_size: Outputs followed together; 5 when absent, or as many as answers if these are more.
        length_penalty: How much longer outputs are favoured, from 0 up; 0.6 when absent.
        coverage_penalty: How much it costs to leave parts of the source unread, from 0 up; 0 when absent.
        min_length: Symbols of an output, at least.
        max_length: Symbols of an output, at most, its end among them; when absent as many as fit the input.
        no_repeat_ngram: No sequence of so many symbols occurs twice in an output.
        sample: Draw outputs at random instead of searching for the likeliest.
        temperature: Of samples: below 1 likelier, above 1 more varied; 0 takes the likeliest symbols.
        top_k: Of samples: draw among the k likeliest symbols only.
        top_p: Of samples: draw among the likeliest symbols that hold this share of the probability.
        seed: Of samples: equal seeds draw equal outputs; 0 when absent.

    Raises:
        ConfigError: an option out of its range, or one that does nothing beside the others.

    >>> Search(temperature=0.5)
    Traceback (most recent call last):
    unrolled.errors.ConfigError: --temperature is of samples; give --sample, too
    >>> str(Search(beam_size=8))
    'beam of 8, length penalty 0.6'
    """

    beam_size: int | None = None
    length_penalty: float | None = None
    coverage_penalty: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    no_repeat_ngram: int | None = None
    sample: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for names, least in (
            (("beam_size", "max_length", "no_repeat_ngram", "top_k"), 1),
            (("length_penalty", "coverage_penalty", "min_length", "temperature", "seed"), 0),
        ):
            for name in names:
                value = getattr(self, name)
                if value is not None and not least <= value < math.inf:
                    raise ConfigError(f"{flag(name)} {value}: expected {least} or more")
                if name != "seed" and isinstance(value, int) and value > GREATEST:
                    raise ConfigError(f"{flag(name)} {value}: expected {least} to {GREATEST}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"--top-p {self.top_p}: expected above 0, at most 1")
        if self.seed is not None and self.seed >= 2**63:
            raise ConfigError(f"--seed {self.seed}: expected 0 to 2^63 - 1")
        shortest, longest = self.min_length, self.max_length
        if shortest is not None and longest is not None and shortest > longest:
            raise ConfigError(
                f"--min-length {shortest} is above --max-length {longest}; expected it below"
            )
        for name in _BEAM if self.sample else _SAMPLE:
            if getattr(self, name) is not None:
                told = (
                    "is of a beam, and --sample draws outputs; leave one of them out"
                    if self.sample
                    else "is of samples; give --sample, too"
                )
                raise ConfigError(f"{flag(name)} {told}")

    def given(self) -> tuple[str, ...]:
        """The flags of what was asked for.

        >>> Search(min_length=3, sample=True).given()
        ('--min-length', '--sample')
        """
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        return tuple(
            flag(name) for name, value in values if value is not None and value is not False
        )

    def beam(self, n_best: int = 1) -> BeamOptions:
        """The options of a beam that gives so many outputs, at least 1.

        Raises:
            ConfigError: more outputs than the beam keeps.
        """
        from unrolled.decoding.beam import BeamOptions

        if self.beam_size is not None and n_best > self.beam_size:
            raise ConfigError(
                f"--beam-size {self.beam_size} cannot give {n_best} answers; expected {n_best} or more"
            )
        penalty = self.length_penalty
        least = self.min_length or 0
        return BeamOptions(
            size=self.beam_size or max(BEAM_SIZE, n_best),
            n_best=n_best,
            length_penalty=LENGTH_PENALTY if penalty is None else penalty,
            coverage_penalty=self.coverage_penalty or 0.0,
            min_length=least,
            max_length=self.max_length or max(LONGEST, least + 1),
            no_repeat_ngram=self.no_repeat_ngram or 0,
        )

    def draws(self, never: tuple[int, ...] = ()) -> DrawOptions:
        """The options of samples, in which some symbols never are."""
        from unrolled.decoding.draws import DrawOptions

        least = self.min_length or 0
        return DrawOptions(
            temperature=1.0 if self.temperature is None else self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_length=least,
            max_length=self.max_length or max(LONGEST, least + 1),
            no_repeat_ngram=self.no_repeat_ngram or 0,
            never=never,
        )

    def __str__(self) -> str:
        """What a report of an evaluation says."""
        if self.sample:
            heat = 1.0 if self.temperature is None else self.temperature
            parts = [f"sampled with temperature {heat:g}"]
            parts += [f"top-k {self.top_k}"] if self.top_k is not None else []
            parts += [f"top-p {self.top_p:g}"] if self.top_p is not None else []
            parts.append(f"seed {self.seed or 0}")
        else:
            penalty = LENGTH_PENALTY if self.length_penalty is None else self.length_penalty
            parts = [f"beam of {self.beam_size or BEAM_SIZE}", f"length penalty {penalty:g}"]
            if self.coverage_penalty:
                parts.append(f"coverage penalty {self.coverage_penalty:g}")
        for name in ("min_length", "max_length", "no_repeat_ngram"):
            if value := getattr(self, name):
                parts.append(f"{flag(name)[2:]} {value}")
        return ", ".join(parts)


USUAL = Search()


def flag(name: str) -> str:
    """The option of a field on the command line."""
    return "--" + name.replace("_", "-")
