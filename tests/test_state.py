"""States: structure is kept, mismatches are named."""

from __future__ import annotations

import pytest
import torch

from unrolled import state as states
from unrolled.cells import LSTMState


def example() -> tuple[LSTMState, tuple[torch.Tensor]]:
    return (LSTMState(h=torch.randn(3, 2), c=torch.randn(3, 4)), (torch.randn(3, 5, 6),))


def test_leaves_and_rebuild_are_inverse() -> None:
    s = example()
    again = states.rebuild(s, states.leaves(s))
    assert isinstance(again[0], LSTMState)
    assert all(
        torch.equal(a, b) for a, b in zip(states.leaves(s), states.leaves(again), strict=True)
    )
    with pytest.raises(ValueError, match="has 3 tensors, 1 given"):
        states.rebuild(s, [torch.ones(1)])


def test_select_where_and_stack() -> None:
    a, b = example(), example()
    chosen = states.where(torch.tensor([True, False, True]), a, b)
    assert torch.equal(chosen[1][0][1], b[1][0][1])
    assert torch.equal(chosen[0].c[2], a[0].c[2])
    picked = states.select(a, torch.tensor([2, 2]))
    assert torch.equal(picked[0].h[1], a[0].h[2])
    assert states.stack([a, b])[0].c.shape == (2, 3, 4)
    assert states.batch_size(a) == 3


class Noted:
    """A state of its own kind: it repeats its rows as numbers."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, rows: torch.Tensor) -> Noted:
        assert rows.dtype == torch.int64
        return Noted(self.rows[rows])


def test_objects_may_be_states_or_parts_of_them() -> None:
    noted = Noted(torch.arange(3))
    state = ((), LSTMState(h=torch.arange(3), c=noted), noted)
    assert states.batch_size(state) == 3
    assert states.batch_size(noted) == 3
    for rows, expected in (
        (torch.tensor([2, 0, 2, -1]), [2, 0, 2, 2]),
        (torch.tensor([True, False, True]), [0, 2]),
        (slice(1, None), [1, 2]),
    ):
        chosen = states.select(state, rows)
        assert isinstance(chosen[1], LSTMState)
        assert chosen[1].h.tolist() == expected
        assert chosen[1].c.rows.tolist() == expected
        assert chosen[2].rows.tolist() == expected
    assert states.batch_size((noted, torch.zeros(3))) == 3
    with pytest.raises(ValueError, match="rows cannot be counted"):
        states.batch_size(((), ()))
    for function in (states.batch_size, lambda state: states.select(state, slice(1))):
        with pytest.raises(ValueError, match="not dict"):
            function(({"h": 1},))


def test_detach_cuts_the_graph() -> None:
    x = torch.ones(2, 1, requires_grad=True)
    assert not states.detach((x * 2,))[0].requires_grad


def test_wrong_structures_are_named() -> None:
    with pytest.raises(ValueError, match="differ in structure"):
        states.map_state(torch.add, example(), (torch.ones(1),))
    with pytest.raises(ValueError, match="not list"):
        states.map_state(torch.neg, [torch.ones(1)])
    with pytest.raises(ValueError, match="not dict"):
        states.leaves({"h": torch.ones(1)})
    with pytest.raises(ValueError, match=r"'h': \[3, 2\]"):
        states.check_like(example()[0], torch.ones(1))
