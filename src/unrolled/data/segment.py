"""Text to numbers and back: white-space words, characters, or pieces of words learnt from the text.

Number 0 is ``<unk>``, 1 ``<s>`` (start) and 2 ``</s>`` (end); the learnt symbols follow. These three are no
text: where they stand in a text, they are spelt like any word or are unknown. There is no Unicode
normalisation. One vocabulary for both sides of a translation is one fitted to the texts of both.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from unrolled.data import subwords
from unrolled.data.atomic import replacing
from unrolled.errors import ConfigError, DataError, RunError

Kind = Literal["words", "characters", "bpe", "unigram"]

UNKNOWN, START, END = 0, 1, 2
SPECIAL = ("<unk>", "<s>", "</s>")

_FORMAT = 1
_REMEMBERED = 100_000  # words whose pieces are kept
_LONG = 64  # characters of a word too rare to be kept


@dataclass(frozen=True)
class Segmenter:
    """A vocabulary and how to cut text into its symbols. Two are equal if they do the same.

    Attributes:
        kind: ``words`` between white space; ``characters``, white space too, where decoding is exact; or
            pieces of words by ``bpe`` or ``unigram`` (:mod:`unrolled.data.subwords`).
        symbols: all of them by number, :data:`SPECIAL` first. A piece that begins a word begins with
            a space.
        lowercase: whether text is put into small letters first.
        model: of pieces, the model as the JSON text of ``tokenizers``.

    >>> segmenter = Segmenter.fit(["to be or not to be"], kind="bpe", size=14)
    >>> segmenter.tokens(segmenter.encode("to  not  bet"))
    ['▁to', '▁', 'n', 'o', 't', '▁be', 't']
    >>> segmenter.decode(segmenter.encode("to  not  bet"))
    'to not bet'
    >>> segmenter.decode([1, *segmenter.encode("do be"), 2])
    '<unk>o be'
    """

    kind: Kind
    symbols: tuple[str, ...]
    lowercase: bool = False
    model: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ConfigError(f"text is cut into {_kinds()}, not {self.kind!r}")
        if self.symbols[: len(SPECIAL)] != SPECIAL:
            raise ValueError(f"the first symbols of a segmenter are {', '.join(SPECIAL)}")

    @classmethod
    def fit(
        cls,
        texts: Iterable[str],
        *,
        kind: Kind = "bpe",
        size: int = 8000,
        min_count: int = 1,
        lowercase: bool = False,
    ) -> Segmenter:
        """Learns the symbols of texts, which are read once; kept are the counts of different words.

        Args:
            texts: lines or documents.
            kind: what the symbols are.
            size: at most so many symbols, the three special ones included; the most frequent stay, ties
                in order of appearance. 0 keeps all words or characters.
            min_count: words or characters seen less often become unknown; of pieces the characters do.
            lowercase: as above.

        Raises:
            ConfigError: a size below the alphabet, a limit out of range, or no ``tokenizers``.
            DataError: there is nothing but white space in the texts, or half of a surrogate pair.
        """
        if kind not in get_args(Kind):
            raise ConfigError(f"text is cut into {_kinds()}, not {kind!r}")
        pieces = kind in ("bpe", "unigram")
        room = size - len(SPECIAL)
        if room < 1 and (pieces or size != 0):
            all_ = "" if pieces else ", or 0 to keep all"
            least = len(SPECIAL) + 1
            raise ConfigError(f"--data.vocabulary-size is at least {least}{all_}, not {size}")
        if min_count < 1:
            raise ConfigError(f"min_count is at least 1, not {min_count}")
        counts: Counter[str] = Counter()
        for text in texts:
            cased = text.lower() if lowercase else text
            counts.update(cased if kind == "characters" else cased.split())
        if not any(symbol.strip() for symbol in counts):
            raise DataError("no word in the texts; expected some to learn a vocabulary from")
        try:
            "".join(counts).encode()
        except UnicodeEncodeError:
            message = "half of a surrogate pair (\\ud800 to \\udfff) in the texts; expected Unicode"
            raise DataError(message) from None
        if kind == "bpe" or kind == "unigram":
            model = subwords.learn(counts, kind, size=room, min_count=min_count)
            return cls(kind, SPECIAL + subwords.pieces(model), lowercase, model)
        ranked = (s for s, n in counts.most_common() if n >= min_count and s not in SPECIAL)
        return cls(kind, (*SPECIAL, *itertools.islice(ranked, room if size else None)), lowercase)

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        return f"Segmenter of {len(self)} {self.kind}"

    def encode(self, text: str) -> list[int]:
        """The numbers of a text, without start and end. A word not known, or a stretch of unknown
        characters within a word, is one 0; of ``characters`` each unknown one is."""
        if self.lowercase:
            text = text.lower()
        known = self._known
        if self.kind == "characters":
            return [known.get(character, UNKNOWN) for character in text]
        if self.kind == "words":
            return [known.get(word, UNKNOWN) for word in text.split()]
        ids: list[int] = []
        pieces = self._pieces
        for word in text.split():
            ids += pieces.get(word) or self._cut(word)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of numbers; start and end have none. The inverse of :meth:`encode` where nothing is
        unknown, with one space between words (of ``characters`` the spaces that there were).

        Raises:
            ValueError: a number that no symbol has.
        """
        symbols = [self.symbols[i] for i in self._checked(ids) if i != START and i != END]
        if self.kind == "words":
            return " ".join(symbols)
        text = "".join(symbols)
        return text if self.kind == "characters" else " ".join(text.split())

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The symbols of numbers to look at; the space that begins a word's first piece is a ``▁``.

        Raises:
            ValueError: a number that no symbol has.
        """
        symbols = [self.symbols[i] for i in self._checked(ids)]
        if self.kind == "bpe" or self.kind == "unigram":
            return [symbol.replace(" ", "▁") for symbol in symbols]
        return symbols

    def save(self, path: str | PathLike[str]) -> None:
        """Write JSON with a checksum; the file appears whole or not at all.

        Raises:
            RunError: the place cannot be written.
        """
        content: dict[str, Any] = {"kind": self.kind, "lowercase": self.lowercase}
        if self.model:
            content["tokenizers"] = json.loads(self.model)
        else:
            content["symbols"] = self.symbols
        whole = {"format_version": _FORMAT, "sha256": _digest(content), **content}
        text = json.dumps(whole, ensure_ascii=False, indent=0)
        with replacing(path) as file:
            file.write(text.encode("utf-8") + b"\n")

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Segmenter:
        """Read what :meth:`save` wrote.

        Raises:
            RunError: the file is missing, truncated, altered, or of a newer format.
        """
        try:
            content: Any = json.loads(Path(path).read_bytes())
            newer = int(content["format_version"]) > _FORMAT
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunError(f"{path}: the vocabulary cannot be read ({reason})") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(f"{path}: {_damaged('no vocabulary, or cut short')}") from error
        version = content.pop("format_version")
        if newer:
            raise RunError(
                f"{path}: format {version} is newer than {_FORMAT}, the newest known here; "
                "update unrolled"
            )
        digest = content.pop("sha256", None)
        try:
            if _digest(content) != digest:
                raise ValueError("another checksum")
            if "tokenizers" not in content:
                return cls(content["kind"], tuple(content["symbols"]), content["lowercase"])
            model = subwords.canonical(content["tokenizers"])
            symbols = SPECIAL + subwords.pieces(model)
            return cls(content["kind"], symbols, content["lowercase"], model)
        except (ValueError, KeyError, TypeError) as error:
            message = _damaged("the symbols do not fit their checksum")
            raise RunError(f"{path}: {message}") from error

    def _checked(self, ids: Iterable[int]) -> list[int]:
        numbers = [int(i) for i in ids]
        if numbers and not (min(numbers) >= 0 and max(numbers) < len(self)):
            raise ValueError(
                f"the numbers of this vocabulary go from 0 to {len(self) - 1}; "
                f"{min(numbers)} to {max(numbers)} were given"
            )
        return numbers

    @cached_property
    def _known(self) -> dict[str, int]:
        """The numbers of the learnt symbols; spelt out in a text, the special ones are unknown."""
        return {s: i for i, s in enumerate(self.symbols) if i >= len(SPECIAL)}

    @cached_property
    def _model(self) -> Any:
        return subwords.library().Tokenizer.from_str(self.model).model

    @cached_property
    def _pieces(self) -> dict[str, list[int]]:
        """Words and their pieces, since most words of a text come again."""
        return {}

    def _cut(self, word: str) -> list[int]:
        """The numbers of the pieces of a word."""
        ids: list[int] = []
        for run, known in subwords.runs(" " + word, self._known):
            if known:
                ids += [piece.id + len(SPECIAL) for piece in self._model.tokenize(run)]
            else:
                ids.append(UNKNOWN)
        if len(self._pieces) >= _REMEMBERED:
            self._pieces.clear()
        if len(word) <= _LONG:
            self._pieces[word] = ids
        return ids


def _kinds() -> str:
    *most, last = get_args(Kind)
    return f"{', '.join(most)} or {last}"


def _digest(content: object) -> str:
    """SHA-256 over JSON, where lengths and order cannot be confused."""
    return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()


def _damaged(what: str) -> str:
    return f"{what}; restore the file from a copy or train again"
