"""The flags of tracking: where a training is told of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_TRACKING = "Tracking"

Tensorboard = Annotated[
    Path | None,
    typer.Option(
        help="Folder for TensorBoard's event files.",
        show_default=False,
        rich_help_panel=_TRACKING,
    ),
]
Mlflow = Annotated[
    str | None,
    typer.Option(
        help="An MLflow server (https://...) or database (sqlite:///mlflow.db) to tell.",
        show_default=False,
        rich_help_panel=_TRACKING,
    ),
]
Experiment = Annotated[
    str | None,
    typer.Option(
        help="The experiment in MLflow.",
        show_default="the model's name",
        rich_help_panel=_TRACKING,
    ),
]
Register = Annotated[
    str | None,
    typer.Option(
        help="Register the version with MLflow under this name.",
        show_default=False,
        rich_help_panel=_TRACKING,
    ),
]
