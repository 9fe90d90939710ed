"""Baselines: models that learn by counting. A new one is one file here and one row of ``BASELINES``."""

from __future__ import annotations

from unrolled.baselines.baum_welch import HiddenStates
from unrolled.baselines.class_chains import ClassChains
from unrolled.baselines.counts import NGramCounts
from unrolled.baselines.hmm import HiddenMarkov
from unrolled.baselines.ibm1 import IBM1
from unrolled.baselines.joint_ngram import JointNGram
from unrolled.baselines.markov import Markov, MarkovState
from unrolled.baselines.mixture import Mixture, fit_weights, mix
from unrolled.baselines.ngram import KneserNey, NGramState
from unrolled.baselines.phrase_memory import PhraseMemory
from unrolled.baselines.ppmi import PpmiSvd
from unrolled.baselines.retrieval import Retrieval

BASELINES: dict[str, type[Markov] | type[KneserNey]] = {
    "markov": Markov,
    "kneser-ney": KneserNey,
}

__all__ = [
    "BASELINES",
    "ClassChains",
    "HiddenMarkov",
    "HiddenStates",
    "IBM1",
    "JointNGram",
    "KneserNey",
    "Markov",
    "MarkovState",
    "Mixture",
    "NGramCounts",
    "NGramState",
    "PhraseMemory",
    "PpmiSvd",
    "Retrieval",
    "fit_weights",
    "mix",
]
