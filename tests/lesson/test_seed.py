"""Tests that the lesson's loop, models and picture are the seed's, to the letter."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch import nn, optim

from isotherm.trainer import lesson
from tests.lesson.printouts import golden


def test_the_loop_takes_what_the_seed_s_takes() -> None:
    """The same names in the same order."""
    names = list(inspect.signature(lesson.training_loop).parameters)

    seed_s = "n_epochs, optimizer, model, loss_fn, t_u_train, t_u_val, t_c_train, t_c_val"
    assert ", ".join(names) == seed_s


def test_the_loop_prints_the_losses_in_the_seed_s_format(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In epoch 1 and every thousandth, with no blank before the second loss's name."""
    model = nn.Linear(1, 1)
    given = torch.zeros(1, 1)

    lesson.training_loop(
        n_epochs=2999,
        optimizer=optim.SGD(model.parameters(), lr=1.0),
        model=model,
        # A loss that does not depend on the model, so that the figures are known.
        loss_fn=lambda predicted, true: 0 * predicted.sum() + true.sum(),
        t_u_train=given,
        t_u_val=given,
        t_c_train=torch.tensor([[63.1234]]),
        t_c_val=torch.tensor([[58.1234]]),
    )

    assert capsys.readouterr().out == golden("loop")


def test_the_loop_learns_from_the_training_rows_only() -> None:
    """Validation rows without meaning change nothing."""
    t_u, t_c = lesson.readings()
    models = []
    for factor in (1.0, 100.0):
        torch.manual_seed(0)
        model = lesson.line()
        lesson.training_loop(
            n_epochs=10,
            optimizer=lesson.line_optimizer(model.parameters()),
            model=model,
            loss_fn=nn.MSELoss(),
            t_u_train=lesson.FACTOR * t_u[:9],
            t_u_val=factor * t_u[9:],
            t_c_train=t_c[:9],
            t_c_val=factor * t_c[9:],
        )
        models.append(model)

    assert models[0].weight.item() == models[1].weight.item()


def test_the_readings_are_the_seed_s() -> None:
    """Eleven rows of one column each, in float32."""
    t_u, t_c = lesson.readings()

    assert (t_u.shape, t_c.shape, t_u.dtype) == ((11, 1), (11, 1), torch.float32)
    assert (round(t_u[0].item(), 4), t_c[0].item()) == (35.7, 0.5)


def test_a_split_holds_out_two_of_eleven() -> None:
    """Every row is on one of the two sides."""
    train, val = lesson.split(11)

    assert (len(train), len(val)) == (9, 2)
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(11))


def test_the_closed_form_is_the_seed_s_best_line() -> None:
    """Slope and intercept for a tenth of a reading, and the mean squared error left."""
    slope, intercept, error = lesson.closed_form(*lesson.readings())

    assert (round(slope, 4), round(intercept, 4), round(error, 3)) == (5.3677, -17.3048, 2.928)


def test_the_sequential_prints_as_in_the_seed() -> None:
    """The list of shapes, and the names that torch counts out."""
    model = lesson.network()

    assert f"{model}\n" == golden("sequential")
    assert f"{[parameter.shape for parameter in model.parameters()]}\n" == golden(
        "sequential-shapes"
    )
    lines = [f"{name} {parameter.shape}\n" for name, parameter in model.named_parameters()]
    assert "".join(lines) == golden("sequential-names")


def test_the_named_network_prints_as_in_the_seed() -> None:
    """The names of the OrderedDict are those of the modules and of their parameters."""
    model = lesson.named_network()

    assert f"{model}\n" == golden("named")
    lines = [f"{name} {parameter.shape}\n" for name, parameter in model.named_parameters()]
    assert "".join(lines) == golden("named-names")


@pytest.mark.parametrize("name", ["sequential", "named"])
def test_the_summary_holds_the_seed_s_printouts(name: str) -> None:
    """Unchanged, and after them whether each parameter is trained."""
    model = lesson.network() if name == "sequential" else lesson.named_network()
    model[0].bias.requires_grad_(False)

    text = lesson.summary(model)

    assert text.startswith(golden(name))
    assert golden(f"{name}-names") in text
    first = next(iter(model.state_dict())).removesuffix(".weight")
    assert f"{first}.weight.requires_grad True\n{first}.bias.requires_grad False\n" in text


def test_the_picture_is_drawn_as_in_the_seed() -> None:
    """Readings as circles, the curve over 20 .. 89 in cyan, the answers as black crosses."""
    t_u, t_c = lesson.readings()

    figure = lesson.picture(t_u, t_c, lesson.network())

    (axes,) = figure.axes
    measured, curve, predicted = axes.lines
    assert (axes.get_xlabel(), axes.get_ylabel(), figure.dpi) == ("Fahrenheit", "Celsius", 600)
    assert (measured.get_marker(), measured.get_linestyle()) == ("o", "None")
    assert (curve.get_color(), curve.get_linestyle()) == ("c", "-")
    assert (predicted.get_color(), predicted.get_marker()) == ("k", "x")
    assert np.ravel(curve.get_xdata()).tolist() == list(range(20, 90))
