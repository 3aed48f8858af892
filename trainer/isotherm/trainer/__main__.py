"""The command `train`: flags become a configuration, errors become one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from isotherm.trainer import flags, given
from isotherm.trainer.errors import ConfigError, InputError, TrainerError, WorldError
from isotherm.trainer.tracking import flags as tracking_flags

# The packages behind these take seconds to import: `--help` and a mistyped flag need not wait.
if TYPE_CHECKING:
    from isotherm.trainer.config import TrainConfig
    from isotherm.trainer.run import Drawer, Published
    from isotherm.trainer.sources import Source
    from isotherm.trainer.tracking.story import Trial
    from isotherm.trainer.tracking.tracker import Tracker

app = typer.Typer(add_completion=False)


@app.command()
def train(
    dataset: flags.Dataset = None,
    *,
    data: flags.Data = None,
    features: flags.Features = None,
    targets: flags.Targets = None,
    task: flags.Task = None,
    stream: flags.Stream = None,
    memory: flags.Memory = None,
    categories: flags.Categories = None,
    missing: flags.Missing = None,
    min_category_rows: flags.MinCategoryRows = None,
    max_categories: flags.MaxCategories = None,
    weight: flags.Weight = None,
    split_by: flags.Split = None,
    time: flags.Time = None,
    group: flags.Group = None,
    transforms: flags.Transforms = None,
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
    cuda_graphs: flags.CudaGraphs = None,
    precision: flags.Precision = None,
    checkpoint: flags.Checkpoint = None,
    checkpoint_every: flags.CheckpointEvery = None,
    checkpoint_steps: flags.CheckpointSteps = None,
    tensorboard: tracking_flags.Tensorboard = None,
    mlflow: tracking_flags.Mlflow = None,
    experiment: tracking_flags.Experiment = None,
    register: tracking_flags.Register = None,
    repository: flags.Repository = None,
    name: flags.Name = None,
    plots: flags.Plots = None,
    draw: flags.Draw = None,
    dpi: flags.Dpi = None,
    summary: flags.Summary = False,
    log_every: flags.LogEvery = 1000,
) -> None:
    """Train on a table, compare with the mean and a line, and publish the model that is kept."""
    values = given.settings(locals(), beside=("config", "recipe", "summary", "log_every"))
    with sentences():
        from isotherm.trainer.config import load

        if recipe is not None:
            _follow(recipe, values, config, summary=summary)
            return
        _run(load(config, values), log_every, summary=summary)


def _run(config: TrainConfig, log_every: int, *, summary: bool) -> None:
    from isotherm.trainer import data, lesson, progress, run, torchrun
    from isotherm.trainer.stream import command
    from isotherm.trainer.tracking import tracker

    # Where a factory of the user's own is looked for, as `python -m` would.
    sys.path.insert(0, "")
    show = partial(show_columns, config) if config.data.file else None
    with torchrun.joined() as world:
        # Only a stream is shared by several processes.
        streamed = world.size > 1 or _streamed(config)
        if show and not (config.data.features or config.data.targets):
            # The error that follows asks for a choice; here is what there is to choose from.
            show(command.head(config.data) if streamed else data.source(config.data))
        if summary and not streamed:
            typer.echo(lesson.summary(run.untrained(config)))
        # Rank 0 tells.
        quiet = world.rank > 0
        with tracker.Tracker() if quiet else tracker.of(config, now()) as tracking:
            with progress.watching(sys.stderr, 0 if quiet else log_every) as shown:
                watch = tracking.watch(shown)
                if streamed:
                    echo = (lambda net: typer.echo(lesson.summary(net))) if summary else None
                    published = command.train(
                        config,
                        created_at=now(),
                        watch=watch,
                        on_source=show,
                        on_network=echo,
                        world=world,
                    )
                else:
                    published = run.train(config, created_at=now(), watch=watch, on_source=show)
            if published:
                tell(published, config, tracking=tracking)


def _streamed(config: TrainConfig) -> bool:
    """Whether the rows stay in their files; say so where nobody asked for it."""
    from isotherm.trainer.stream import command

    reason = command.wanted(config.data)
    if reason and not config.data.stream:
        typer.echo(f"streaming, since {reason} (--no-stream keeps it in memory)", err=True)
    return bool(reason)


def show_columns(config: TrainConfig, source: Source) -> None:
    """Print the columns of a table, and what becomes of each."""
    from rich.console import Console

    from isotherm.trainer import schema

    schema.show(source, Console(), config.data)


def _follow(name: str, flags: dict[str, object], file: Path | None, *, summary: bool) -> None:
    from isotherm.trainer import recipe
    from isotherm.trainer.config import load
    from isotherm.trainer.tracking import tracker

    check_alone(f"recipe '{name}' is for one process")
    config = load(file, recipe.settings(name, flags))
    if summary:
        for text in recipe.summaries():
            typer.echo(text)
    with tracker.of(config, now()) as tracking:
        published = recipe.train(config, created_at=now(), echo=typer.echo)
        tell(published, config, recipe.draw, tracking=tracking)


def tell(
    published: Published,
    config: TrainConfig,
    drawer: Drawer | None = None,
    *,
    tracking: Tracker,
    trials: Sequence[Trial] = (),
) -> None:
    """Say what became of a training, draw it, and tell the stores that are asked for."""
    from rich.console import Console

    from isotherm.trainer import export, report

    report.show(published.fitted, Console())
    for note in export.notes(export.parse(published.path.read_bytes())):
        typer.echo(f"note: {note}")
    typer.echo(f"parity: ONNX Runtime is within {published.parity:.1e} of torch")
    files: list[Path] = []
    try:
        _draw(published, config, drawer, files)
    finally:
        try:
            for text in tracking.tell(published.path, published.parity, files, trials):
                typer.echo(text)
        finally:
            # The last line is for scripts, and true whatever became of the pictures and stores.
            typer.echo(f"published {published.path}")


def _draw(
    published: Published, config: TrainConfig, drawer: Drawer | None, files: list[Path]
) -> None:
    """Draw and describe the model, if that is asked for; add to `files` what was written."""
    from isotherm.trainer import run

    if not config.draw:
        return
    for path in run.draw(published, config, drawer):
        files.append(path)
        typer.echo(f"plot {path}")
    for path in run.describe(published, config):
        files.append(path)
        typer.echo(f"report {path}")


@contextmanager
def sentences() -> Iterator[None]:
    """Turn our errors into one sentence on stderr; 2 where the input was at fault, else 1."""
    try:
        yield
    except TrainerError as error:
        # Where several processes write, it matters which one it is.
        alone = _processes() == "1" or isinstance(error, WorldError)
        where = "" if alone else f"rank {os.environ.get('RANK')}: "
        typer.echo(f"error: {where}{error}", err=True)
        sys.exit(2 if isinstance(error, InputError) else 1)


def check_alone(why: str) -> None:
    """Raise ConfigError where several processes were started."""
    if _processes() != "1":
        msg = f"{why}; leave torchrun out"
        raise ConfigError(msg)


def _processes() -> str:
    return os.environ.get("WORLD_SIZE", "1")


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
