"""The Python API: `fit` a module of one's own to a table, look at it, publish it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from torch import nn

from isotherm.trainer import arrays, data, estimator, frames, run, sources
from isotherm.trainer.config import IN_MEMORY, Task, TrainConfig, validated
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.progress import Watch
from isotherm.trainer.select import Leaderboard
from isotherm.trainer.settings import recipe

_TASKS: Final[Mapping[bool | None, Task]] = MappingProxyType(
    {None: "auto", True: "multiclass", False: "regression"}
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trained:
    """A fitted model and the settings that made it."""

    fitted: estimator.Fitted
    config: TrainConfig

    @property
    def leaderboard(self) -> Leaderboard:
        """All models that were compared."""
        return self.fitted.leaderboard

    @property
    def module(self) -> nn.Sequential:
        """The chosen network, from standardised features to standardised targets, or logits."""
        return self.fitted.served.core

    def predict(self, x: Any) -> Floats:
        """Return predictions, or the probability of each class, for raw rows.

        `x` has shape (rows, features), or columns by name, of which the model's are taken. Values
        of a category stand there as themselves.
        """
        return self.fitted.predict(frames.rows(x, self.fitted.table.features))

    def publish(
        self, repository: Path | str, name: str | None = None, created_at: datetime | None = None
    ) -> Path:
        """Export, verify against torch and publish; return the file's path."""
        changes = {"repository": Path(repository), "name": name or self.config.name}
        config = _valid(self.config.model_dump() | changes)
        return run.publish_fitted(self.fitted, config, created_at or datetime.now(UTC)).path


def fit(
    model: nn.Module | Sequence[str] | None,
    table: Any,
    y: Any = None,
    *,
    choose: str = "network",
    name: str = "model",
    features: Sequence[str] = (),
    targets: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    labels: bool | None = None,
    weight: Any = None,
    time: Any = None,
    group: Any = None,
    transforms: Mapping[str, str] | None = None,
    categories: Sequence[str] | Mapping[str, str] | None = None,
    missing: str | Mapping[str, str] | None = None,
    min_category_rows: int | None = None,
    max_categories: int | None = None,
    skip: bool = False,
    coverage: float = 0.9,
    checkpoint: Path | str | None = None,
    checkpoint_every: int = 100,
    watch: Watch | None = None,
    **settings: Any,
) -> Trained:
    """Fit a module to a table, beside the baselines and on every fold.

    Args:
        model: an `nn.Sequential` with its initial weights, which is copied, not changed; or layers
            such as `["Linear(1, 13)", "Tanh()", "Linear(13, 1)"]`; None: the seed's network.
        table: a `Table`; columns by name, of which `features` and `targets` are taken (of pandas,
            polars, pyarrow, or a dict); or features of shape (rows, features), or by name.
        y: the targets, of shape (rows,) or (rows, targets), of features without.
        choose: the model to serve: network, a baseline, or auto for what the leaderboard keeps.
        name: of the published model.
        features: names of the columns.
        targets: names of the targets.
        units: by column name.
        labels: whether the target is a label. None: of columns by name, what `tasks` says; of
            arrays, it is if it holds text or booleans.
        weight: what each row counts: the name of a column, or, of arrays, shape (rows,).
        time: when each row was, likewise: later rows are predicted from earlier ones.
        group: likewise: rows of one group are left out together.
        transforms: of targets by name, the scale that is learned: log, log1p or sqrt.
        categories: names of features that are categories though they are numbers; by name,
            "one-hot" or "embedding". Text is a category by itself.
        missing: what becomes of missing numbers, by column or of all: "mean", or "indicator", which
            also tells the network. None: they are refused.
        min_category_rows: a value in fewer rows counts as unknown; 2 if not given.
        max_categories: the most frequent values that are told apart; 1000 if not given.
        skip: add a line beside the network.
        coverage: nominal, of the prediction interval.
        checkpoint: the folder for an unfinished training, which the next call goes on with.
        checkpoint_every: epochs between two of them.
        watch: told the losses of each stage.
        **settings: of the fit, such as `epochs=200, optimizer="adamw", weight_decay=0.1`.

    Raises:
        InputError: the module, the table or a setting cannot be used.
        TrainingError: the loss left the finite numbers.
    """
    named: dict[str, Any] = {"features": features, "targets": targets, "units": units}
    parts = {
        "weight": weight,
        "time": time,
        "group": group,
        "transforms": transforms,
        "categories": categories,
        "missing": missing,
        "min_category_rows": min_category_rows,
        "max_categories": max_categories,
    }
    parts = {name: part for name, part in parts.items() if part is not None}
    if y is None and sources.is_table(table):
        table = data.table(table, task=_TASKS[labels], **named, **parts)
    elif not isinstance(table, Table):
        table = arrays.table(table, y, labels=labels, **named, **parts)
    elif y is not None or parts:
        given = ", ".join(parts) or "y"
        msg = f"a Table has its targets, weights and categories in it; leave {given} out"
        raise ConfigError(msg)
    own = model if isinstance(model, nn.Module) else None
    layers = () if model is None or isinstance(model, nn.Module) else tuple(model)
    config = _valid(
        {
            "name": name,
            "model": choose,
            "coverage": coverage,
            "network": {"skip": skip, "layers": layers},
            "fit": settings,
            "checkpoint": {"folder": checkpoint, "every": checkpoint_every},
        }
    )
    weights = {"weights": _digest(own), "module": str(own)} if own is not None else {}
    checkpoints = run.keep(config, recipe(table, config) | weights | {"data": table.sha256})
    modules = {"network": own} if own is not None else None
    fitted = estimator.fit(table, config, watch, modules=modules, checkpoints=checkpoints)
    if checkpoints:
        checkpoints.clear()
    return Trained(fitted=fitted, config=config)


def _valid(values: Mapping[str, object]) -> TrainConfig:
    return validated({**values, "data": {"dataset": IN_MEMORY}})


def _digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
