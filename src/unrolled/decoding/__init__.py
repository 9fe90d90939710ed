"""Decoding: loops whose inputs are chosen from outputs, and best paths and sums of chains. They know the
step protocol or tables of scores, and no model."""

from __future__ import annotations

from unrolled.decoding.sample import StepModel, filter_log_probs, sample, stream

__all__ = ["StepModel", "filter_log_probs", "sample", "stream"]
