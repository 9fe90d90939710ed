"""Synonyms by WordNet (Miller 1995, "WordNet: a lexical database for English"): words that share a synset.

Reads the database's own files: ``index.noun`` (and ``verb``, ``adj``, ``adv``) lists the synsets of each
lemma, ``noun.exc`` the base forms of irregular words. Base forms of regular words come from endings taken
off, as WordNet's own *morphy* does (its manual page ``morphy(7WN)``).
"""

from __future__ import annotations

import os
from pathlib import Path

from unrolled.errors import DataError

ENVIRONMENT = "WNSEARCHDIR"  # WordNet's own name for it
DEFAULT = Path("/usr/share/wordnet")  # of Debian's wordnet-base

_ENDINGS = {
    "noun": (
        *(("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z")),
        *(("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y")),
    ),
    "verb": (
        *(("s", ""), ("ies", "y"), ("es", "e"), ("es", "")),
        *(("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    ),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}


def wordnet_folder() -> Path:
    """Where WordNet's files are looked for: ``WNSEARCHDIR``, else ``/usr/share/wordnet``."""
    named = os.environ.get(ENVIRONMENT)
    return Path(named) if named else DEFAULT


class WordNet:
    """The synsets of words.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for part in ("noun", "verb", "adj", "adv"):
    ...         _ = Path(folder, f"{part}.exc").write_text("")
    ...         _ = Path(folder, f"index.{part}").write_text("auto n 1 0 1 0 02\\ncar n 1 0 1 0 02\\n")
    ...     WordNet(folder).synonyms("cars", "auto")
    True
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        """Opens the files.

        Args:
            folder: where they are; :func:`wordnet_folder` when absent.

        Raises:
            DataError: a file is missing or cannot be read.
        """
        self.folder = Path(folder) if folder is not None else wordnet_folder()
        self._index = {part: self._lines(f"index.{part}") for part in _ENDINGS}
        self._exceptions = {part: self._lines(f"{part}.exc") for part in _ENDINGS}
        self._known: dict[str, frozenset[tuple[str, int]]] = {}

    def synonyms(self, one: str, other: str) -> bool:
        """Whether two words are in one synset, each in any of its base forms."""
        return not self.synsets(one).isdisjoint(self.synsets(other))

    def synsets(self, word: str) -> frozenset[tuple[str, int]]:
        """Part of speech and number of each synset of the word or of a base form of it; kept."""
        if word not in self._known:
            self._known[word] = self._synsets(word)
        return self._known[word]

    def _synsets(self, word: str) -> frozenset[tuple[str, int]]:
        lemma = word.lower().replace(" ", "_")
        if not lemma or any(character.isspace() for character in lemma):
            return frozenset()
        return frozenset(
            (part, synset)
            for part in _ENDINGS
            for form in {lemma, *self._base_forms(lemma, part)}
            for synset in self._entry(form, part)
        )

    def _base_forms(self, lemma: str, part: str) -> list[str]:
        """As morphy: those of the exception list, else what is left without an ending."""
        if found := self._exceptions[part].get(lemma.encode(errors="surrogatepass")):
            return found[1].decode("utf-8", errors="replace").split()
        return [
            lemma.removesuffix(ending) + instead
            for ending, instead in _ENDINGS[part]
            if lemma.endswith(ending) and len(lemma) > len(ending)
        ]

    def _entry(self, lemma: str, part: str) -> list[int]:
        """The synsets of a lemma: the last ``synset_cnt`` fields of its line."""
        found = self._index[part].get(lemma.encode(errors="surrogatepass"))
        if not found:
            return []
        line, text = found
        fields = text.split()
        try:
            count = int(fields[1])
            if not 0 < count <= len(fields) - 2:
                raise ValueError
            return [int(field) for field in fields[-count:]]
        except (IndexError, ValueError):
            message = f"the line of {lemma!r} names no synsets; install WordNet's files again"
            raise DataError(message, path=self.folder / f"index.{part}", line=line) from None

    def _lines(self, name: str) -> dict[bytes, tuple[int, bytes]]:
        """By its first field, the number of each line and its rest; the licence begins with spaces."""
        path = self.folder / name
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            message = (
                f"cannot be read: {error.strerror or error}; expected WordNet's files there "
                f"(Debian: wordnet-base) or in the folder that {ENVIRONMENT} names"
            )
            raise DataError(message, path=path) from error
        parted = ((number, line.partition(b" ")) for number, line in enumerate(lines, start=1))
        return {first: (number, rest) for number, (first, _, rest) in parted if first}
