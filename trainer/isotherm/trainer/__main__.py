"""The command `train`: flags become a configuration, errors become one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from isotherm.trainer import flags
from isotherm.trainer.errors import ConfigError, InputError, TrainerError

# The packages behind these take seconds to import: `--help` and a mistyped flag need not wait.
if TYPE_CHECKING:
    from isotherm.trainer.config import TrainConfig
    from isotherm.trainer.run import Drawer, Published
    from isotherm.trainer.sources import Source

app = typer.Typer(add_completion=False)


@app.command()
def train(
    dataset: flags.Dataset = None,
    *,
    data: flags.Data = None,
    features: flags.Features = None,
    targets: flags.Targets = None,
    task: flags.Task = None,
    config: flags.Config = None,
    model: flags.Model = None,
    recipe: flags.Recipe = None,
    layers: flags.Layers = None,
    epochs: flags.Epochs = None,
    learning_rate: flags.LearningRate = None,
    weight_decay: flags.WeightDecay = None,
    seed: flags.Seed = None,
    loss: flags.Loss = None,
    optimizer: flags.Optimizer = None,
    schedule: flags.Schedule = None,
    clip_norm: flags.ClipNorm = None,
    batch_size: flags.BatchSize = None,
    patience: flags.Patience = None,
    device: flags.Device = None,
    checkpoint: flags.Checkpoint = None,
    checkpoint_every: flags.CheckpointEvery = None,
    repository: flags.Repository = None,
    name: flags.Name = None,
    plots: flags.Plots = None,
    draw: flags.Draw = None,
    dpi: flags.Dpi = None,
    summary: flags.Summary = False,
    log_every: flags.LogEvery = 1000,
) -> None:
    """Train on a table, compare with the mean and a line, and publish the model that is kept."""
    given: dict[str, object] = {
        "data.dataset": dataset,
        "data.file": data,
        "data.features": split(features),
        "data.targets": split(targets),
        "data.task": task,
        "network.layers": _split_layers(layers),
        "fit.epochs": epochs,
        "fit.learning_rate": learning_rate,
        "fit.weight_decay": split(weight_decay),
        "fit.seed": seed,
        "fit.loss": loss,
        "fit.optimizer": optimizer,
        "fit.schedule": schedule,
        "fit.clip_norm": clip_norm,
        "fit.batch_size": batch_size,
        "fit.patience": patience,
        "fit.device": device,
        "checkpoint.folder": checkpoint,
        "checkpoint.every": checkpoint_every,
        "model": model,
        "repository": repository,
        "name": name,
        "plots": plots,
        "draw": draw,
        "dpi": dpi,
    }
    with sentences():
        from isotherm.trainer.config import load

        if recipe is not None:
            _follow(recipe, given, config, summary=summary)
            return
        _run(load(config, given), log_every, summary=summary)


def _run(config: TrainConfig, log_every: int, *, summary: bool) -> None:
    from isotherm.trainer import data, lesson, progress, run

    # Where a factory of the user's own is looked for, as `python -m` would.
    sys.path.insert(0, "")
    show = partial(_show_columns, config) if config.data.file else None
    if show and not (config.data.features or config.data.targets):
        # The error that follows asks for a choice; here is what there is to choose from.
        show(data.source(config.data))
    if summary:
        typer.echo(lesson.summary(run.untrained(config)))
    with progress.watching(sys.stderr, log_every) as watch:
        published = run.train(config, created_at=now(), watch=watch, on_source=show)
    _tell(published, config)


def _show_columns(config: TrainConfig, source: Source) -> None:
    from rich.console import Console

    from isotherm.trainer import schema

    chosen = config.data.model_dump(include={"features", "targets", "units", "task"})
    schema.show(source, Console(), **chosen)


def _follow(name: str, flags: dict[str, object], file: Path | None, *, summary: bool) -> None:
    from isotherm.trainer import recipe
    from isotherm.trainer.config import load

    config = load(file, recipe.settings(name, flags))
    if summary:
        for text in recipe.summaries():
            typer.echo(text)
    published = recipe.train(config, created_at=now(), echo=typer.echo)
    _tell(published, config, recipe.draw)


def _tell(published: Published, config: TrainConfig, drawer: Drawer | None = None) -> None:
    from rich.console import Console

    from isotherm.trainer import export, report, run

    report.show(published.fitted, Console())
    for note in export.notes(export.parse(published.path.read_bytes())):
        typer.echo(f"note: {note}")
    typer.echo(f"parity: ONNX Runtime is within {published.parity:.1e} of torch")
    try:
        for path in run.draw(published, config, drawer) if config.draw else []:
            typer.echo(f"plot {path}")
        for path in run.describe(published, config) if config.draw else []:
            typer.echo(f"report {path}")
    finally:
        # The last line is for scripts, and true whatever became of the pictures.
        typer.echo(f"published {published.path}")


@contextmanager
def sentences() -> Iterator[None]:
    """Turn our errors into one sentence on stderr; 2 where the input was at fault, else 1."""
    try:
        yield
    except TrainerError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, InputError) else 1)


def split(names: str | None) -> list[str] | None:
    """Return the parts of `a, b, c`."""
    return [name.strip() for name in names.split(",")] if names is not None else None


def _split_layers(layers: str | None) -> list[str] | None:
    """Split after each closing bracket: the commas inside are arguments."""
    if layers is None:
        return None
    parts = (part.strip(" ,;") for part in layers.split(")"))
    return [f"{part})" for part in parts if part]


def now() -> datetime:
    """Return the time, or SOURCE_DATE_EPOCH, with which two runs give the same bytes."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if fixed is None:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(fixed), UTC)
    except (ValueError, OverflowError, OSError) as error:
        msg = f"SOURCE_DATE_EPOCH is '{fixed}'; expected seconds since 1970"
        raise ConfigError(msg) from error


if __name__ == "__main__":
    app(prog_name="isotherm train")
