from __future__ import annotations

import torch

from brittle.attacks.keep import FirstBreak, Highest

Y = torch.tensor([0, 0])
RIGHT, WRONG = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


def see(keeper, pixel, logits, values):
    keeper.see(torch.tensor([0, 1]), Y, torch.full((2, 1), pixel), torch.stack(logits), torch.tensor(values))


def test_first_break_keeps_the_first_success_and_the_strongest_try():
    keeper = FirstBreak(torch.zeros(2, 1))
    see(keeper, 0.1, [RIGHT, RIGHT], [5.0, 1.0])
    see(keeper, 0.2, [WRONG, RIGHT], [2.0, 0.5])  # breaks 0 with a smaller loss; 1 gets no better
    see(keeper, 0.3, [WRONG, RIGHT], [9.0, 3.0])  # later success of 0 is ignored
    see(keeper, 0.4, [RIGHT, RIGHT], [9.0, 2.0])
    assert torch.allclose(keeper.x, torch.tensor([[0.2], [0.3]]))
    assert keeper.open().tolist() == [1]
    assert keeper.wants(torch.tensor([1, 0])).tolist() == [True, False]


def test_first_break_keeps_x_where_nothing_was_comparable():
    keeper = FirstBreak(torch.full((2, 1), 0.7))
    see(keeper, 0.1, [RIGHT, RIGHT], [float("nan"), float("nan")])
    assert torch.equal(keeper.x, torch.full((2, 1), 0.7))


def test_highest_goes_on_after_the_first_success():
    keeper = Highest(torch.zeros(2, 1))
    see(keeper, 0.1, [WRONG, RIGHT], [2.0, 4.0])
    see(keeper, 0.2, [RIGHT, WRONG], [3.0, 1.0])
    assert torch.allclose(keeper.x, torch.tensor([[0.2], [0.1]]))
    assert keeper.open().tolist() == [0, 1]
    assert keeper.wants(torch.tensor([1])).tolist() == [True]
