"""Tests of the training loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isotherm.trainer import loop
from isotherm.trainer.batches import Rows
from isotherm.trainer.config import FitConfig
from isotherm.trainer.errors import TrainingError
from isotherm.trainer.model import network
from isotherm.trainer.stack import Stack


def _rows(copies: int) -> Rows:
    """Five rows; every copy but the first leaves the last row out."""
    x = torch.linspace(-1, 1, 5).reshape(1, 5, 1).expand(copies, 5, 1)
    training = torch.full((copies, 5), 0.25)
    training[:, -1] = 0.0
    training[0] = 0.2
    held_out = torch.zeros(copies, 5)
    held_out[1:, -1] = 1.0
    return Rows(x=x, y=x.square(), training=training, held_out=held_out)


def _network() -> nn.Sequential:
    return network((), features=1, targets=1, seed=0)


def test_a_stack_trains_as_a_plain_loop_does() -> None:
    """The first copy's weights are those of a loop written by hand for one model."""
    config, rows, plain = FitConfig(epochs=50), _rows(3), _network()
    optimizer = torch.optim.Adam(plain.parameters(), lr=config.learning_rate)
    for _ in range(config.epochs):
        weights = [value for name, value in plain.named_parameters() if "weight" in name]
        penalty = torch.stack([weight.square().sum() for weight in weights]).sum()
        error = nn.functional.mse_loss(plain(rows.x[0]), rows.y[0])
        optimizer.zero_grad()
        (error + config.weight_decay[0] / 5 * penalty).backward()
        optimizer.step()

    stack = Stack(_network(), 3)
    loop.fit(stack, rows, config)

    torch.testing.assert_close(stack.member(0).state_dict(), plain.state_dict())


def test_the_losses_fall_and_are_told_after_each_epoch() -> None:
    """The callback sees what the history keeps."""
    seen: list[tuple[int, float, float]] = []

    history = loop.fit(
        Stack(_network(), 2),
        _rows(2),
        FitConfig(epochs=30),
        on_epoch=lambda *losses: seen.append(losses),
    ).history()

    assert list(zip(range(1, 31), history.training, history.validation, strict=True)) == seen
    assert history.training[-1] < history.training[0]


def test_a_loss_that_leaves_the_numbers_stops_the_training() -> None:
    """The sentence says in which epoch, and what to lower."""
    config = FitConfig(epochs=100, learning_rate=1e30)

    with pytest.raises(
        TrainingError, match=r"epoch \d, step 1 of 1; .* Lower the learning rate \(1e\+30\)"
    ):
        loop.fit(Stack(_network(), 2), _rows(2), config)
