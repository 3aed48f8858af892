"""Tests of the copies that are trained side by side."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from isotherm.trainer import copies, lesson

EPOCHS = 200


@pytest.fixture(name="starts")
def _starts() -> list[nn.Sequential]:
    torch.manual_seed(0)
    return [lesson.network() for _ in range(3)]


@pytest.fixture(name="rows")
def _rows() -> tuple[Tensor, Tensor]:
    t_u, t_c = lesson.readings()
    return lesson.FACTOR * t_u, t_c


def alone(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Train a model by the lesson's loop; return its answers."""
    optimizer = lesson.network_optimizer(model.parameters())
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        torch.autograd.backward((model(x) - y).square().mean())
        optimizer.step()
    with torch.inference_mode():
        answers: Tensor = model(x)
    return answers


def test_each_copy_ends_where_it_would_have_ended_alone(
    starts: list[nn.Sequential], rows: tuple[Tensor, Tensor]
) -> None:
    """A neighbour changes nothing but the time it takes."""
    x, y = rows
    expected = torch.stack([alone(deepcopy(model), x, y) for model in starts])

    copies.train(starts, x[None], y[None], optimizer=lesson.network_optimizer, epochs=EPOCHS)

    torch.testing.assert_close(copies.answers(starts, x), expected, atol=1e-3, rtol=1e-4)


def test_any_module_can_be_copied(rows: tuple[Tensor, Tensor]) -> None:
    """A module of other layers takes another way to the same end."""
    x, y = rows
    torch.manual_seed(0)
    models = [
        nn.Sequential(nn.Linear(1, 4, bias=False), nn.LayerNorm(4), nn.Linear(4, 1))
        for _ in range(2)
    ]
    expected = torch.stack([alone(deepcopy(model), x, y) for model in models])

    copies.train(models, x[None], y[None], optimizer=lesson.network_optimizer, epochs=EPOCHS)

    torch.testing.assert_close(copies.answers(models, x), expected, atol=1e-3, rtol=1e-4)


def test_a_row_that_does_not_count_is_not_learned(
    starts: list[nn.Sequential], rows: tuple[Tensor, Tensor]
) -> None:
    """The copy ends as if the row were not in its table."""
    x, y = rows
    expected = alone(deepcopy(starts[0]), x[1:], y[1:])
    counts = torch.ones(3, 11)
    counts[0, 0] = 0

    copies.train(
        starts, x[None], y[None], optimizer=lesson.network_optimizer, epochs=EPOCHS, counts=counts
    )

    torch.testing.assert_close(copies.answers(starts, x)[0, 1:], expected, atol=1e-3, rtol=1e-4)


def test_a_copy_that_diverges_leaves_the_others_alone(rows: tuple[Tensor, Tensor]) -> None:
    """Its numbers leave the finite ones, theirs do not."""
    x, y = rows
    models = [lesson.line(), lesson.line()]
    # One copy's readings are so large that the rate is too high for them.
    own = torch.stack([x, 100 * x])

    copies.train(models, own, y[None], optimizer=lesson.line_optimizer, epochs=EPOCHS)

    finite = [bool(model.weight.isfinite().all()) for model in models]
    assert finite == [True, False]


def test_each_copy_may_have_rows_of_its_own(rows: tuple[Tensor, Tensor]) -> None:
    """Two copies of one start learn two slopes."""
    x, y = rows
    start = lesson.line()
    models = [deepcopy(start), deepcopy(start)]

    copies.train(
        models,
        torch.stack([x, x]),
        torch.stack([y, -y]),
        optimizer=lesson.line_optimizer,
        epochs=3000,
    )

    slopes = [model.weight.item() for model in models]
    assert slopes[0] == pytest.approx(-slopes[1], abs=0.02)
    assert copies.answers(models, torch.stack([x, -x])).shape == (2, 11, 1)


def test_the_callback_sees_every_epoch_before_its_step(
    starts: list[nn.Sequential], rows: tuple[Tensor, Tensor]
) -> None:
    """Epochs from 1, squared errors by copy and row, parameters by name."""
    x, y = rows
    seen = []
    before = (copies.answers(starts, x) - y).square()[..., 0]

    copies.train(
        starts,
        x[None],
        y[None],
        optimizer=lesson.network_optimizer,
        epochs=2,
        on_epoch=lambda epoch, errors, parameters: seen.append(
            (epoch, errors, parameters["0.weight"].shape)
        ),
    )

    assert [(epoch, shape) for epoch, _, shape in seen] == [(1, (3, 13, 1)), (2, (3, 13, 1))]
    torch.testing.assert_close(seen[0][1], before)


def test_the_number_of_threads_is_given_back() -> None:
    """One inside, and afterwards what it was."""
    before = torch.get_num_threads()

    with copies.one_thread():
        inside = torch.get_num_threads()

    assert inside == 1
    assert torch.get_num_threads() == before
