"""One training run: a table in, a published version out."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from torch import nn

from isotherm.trainer import (
    contract,
    data,
    estimator,
    export,
    networks,
    parity,
    precision,
    probes,
    publish,
    select,
)
from isotherm.trainer import objective as objectives
from isotherm.trainer.checkpoint import Checkpoints
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.errors import ExportError, RepositoryError
from isotherm.trainer.features import Classifier
from isotherm.trainer.progress import Watch
from isotherm.trainer.settings import recipe
from isotherm.v1.contract import METADATA_KEY, ContractError, dumps
from isotherm.v1.contract_pb2 import Contract, Golden

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
    config: TrainConfig,
    *,
    created_at: datetime,
    watch: Watch | None = None,
    on_source: data.OnSource | None = None,
) -> Published:
    """Read, fit, compare, export, verify and publish; nothing is left behind on failure.

    With `checkpoint.folder`, an unfinished training is kept there, and the next one goes on.

    Args:
        config: of the run.
        created_at: for the contract.
        watch: told the losses of each stage.
        on_source: told all columns of a table that can be trained on, before it is.
    """
    # What can be known before the work is checked before the work.
    parity.runtime()
    publish.check_repository(config.repository)
    table = data.read(config.data, on_source)
    check_export(table, config)
    return train_on(table, config, created_at=created_at, watch=watch)


def train_on(
    table: data.Table,
    config: TrainConfig,
    *,
    created_at: datetime,
    watch: Watch | None = None,
    tried: int = 0,
) -> Published:
    """Do the same with a table that has been read.

    `tried` is how many trials of a search the configuration is the best of: the model says so.
    """
    _log.info("training %s on %d rows: %s", config.name, table.rows, recipe(table, config))
    checkpoints = keep(config, recipe(table, config) | {"data": table.sha256})
    fitted = estimator.fit(table, config, watch, checkpoints=checkpoints)
    if tried:
        fitted = replace(fitted, leaderboard=_after_search(fitted.leaderboard, config, tried))
    published = publish_fitted(fitted, config, created_at)
    if checkpoints:
        checkpoints.clear()
    return published


def _after_search(board: select.Leaderboard, config: TrainConfig, tried: int) -> select.Leaderboard:
    """Count the trials before it among the configurations that were compared."""
    networks = len(config.candidates)
    # Each trial chose from as many penalties as the network that is its like now.
    each = (board.configurations - len(board.candidates) + networks) // networks
    # The best trial is trained again, and counts once.
    configurations = board.configurations + each * (tried - 1)
    return replace(board, tried=tried, configurations=configurations)


def publish_fitted(
    fitted: estimator.Fitted, config: TrainConfig, created_at: datetime
) -> Published:
    """Export, verify and publish what was fitted."""
    content, difference = build(fitted, config, created_at)
    path = publish.publish(content, config.repository, config.name)
    return Published(path=path, fitted=fitted, parity=difference)


def keep(config: TrainConfig, settings: Mapping[str, object]) -> Checkpoints | None:
    """Return where checkpoints go, if anywhere; they must share `settings` to be continued."""
    folder, every = config.checkpoint.folder, config.checkpoint.every
    return Checkpoints(folder, flat(settings), every) if folder else None


def flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested settings by their dotted names."""
    values: dict[str, object] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[prefix + name] = value
    return values


def check_export(table: data.Table, config: TrainConfig) -> None:
    """Raise ExportError where a factory's module cannot be exported, before it is trained."""
    objective = objectives.of(table, config.fit.loss)
    for one in config.candidates.values():
        if one.factory:
            core = networks.build(one, table, objective, config.fit.seed).eval()
            export.to_onnx(
                Classifier(core, inputs=Encoding.of(table.x, table.features)),
                name=config.name,
                features=len(table.features),
                input_name=contract.INPUT,
                output_names=Classifier.outputs,
                properties={},
            )


def build(
    fitted: estimator.Fitted, config: TrainConfig, created_at: datetime
) -> tuple[bytes, float]:
    """Return the checked ONNX file of a fitted model, and its parity with torch."""
    return file_of(fitted, config, contract.describe(fitted, config, created_at))


def file_of(
    fitted: estimator.Fitted, config: TrainConfig, described: Contract
) -> tuple[bytes, float]:
    """Do the same with a contract that has been described."""
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
        output_names=fitted.served.outputs,
        properties={
            METADATA_KEY: text,
            TRAINING_KEY: json.dumps(_told(fitted, config), sort_keys=True),
        },
    )
    return content, _verify(content, fitted, described.golden, config.fit.seed)


@precision.exact()
def _verify(content: bytes, fitted: estimator.Fitted, golden: Golden, seed: int) -> float:
    """Compare torch and ONNX Runtime, near the table and far from it; return the difference."""
    absolute, relative = golden.absolute_tolerance, golden.relative_tolerance
    served, x, columns = fitted.served, fitted.table.x, fitted.table.features
    probes.check_independent(served.answers, x, absolute=absolute, relative=relative)
    # The way back from a logarithm turns what is added into what is multiplied.
    steep = any(target.transform for target in fitted.table.targets)
    parity.check(
        content,
        served,
        [probes.far(x, columns)],
        absolute=probes.FAR * absolute,
        relative=relative * (probes.FAR if steep else 1),
    )
    return parity.check(
        content, served, probes.near(x, seed, columns), absolute=absolute, relative=relative
    )


def _told(fitted: estimator.Fitted, config: TrainConfig) -> dict[str, object]:
    board = fitted.leaderboard
    if not board.tried:
        return recipe(fitted.table, config)
    search = {"trials": board.tried, "configurations": board.configurations}
    return recipe(fitted.table, config) | {"search": search}


def untrained(config: TrainConfig) -> nn.Sequential:
    """Return the network of `config` for its table, with the weights that training starts from."""
    table = data.read(config.data)
    objective = objectives.of(table, config.fit.loss)
    return networks.build(config.network, table, objective, config.fit.seed)


def describe(published: Published, config: TrainConfig) -> list[Path]:
    """Write the report and the model card of a run beside its pictures; return their paths."""
    from isotherm.trainer import account, plots

    told = account.Account(
        path=published.path,
        contract=export.contract_of(published.path.read_bytes()),
        findings=account.of_fit(published.fitted),
        parity=f"ONNX Runtime answers within {published.parity:.1e} of torch.",
        pictures=tuple(plots.pictures(published.fitted)),
    )
    folder = beside(config, published.path)
    try:
        return account.write(told, folder)
    except OSError as error:
        msg = f"cannot write the report to '{folder}': {error.strerror}; choose another --plots"
        raise RepositoryError(msg) from error


def draw(published: Published, config: TrainConfig, drawer: Drawer | None = None) -> list[Path]:
    """Draw the pictures of a run, or those of another `drawer`; return their paths."""
    if drawer is None:
        # matplotlib takes half a second to import, and may be left out.
        from isotherm.trainer import plots

        drawer = plots.draw
    folder = beside(config, published.path)
    try:
        return drawer(published.fitted, folder, config.dpi)
    except OSError as error:
        msg = f"cannot write the pictures to '{folder}': {error.strerror}; choose another --plots"
        raise RepositoryError(msg) from error


def beside(config: TrainConfig, path: Path) -> Path:
    """Return where a version's pictures go: inside the repository they would pass for a model."""
    if config.plots:
        return config.plots
    version = path.parent
    # `Path.parent` of `.` is `.` itself.
    outside = Path(os.path.normpath(config.repository / os.pardir))
    return outside / "plots" / f"{version.parent.name}-{version.name}"
