r"""Pieces of words, learnt from counted words by Hugging Face's ``tokenizers``.

Byte pair encoding (Sennrich, Haddow & Birch 2016, section 3.2) joins, again and again, the pair of
neighbouring pieces that is seen most often. The unigram model (Kudo 2018, section 3.2) starts from many
pieces and drops those whose loss harms the likelihood of the words least, where
:math:`P(w) = \sum_{p_1 \dots p_n = w} \prod_i P(p_i)`. Both keep the alphabet, so that every word of known
characters can be spelt.

A word is cut as it stands behind one space: the space is a character of the first piece, which no other
character of a word can be mistaken for, and the pieces joined are the text. Unknown characters never
reach the library, which would drop them (byte pair encoding) or refuse them (unigram).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Literal

from unrolled.errors import ConfigError

SubwordKind = Literal["bpe", "unigram"]

_AT_ONCE = 1000  # copies of a word in one text given to the library
_FEWEST = (
    10  # pieces of a unigram model; its trainer drops pieces for ever to get below 11/10 of fewer
)
_PUT_BACK = 1e-4  # between the scores of two characters put back
_DECIMALS = 6  # of the log-probabilities; what is beyond depends on the order of summation


def library() -> Any:
    """The package ``tokenizers``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise ConfigError(
            "vocabularies of pieces of words need the package tokenizers, which is not installed; "
            "pip install 'unrolled[tokenizers]', or take words or characters"
        ) from None
    return tokenizers


def runs(word: str, alphabet: Container[str]) -> Iterator[tuple[str, bool]]:
    """The longest stretches of known and of unknown characters, in order.

    >>> list(runs(" a☂☂b", set(" ab")))
    [(' a', True), ('☂☂', False), ('b', True)]
    """
    for known, stretch in groupby(word, alphabet.__contains__):
        yield "".join(stretch), known


def learn(words: Mapping[str, int], kind: SubwordKind, *, size: int, min_count: int) -> str:
    """Learns pieces.

    Args:
        words: how often each word is seen, without white space.
        kind: byte pair encoding or unigram.
        size: at most so many pieces, those of one character included; fewer where the text has no more.
        min_count: characters that are rarer are left out, as are pairs to join; a pair seen once never is.

    Returns:
        The model as the JSON text of the library, the same for the same words in the same order on
        every run.

    Raises:
        ConfigError: the size is smaller than the alphabet, or the library is not installed.

    >>> pieces(learn({"abab": 2}, "bpe", size=6, min_count=1))
    (' ', 'a', 'b', 'ab', ' ab', ' abab')
    """
    tokenizers = library()
    characters: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    alphabet = {" "} | {c for c, count in characters.items() if count >= min_count}
    least = max(len(alphabet), _FEWEST if kind == "unigram" else 0)
    if size < least:
        raise ConfigError(
            f"--data.vocabulary-size leaves room for {size} pieces; {kind} needs {least} at least, as "
            f"the text has {len(alphabet)} different characters; make it {least - size} larger"
        )
    trainers = tokenizers.trainers
    if kind == "bpe":
        model = tokenizers.models.BPE()
        trainer = trainers.BpeTrainer(
            vocab_size=size, min_frequency=max(2, min_count), show_progress=False, special_tokens=[]
        )
    else:
        model = tokenizers.models.Unigram()
        trainer = trainers.UnigramTrainer(
            vocab_size=size, show_progress=False, special_tokens=[], unk_token=None
        )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("\n", "removed")
    with _one_thread():
        tokenizer.train_from_iterator(_texts(words, alphabet), trainer)
    content = json.loads(tokenizer.to_str())
    if kind == "unigram":
        content["model"]["vocab"] = _settle(content["model"]["vocab"], size)
    return canonical(content)


def pieces(model: str) -> tuple[str, ...]:
    """The pieces of a model in the order of their numbers, a word's first with its space."""
    vocabulary = json.loads(model)["model"]["vocab"]
    if isinstance(vocabulary, dict):
        return tuple(sorted(vocabulary, key=vocabulary.__getitem__))
    return tuple(piece for piece, _ in vocabulary)


def canonical(content: object) -> str:
    """JSON text that depends on the content only."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _texts(words: Mapping[str, int], alphabet: set[str]) -> Iterable[str]:
    """Each known stretch of the words, on a line of its own, as often as it was seen."""
    for word, count in words.items():
        for run, known in runs(" " + word, alphabet):
            for done in range(0, count if known else 0, _AT_ONCE):
                yield "\n".join([run] * min(_AT_ONCE, count - done))


def _settle(vocabulary: list[list[Any]], size: int) -> list[list[Any]]:
    """The same pieces on every run, though the trainer walks through the words in an order drawn anew.

    That order shows in the last digits of the scores, among equal scores, and among the characters that
    training left out and the trainer puts back, each a little above the lowest score. Of those there may
    be more than there is room for.
    """
    lowest = min(score for _, score in vocabulary)
    put_back = lowest + _PUT_BACK * len(vocabulary)
    for row in vocabulary:
        row[1] = round(lowest if len(row[0]) == 1 and row[1] < put_back else row[1], _DECIMALS)
    vocabulary.sort(key=lambda row: (-row[1], row[0]))
    room = size - sum(len(piece) == 1 for piece, _ in vocabulary)
    longer = [piece for piece, _ in vocabulary if len(piece) > 1][:room]
    kept = set(longer)
    return [row for row in vocabulary if len(row[0]) == 1 or row[0] in kept]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Nor does a process that forks later get the library's warning about threads it had."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
