"""Decoding: loops whose inputs are chosen from outputs, and best paths and sums of chains. They know the
step protocol or tables of scores, and no model."""

from __future__ import annotations

from unrolled.decoding.beam import BeamOptions, beam
from unrolled.decoding.draws import DrawOptions, draw, generators
from unrolled.decoding.ensemble import Ensemble
from unrolled.decoding.forced import score_targets
from unrolled.decoding.greedy import greedy
from unrolled.decoding.hypotheses import Hypothesis
from unrolled.decoding.sample import StepModel, filter_log_probs, sample, stream

__all__ = [
    "BeamOptions",
    "DrawOptions",
    "Ensemble",
    "Hypothesis",
    "StepModel",
    "beam",
    "draw",
    "filter_log_probs",
    "generators",
    "greedy",
    "sample",
    "score_targets",
    "stream",
]
