"""The lesson: the loop, the models and the picture of the seed, in the seed's own form."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn, optim

from isotherm.trainer import data
from isotherm.trainer.config import DataConfig

# matplotlib takes half a second to import, and only the picture needs it.
if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What the seed multiplies a reading with, so that one learning rate suits weight and bias.
FACTOR: Final = 0.1

HELD_OUT: Final = 2
LINE_RATE: Final = 1e-2
LINE_EPOCHS: Final = 3000
NETWORK_RATE: Final = 1e-3
NETWORK_EPOCHS: Final = 5000

_PRINT_EVERY: Final = 1000


def training_loop(
    n_epochs: int,
    optimizer: optim.Optimizer,
    model: nn.Module,
    loss_fn: Callable[[Tensor, Tensor], Any],
    t_u_train: Tensor,
    t_u_val: Tensor,
    t_c_train: Tensor,
    t_c_val: Tensor,
) -> None:
    """Train `model` in place; print both losses in epoch 1 and in every thousandth.

    Args:
        n_epochs: how often all training rows are seen.
        optimizer: made with the model's parameters.
        model: from (rows, 1) to (rows, 1).
        loss_fn: of the predictions and the true values.
        t_u_train: scaled readings to learn from, shape (rows, 1).
        t_u_val: scaled readings to validate on.
        t_c_train: degrees Celsius to learn from.
        t_c_val: degrees Celsius to validate on.
    """
    for epoch in range(1, n_epochs + 1):
        t_p_train = model(t_u_train)
        loss_train = loss_fn(t_p_train, t_c_train)

        t_p_val = model(t_u_val)
        loss_val = loss_fn(t_p_val, t_c_val)

        optimizer.zero_grad()
        # Only the training loss goes back: the validation rows are looked at, not learned.
        loss_train.backward()
        optimizer.step()

        if epoch == 1 or epoch % _PRINT_EVERY == 0:
            print(  # noqa: T201  the printout is part of the seed
                f"Epoch {epoch}, Training loss {loss_train.item():.4f},"
                f"validation loss {loss_val.item():.4f}"
            )


def readings() -> tuple[Tensor, Tensor]:
    """Return the seed's readings and degrees Celsius, each of shape (11, 1)."""
    table = data.read(DataConfig(dataset="thermometer"))
    t_u, t_c = (torch.tensor(values, dtype=torch.float32) for values in (table.x, table.y))
    return t_u, t_c


def split(rows: int, held_out: int = HELD_OUT) -> tuple[Tensor, Tensor]:
    """Return the shuffled indices to learn from, and those to validate on."""
    shuffled = torch.randperm(rows)
    return shuffled[:-held_out], shuffled[-held_out:]


def line() -> nn.Linear:
    """Return the linear model: one weight, one bias."""
    return nn.Linear(1, 1)


def network(width: int = 13) -> nn.Sequential:
    """Return the network with one hidden layer of `width` tanh units."""
    return nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))


def named_network() -> nn.Sequential:
    """Return the network of 8 units whose layers have names."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            [
                ("hidden_linear", nn.Linear(1, 8)),
                ("hidden+activation", nn.Tanh()),
                ("output_linear", nn.Linear(8, 1)),
            ]
        )
    )


def line_optimizer(parameters: Iterable[Tensor]) -> optim.SGD:
    """Return the optimizer of the line."""
    return optim.SGD(parameters, lr=LINE_RATE)


def network_optimizer(parameters: Iterable[Tensor]) -> optim.SGD:
    """Return the optimizer of the network: a tenth of the line's rate."""
    return optim.SGD(parameters, lr=NETWORK_RATE)


def closed_form(t_u: Tensor, t_c: Tensor) -> tuple[float, float, float]:
    """Return slope, intercept and mean squared error of the best line through scaled readings."""
    x, y = FACTOR * t_u.double().flatten(), t_c.double().flatten()
    slope = (x - x.mean()).dot(y - y.mean()) / (x - x.mean()).square().sum()
    intercept = y.mean() - slope * x.mean()
    error = (slope * x + intercept - y).square().mean()
    return slope.item(), intercept.item(), error.item()


def summary(model: nn.Module) -> str:
    """Return the modules, and the parameters' shapes, names and `requires_grad`."""
    named = list(model.named_parameters())
    return "\n".join(
        [
            str(model),
            str([parameter.shape for _, parameter in named]),
            *(f"{name} {parameter.shape}" for name, parameter in named),
            *(f"{name}.requires_grad {parameter.requires_grad}" for name, parameter in named),
        ]
    )


def picture(
    t_u: Tensor, t_c: Tensor, model: Callable[[Tensor], Tensor], *, dpi: int = 600
) -> Figure:
    """Draw readings as `o`, the model as a cyan curve, its answers to the readings as `x`.

    Args:
        t_u: raw readings, shape (rows, 1).
        t_c: degrees Celsius.
        model: takes scaled readings.
        dpi: dots an inch.
    """
    from matplotlib.figure import Figure

    t_range = torch.arange(20.0, 90.0).unsqueeze(1)
    # A figure of its own, without pyplot: no global state, and no display is looked for.
    figure = Figure(dpi=dpi)
    axes = figure.add_subplot()
    axes.set_xlabel("Fahrenheit")
    axes.set_ylabel("Celsius")
    axes.plot(t_u.numpy(), t_c.numpy(), "o")
    axes.plot(t_range.numpy(), model(FACTOR * t_range).detach().numpy(), "c-")
    axes.plot(t_u.numpy(), model(FACTOR * t_u).detach().numpy(), "kx")
    return figure
