"""Named arrays with a checksum: what comes back is what was written, or an error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.baselines.saved import of_text, opened, sealed, text
from unrolled.errors import RunError


@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_any_text_comes_back(strings: list[str]) -> None:
    assert text(of_text("words", strings), "words") == tuple(strings)


def test_damage_is_found() -> None:
    arrays = sealed("thing", {"a": np.arange(3), "b": np.ones(2)})
    assert opened("thing", arrays, ["a", "b"])["a"].tolist() == [0, 1, 2]
    for wrong in (
        {**arrays, "a": np.array([0, 1, 3])},
        {**arrays, "a": arrays["a"].astype(np.int32)},
        {**arrays, "a": arrays["a"][:2]},
        {**arrays, "c": np.ones(1)},
        {name: array for name, array in arrays.items() if name != "b"},
        {name: array for name, array in arrays.items() if name != "thing"},
    ):
        with pytest.raises(RunError, match="saved thing is damaged or foreign"):
            opened("thing", wrong, ["a", "b"])
