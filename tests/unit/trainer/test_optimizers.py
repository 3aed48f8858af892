"""Tests of optimizers, schedules, the penalty and clipping."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from isotherm.trainer import loop, optimizers
from isotherm.trainer.batches import Batches, Rows
from isotherm.trainer.config import FitConfig
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.networks import check
from isotherm.trainer.stack import Single, Stack


def _rows(copies: int, rows: int = 64) -> Rows:
    x = torch.linspace(-1, 1, rows).reshape(1, rows, 1).expand(copies, rows, 1)
    return Rows(
        x=x,
        y=(3 * x).sin(),
        training=torch.full((copies, rows), 1 / rows),
        held_out=torch.zeros(copies, rows),
    )


def _model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))


@pytest.mark.parametrize(
    ("optimizer", "rate", "schedule", "batch_size"),
    [
        ("adam", 0.05, "constant", None),
        ("adam", 0.05, "one-cycle", 16),
        ("adamw", 0.05, "step", 16),
        ("sgd", 0.2, "cosine", None),
        ("sgd", 0.2, "constant", 16),
    ],
)
def test_every_optimizer_learns(
    optimizer: Any, rate: float, schedule: Any, batch_size: int | None
) -> None:
    """On whole tables and on batches, the error falls to a quarter at least."""
    config = FitConfig(
        epochs=100,
        optimizer=optimizer,
        learning_rate=rate,
        momentum=0.9,
        schedule=schedule,
        batch_size=batch_size,
        weight_decay=(0.01,),
    )

    training = loop.fit(Single(_model()), _rows(1), config).history().training

    assert training[-1] < training[0] / 4


def test_lbfgs_needs_few_epochs() -> None:
    """It looks at the penalty too, or its line search would be lost."""
    config = FitConfig(epochs=10, optimizer="lbfgs", weight_decay=(0.01,))

    training = loop.fit(Single(_model()), _rows(1), config).history().training

    assert training[-1] < 0.01


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", [1.0, 0.5, 0.0]),
        ("step", [1.0, 0.1, 0.01]),
        ("one-cycle", [0.04, 0.81, 0.0001]),
    ],
)
def test_schedules_are_what_their_names_say(schedule: Any, expected: list[float]) -> None:
    """At the start, in the middle and at the end."""
    config = FitConfig(schedule=schedule, learning_rate=1.0)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    rates = optimizers.schedule(optimizer, config, 100)
    assert rates is not None

    seen = [rates.get_last_lr()[0]]
    for _ in range(2):
        for _ in range(50):
            optimizer.step()
            rates.step()
        seen.append(rates.get_last_lr()[0])

    assert seen == pytest.approx(expected, abs=0.01)


def test_each_copy_has_the_penalty_that_it_was_given() -> None:
    """A stack of two penalties is two trainings of one penalty each."""
    config = FitConfig(epochs=30)
    stack = Stack(_model(), 2)
    loop.fit(stack, _rows(2), config, decay=[0.0, 5.0])

    for index, decay in enumerate([0.0, 5.0]):
        alone = Single(_model())
        loop.fit(alone, _rows(1), config, decay=[decay])
        torch.testing.assert_close(
            dict(stack.member(index).state_dict()), dict(alone.member(0).state_dict())
        )


def test_clipping_shortens_each_copy_by_itself() -> None:
    """What is short already is left alone."""
    stack = Stack(nn.Sequential(nn.Linear(3, 1)), 2)
    weight, bias = stack.parameters["0.weight"], stack.parameters["0.bias"]
    weight.grad = torch.tensor([[[3.0, 0, 0]], [[0.3, 0, 0]]])
    bias.grad = torch.tensor([[4.0], [0.4]])

    optimizers.clip(stack, 1.0)

    torch.testing.assert_close(weight.grad, torch.tensor([[[0.6, 0, 0]], [[0.3, 0, 0]]]))
    torch.testing.assert_close(bias.grad, torch.tensor([[0.8], [0.4]]))


def test_batches_cover_the_rows_in_another_order_every_epoch() -> None:
    """Each row once, in parts of equal size, with weights that make up for the rest."""
    batches = Batches(_rows(1, 25), FitConfig(batch_size=8))

    first, second = ([batches.take(*chosen) for chosen in batches] for _ in range(2))

    for epoch in (first, second):
        assert [part[0].shape[1] for part in epoch] == [7, 6, 6, 6]
        values = torch.cat([part[0] for part in epoch], dim=1)
        torch.testing.assert_close(values.sort(dim=1).values, _rows(1, 25).x)
        assert [part[2].sum().item() for part in epoch] == pytest.approx([1.0] * 4)
    assert not torch.equal(first[0][0], second[0][0])


def test_rows_that_nobody_learns_from_are_in_no_batch() -> None:
    """They would be part of batch statistics."""
    rows = _rows(1, 10)
    rows.training[0, :4] = 0.0

    batches = Batches(rows, FitConfig())
    ((x, _, _),) = [batches.take(*chosen) for chosen in batches]

    assert torch.equal(rows.x[:, 4:], x)


def test_early_stopping_gives_back_the_best_weights() -> None:
    """Validation rows that training leads away from end it, and the start's weights are kept."""
    rows = _rows(1, 120)
    watched = torch.zeros(1, 120)
    watched[0, 110:] = 0.1
    rows.y[:, 110:] = -rows.y[:, 110:]
    rows = Rows(
        x=rows.x,
        y=rows.y,
        training=(watched == 0) / 110,
        held_out=rows.held_out,
        validation=watched,
    )
    seen: list[float] = []
    single = Single(_model())

    curves = loop.fit(
        single,
        rows,
        FitConfig(epochs=500, patience=20, batch_size=40),
        on_epoch=lambda _epoch, _training, validation: seen.append(validation),
    )

    (best,) = curves.best_epochs
    error = (single(rows.x)[0, 110:] - rows.y[0, 110:]).square().mean().item()
    assert len(seen) == best + 20 < 500
    assert min(seen) == seen[best - 1] == pytest.approx(error, rel=1e-5)


def test_few_rows_are_not_split_to_stop_early() -> None:
    """On so few, a hold-out stops on noise."""
    with pytest.raises(ConfigError, match=r"needs 100 rows, the table has 99.*penalty"):
        check(FitConfig(patience=5), 99)
    check(FitConfig(patience=5), 100)
