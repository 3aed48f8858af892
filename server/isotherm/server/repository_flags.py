"""The flags of `isotherm serve` about the folder that it serves."""

from __future__ import annotations

from typing import Annotated

import typer

ModelName = Annotated[
    str | None,
    typer.Option(
        help="Name of the one model that the folder holds as model.onnx or <version>/model.onnx.",
        envvar="ISOTHERM_MODEL_NAME",
        show_default="the folder is a repository",
    ),
]
RepositoryWait = Annotated[
    float,
    typer.Option(
        help="Seconds to wait at the start for the folder, where others mount it.",
        envvar="ISOTHERM_REPOSITORY_WAIT",
    ),
]
