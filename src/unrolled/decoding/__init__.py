"""Decoding: loops whose inputs are chosen from outputs. They know the step protocol and no model."""

from __future__ import annotations

from unrolled.decoding.sample import StepModel, filter_log_probs, sample, stream

__all__ = ["StepModel", "filter_log_probs", "sample", "stream"]
