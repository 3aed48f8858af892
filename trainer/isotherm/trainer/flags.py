"""The flags of `isotherm train`: their types, help and defaults, in the groups of its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_TABLE = "Table"
_MODEL = "Model"
_OUTPUT = "Output"
_TRAINING = "Training"

Dataset = Annotated[
    str | None, typer.Argument(help="A built-in dataset: thermometer.", show_default=False)
]
Data = Annotated[
    Path | None,
    typer.Option(help="A .csv, .parquet, .arrow or .feather file.", rich_help_panel=_TABLE),
]
Features = Annotated[str | None, typer.Option(help="Columns in, as a,b,c.", rich_help_panel=_TABLE)]
Targets = Annotated[str | None, typer.Option(help="Columns out, as y,z.", rich_help_panel=_TABLE)]
Task = Annotated[
    str | None,
    typer.Option(
        help="regression, binary or multiclass; auto: text, booleans and whole numbers of two "
        "values are labels, everything else is a number.",
        show_default="auto",
        rich_help_panel=_TABLE,
    ),
]
Stream = Annotated[
    bool | None,
    typer.Option(
        "--stream/--no-stream",
        help="Leave the rows in their Parquet files, and read them again in every epoch; --data "
        "may then name a folder or a pattern.",
        show_default="where the table would not fit into memory",
        rich_help_panel=_TABLE,
    ),
]
Memory = Annotated[
    int | None,
    typer.Option(
        help="MiB that a stream may keep of the table at a time.",
        show_default="256",
        rich_help_panel=_TABLE,
    ),
]
Categories = Annotated[
    str | None,
    typer.Option(
        help="Features that are categories though they are numbers, as a,b=embedding,c=one-hot. "
        "Text is a category by itself.",
        show_default="text, one-hot up to 32 values and embedded beyond",
        rich_help_panel=_TABLE,
    ),
]
Missing = Annotated[
    str | None,
    typer.Option(
        help="What becomes of missing numbers: mean, or indicator (the mean, and the network is "
        "told); by column as a=mean,b=indicator.",
        show_default="refuse",
        rich_help_panel=_TABLE,
    ),
]
MinCategoryRows = Annotated[
    int | None,
    typer.Option(
        help="A category's value in fewer rows counts as unknown.",
        show_default="2",
        rich_help_panel=_TABLE,
    ),
]
MaxCategories = Annotated[
    int | None,
    typer.Option(
        help="So many values of a category are told apart, the most frequent ones.",
        show_default="1000",
        rich_help_panel=_TABLE,
    ),
]
Weight = Annotated[
    str | None,
    typer.Option(
        help="The column of weights: a row of weight 2 counts twice, one of 0 is left out.",
        show_default=False,
        rich_help_panel=_TABLE,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Which rows are left out together: random, time or group.",
        show_default="by --time or --group, else random",
        rich_help_panel=_TABLE,
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        help="The column of when each row was: later rows are predicted from earlier ones.",
        show_default=False,
        rich_help_panel=_TABLE,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        help="The column of groups that are left out as a whole.",
        show_default=False,
        rich_help_panel=_TABLE,
    ),
]
Transforms = Annotated[
    str | None,
    typer.Option(
        help="The scale on which a target is learned, as price=log,count=log1p; or sqrt.",
        show_default=False,
        rich_help_panel=_TABLE,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(help="A TOML file with the same settings; flags win.", rich_help_panel=_TABLE),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="What to publish: auto (what the leaderboard keeps), mean, line, network, or what "
        "package.module:function makes.",
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
    str | None,
    typer.Option(
        help="Penalty on squared weights, divided by the number of rows; of several, "
        "cross-validation chooses.",
        show_default="0.3, 0.1, 1.0, 3.0",
        rich_help_panel=_MODEL,
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        help="mse, l1 or huber; cross_entropy.",
        show_default="mse, or cross_entropy for labels",
        rich_help_panel=_TRAINING,
    ),
]
Optimizer = Annotated[
    str | None,
    typer.Option(help="adam, adamw, sgd or lbfgs.", show_default="adam", rich_help_panel=_TRAINING),
]
Schedule = Annotated[
    str | None,
    typer.Option(
        help="constant, cosine, one-cycle or step.",
        show_default="constant",
        rich_help_panel=_TRAINING,
    ),
]
ClipNorm = Annotated[
    float | None,
    typer.Option(help="The longest gradient; 0: any.", show_default="0", rich_help_panel=_TRAINING),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        help="Rows a step.", show_default="all, from 2049 rows on 1024", rich_help_panel=_TRAINING
    ),
]
Patience = Annotated[
    int | None,
    typer.Option(
        help="Stop after so many epochs without a better validation loss (from 100 rows on); "
        "0: never.",
        show_default="0",
        rich_help_panel=_TRAINING,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="auto, cpu, cuda, or cuda:1 for the second one.",
        show_default="auto",
        rich_help_panel=_TRAINING,
    ),
]
CudaGraphs = Annotated[
    bool | None,
    typer.Option(
        "--cuda-graphs/--no-cuda-graphs",
        help="On CUDA, record the steps of a network and replay them, where that is faster.",
        show_default="cuda-graphs",
        rich_help_panel=_TRAINING,
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="Of the layers while they learn: float32, tf32 (on CUDA), bf16, or auto.",
        show_default="float32",
        rich_help_panel=_TRAINING,
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        help="Folder for an unfinished training; the same command then goes on.",
        show_default=False,
        rich_help_panel=_TRAINING,
    ),
]
CheckpointEvery = Annotated[
    int | None,
    typer.Option(help="Epochs between two.", show_default="100", rich_help_panel=_TRAINING),
]
CheckpointSteps = Annotated[
    int | None,
    typer.Option(
        help="Steps between two, of a stream.", show_default="1000", rich_help_panel=_TRAINING
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
        help="Where stderr is no terminal: a JSON line at epoch 1 and every N; 0: never.",
        rich_help_panel=_OUTPUT,
    ),
]
