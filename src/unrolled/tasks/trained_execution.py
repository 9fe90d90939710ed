"""A trained executor, from a run directory: measured on examples, scoring targets, and answering lines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.baselines import KneserNey
from unrolled.data.execution import Example
from unrolled.data.vocabulary import Vocabulary
from unrolled.decoding.beam import BeamOptions
from unrolled.errors import ConfigError, DataError, RunError
from unrolled.metrics.evaluation import Evaluation
from unrolled.metrics.significance import bootstrap, ratio
from unrolled.tasks import parts
from unrolled.tasks.execution_data import (
    CHARACTERS,
    Characters,
    from_json,
    one_line,
    read_examples,
)
from unrolled.tasks.execution_models import (
    Answer,
    Executor,
    Foreseen,
    Network,
    NGram,
    made,
    searching,
)
from unrolled.tasks.execution_options import RecurrentExecutor
from unrolled.tasks.lines import Lines
from unrolled.tasks.search import USUAL, Search
from unrolled.training.snapshot import load_tensors

TASK = "execution"


class TrainedExecutor:
    """A trained executor with its characters, from a run directory.

    Args:
        run: the run directory.

    Raises:
        RunError: if it is no run of this task, damaged, or of a newer format.
    """

    def __init__(self, run: str | PathLike[str]) -> None:
        self.path = Path(run)
        self.description, tensors = parts.open_model(self.path, TASK)
        ways = {name: self.description[name] for name in ("reverse", "double", "reverse_target")}
        self.characters = Characters(Vocabulary.load(self.path / CHARACTERS), **ways)
        kind = self.description["kind"]
        self.model: Executor
        if kind == "recurrent":
            sizes = self.description["sizes"]
            network = made(RecurrentExecutor(**sizes["options"]), sizes["size"])
            with torch.no_grad():
                load_tensors(network, tensors, self.path / "model.safetensors")
            self.model = Network(network.eval(), self.characters)
        elif kind == "ngram":
            arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
            self.model = NGram(KneserNey.from_arrays(arrays), self.characters)
        else:
            raise RunError(f"{self.path}: no model {kind!r} of {TASK} is known; update unrolled")

    def evaluate(
        self, data: str | PathLike[str] | None = None, *, split: str = "test"
    ) -> Evaluation:
        """Characters foreseen, whole targets right, and nats; of each length and nesting apart, too.

        ``exact`` is the share of targets that are written without help, each time the likeliest character;
        ``characters`` that of characters (the end is one) that are the likeliest after the true ones before;
        ``nats`` are of a character.

        Args:
            data: a file with the fields ``source`` and ``target`` (and ``length``, ``nesting``); None for
                the part that training held out under the name ``split``.
            split: ``"test"`` or ``"valid"``.
        """
        if data is not None:
            place = Path(data)
            examples = list(read_examples(place, self.characters))
            if not examples:
                raise DataError("the file holds no example; expected at least one", path=place)
        else:
            examples = [from_json(e) for e in parts.held_out(self.path, split)]
        found = self.model.foresee(examples)
        answers = self.model.answer([e.source for e in examples], searching())
        exact = np.array(
            [a[0].target == one_line(e.target) for a, e in zip(answers, examples, strict=True)],
            dtype=np.float64,
        )
        above = {"exact": exact, "characters": found.right, "nats": found.nats}
        below = {"exact": np.ones(len(exact)), "characters": found.count, "nats": found.count}
        scores = {name: float(above[name].sum() / below[name].sum()) for name in above}
        intervals = {name: bootstrap(ratio(above[name], below[name]), len(exact)) for name in above}
        kind = str(self.description["kind"])
        details = _by_size(examples, exact, found)
        return Evaluation(kind, split, len(examples), scores, intervals, details)

    def predict(
        self,
        lines: Iterable[str],
        *,
        probabilities: bool = False,
        n_best: int = 0,
        batch_size: int = 1,
        beam_size: int = 0,
        search: Search | None = None,
    ) -> Iterator[str]:
        """What each line prints; see :class:`unrolled.tasks.parts.Trained`.

        A line break within a text is a ``#`` in a plain line. Objects have a text in the field ``source``
        and gain ``target``, its ``log_prob`` and ``probability``, and ``n_best``.

        Args:
            beam_size: short for ``search=Search(beam_size=…)``; 0 is off.
            search: how outputs are found; None writes the likeliest character each time, and for ``n_best``
                follows 5 or as many.
        """
        search = search or USUAL
        if beam_size:
            search = replace(search, beam_size=beam_size)
        read = 0  # lines

        def counted() -> Iterator[str]:
            nonlocal read
            for line in lines:
                read += 1
                yield line

        def text(line: str) -> str:
            try:
                self.characters.source_ids(line)
            except DataError as error:
                raise DataError(str(error), path="<input>", line=read) from None
            return line

        rows = Lines[str, list[Answer]](
            text=text,
            record=self._of_object,
            answer=partial(self._answers, searching(search, n_best)),
            plain=lambda best: best[0].target,
            fields=partial(_gained, n_best=n_best),
        )
        return rows.run(counted(), objects=probabilities or n_best > 0, batch_size=batch_size)

    def _of_object(self, given: Mapping[str, Any]) -> str:
        text = given.get("source")
        if not isinstance(text, str):
            there = ", ".join(map(str, given)) or "none"
            raise ValueError(f"no text in the field source; there are {there}")
        self.characters.source_ids(text)
        return text

    def _answers(self, options: BeamOptions, texts: Sequence[str]) -> list[list[Answer]]:
        return self.model.answer(texts, options)

    def score(self, pairs: Iterable[tuple[str | None, str]]) -> Iterator[float]:
        """ln p(target | source) of each pair (source, target).

        Raises:
            ConfigError: a source is missing.
            DataError: a text with a character that is not known.
        """
        examples = []
        for source, target in pairs:
            if source is None:
                raise ConfigError("a target is scored with its source; give both")
            examples.append(Example(source, target, 0, 0))
        return iter((-self.model.foresee(examples).nats).tolist() if examples else [])


def _gained(text: str, best: list[Answer], *, n_best: int) -> dict[str, Any]:
    """The fields that an object gains."""

    def fields(answer: Answer) -> dict[str, Any]:
        nats = answer.log_probability
        return {"target": answer.target, "log_prob": nats, "probability": math.exp(nats)}

    gained = fields(best[0])
    if n_best:
        gained["n_best"] = [fields(answer) for answer in best]
    return gained


def _by_size(examples: Sequence[Example], exact: NDArray[np.float64], found: Foreseen) -> str:
    """The scores of each length and nesting as a table; empty where all are alike."""
    sizes = np.array([(e.length, e.nesting) for e in examples])
    kinds, which = np.unique(sizes, axis=0, return_inverse=True)
    if len(kinds) < 2:
        return ""
    rows = ["length  nesting  examples   exact  characters"]
    for place, (length, nesting) in enumerate(kinds.tolist()):
        own = which.ravel() == place
        right = found.right[own].sum() / found.count[own].sum()
        rows.append(
            f"{length or '?':>6}  {nesting or '?':>7}  {own.sum():>8}  {exact[own].mean():6.4f}"
            f"  {right:10.4f}"
        )
    return "\n".join(rows)
