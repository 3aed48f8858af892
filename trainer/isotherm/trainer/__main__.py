"""The command `train`: flags become a configuration, errors become one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isotherm.trainer.errors import ConfigError, InputError, TrainerError

# The packages behind these take seconds to import: `--help` and a mistyped flag need not wait.
if TYPE_CHECKING:
    from isotherm.trainer.config import TrainConfig
    from isotherm.trainer.loop import OnEpoch
    from isotherm.trainer.run import Drawer, Published

app = typer.Typer(add_completion=False)

_TABLE = "Table"
_MODEL = "Model"
_OUTPUT = "Output"

Dataset = Annotated[
    str | None, typer.Argument(help="A built-in dataset: thermometer.", show_default=False)
]
Data = Annotated[Path | None, typer.Option(help="A .csv or .parquet file.", rich_help_panel=_TABLE)]
Features = Annotated[str | None, typer.Option(help="Columns in, as a,b,c.", rich_help_panel=_TABLE)]
Targets = Annotated[str | None, typer.Option(help="Columns out, as y,z.", rich_help_panel=_TABLE)]
Config = Annotated[
    Path | None,
    typer.Option(help="A TOML file with the same settings; flags win.", rich_help_panel=_TABLE),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="What to publish: auto (what the leaderboard keeps), mean, line or network.",
        show_default="auto",
        rich_help_panel=_MODEL,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        help="The network's layers.",
        show_default="Linear(1, 13), Tanh(), Linear(13, 1)",
        rich_help_panel=_MODEL,
    ),
]
Epochs = Annotated[int | None, typer.Option(show_default="1000", rich_help_panel=_MODEL)]
LearningRate = Annotated[float | None, typer.Option(show_default="0.02", rich_help_panel=_MODEL)]
WeightDecay = Annotated[
    float | None,
    typer.Option(
        help="Penalty on squared weights, divided by the number of rows.",
        show_default="0.3",
        rich_help_panel=_MODEL,
    ),
]
Seed = Annotated[int | None, typer.Option(show_default="0", rich_help_panel=_MODEL)]
Repository = Annotated[
    Path | None,
    typer.Option(
        help="Where <name>/<version>/model.onnx appears.",
        show_default="models",
        rich_help_panel=_OUTPUT,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        help="The model's name.", show_default="that of the table", rich_help_panel=_OUTPUT
    ),
]
Plots = Annotated[
    Path | None,
    typer.Option(
        help="Folder for pictures.",
        show_default="plots/<name>-<version> beside the repository",
        rich_help_panel=_OUTPUT,
    ),
]
Draw = Annotated[
    bool | None,
    typer.Option(
        "--draw/--no-draw", help="Draw pictures.", show_default="draw", rich_help_panel=_OUTPUT
    ),
]
Dpi = Annotated[int | None, typer.Option(show_default="600", rich_help_panel=_OUTPUT)]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="seed: the readings' line and network by plain SGD, as the book trains them.",
        show_default=False,
        rich_help_panel=_MODEL,
    ),
]
Summary = Annotated[
    bool,
    typer.Option(
        "--summary", help="Print the modules and parameters first.", rich_help_panel=_OUTPUT
    ),
]
LogEvery = Annotated[
    int,
    typer.Option(
        min=0,
        help="Print the standardised losses at epoch 1 and every N; 0: never.",
        rich_help_panel=_OUTPUT,
    ),
]


@app.command()
def train(
    dataset: Dataset = None,
    *,
    data: Data = None,
    features: Features = None,
    targets: Targets = None,
    config: Config = None,
    model: Model = None,
    recipe: Recipe = None,
    layers: Layers = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    weight_decay: WeightDecay = None,
    seed: Seed = None,
    repository: Repository = None,
    name: Name = None,
    plots: Plots = None,
    draw: Draw = None,
    dpi: Dpi = None,
    summary: Summary = False,
    log_every: LogEvery = 1000,
) -> None:
    """Train on a table, compare with the mean and a line, and publish the model that is kept."""
    flags: dict[str, object] = {
        "data.dataset": dataset,
        "data.file": data,
        "data.features": _split(features),
        "data.targets": _split(targets),
        "network.layers": _split_layers(layers),
        "fit.epochs": epochs,
        "fit.learning_rate": learning_rate,
        "fit.weight_decay": weight_decay,
        "fit.seed": seed,
        "model": model,
        "repository": repository,
        "name": name,
        "plots": plots,
        "draw": draw,
        "dpi": dpi,
    }
    with _sentences():
        from isotherm.trainer.config import load

        if recipe is not None:
            _follow(recipe, flags, config, summary=summary)
            return
        _run(load(config, flags), log_every, summary=summary)


def _run(config: TrainConfig, log_every: int, *, summary: bool) -> None:
    from isotherm.trainer import lesson, run

    if summary:
        typer.echo(lesson.summary(run.untrained(config)))
    _tell(run.train(config, created_at=_now(), on_epoch=_printer(log_every)), config)


def _follow(name: str, flags: dict[str, object], file: Path | None, *, summary: bool) -> None:
    from isotherm.trainer import recipe
    from isotherm.trainer.config import load

    config = load(file, recipe.settings(name, flags))
    if summary:
        for text in recipe.summaries():
            typer.echo(text)
    published = recipe.train(config, created_at=_now(), echo=typer.echo)
    _tell(published, config, recipe.draw)


def _tell(published: Published, config: TrainConfig, drawer: Drawer | None = None) -> None:
    from rich.console import Console

    from isotherm.trainer import report, run

    report.show(published.fitted, Console())
    typer.echo(f"parity: ONNX Runtime is within {published.parity:.1e} of torch")
    try:
        for path in run.draw(published, config, drawer) if config.draw else []:
            typer.echo(f"plot {path}")
    finally:
        # The last line is for scripts, and true whatever became of the pictures.
        typer.echo(f"published {published.path}")


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn our errors into one sentence on stderr; 2 where the input was at fault, else 1."""
    try:
        yield
    except TrainerError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2 if isinstance(error, InputError) else 1)


def _printer(every: int) -> OnEpoch:
    def on_epoch(epoch: int, training: float, validation: float) -> None:
        if every and (epoch == 1 or epoch % every == 0):
            typer.echo(
                f"Epoch {epoch}, Training loss {training:.4f}, validation loss {validation:.4f}"
            )

    return on_epoch


def _split(names: str | None) -> list[str] | None:
    return [name.strip() for name in names.split(",")] if names is not None else None


def _split_layers(layers: str | None) -> list[str] | None:
    """Split after each closing bracket: the commas inside are arguments."""
    if layers is None:
        return None
    parts = (part.strip(" ,;") for part in layers.split(")"))
    return [f"{part})" for part in parts if part]


def _now() -> datetime:
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
