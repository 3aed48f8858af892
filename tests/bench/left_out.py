"""Models of the seed's readings by leaving one out: closed forms, networks trained many ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn, optim

from isotherm.trainer import copies, lesson

SEEDS: Final = 10
LINE: Final = "line, closed form"
LBFGS_SEEDS: Final = 3

T_U, T_C = lesson.readings()
ROWS: Final = len(T_U)
X, Y = lesson.FACTOR * T_U, T_C
T_RANGE: Final = torch.arange(20.0, 91.0).unsqueeze(1)
TRUTH: Final = (T_RANGE - 32) / 1.8

Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A way to train a network.

    Attributes:
        optimizer: None: LBFGS on each copy alone, with `penalty` times the squared weights.
        standardised: readings and targets to mean 0 and deviation 1, by each copy's own rows.
        stop_early: hold two rows of each copy out, and take the weights that were best on them.
    """

    name: str
    optimizer: copies.MakeOptimizer | None = None
    epochs: int = 5000
    build: Callable[[], nn.Module] = lesson.network
    standardised: bool = False
    stop_early: bool = False
    penalty: float = 0.0
    seeds: int = SEEDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of the table of models.

    Attributes:
        squares: squared errors of rows left out, shape (seeds, rows).
        training: RMSE on all readings, mean over the seeds.
        truth: RMSE against the true rule over 20 to 90 degrees, mean over the seeds.
    """

    name: str
    squares: Tensor
    training: float
    truth: float


class Skip(nn.Module):
    """The seed's network beside a line: their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.bent, self.straight = lesson.network(), lesson.line()

    def forward(self, x: Tensor) -> Tensor:
        """Map (rows, 1) to (rows, 1)."""
        answer: Tensor = self.bent(x) + self.straight(x)
        return answer


def sgd(rate: float, decay: float = 0.0) -> copies.MakeOptimizer:
    """Return plain gradient descent."""
    return lambda parameters: optim.SGD(parameters, lr=rate, weight_decay=decay)


def adamw(decay: float) -> copies.MakeOptimizer:
    """Return AdamW at the rate 1e-2."""
    return lambda parameters: optim.AdamW(parameters, lr=1e-2, weight_decay=decay)


def recipes() -> Iterator[Recipe]:
    """Yield the networks of the table."""
    book = sgd(lesson.NETWORK_RATE)
    eight = lambda: lesson.network(8)  # noqa: E731
    yield Recipe(name="tanh 13, SGD 1e-3 x 5000 (the seed)", optimizer=book)
    yield Recipe(name="tanh 8, the same", optimizer=book, build=eight)
    for decay in (1e-2, 1e-1):
        yield Recipe(name=f"tanh 13, the same, decay {decay:g}", optimizer=sgd(1e-3, decay))
    yield Recipe(name="tanh 13, the same, stopped early on 2 rows", optimizer=book, stop_early=True)
    yield Recipe(
        name="tanh 13, standardised, SGD 1e-2 x 5000", optimizer=sgd(1e-2), standardised=True
    )
    for decay in (0.0, 0.1, 1.0, 3.0):
        yield Recipe(
            name=f"tanh 13, standardised, AdamW 1e-2 x 2000, decay {decay:g}",
            optimizer=adamw(decay),
            epochs=2000,
            standardised=True,
        )
    yield Recipe(
        name="tanh 13, standardised, AdamW, decay 0, stopped early on 2 rows",
        optimizer=adamw(0.0),
        epochs=2000,
        standardised=True,
        stop_early=True,
    )
    for penalty in (0.0, 1e-4, 1e-3, 1e-2, 3e-2):
        yield Recipe(
            name=f"tanh 13, standardised, LBFGS, penalty {penalty:g}",
            standardised=True,
            penalty=penalty,
            seeds=LBFGS_SEEDS,
        )
    for name, optimizer in (("AdamW 1e-2, decay 1", adamw(1.0)), ("SGD 1e-2, decay 1e-2", None)):
        yield Recipe(
            name=f"tanh 13 + line, standardised, {name} x 2000",
            optimizer=optimizer or sgd(1e-2, 1e-2),
            epochs=2000,
            build=Skip,
            standardised=True,
        )


def left_out(recipe: Recipe) -> Row:
    """Train a recipe on all rows and without each row in turn, from several starts."""
    # Per start: one copy that learns from all rows, then one for each row left out.
    counts = (1 - torch.cat([torch.zeros(1, ROWS), torch.eye(ROWS)])).repeat(recipe.seeds, 1)
    models = list(_starts(recipe))
    x, y, x_range, restore = _views(counts, standardised=recipe.standardised)
    _train(recipe, models, x, y, counts)
    answers = restore(copies.answers(models, x))
    residuals = (answers - Y).reshape(recipe.seeds, ROWS + 1, ROWS)
    everything = slice(None, None, ROWS + 1)
    on_range = restore(copies.answers(models, x_range))[everything] - TRUTH
    return Row(
        name=recipe.name,
        squares=residuals[:, 1:].diagonal(dim1=1, dim2=2).square(),
        training=residuals[:, 0].square().mean(dim=1).sqrt().mean().item(),
        truth=on_range.square().mean(dim=(1, 2)).sqrt().mean().item(),
    )


def closed_forms() -> Iterator[Row]:
    """Yield the models that need no training: mean, lines, polynomials."""
    yield _solved("mean only", _polynomial(0))
    yield _solved(LINE, _polynomial(1))
    for penalty in (0.1, 1.0):
        yield _solved(f"ridge line, penalty {penalty:g} (standardised)", _polynomial(1, penalty))
    for degree in (2, 3, 5):
        yield _solved(f"polynomial of degree {degree}", _polynomial(degree))


def _starts(recipe: Recipe) -> Iterator[nn.Module]:
    for seed in range(recipe.seeds):
        for _ in range(ROWS + 1):
            # The same start for every fold of a seed.
            torch.manual_seed(seed)
            yield recipe.build()


def _views(
    counts: Tensor, *, standardised: bool
) -> tuple[Tensor, Tensor, Tensor, Callable[[Tensor], Tensor]]:
    """Return each copy's rows, targets and the range as it sees them, and the way back."""
    number, x, y = len(counts), X.expand(len(counts), -1, -1), Y.expand(len(counts), -1, -1)
    x_range = (lesson.FACTOR * T_RANGE).expand(number, -1, -1)
    if not standardised:
        return x, y, x_range, lambda answers: answers
    (x_mean, x_scale), (y_mean, y_scale) = (_moments(values, counts) for values in (x, y))
    return (
        (x - x_mean) / x_scale,
        (y - y_mean) / y_scale,
        (x_range - x_mean) / x_scale,
        lambda answers: answers * y_scale + y_mean,
    )


def _moments(values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    shares = (counts / counts.sum(dim=1, keepdim=True)).unsqueeze(-1)
    mean = (values * shares).sum(dim=1, keepdim=True)
    return mean, ((values - mean).square() * shares).sum(dim=1, keepdim=True).sqrt()


def _train(recipe: Recipe, models: list[nn.Module], x: Tensor, y: Tensor, counts: Tensor) -> None:
    if recipe.optimizer is None:
        with copies.one_thread():
            for copy in zip(models, x, y, counts, strict=True):
                _lbfgs(*copy, recipe.penalty)
        return
    best = Best(counts) if recipe.stop_early else None
    copies.train(
        models,
        x,
        y,
        counts=counts * (1 - best.held_out) if best else counts,
        optimizer=recipe.optimizer,
        epochs=recipe.epochs,
        on_epoch=best.look if best else None,
    )
    if best:
        copies.load(models, best.parameters)


class Best:
    """The weights that did best on two rows of each copy, which it does not learn from."""

    def __init__(self, counts: Tensor) -> None:
        torch.manual_seed(0)
        chosen = torch.multinomial(counts, lesson.HELD_OUT)
        self.held_out = torch.zeros_like(counts).scatter(1, chosen, 1.0)
        self.parameters: dict[str, Tensor] = {}
        self._losses = torch.full((len(counts),), torch.inf)

    def look(self, _: int, errors: Tensor, parameters: dict[str, Tensor]) -> None:
        """Keep each copy's weights where they beat those kept."""
        losses = (errors * self.held_out).sum(dim=1)
        better = losses < self._losses
        self._losses = torch.where(better, losses, self._losses)
        for name, value in parameters.items():
            kept = self.parameters.get(name, value)
            mask = better.view(-1, *[1] * (value.ndim - 1))
            self.parameters[name] = torch.where(mask, value, kept).detach().clone()


def _lbfgs(model: nn.Module, x: Tensor, y: Tensor, counts: Tensor, penalty: float) -> None:
    optimizer = optim.LBFGS(
        model.parameters(), max_iter=500, history_size=20, line_search_fn="strong_wolfe"
    )
    learned = counts.bool()

    def closure() -> float:
        optimizer.zero_grad()
        weights = [value for name, value in model.named_parameters() if name.endswith("weight")]
        squared = torch.stack([weight.square().sum() for weight in weights]).sum()
        loss = (model(x[learned]) - y[learned]).square().mean() + penalty * squared
        torch.autograd.backward(loss)
        return float(loss.detach())

    optimizer.step(closure)


def _polynomial(degree: int, penalty: float = 0.0) -> Fit:
    def fit(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        mean, scale = x.mean(), x.std()

        def design(values: np.ndarray) -> np.ndarray:
            return np.vander((values - mean) / scale, degree + 1)

        # The penalty is on the slope alone, beside the sum of squared errors.
        shrink = penalty * np.diag([*[1.0] * degree, 0.0])
        rows = design(x)
        weights = np.linalg.solve(rows.T @ rows + shrink, rows.T @ y)
        return lambda values: design(values) @ weights

    return fit


def _solved(name: str, fit: Fit) -> Row:
    x, y = X.double().numpy().ravel(), Y.double().numpy().ravel()
    squares = [
        float((fit(np.delete(x, row), np.delete(y, row))(x[row : row + 1])[0] - y[row]) ** 2)
        for row in range(ROWS)
    ]
    predict = fit(x, y)
    on_range = predict(lesson.FACTOR * T_RANGE.double().numpy().ravel()) - TRUTH.numpy().ravel()
    return Row(
        name=name,
        squares=torch.tensor([squares]),
        training=float(np.sqrt(np.square(predict(x) - y).mean())),
        truth=float(np.sqrt(np.square(on_range).mean())),
    )
