"""The seed's recipe: its line and its network on its readings, compared, and one of them kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from isotherm.trainer import copies, data, interval, lesson, loop, parity, publish, run, select
from isotherm.trainer.config import ModelChoice, TrainConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.features import Served
from isotherm.trainer.model import affine, parameter_count, seed_layers
from isotherm.trainer.scaling import Scaling

RECIPE: Final = "seed"
DATASET: Final = "thermometer"

MEAN: Final = "mean"
CLOSED_FORM: Final = "line (closed form)"
LINE: Final = "line (SGD 1e-2, 3000 epochs)"
NETWORK: Final = "network 1-13-1 (SGD 1e-3, 5000 epochs)"

# What `--model` means here.
_CHOICES: Final[Mapping[ModelChoice, str]] = MappingProxyType(
    {"mean": MEAN, "line": LINE, "network": NETWORK}
)

# Parts of the configuration that are the recipe's own.
_OWN: Final = ("network.", "fit.")

Echo = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """One model of the seed and how it is trained."""

    name: str
    build: Callable[[], nn.Module]
    optimizer: copies.MakeOptimizer
    epochs: int


_PARTS: Final = (
    _Part(
        name=LINE,
        build=lesson.line,
        optimizer=lesson.line_optimizer,
        epochs=lesson.LINE_EPOCHS,
    ),
    _Part(
        name=NETWORK,
        build=lesson.network,
        optimizer=lesson.network_optimizer,
        epochs=lesson.NETWORK_EPOCHS,
    ),
)


def settings(name: str, flags: Mapping[str, object]) -> dict[str, object]:
    """Return the flags with the recipe's own settings among them, so that the file tells them.

    Raises:
        ConfigError: there is no such recipe, or a flag contradicts it.
    """
    if name != RECIPE:
        msg = f"there is no recipe '{name}'; expected `{RECIPE}`"
        raise ConfigError(msg)
    if flags.get("data.dataset") != DATASET:
        msg = f"the recipe `{RECIPE}` is for the built-in readings; use `isotherm train {DATASET}`"
        raise ConfigError(msg)
    for setting, value in flags.items():
        if value is not None and setting != "fit.seed" and setting.startswith(_OWN):
            flag = setting.rpartition(".")[2].replace("_", "-")
            msg = f"the recipe `{RECIPE}` sets --{flag} by itself; leave one of the two out"
            raise ConfigError(msg)
    return {
        **flags,
        "network.layers": seed_layers(features=1, targets=1),
        "fit.optimizer": "sgd",
        "fit.epochs": lesson.NETWORK_EPOCHS,
        "fit.learning_rate": lesson.NETWORK_RATE,
        "fit.weight_decay": 0.0,
    }


def train(config: TrainConfig, *, created_at: datetime, echo: Echo) -> run.Published:
    """Fit, export, verify and publish; nothing is left behind on failure."""
    parity.runtime()
    publish.check_repository(config.repository)
    fitted = fit(config, echo)
    content, difference = run.build(fitted, config, created_at)
    path = publish.publish(content, config.repository, config.name)
    return run.Published(path=path, fitted=fitted, parity=difference)


def draw(fitted: Fitted, folder: Path, dpi: int) -> list[Path]:
    """Draw the seed's picture of the model into `folder`; return its path."""
    t_u, t_c = lesson.readings()
    path = folder / "fit.png"
    figure = lesson.picture(t_u, t_c, fitted.served.core, dpi=dpi)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    return [path]


def fit(config: TrainConfig, echo: Echo) -> Fitted:
    """Run the lesson on a split of the readings, then fit and cross-validate on all of them.

    `training_loop` prints by itself; `echo` takes the other lines.
    """
    if config.model not in {"auto", *_CHOICES}:
        msg = f"the recipe `{RECIPE}` has no model '{config.model}'; it has {', '.join(_CHOICES)}"
        raise ConfigError(msg)
    table = data.read(config.data)
    with torch.random.fork_rng(devices=[]), copies.one_thread():
        torch.manual_seed(config.fit.seed)
        _run_loops(echo)
        board = _compare(table, config)
    for text in results(board):
        echo(text)
    residuals = board.chosen.held_out_residuals
    half_width, coverage = interval.half_width(residuals, config.coverage)
    return Fitted(
        table=table,
        leaderboard=board,
        served=serve(board.chosen, half_width),
        half_width=half_width,
        coverage=coverage,
    )


def serve(candidate: select.Candidate, half_width: Floats) -> Served:
    """Wrap a candidate that takes scaled readings and gives Celsius: the factor joins the graph."""
    served = Served(
        candidate.core,
        inputs=Encoding.of_scaling(Scaling(mean=np.zeros(1), scale=np.full(1, 1 / lesson.FACTOR))),
        outputs=Scaling(mean=np.zeros(1), scale=np.ones(1)),
        half_width=half_width,
    )
    served.eval()
    return served


def results(board: select.Leaderboard) -> Iterator[str]:
    """Yield what each model came to on all readings."""
    for candidate in board.candidates[1:]:
        error = np.square(candidate.training_residuals).mean()
        yield f"{candidate.name}: {_coefficients(candidate.core)}MSE {error:.3f}"


def summaries() -> Iterator[str]:
    """Yield the modules, shapes and names of the seed's models, as the seed prints them."""
    for build in (lesson.line, lesson.network, lesson.named_network):
        yield lesson.summary(build())


def _coefficients(core: nn.Sequential) -> str:
    if len(core) > 1:
        return ""
    slope, intercept = (parameter.item() for parameter in core.parameters())
    return f"slope {slope:.4f}, intercept {intercept:.4f}, "


def _run_loops(echo: Echo) -> None:
    t_u, t_c = lesson.readings()
    t_un = lesson.FACTOR * t_u
    train, val = lesson.split(len(t_u))
    for part in _PARTS:
        model = part.build()
        echo(f"{part.name}: {len(train)} readings to learn from, {len(val)} to validate on")
        lesson.training_loop(
            n_epochs=part.epochs,
            optimizer=part.optimizer(model.parameters()),
            model=model,
            loss_fn=nn.MSELoss(),
            t_u_train=t_un[train],
            t_u_val=t_un[val],
            t_c_train=t_c[train],
            t_c_val=t_c[val],
        )


def _compare(table: Table, config: TrainConfig) -> select.Leaderboard:
    folds = select.folds(table.rows, config.fit.seed)
    fitted = [_train(part, table, folds) for part in _PARTS]
    candidates = (*_closed_forms(table, folds), *(candidate for candidate, _ in fitted))
    kept, comparisons = select.keep(candidates, table.y.std(axis=0))
    wanted = kept.name if config.model == "auto" else _CHOICES[config.model]
    return select.Leaderboard(
        method=folds.method,
        candidates=candidates,
        comparisons=comparisons,
        kept=kept.name,
        chosen=next(candidate for candidate in candidates if candidate.name == wanted),
        history=fitted[-1][1],
    )


def _train(part: _Part, table: Table, folds: select.Folds) -> tuple[select.Candidate, loop.History]:
    """Train one copy on all rows, and one a fold, from the same start."""
    # The first copy leaves nothing out; it is the one that may be published.
    counts = 1.0 - np.vstack([np.zeros(table.rows), folds.held_out])
    start = part.build()
    models = [deepcopy(start) for _ in counts]
    x, y = (torch.tensor(values, dtype=torch.float32) for values in (table.x, table.y))
    losses: list[tuple[float, float]] = []

    def note(_: int, errors: Tensor, __: dict[str, Tensor]) -> None:
        held_out = errors[1:][torch.from_numpy(folds.held_out)]
        losses.append((errors[0].mean().item(), held_out.mean().item()))

    copies.train(
        models,
        lesson.FACTOR * x[None],
        y[None],
        counts=torch.tensor(counts, dtype=torch.float32),
        optimizer=part.optimizer,
        epochs=part.epochs,
        on_epoch=note,
    )
    answers = copies.answers(models, lesson.FACTOR * x).numpy().astype(np.float64)
    residuals = answers - table.y
    core = models[0] if isinstance(models[0], nn.Sequential) else nn.Sequential(models[0])
    training, validation = zip(*losses, strict=True)
    return select.Candidate(
        name=part.name,
        parameters=parameter_count(core),
        core=core,
        held_out_residuals=residuals[1:][folds.held_out],
        training_residuals=residuals[0],
    ), loop.History(training=training, validation=validation)


def _closed_forms(table: Table, folds: select.Folds) -> Iterator[select.Candidate]:
    ones = np.ones((table.rows, 1))
    yield _solved(MEAN, ones, table, folds)
    yield _solved(CLOSED_FORM, np.hstack([lesson.FACTOR * table.x, ones]), table, folds)


def _solved(name: str, design: Floats, table: Table, folds: select.Folds) -> select.Candidate:
    """Solve least squares on `design` of shape (rows, 1 or 2), whose last column is ones."""
    held_out = np.empty_like(table.y)
    for out in folds.held_out:
        held_out[out] = design[out] @ np.linalg.lstsq(design[~out], table.y[~out], rcond=None)[0]
    solution = np.asarray(np.linalg.lstsq(design, table.y, rcond=None)[0], dtype=np.float64)
    # The mean is a line without a slope.
    slope = solution[:-1].T if len(solution) > 1 else np.zeros((1, 1))
    return select.Candidate(
        name=name,
        parameters=len(solution),
        core=affine(slope, solution[-1]),
        held_out_residuals=held_out - table.y,
        training_residuals=design @ solution - table.y,
    )
