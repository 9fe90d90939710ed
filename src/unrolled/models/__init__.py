"""Models: cells, layers and a head for one kind of problem."""

from unrolled.models.language_model import LanguageModel

__all__ = ["LanguageModel"]
