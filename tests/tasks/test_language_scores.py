"""Whole texts and lattices by trained language models of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import unrolled
from unrolled.config import RunConfig
from unrolled.decoding.lattice_formats import parse_arcs
from unrolled.decoding.lattice_rescoring import RescoringOptions
from unrolled.tasks import language_modelling_options as lm
from unrolled.tasks import language_scores
from unrolled.tasks.language_modelling import LanguageModelling
from unrolled.training.config import TrainingConfig
from unrolled.training.run_directory import RunDirectory

TEXT = "".join(f"the cat {verb} on mat {i % 7}\n" for i in range(60) for verb in ("sat", "ran"))
TEXTS = [
    "the cat sat",
    "",
    "on the mat 3 of unseen words",
    "a" * 700,
    "the cat ran on mat 2",
    "cat",
]
LATTICE = """\
0 1 the -1
1 2 cat -1
1 2 mat -0.9
2 3 on -1
2 3 sat -1.1
2 4 on -1
3 4 on -1
3 4 <eps> -1
4 5 the -1 -9
"""


def train(output: Path, name: str, model: Any, data: Any) -> Path:
    training = TrainingConfig(max_epochs=2, batch_size=4, window=16, learning_rate=0.01)
    config = RunConfig("language-modelling", name, data, model, training, output)
    with RunDirectory(output).open() as run:
        run.write_text("config.toml", config.to_toml())
        LanguageModelling.train(config, run)
    return output


@pytest.fixture(scope="module", params=["words", "characters"])
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A small run of each kind of model."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text").write_text(TEXT)
    data = lm.LanguageData(train=folder / "text", level=request.param, valid_share=0.1)
    made = {
        name: train(folder / name, name, model, data)
        for name, model in (
            ("recurrent", lm.RecurrentModel(hidden_size=12)),
            ("kneser-ney", lm.KneserNeyModel(order=3)),
        )
    }
    members = tuple(made.values())
    made["mixture"] = train(folder / "mixture", "mixture", lm.MixtureModel(members), data)
    return {name: unrolled.load(path) for name, path in made.items()}


@pytest.mark.parametrize("name", ["recurrent", "kneser-ney", "mixture"])
def test_texts_are_scored_together_as_alone(
    name: str, runs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = runs[name]
    alone = [float(trained.log_probabilities([text]).sum()) for text in TEXTS]
    assert list(trained.score(TEXTS)) == pytest.approx(alone, rel=1e-5)
    pairs = [("not read", text) for text in TEXTS]
    assert list(trained.score(pairs)) == list(trained.score(TEXTS))
    assert list(trained.score([])) == []
    monkeypatch.setattr(language_scores, "READ", 2)
    monkeypatch.setattr(language_scores, "CELLS", 2000)  # some batches of several, some of one
    assert list(trained.score(TEXTS)) == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("name", ["recurrent", "kneser-ney", "mixture"])
def test_lattices_are_rescored_as_their_texts_are_scored(name: str, runs: dict[str, Any]) -> None:
    trained = runs[name]
    [lattice] = parse_arcs(LATTICE.splitlines())
    options = RescoringOptions(n_best=99, lm_scale=2.0, word_penalty=-0.5)
    found = trained.rescore(lattice, options)
    assert len(found) == 8
    texts = [" ".join(path.words) for path in found]
    for path, nats in zip(found, trained.score(texts), strict=True):
        assert path.new_lm == pytest.approx(nats, rel=1e-5)
        assert path.score == pytest.approx(path.acoustic + 2 * nats - 0.5 * len(path.words))
    assert [path.score for path in found] == sorted((path.score for path in found), reverse=True)
    assert trained.rescore(lattice)[0].words
