"""Outputs and their references in one form, whether they came as strings or as lists of tokens."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

Text = str | Sequence[Hashable]
"""A sentence: its tokens, or a string of them with white space between."""

References = Sequence[Sequence[Text | None]]
"""Lists of references, each with one for every output; None where a sentence has fewer than others."""


@dataclass(frozen=True)
class Segments:
    """N outputs and what each should have been.

    Attributes:
        outputs: N texts.
        references: of each output, one or more texts.

    >>> Segments.of(["a b"], [["a"], [None], ["b"]]).references
    (('a', 'b'),)
    """

    outputs: tuple[Text, ...]
    references: tuple[tuple[Text, ...], ...]

    @classmethod
    def of(cls, hypotheses: Sequence[Text], references: References) -> Segments:
        """From lists of references, each as long as the list of outputs.

        Raises:
            ValueError: nothing to score, lists of unequal lengths, or an output without any reference.
        """
        if isinstance(hypotheses, str):
            raise ValueError("the outputs are one string; expected a list of sentences")
        if not hypotheses:
            raise ValueError("no outputs; expected at least one sentence")
        if isinstance(references, str) or any(isinstance(each, str) for each in references):
            raise ValueError(
                "references are strings; expected lists of sentences: [references] if there is one"
            )
        if not references:
            raise ValueError("no references; expected at least one list of sentences")
        for number, each in enumerate(references):
            if len(each) != len(hypotheses):
                raise ValueError(
                    f"references {number}: {len(each)} sentences for {len(hypotheses)} outputs; "
                    "expected as many"
                )
        rows = []
        for index, row in enumerate(zip(*references, strict=True)):
            given = tuple(one for one in row if one is not None)
            if not given:
                raise ValueError(f"sentence {index} has no reference; expected at least one")
            rows.append(given)
        return cls(tuple(hypotheses), tuple(rows))

    def __len__(self) -> int:
        return len(self.outputs)


def tokens(text: Text) -> tuple[Hashable, ...]:
    """The tokens of a sentence.

    >>> tokens(" a  b "), tokens(["a b", "c"])
    (('a', 'b'), ('a b', 'c'))
    """
    return tuple(text.split()) if isinstance(text, str) else tuple(text)


def plain(text: Text) -> str:
    """The sentence as a string, one space between tokens that were given apart.

    >>> plain(["a", "b"])
    'a b'
    """
    return text if isinstance(text, str) else " ".join(map(str, text))
