"""Words and punctuation of running text, in the manner of the Moses tokeniser (Koehn et al. 2007, "Moses:
open source toolkit for statistical machine translation"), and running text from them again.

Every symbol that is neither letter, digit nor mark of one becomes a token, except where it belongs to a
word: hyphens, the points and commas of numbers, the full stop of an abbreviation, and the apostrophe of
the languages that shorten words by it (``it 's``, ``l' homme``). Several full stops or hyphens in a row are
one token. Unlike Moses, combining marks stay with their letter, an emoji of several characters is one
token, and no character is dropped, changed or escaped.

With a joiner (``￭`` of OpenNMT, say) a token shows where no space was, punctuation rather than words, and
the text comes back exactly, one space for each white space. Without one it is guessed by rules.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

from unrolled.errors import ConfigError

JOINER = "￭"

_RIGHT = {"en"}  # the apostrophe begins what follows it: it 's
_LEFT = {"ca", "fr", "it"}  # it ends what precedes it: l' homme
_APOSTROPHES = "'’"

# Of these a full stop is a part: always, or (after the bar) before a number. In small letters.
_ABBREVIATIONS = {
    "en": "adj adm adv assn asst ave bldg blvd brig bros capt cf cmdr co col comdr con corp cpl dept dr e.g "
    "ed est etc ext gen gov hon hosp hr i.e inc jr lt ltd maj messrs mme mr mrs ms msgr mt op ph.d prof pvt "
    "rep rev sen sgt sr st supt univ vs | fig no nos nr pp vol",
    "de": "abb abs allg anm aufl bd bde best betr bspw bzgl bzw ca co d.h dgl dipl dr ebd ehem etc evtl exkl "
    "fa fr ggf gem hr hrsg inkl ing jh jr kap lt max min mio mr mrd mrs ms nr o.ä phil prof rel s.o sog st "
    "str tel u.a u.ä usw verf vgl z.b z.t zzgl |",
    "fr": "apr av bd cf chap coll dr ed etc ex fig hab janv juill m mgr mm mme mmes mlle mlles ms numér op "
    "p.ex pl prof sept st ste suppl tél | art env no nos p pp vol",
    "it": "avv dott dr ecc ed es geom ing on prof rag sig sigg sig.ra | art n p pag pp vol",
    "es": "av avda dr dra etc gral ing lic prof sr sra sres srta ud uds | art núm p pág vol",
}

_QUOTES = {  # that close, and that open, together with the brackets that do
    "en": ("”’»", "“‘«„([{¿¡"),
    "de": ("“‘«", "„‚»([{"),
}
_FRENCH_SPACED = ";:!?%»"  # a space stands before these; one follows «


def tokenise(text: str, *, language: str = "en", joiner: str = "") -> list[str]:
    """The tokens of a text.

    Args:
        text: a sentence or more; white space parts tokens and is no part of any.
        language: two letters; it decides about apostrophes and abbreviations. An unknown one has no
            abbreviations but initials, and its apostrophes are tokens.
        joiner: one symbol that marks, before or after a token, that there was no space; empty marks
            nothing.

    Raises:
        ConfigError: a joiner that is no single symbol.

    >>> tokenise("It's 3.5% of Mr. Li's (old) U.S. stock.")
    ['It', "'s", '3.5', '%', 'of', 'Mr.', 'Li', "'s", '(', 'old', ')', 'U.S.', 'stock', '.']
    >>> tokenise("Aha, l'or!", language="fr", joiner="￭")
    ['Aha', '￭,', "l'￭", 'or', '￭!']
    """
    _check(joiner)
    chunks = [_split(chunk, language) for chunk in text.split()]
    flat = [token for chunk in chunks for token in chunk]
    tokens: list[str] = []
    place = 0
    for chunk in chunks:
        found: list[str] = []
        for token in chunk:
            place += 1
            following = flat[place] if place < len(flat) else ""
            stop = token.endswith(".") and token.strip(".") != ""
            if stop and not _abbreviated(token[:-1], following, language):
                found += (token[:-1], ".")
            else:
                found.append(token)
        tokens += _joined(found, joiner) if joiner else found
    return tokens


def detokenise(tokens: Iterable[str], *, language: str = "en", joiner: str = "") -> str:
    """The text of tokens: exact if they were made with a joiner and are read with the same.

    Raises:
        ConfigError: a joiner that is no single symbol.

    >>> detokenise(["It", "'s", "(", "quite", ")", "old", "."])
    "It's (quite) old."
    >>> detokenise(["2", "￭-", "￭-￭", "3"], joiner="￭")
    '2--3'
    """
    _check(joiner)
    return _glued(tokens, joiner) if joiner else _guessed(list(tokens), language)


def _check(joiner: str) -> None:
    if joiner and (len(joiner) != 1 or joiner.isalnum() or joiner.isspace()):
        raise ConfigError(f"a joiner is one symbol such as {JOINER}, not {joiner!r}")


# ------------------------------------------------------------------------------- splitting


@cache
def _pattern() -> re.Pattern[str]:
    """Tokens within a stretch without white space; of apostrophes and last full stops more is said."""
    marks = "".join(
        f"{chr(first)}-{chr(last)}" for first, last in _ranges(range(0x300, 0x20000), "M")
    )
    inner = f"{marks}\u00ad\u200c\u200d"  # soft hyphen, joiner and non-joiner are within words
    letter = f"[^\\W_][{inner}]*"
    run = f"(?:{letter})+"
    tone = "[\U0001f3fb-\U0001f3ff]"
    emoji = f"[^\\w\\s]{tone}?[{marks}]*"
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    return re.compile(
        r"\.{2,}|-{2,}"
        f"|-?{run}(?:[.-]{run}|(?<=[0-9]),(?=[0-9]){run})*(?:-(?!-)|\\.(?!\\.))?"
        f"|{flag}|{emoji}(?:\u200d{emoji})*|."
    )


def _ranges(characters: range, category: str) -> Iterable[tuple[int, int]]:
    """First and last of each stretch of characters of a general category of Unicode."""
    inside = [c for c in characters if unicodedata.category(chr(c)).startswith(category)]
    for _, stretch in itertools.groupby(enumerate(inside), lambda pair: pair[1] - pair[0]):
        members = [character for _, character in stretch]
        yield members[0], members[-1]


def _split(chunk: str, language: str) -> list[str]:
    """The tokens of a stretch without white space, full stops still at the words they follow."""
    if chunk.isalpha() and chunk.isascii():
        return [chunk]
    tokens: list[str] = _pattern().findall(chunk)
    if language not in _LEFT and language not in _RIGHT:
        return tokens
    found: list[str] = []
    for token in tokens:
        last = found[-1] if found else ""
        before = found[-2] if len(found) > 1 else ""
        apostrophe = last in _APOSTROPHES and last != ""
        if not (apostrophe and before and _shortens(before, token, language)):
            found.append(token)
        elif language in _RIGHT:
            found[-1] = last + token
        else:
            found[-2:] = [before + last, token]
    return found


def _shortens(before: str, after: str, language: str) -> bool:
    """Whether an apostrophe between two tokens stands for left-out letters."""
    if after[0].isalpha() and before[-1].isalpha():
        return True
    return language in _RIGHT and before[-1].isdigit() and after[0] == "s"  # 1990's


def _abbreviated(word: str, following: str, language: str) -> bool:
    """Whether the full stop after a word is a part of it: Moses' rules, but not after ``a.com``."""
    parts = word.split(".")
    if len(parts) > 1 and max(map(len, parts)) < 3 and not "".join(parts).isdigit():
        return True  # U.S., z.B.
    if following[:1].islower() or (len(word) == 1 and word.isupper()):
        return True
    always, numbered = _stops(language)
    name = word.strip("-").lower()
    if name in always or (name in numbered and following[:1].isdigit()):
        return True
    return language == "de" and word.isdigit() and len(word) < 3 and following[:1].isalnum()


@cache
def _stops(language: str) -> tuple[frozenset[str], frozenset[str]]:
    always, _, numbered = _ABBREVIATIONS.get(language, "").partition("|")
    return frozenset(always.split()), frozenset(numbered.split())


# ------------------------------------------------------------------------------ with a joiner


def _joined(tokens: Sequence[str], joiner: str) -> list[str]:
    """Marks between tokens of one stretch. The joiner itself is a token by itself, and doubled."""
    parts = [part for token in tokens for part in _apart(token, joiner)]
    marked = [part * 2 if part == joiner else part for part in parts]
    for place, (before, after) in enumerate(itertools.pairwise(parts)):
        if not after[0].isalnum() or before[-1].isalnum() or before == joiner:
            marked[place + 1] = joiner + marked[place + 1]
        else:
            marked[place] += joiner
    return marked


def _apart(token: str, joiner: str) -> list[str]:
    if joiner not in token or token == joiner:
        return [token]
    return [part for part in re.split(f"({re.escape(joiner)})", token) if part]


def _glued(tokens: Iterable[str], joiner: str) -> str:
    text: list[str] = []
    space = ""
    for token in tokens:
        if len(token) > 1 and not token.strip(joiner):  # doubled: the joiner as a character
            text += ("" if len(token) > 2 else space, joiner)
            space = " "
            continue
        glued = token.startswith(joiner)
        word = token.removeprefix(joiner).removesuffix(joiner)
        text += ("" if glued else space, word)
        space = "" if token.endswith(joiner) else " "
    return "".join(text)


# --------------------------------------------------------------------------- without one


def _guessed(tokens: Sequence[str], language: str) -> str:
    """Moses' rules of typesetting; straight quotation marks open and close in turn."""
    text: list[str] = []
    opened: set[str] = set()
    last = {token: place for place, token in enumerate(tokens)}
    space = False
    for place, token in enumerate(tokens):
        before = tokens[place - 1] if place else ""
        after = tokens[place + 1] if place + 1 < len(tokens) else ""
        if token in ('"', "'"):
            left, right = _quote(token, opened, before, after, last[token] > place, language)
        else:
            left, right = _sides(token, before, after, language)
        text += (" " if space and left and text else "", token)
        space = right
    return "".join(text)


def _sides(token: str, before: str, after: str, language: str) -> tuple[bool, bool]:
    """Whether a space stands before a token and after it."""
    if not token.strip("/_") or (token == ":" and before[-1:].isdigit() and after[:1].isdigit()):
        return False, False
    closing, opening = _QUOTES.get(language, _QUOTES["en"])
    if token in closing or not token.strip(".,;:!?%)]}…"):
        return language == "fr" and token in _FRENCH_SPACED, True
    if token[0] == "-" and token[1:] and (before in closing or before in ('"', "'", ")")):
        return False, True
    if token in opening or (token in "#@" and after[:1].isalnum()):
        return True, language == "fr" and token == "«"
    if unicodedata.category(token[0]) == "Sc":
        return True, not after[:1].isdigit()
    if token[0] in _APOSTROPHES and token[1:2].isalpha() and language in _RIGHT:
        return False, True
    return True, not (token[-1] in _APOSTROPHES and language in _LEFT)


def _quote(
    token: str, opened: set[str], before: str, after: str, partner: bool, language: str
) -> tuple[bool, bool]:
    """The same of a straight quotation mark. What is open closes; without a partner it goes with the word
    next to it, or is an apostrophe."""
    if token in opened:
        opened.remove(token)
        return False, True
    if partner or not before:
        opened.add(token)
        return True, False
    if token == "'" and language not in _RIGHT:
        return False, not after[:1].isalpha() or before.endswith(("s", "ß", "x", "z"))  # Hans' Auto
    opens = after[:1].isalnum() and not (token == "'" and before.endswith("s"))
    return (True, False) if opens else (False, True)
