"""The flags of `isotherm export`: their types and help, in the groups of its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SAMPLE = "Sample"
_MODEL = "Model"
_OUTPUT = "Output"

Model = Annotated[
    str,
    typer.Argument(
        help="package.module:factory or file.py:factory, which gives an nn.Module; or a .onnx "
        "file.",
        show_default=False,
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        help="Rows as the model meets them: .csv, .parquet, .arrow, .feather.",
        show_default=False,
        rich_help_panel=_SAMPLE,
    ),
]
Features = Annotated[
    str,
    typer.Option(
        help="Columns in, in the model's order.", show_default=False, rich_help_panel=_SAMPLE
    ),
]
Targets = Annotated[
    str,
    typer.Option(
        help="Columns out, in the model's order.", show_default=False, rich_help_panel=_SAMPLE
    ),
]
Units = Annotated[
    str | None,
    typer.Option(help="As a=m2,y=EUR.", show_default=False, rich_help_panel=_SAMPLE),
]
Task = Annotated[
    str,
    typer.Option(help="regression, binary, multiclass, auto.", rich_help_panel=_SAMPLE),
]
StateDict = Annotated[
    Path | None,
    typer.Option(
        help="Weights of the module, as torch.save(model.state_dict(), FILE) writes them.",
        show_default=False,
        rich_help_panel=_MODEL,
    ),
]
Head = Annotated[
    str,
    typer.Option(
        help="What a classifier gives: logits, probabilities; auto: what its outputs look "
        "like on the sample.",
        rich_help_panel=_MODEL,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        help="Of a .onnx file with several.", show_default="the first", rich_help_panel=_MODEL
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        help="The model's name.", show_default="that of the sample", rich_help_panel=_OUTPUT
    ),
]
Repository = Annotated[
    Path,
    typer.Option(help="Where <name>/<version>/model.onnx appears.", rich_help_panel=_OUTPUT),
]
Seed = Annotated[int, typer.Option(help="Of the made rows.", rich_help_panel=_OUTPUT)]
Plots = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the report.",
        show_default="plots/<name>-<version> beside the repository",
        rich_help_panel=_OUTPUT,
    ),
]
Draw = Annotated[
    bool,
    typer.Option("--draw/--no-draw", help="Write a report.", rich_help_panel=_OUTPUT),
]
