"""Tasks: applications, each data + model + head + metrics + baselines + defaults.

``TASKS`` names the class that does the work, ``OPTIONS`` the dataclasses of its options; neither
imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

from unrolled.tasks import (
    classification_options,
    dialogue_options,
    embeddings_options,
    execution_options,
    language_modelling_options,
    tagging_options,
    translation_options,
    transliteration_options,
)
from unrolled.training.config import TrainingConfig

if TYPE_CHECKING:
    from unrolled.tasks.parts import Trained

TASKS: dict[str, str] = {
    "language-modelling": "unrolled.tasks.language_modelling:LanguageModelling",
    "tagging": "unrolled.tasks.tagging:Tagging",
    "classification": "unrolled.tasks.classification:Classification",
    "embeddings": "unrolled.tasks.embeddings:Embeddings",
    "translation": "unrolled.tasks.translation:Translation",
    "transliteration": "unrolled.tasks.transliteration:Transliteration",
    "dialogue": "unrolled.tasks.dialogue:Dialogue",
    "execution": "unrolled.tasks.execution:Execution",
}


@dataclass(frozen=True)
class TaskOptions:
    """What a task is and the dataclasses of its sections; the first model is the default.

    ``example`` are options of data that a first command may have.
    """

    summary: str
    data: type[Any]
    models: dict[str, type[Any]]
    training: type[Any] = TrainingConfig
    example: str = "--data.train corpus.txt"


OPTIONS: dict[str, TaskOptions] = {
    "language-modelling": TaskOptions(
        summary="Predict the next character or word of a text.",
        data=language_modelling_options.LanguageData,
        models={
            "recurrent": language_modelling_options.RecurrentModel,
            "markov": language_modelling_options.MarkovModel,
            "kneser-ney": language_modelling_options.KneserNeyModel,
            "mixture": language_modelling_options.MixtureModel,
        },
    ),
    "tagging": TaskOptions(
        summary="Tag each word of a sentence: parts of speech, entities, slots, residues.",
        example="--data.train train.conllu",
        data=tagging_options.TaggingData,
        models={
            "recurrent": tagging_options.RecurrentTagger,
            "hmm": tagging_options.HiddenMarkovModel,
            "window": tagging_options.WindowModel,
        },
        training=tagging_options.TaggingTraining,
    ),
    "classification": TaskOptions(
        summary="Predict a label, several, or a number for a text or a sequence.",
        example="--data.train train.tsv --data.text 1 --data.label 2",
        data=classification_options.ClassificationData,
        models={
            "recurrent": classification_options.RecurrentClassifier,
            "window": classification_options.WindowClassifier,
            "bag-of-words": classification_options.BagOfWordsModel,
            "markov": classification_options.ClassChainsModel,
        },
        training=classification_options.ClassificationTraining,
    ),
    "translation": TaskOptions(
        summary="Say one text for another: translate, act on commands.",
        example="--data.train corpus/train --data.source en --data.target de",
        data=translation_options.TranslationData,
        models={
            "recurrent": translation_options.RecurrentTranslator,
            "dictionary": translation_options.DictionaryModel,
            "phrases": translation_options.PhraseModel,
            "retrieval": translation_options.RetrievalModel,
        },
        training=translation_options.TranslationTraining,
    ),
    "transliteration": TaskOptions(
        summary="Say how words are pronounced, or write them in another script.",
        data=transliteration_options.TransliterationData,
        models={
            "recurrent": transliteration_options.RecurrentTransliterator,
            "joint-ngram": transliteration_options.JointNGramModel,
            "retrieval": transliteration_options.NearestWordModel,
        },
        training=transliteration_options.TransliterationTraining,
    ),
    "execution": TaskOptions(
        summary="Read a program, a sum or digits, and write what comes out: generated examples.",
        example="",
        data=execution_options.ExecutionData,
        models={
            "recurrent": execution_options.RecurrentExecutor,
            "ngram": execution_options.NGramExecutor,
        },
        training=execution_options.ExecutionTraining,
    ),
    "dialogue": TaskOptions(
        summary="Answer in a dialogue, all that was said before in mind.",
        example="--data.train dialogues.jsonl",
        data=dialogue_options.DialogueData,
        models={
            "recurrent": dialogue_options.RecurrentSpeaker,
            "ngram": dialogue_options.SymbolGrams,
            "retrieval": dialogue_options.RememberedReplies,
        },
        training=dialogue_options.DialogueTraining,
    ),
    "embeddings": TaskOptions(
        summary="Learn vectors of words from plain text.",
        data=embeddings_options.EmbeddingsData,
        models={
            "skip-gram": embeddings_options.SkipGramModel,
            "cbow": embeddings_options.CbowModel,
            "glove": embeddings_options.GloveModel,
            "ppmi-svd": embeddings_options.PpmiSvdModel,
        },
        training=embeddings_options.EmbeddingsTraining,
    ),
}


def load(run: str | PathLike[str]) -> Trained:
    """The trained model of a run directory, with ``predict`` and ``evaluate`` and what its task adds.

    Raises:
        RunError: if the directory is no finished run, damaged, or of a newer format.
    """
    from unrolled.errors import RunError
    from unrolled.training.run_directory import RunDirectory

    task = RunDirectory(run).read_description().get("task")
    if task not in TASKS:
        raise RunError(
            f"{run}: a run of the unknown task {task!r}; expected one of {', '.join(TASKS)}"
        )
    module, _, name = TASKS[task].partition(":")
    return getattr(import_module(module), name).load(run)  # type: ignore[no-any-return]


__all__ = ["OPTIONS", "TASKS", "TaskOptions", "load"]
