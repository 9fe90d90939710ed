"""Neighbours and analogies against a loop over words."""

from __future__ import annotations

import numpy as np
import pytest

from unrolled.models import vector_space
from unrolled.models.vector_space import VectorSpace

WORDS = [f"w{number}" for number in range(60)]


@pytest.fixture
def space() -> VectorSpace:
    return VectorSpace(WORDS, np.random.default_rng(0).normal(size=(60, 7)))


def test_nearest_equals_a_full_sort(space: VectorSpace) -> None:
    cosines = space.units @ space.units.T
    for count in (1, 5, 40, 100):
        for place, found in zip((3, 59), space.nearest(["w3", "w59"], count), strict=True):
            order = [p for p in np.argsort(-cosines[place]) if p != place][:count]
            assert [word for word, _ in found] == [WORDS[p] for p in order]
            assert [c for _, c in found] == pytest.approx(cosines[place, order], abs=1e-6)
    assert space.nearest([], 3) == []


@pytest.mark.parametrize("product", [False, True])
def test_analogies_equal_a_loop(
    space: VectorSpace, product: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_space, "_HELD", 150)  # two questions at once
    rng = np.random.default_rng(1)
    questions = [[WORDS[p] for p in rng.choice(60, 3, replace=False)] for _ in range(15)]
    units = dict(zip(WORDS, space.units.astype(np.float64), strict=True))

    def worth(word: str, a: str, b: str, c: str) -> float:
        x, y, z = (float(units[word] @ units[other]) for other in (a, b, c))
        if product:
            return (y + 1) / 2 * (z + 1) / 2 / ((x + 1) / 2 + 0.001)
        return y - x + z

    expected = [
        max((word for word in WORDS if word not in question), key=lambda w: worth(w, *question))
        for question in questions
    ]
    assert space.analogies(questions, product=product) == expected


def test_a_vector_of_zeros_is_like_nothing() -> None:
    space = VectorSpace(["a", "b"], np.array([[0.0, 0.0], [3.0, 4.0]]))
    assert space.cosines([("a", "b"), ("b", "b")]).tolist() == pytest.approx([0, 1])
    assert space.cosines([]).shape == (0,)
    assert "a" in space
    assert "c" not in space
    with pytest.raises(KeyError):
        space.cosines([("a", "c")])
