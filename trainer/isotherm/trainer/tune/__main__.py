"""The command `tune`: a search for the settings of a network, then the training of the best."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import typer

from isotherm.trainer import flags, given
from isotherm.trainer.__main__ import check_alone, now, sentences, show_columns, tell
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.tracking import flags as tracking_flags
from isotherm.trainer.tune import flags as tune_flags
from isotherm.trainer.tune import signals

if TYPE_CHECKING:
    from isotherm.trainer.config import TrainConfig
    from isotherm.trainer.tune.search import Found
    from isotherm.trainer.tune.tuning import Tuning

app = typer.Typer(add_completion=False)

# What a shell says of a command that a signal ended.
_SIGNALLED = 128


@app.command()
def tune(
    dataset: flags.Dataset = None,
    *,
    data: flags.Data = None,
    features: flags.Features = None,
    targets: flags.Targets = None,
    task: flags.Task = None,
    stream: flags.Stream = None,
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
    trials: tune_flags.Trials = None,
    jobs: tune_flags.Jobs = None,
    timeout: tune_flags.Timeout = None,
    storage: tune_flags.Storage = None,
    prune: tune_flags.Prune = None,
    tensorboard: tracking_flags.Tensorboard = None,
    mlflow: tracking_flags.Mlflow = None,
    experiment: tracking_flags.Experiment = None,
    register: tracking_flags.Register = None,
    repository: flags.Repository = None,
    name: flags.Name = None,
    plots: flags.Plots = None,
    draw: flags.Draw = None,
    dpi: flags.Dpi = None,
    log_every: flags.LogEvery = 1000,
) -> None:
    """Search for the settings of a network, train the best, and publish what is kept.

    A setting that is given is not searched. An interrupted search goes on by the same command.
    """
    values = given.settings(locals(), beside=("config", "log_every"))
    with sentences():
        from isotherm.trainer.config import load

        check_alone("a search starts its processes itself (--jobs)")
        _run(load(config, values), log_every)


def _run(config: TrainConfig, log_every: int) -> None:
    from rich.console import Console

    from isotherm.trainer import progress
    from isotherm.trainer.tracking import tracker

    _check_optuna()
    from isotherm.trainer.tune import report, tuning

    # Where a factory of the user's own is looked for, as `python -m` would.
    sys.path.insert(0, "")
    show = partial(show_columns, config) if config.data.file else None
    created_at = now()
    with tracker.of(config, created_at) as tracking:
        prepared = tuning.prepared(config, show)
        found = _search(prepared, quiet=not log_every)
        if found.trials:
            report.show(found, prepared.metric, Console())
        with progress.watching(sys.stderr, log_every) as watch:
            published, best = tuning.train(
                prepared, found, created_at=created_at, watch=tracking.watch(watch)
            )
        trials = [report.told(one) for one in found.trials] if tracking.stores else []
        tell(published, best, tracking=tracking, trials=trials)


def _search(prepared: Tuning, *, quiet: bool) -> Found:
    from isotherm.trainer.tune import report, search

    wanted = prepared.config.tune.trials
    with prepared.record() as record:
        try:
            with (
                report.watching(sys.stderr, wanted, quiet=quiet) as on_trial,
                signals.interrupting(),
            ):
                return search.run(prepared.space, record, on_trial=on_trial)
        except signals.Interrupted as interrupted:
            ended = len(record.ended())
            typer.echo(
                f"interrupted: {ended} of {wanted} trials have ended, and are in "
                f"'{prepared.storage}'; the same command goes on",
                err=True,
            )
            sys.exit(_SIGNALLED + interrupted.number)


def _check_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        msg = "the search needs Optuna, which is not installed: pip install 'isotherm[tune]'"
        raise ConfigError(msg) from error


if __name__ == "__main__":
    app(prog_name="isotherm tune")
