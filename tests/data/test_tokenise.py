"""Words and punctuation, and running text from them again."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data.text import read_lines
from unrolled.data.tokenise import JOINER, detokenise, tokenise
from unrolled.errors import ConfigError

HARD = "aAbZ19.,-'’\"￭@ #&:;!?()/_…·\u0301\u200d\ufe0f🙂👍🏽👩🇩🇪éß日\u093e\0\u2028$€%"


@pytest.mark.parametrize(
    ("language", "text", "tokens"),
    [
        ("en", "Mr. O'Neil's dog's 1990's.", "Mr. O 'Neil 's dog 's 1990 's ."),
        ("en", "It cost $3.50 (10% of 1,000), no?", "It cost $ 3.50 ( 10 % of 1,000 ) , no ?"),
        ("en", "the boys' 'new' well-known toy--yes", "the boys ' ' new ' well-known toy -- yes"),
        ("en", "Wait... No. 5, not no.", "Wait ... No. 5 , not no ."),
        ("en", "U.S. firms, e.g. IBM, at www.a.com.", "U.S. firms , e.g. IBM , at www.a.com ."),
        ("en", "At 10:30 a.m. C. Li, etc.", "At 10 : 30 a.m. C. Li , etc."),
        ("en", "3,a a,3 -5 x-", "3 , a a , 3 -5 x-"),
        ("fr", "L'homme d’ici n'a qu'une p.ex. idée.", "L' homme d’ ici n' a qu' une p.ex. idée ."),
        ("de", "Am 3. Mai geht's z.B. um 3.", "Am 3. Mai geht ' s z.B. um 3 ."),
        ("de", "Vor- und „Nachteile“ usw.", "Vor- und „ Nachteile “ usw."),
        ("xx", "it's Mr. X.", "it ' s Mr . X."),
        ("en", "👩\u200d👩\u200d👧❤\ufe0f👍🏽🇩🇪🇫🇷!", "👩\u200d👩\u200d👧 ❤\ufe0f 👍🏽 🇩🇪 🇫🇷 !"),
        ("en", "e\u0301te\u0301 हिन्दी، می\u200cخواهم", "e\u0301te\u0301 हिन्दी ، می\u200cخواهم"),
        ("en", "日本語。", "日本語 。"),
        ("en", " \t\u3000", ""),
        ("en", "a\0b", "a \0 b"),
    ],
)
def test_tokens(language: str, text: str, tokens: str) -> None:
    assert tokenise(text, language=language) == tokens.split()


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", 'He said: "It\'s 5 (or 10:30)," and/or left.'),
        ("en", "the boys' toys cost $5 each..."),
        ("en", "she calls it 'new' #1!"),
        ("en", 'a "slow"-sign'),
        ("fr", "« Il a 5 %, dit-il ; l'autre ? »"),
        ("de", "Das „gute“ McDonald's: €5!"),
        ("de", "Hans' Auto ist „neu“ (blau)."),
    ],
)
def test_typesetting(language: str, text: str) -> None:
    assert detokenise(tokenise(text, language=language), language=language) == text


def test_what_a_model_may_write() -> None:
    assert detokenise([]) == ""
    assert detokenise(["", ",", ""]) == ","
    assert detokenise(['"', '"', '"']) == '"""'
    assert detokenise(["￭", "a￭", "￭￭", "￭￭￭", "￭b"], joiner=JOINER) == "a￭￭b"
    assert detokenise(["'"] * 20_001).replace(" ", "") == "'" * 20_001


def test_joiners_mark_punctuation_and_not_words() -> None:
    tokens = tokenise('(it\'s "x-y".) ￭￭a', joiner=JOINER)
    assert tokens == ["(￭", "it", "￭'s", '"￭', "x-y", '￭"', "￭.", "￭)", "￭￭", "￭￭￭", "￭a"]


@pytest.mark.parametrize("joiner", ["a", "  ", " ", "@@", "é", "7"])
def test_joiners_refused(joiner: str) -> None:
    with pytest.raises(ConfigError, match="a joiner is one symbol"):
        tokenise("a", joiner=joiner)
    with pytest.raises(ConfigError, match="a joiner is one symbol"):
        detokenise(["a"], joiner=joiner)


@settings(max_examples=400)
@given(
    st.text(st.one_of(st.sampled_from(HARD), st.characters())),
    st.sampled_from(["en", "fr", "de", "xx"]),
    st.sampled_from([JOINER, "@", ".", "'", "-", "\u0301"]),
)
def test_any_text(text: str, language: str, joiner: str) -> None:
    tokens = tokenise(text, language=language)
    together = "".join(text.split())
    assert "".join(tokens) == together
    assert all(token and len(token.split()) == 1 for token in tokens)
    assert "".join(detokenise(tokens, language=language).split()) == together
    marked = tokenise(text, language=language, joiner=joiner)
    assert detokenise(marked, language=language, joiner=joiner) == " ".join(text.split())


REAL = [
    ("en", "multi30k_en_de/raw/val.en.gz", "", 0.99),
    ("de", "multi30k_en_de/raw/val.de.gz", "", 0.99),
    ("en", "ud_english_ewt/en_ewt-ud-dev.conllu.gz", "# text = ", 0.9),
    ("fr", "ud_french_sequoia/fr_sequoia-ud-dev.conllu.gz", "# text = ", 0.9),
]


@pytest.mark.parametrize(("language", "name", "mark", "share"), REAL)
def test_real_text(data: Path, language: str, name: str, mark: str, share: float) -> None:
    lines = [x[len(mark) :] for x in read_lines(data / name) if x.startswith(mark)]
    guessed = 0
    for line in lines:
        text = " ".join(line.split())
        marked = tokenise(line, language=language, joiner=JOINER)
        assert detokenise(marked, language=language, joiner=JOINER) == text
        guessed += detokenise(tokenise(line, language=language), language=language) == text
    assert guessed >= share * len(lines)


@pytest.mark.parametrize("language", ["en", "de"])
def test_tokens_are_those_of_moses(data: Path, language: str) -> None:
    """The authors' files, made by Moses from text in small letters with plain quotation marks."""
    folder = data / "multi30k_en_de"
    raw = list(read_lines(folder / "raw" / f"val.{language}.gz"))
    moses = list(read_lines(folder / "tok" / f"val.lc.norm.tok.{language}.gz"))
    plain = (re.sub("[„“”]", '"', re.sub("[’‘´`]", "'", line)).lower() for line in raw)
    equal = sum(
        tokenise(text, language=language) == html.unescape(tokens).split()
        for text, tokens in zip(plain, moses, strict=True)
    )
    assert equal >= 0.99 * len(raw)
