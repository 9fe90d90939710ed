"""Models: cells, layers and a head for one kind of problem."""

from unrolled.models.bag_of_words import BagOfWords
from unrolled.models.classifier import Classifier
from unrolled.models.language_model import LanguageModel
from unrolled.models.seq2seq import Seq2Seq
from unrolled.models.tagger import Tagger
from unrolled.models.vector_space import VectorSpace
from unrolled.models.window import WindowTagger
from unrolled.models.window_classifier import WindowClassifier
from unrolled.models.word_vectors import CBOW, GloVe, SkipGram

__all__ = [
    "BagOfWords",
    "CBOW",
    "Classifier",
    "GloVe",
    "LanguageModel",
    "Seq2Seq",
    "SkipGram",
    "Tagger",
    "VectorSpace",
    "WindowClassifier",
    "WindowTagger",
]
