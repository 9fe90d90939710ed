"""Words and what they become, from pronouncing dictionaries and pairs, in parts by a hash of each word.

An example has all right answers of its word, whether they stood in one line or in several.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from unrolled.data.pairs import PairFields, read_pairs
from unrolled.data.pronunciations import part_of, read_pronunciations
from unrolled.errors import DataError
from unrolled.tasks import parts
from unrolled.tasks.translation_data import Example
from unrolled.tasks.transliteration_options import TransliterationData

_LOG = logging.getLogger("unrolled.tasks")


def read_words(path: Path, fields: PairFields | None, *, stress: bool = False) -> list[Example]:
    """The words of a file, each once, in order of appearance.

    Args:
        path: the file, or what the names of parallel files have in common.
        fields: where source and targets of pairs stand; None for a pronouncing dictionary.
        stress: whether the vowels of a dictionary keep their digits.

    Raises:
        DataError: what :func:`~unrolled.data.pronunciations.read_pronunciations` or
            :func:`~unrolled.data.pairs.read_pairs` find; a pair with an empty side.
    """
    if fields is None:
        entries = read_pronunciations(path, stress=stress)
        return [Example(e.word, tuple(map(" ".join, e.pronunciations))) for e in entries]
    found: dict[str, dict[str, None]] = {}
    for pair in read_pairs(path, fields):
        source, *targets = (plain(text) for text in (pair.source, *pair.references))
        for text, name in ((source, "source"), *((target, "target") for target in targets)):
            if not text:
                raise DataError(f"the {name} is empty; expected a word", path=path, line=pair.line)
        if not targets:
            raise DataError("the pair has no target; expected one", path=path, line=pair.line)
        found.setdefault(source, {}).update(dict.fromkeys(targets))
    return [Example(source, tuple(targets)) for source, targets in found.items()]


def fields_of(data: TransliterationData) -> PairFields | None:
    """Where source and targets of pairs stand; None for a pronouncing dictionary."""
    return PairFields(data.source, data.target) if data.source else None


def prepare(data: TransliterationData, folder: Path) -> None:
    """Reads the files of all parts and writes their examples to ``folder/cache``, as ``parts.prepare`` does.

    Which training words are held out where a file is missing, their hashes say
    (:func:`~unrolled.data.pronunciations.part_of`).

    Raises:
        DataError: what :func:`read_words` finds; nothing is left to learn from.
    """
    cache = folder / "cache"
    if (cache / "train.jsonl").exists():
        return
    read = partial(_objects, fields=fields_of(data), stress=data.stress)
    found: dict[str, list[dict[str, Any]]] = {}
    shares = {"valid": data.valid_share, "test": data.test_share}
    for name, path in (("valid", data.valid), ("test", data.test)):
        if path is not None:
            found[name] = parts.examples_of(path, read)
            shares[name] = 0.0
    for example in parts.examples_of(data.train, read):
        part = part_of(example["source"], valid_share=shares["valid"], test_share=shares["test"])
        found.setdefault(part, []).append(example)
    if "train" not in found:
        raise DataError("no word is left to learn from; hold fewer out", path=data.train)
    for name, share in shares.items():
        if share and name not in found:
            _LOG.warning(
                "%s: none of its words falls to the %s part; give a file, --data.%s",
                data.train,
                name,
                name,
            )
    cache.mkdir(exist_ok=True)
    for name in ("valid", "test", "train"):  # train last: its presence says that all are there
        if name in found:
            parts.write_examples(cache / f"{name}.jsonl", found[name])


def _objects(path: Path, *, fields: PairFields | None, stress: bool) -> Iterator[dict[str, Any]]:
    return (example.to_json() for example in read_words(path, fields, stress=stress))


def plain(text: str) -> str:
    """A text without spaces at its ends, and with one where there are several."""
    return " ".join(text.split())


def singly(examples: list[Example]) -> list[Example]:
    """Every right answer as an example of its own.

    >>> singly([Example("a", ("AH", "EY"))])
    [Example(source='a', references=('AH',)), Example(source='a', references=('EY',))]
    """
    return [Example(e.source, (reference,)) for e in examples for reference in e.references]
