"""One training run: a table in, a published version out."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from torch import nn

from isotherm.trainer import contract, data, estimator, export, loop, model, parity, publish
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.errors import ExportError, RepositoryError
from isotherm.v1.contract import METADATA_KEY, ContractError, dumps

_log = logging.getLogger(__name__)

# From a fit, a folder and the dots an inch to the paths of what was drawn.
Drawer = Callable[[estimator.Fitted, Path, int], list[Path]]

# The recipe, so that a model file says how it was made. It names no file and no folder.
TRAINING_KEY: Final = "isotherm.training"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Published:
    """The outcome of a run: the model file, and the fit it came from.

    Attributes:
        path: `<repository>/<name>/<version>/model.onnx`.
        parity: the largest difference between torch and ONNX Runtime, in the targets' units.
    """

    path: Path
    fitted: estimator.Fitted
    parity: float


def train(
    config: TrainConfig, *, created_at: datetime, on_epoch: loop.OnEpoch | None = None
) -> Published:
    """Read, fit, compare, export, verify and publish; nothing is left behind on failure."""
    # What can be known before the work is checked before the work.
    parity.runtime()
    publish.check_repository(config.repository)
    table = data.read(config.data)
    _log.info("training %s on %d rows: %s", config.name, table.rows, recipe(table, config))
    fitted = estimator.fit(table, config, on_epoch)
    content, difference = build(fitted, config, created_at)
    path = publish.publish(content, config.repository, config.name)
    return Published(path=path, fitted=fitted, parity=difference)


def build(
    fitted: estimator.Fitted, config: TrainConfig, created_at: datetime
) -> tuple[bytes, float]:
    """Return the checked ONNX file of a fitted model, and its parity with torch."""
    described = contract.describe(fitted, config, created_at)
    try:
        text = dumps(described)
    except ContractError as error:
        msg = f"{error}; train on fewer columns"
        raise ExportError(msg) from error
    content = export.to_onnx(
        fitted.served,
        name=config.name,
        features=len(fitted.table.features),
        input_name=contract.INPUT,
        output_names=(contract.PREDICTION, contract.LOWER, contract.UPPER),
        properties={
            METADATA_KEY: text,
            TRAINING_KEY: json.dumps(recipe(fitted.table, config), sort_keys=True),
        },
    )
    table_x = fitted.table.x
    difference = parity.check(
        content,
        fitted.served,
        [table_x[:1], table_x, contract.golden_inputs(table_x, config.fit.seed)],
        absolute=described.golden.absolute_tolerance,
        relative=described.golden.relative_tolerance,
    )
    return content, difference


def untrained(config: TrainConfig) -> nn.Sequential:
    """Return the network of `config` for its table, with the weights that training starts from."""
    table = data.read(config.data)
    widths = {"features": len(table.features), "targets": len(table.targets)}
    return model.network(config.network.layers, **widths, seed=config.fit.seed)


def recipe(table: data.Table, config: TrainConfig) -> dict[str, object]:
    """Return the settings that made the model, with the layers that the defaults stand for."""
    resolved: dict[str, object] = config.model_dump(
        mode="json", include={"model", "coverage", "network", "fit"}
    )
    widths = {"features": len(table.features), "targets": len(table.targets)}
    resolved["network"] = {"layers": list(config.network.layers or model.seed_layers(**widths))}
    return resolved


def draw(published: Published, config: TrainConfig, drawer: Drawer | None = None) -> list[Path]:
    """Draw the pictures of a run, or those of another `drawer`; return their paths."""
    if drawer is None:
        # matplotlib takes half a second to import, and may be left out.
        from isotherm.trainer import plots

        drawer = plots.draw
    folder = config.plots or _beside(config.repository, published.path)
    try:
        return drawer(published.fitted, folder, config.dpi)
    except OSError as error:
        msg = f"cannot write the pictures to '{folder}': {error.strerror}; choose another --plots"
        raise RepositoryError(msg) from error


def _beside(repository: Path, path: Path) -> Path:
    """Return where a version's pictures go: inside the repository they would pass for a model."""
    version = path.parent
    # `Path.parent` of `.` is `.` itself.
    outside = Path(os.path.normpath(repository / os.pardir))
    return outside / "plots" / f"{version.parent.name}-{version.name}"
