"""Classification of data that is extreme or wrong: empty, long, many labels, unseen, not finite."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classification_runs import plain, train, write

from unrolled.errors import ConfigError, DataError
from unrolled.tasks import OPTIONS
from unrolled.tasks.classification_options import (
    BagOfWordsModel,
    ClassChainsModel,
    ClassificationData,
    RecurrentClassifier,
    WindowClassifier,
)


@pytest.mark.parametrize("name", OPTIONS["classification"].models)
def test_a_text_without_tokens_reads_as_one_unknown(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "d.tsv", ["a\tx x", "b\t", "a\tx", "b\t  "] * 10)
    trained = train(tmp_path / "run", name, plain(path), max_epochs=2)
    assert trained.evaluate(split="valid").examples == 4
    (line,) = trained.predict(['{"text": ""}'])
    assert json.loads(line)["label"] in ("a", "b")


@pytest.mark.parametrize("name", OPTIONS["classification"].models)
def test_5000_tokens(name: str, tmp_path: Path) -> None:
    rows = ["a\t" + "x " * 5000, "b\ty", "a\tx x", "b\ty y y"] * 5
    trained = train(tmp_path / "run", name, plain(write(tmp_path / "d.tsv", rows)), max_epochs=8)
    assert list(trained.predict(["x " * 5000, "y"], batch_size=2)) == ["a", "b"]


def test_max_length_reads_the_beginning(tmp_path: Path) -> None:
    path = write(tmp_path / "d.tsv", ["a\tx y y y", "b\ty x x x"] * 20)
    trained = train(tmp_path / "run", "bag-of-words", plain(path, max_length=1))
    assert list(trained.predict(["x y y y y y", "y x x x x x"])) == ["a", "b"]
    assert set(trained.encoder.vocabulary.symbols) == {"<unk>", "x", "y"}


@pytest.mark.parametrize("name", ["recurrent", "window"])
def test_50000_labels(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "d.tsv", [f"label{i}\tword{i % 50} x" for i in range(50_000)])
    data = plain(path, valid_share=0.002)
    model = {
        "recurrent": RecurrentClassifier(hidden_size=4, word_size=4),
        "window": WindowClassifier(hidden_size=4, word_size=4),
    }[name]
    trained = train(tmp_path / "run", name, data, model, max_steps=3, batch_size=256)
    assert trained.evaluate(split="valid").metrics["accuracy"] < 0.1
    (line,) = trained.predict(["word3"], n_best=3)
    assert len(json.loads(line)["n_best"]) == 3


def test_too_many_labels_for_a_baseline_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "d.tsv", [f"label{i}\tword{i % 5000} x" for i in range(20_000)])
    with pytest.raises(ConfigError, match=r"--data.min-count"):
        train(tmp_path / "bag", "bag-of-words", plain(path))
    with pytest.raises(ConfigError, match="a chain for each"):
        train(tmp_path / "markov", "markov", plain(path))


def test_an_uninformative_threshold_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    names = ["p" if hit else "" for hit in rng.random(200) < 0.6]
    path = write(tmp_path / "d.tsv", [f"{name}\tsame words" for name in names])
    with caplog.at_level(logging.WARNING):
        trained = train(tmp_path / "run", "bag-of-words", plain(path, separator=","))
    assert "say nothing" in caplog.text
    assert list(trained.predict(["same words"])) == ["p"]


CASES: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "one class": (["a\tx", "a\ty", "a\tz"], {}, "only the label 'a'; expected at least 2"),
    "no label": (["a\tx", "\ty", "b\tz"], {}, ":2: the label .* is empty"),
    "no field": (["a\tx", "b"], {}, ":2: "),
    "no number": (["1\tx", "two\ty"], {"target": "1"}, ":2: field 1 is 'two'; expected a finite"),
    "nan": (["1\tx", "nan\ty"], {"target": "1"}, ":2: field 1 is 'nan'; expected a finite"),
    "infinite": (
        ["1\tx", "1e999\ty"],
        {"target": "1"},
        ":2: field 1 is '1e999'; expected a finite",
    ),
    "nothing but several": (["\tx", "\ty"], {"separator": ","}, "no label; expected at least 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named(case: str, tmp_path: Path) -> None:
    rows, options, message = CASES[case]
    path = write(tmp_path / "d.tsv", rows)
    with pytest.raises(DataError, match=message) as caught:
        train(tmp_path / "run", "recurrent", plain(path, valid_share=0, **options))
    assert str(path) in str(caught.value)


def arrays(**changed: Any) -> dict[str, Any]:
    right = {
        "values": np.ones((6, 2)),
        "offset": np.array([0, 2, 6]),
        "label": np.array(["a", "b"]),
    }
    return {name: value for name, value in (right | changed).items() if value is not None}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"offset": None}, "array offset is missing"),
        ({"offset": np.array([0, 2, 7])}, "rise from 0 to 6"),
        ({"offset": np.array([0, 6, 6])}, "item 2 has no rows"),
        ({"offset": np.array([0.0, 2.0, 6.0])}, "do not fit"),
        ({"label": np.array(["a"])}, "do not fit"),
        ({"values": np.array([["x", "y"]] * 6)}, "do not fit"),
        ({"values": np.full((6, 2), np.nan)}, ":1: a value is not a finite number"),
        ({"values": np.full((6, 2), 1e300)}, ":1: a value is not a finite number"),
    ],
)
def test_wrong_arrays(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, **arrays(**changed))
    with pytest.raises(DataError, match=message):
        train(tmp_path / "run", "recurrent", ClassificationData(path, level="vectors"))


def test_rows_of_one_sequence_share_a_label(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", ["id,v,label", "s,1,a", "t,2,b", "s,3,b"])
    data = ClassificationData(path, level="vectors", sequence="id")
    with pytest.raises(DataError, match=":4: sequence s has the label 'b' here and 'a' in line 2"):
        train(tmp_path / "run", "recurrent", data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassificationData(Path("d"), valid_share=1.0), "--data.valid-share"),
        (lambda: ClassificationData(Path("d"), sequence="id"), "--data.sequence"),
        (lambda: ClassificationData(Path("d"), label=()), "--data.label"),
        (lambda: WindowClassifier(window=4), "--model.window 4: expected an odd"),
        (lambda: RecurrentClassifier(dropout=1.0), "--model.dropout"),
        (lambda: BagOfWordsModel(strength=-1), "--model.strength"),
        (lambda: ClassChainsModel(smoothing=0), "--model.smoothing"),
    ],
)
def test_options_that_cannot_be(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
