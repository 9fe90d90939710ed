"""Options of a search: what is out of range or does nothing is refused; the rest becomes a beam's."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from unrolled.decoding.beam import BeamOptions
from unrolled.errors import ConfigError
from unrolled.tasks.search import LONGEST, Search


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beam_size": 0}, "--beam-size 0: expected 1 or more"),
        ({"length_penalty": -0.1}, "--length-penalty -0.1: expected 0 or more"),
        ({"coverage_penalty": float("inf")}, "--coverage-penalty inf: expected 0 or more"),
        ({"length_penalty": float("nan")}, "--length-penalty nan: expected 0 or more"),
        ({"min_length": -1}, "--min-length -1: expected 0 or more"),
        ({"max_length": 0}, "--max-length 0: expected 1 or more"),
        ({"min_length": 4, "max_length": 3}, "--min-length 4 is above --max-length 3"),
        ({"max_length": 2**31}, "--max-length 2147483648: expected 1 to 2147483647"),
        ({"min_length": 2**31}, "--min-length 2147483648: expected 0 to 2147483647"),
        ({"no_repeat_ngram": 0}, "--no-repeat-ngram 0: expected 1 or more"),
        ({"sample": True, "top_p": 0.0}, "--top-p 0.0: expected above 0, at most 1"),
        ({"sample": True, "top_p": 1.1}, "--top-p 1.1: expected above 0, at most 1"),
        ({"sample": True, "top_k": 0}, "--top-k 0: expected 1 or more"),
        ({"sample": True, "temperature": -1.0}, "--temperature -1.0: expected 0 or more"),
        ({"sample": True, "seed": -1}, "--seed -1: expected 0 or more"),
        ({"sample": True, "seed": 2**63}, "expected 0 to 2"),
        ({"sample": True, "beam_size": 4}, "--beam-size is of a beam, and --sample draws"),
        ({"sample": True, "length_penalty": 0.0}, "--length-penalty is of a beam"),
        ({"seed": 0}, "--seed is of samples; give --sample, too"),
        ({"top_p": 0.5}, "--top-p is of samples"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Search(**given)
    assert message in str(caught.value)


def test_absent_options_are_the_usual_ones() -> None:
    assert Search().beam() == BeamOptions(size=5, length_penalty=0.6, max_length=LONGEST)
    assert Search().beam(8).size == 8
    whole = Search(4, 1.0, 0.2, 2, 9, 3).beam(4)
    assert whole == BeamOptions(4, 4, 1.0, "wu", 0.2, 2, 9, 3)
    assert Search(min_length=20_000).beam().max_length == 20_001
    with pytest.raises(ConfigError, match="--beam-size 2 cannot give 3 answers"):
        Search(beam_size=2).beam(3)


def test_it_says_what_it_is() -> None:
    assert str(Search()) == "beam of 5, length penalty 0.6"
    told = str(Search(2, 0.0, 0.5, min_length=3, no_repeat_ngram=4))
    assert (
        told == "beam of 2, length penalty 0, coverage penalty 0.5, min-length 3, no-repeat-ngram 4"
    )
    drawn = Search(sample=True, temperature=0.0, top_k=3, top_p=0.9, seed=7, max_length=5)
    assert str(drawn) == "sampled with temperature 0, top-k 3, top-p 0.9, seed 7, max-length 5"
    assert Search().given() == ()
    assert Search(length_penalty=0.0).given() == ("--length-penalty",)


def test_it_imports_no_torch() -> None:
    code = (
        "import sys, unrolled.tasks.search, unrolled.cli.predict; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
