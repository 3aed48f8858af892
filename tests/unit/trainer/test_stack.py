"""Tests of copies trained side by side."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from isotherm.trainer.model import network
from isotherm.trainer.stack import Single, Stack, can_stack


class _Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Square each number."""
        return x.square()


MODELS = {
    "seed": lambda: network((), features=2, targets=1, seed=0),
    "nested": lambda: nn.Sequential(
        OrderedDict(
            body=nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU()), head=nn.Linear(4, 1)
        )
    ),
    "normalised": lambda: nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.PReLU(4)),
    "own": lambda: nn.Sequential(nn.Linear(2, 4), _Square()),
}


def _twice() -> nn.Sequential:
    """One activation, and one layer, that stand in the model twice."""
    layer, activation = nn.Linear(2, 2), nn.Tanh()
    return nn.Sequential(layer, activation, layer, activation, nn.Linear(2, 1))


@pytest.mark.parametrize("kind", [*MODELS, "twice"])
def test_each_copy_of_a_stack_answers_as_the_model_does(kind: str) -> None:
    """A stack is its model, many times over."""
    model = {**MODELS, "twice": _twice}[kind]()
    x = torch.rand(3, 4, 2)

    answers = Stack(model, 3)(x)

    torch.testing.assert_close(torch.stack([model(rows) for rows in x]), answers)
    assert can_stack(model, 2)


def test_a_member_of_a_stack_has_its_own_weights() -> None:
    """The weights of the asked copy come back, not those of another; the original keeps its own."""
    model = network((), features=1, targets=1, seed=0)
    before = model.state_dict()["0.bias"].clone()
    stack = Stack(model, 2)
    with torch.no_grad():
        stack.parameters["0.bias"][1] = 7.0

    assert stack.member(1).state_dict()["0.bias"].tolist() == [7.0] * 13
    assert torch.equal(before, stack.member(0).state_dict()["0.bias"])
    assert torch.equal(before, model.state_dict()["0.bias"])


def test_a_single_copy_is_the_model() -> None:
    """With an axis of length one in front, and weights of its own."""
    model = network((), features=2, targets=1, seed=0)
    single, x = Single(model), torch.rand(1, 4, 2)

    torch.testing.assert_close(model(x[0]).unsqueeze(0), single(x))
    with torch.no_grad():
        single.parameters["0.bias"].fill_(7.0)
    assert model.state_dict()["0.bias"].tolist() != [7.0] * 13
    with pytest.raises(IndexError):
        single.member(1)


def test_batch_statistics_and_modules_that_vmap_does_not_know_are_not_stacked() -> None:
    """A row that is left out would be part of the statistics; a branch on numbers has no batch."""

    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            """Look at a number, which many copies do not share."""
            return x if x.sum() > 0 else -x

    assert not can_stack(nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)), 2)
    assert not can_stack(nn.Sequential(nn.Linear(2, 1), Branch()), 2)


def test_copies_draw_their_own_dropout() -> None:
    """With equal rows and weights, training differs from copy to copy; serving does not."""
    model = nn.Sequential(nn.Linear(2, 64), nn.LayerNorm(64), nn.Dropout(0.5))
    for stack in (Stack(model, 2), Stack(nn.Sequential(nn.Linear(2, 64), nn.Dropout()), 2)):
        first, second = stack(torch.ones(2, 3, 2))
        stack.train(False)
        third, fourth = stack(torch.ones(2, 3, 2))

        assert not torch.equal(first, second)
        assert torch.equal(third, fourth)
