"""The settings that made a model: written into its file, and shared by what continues it."""

from __future__ import annotations

from isotherm.trainer import embeddings, model
from isotherm.trainer import objective as objectives
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Table


def recipe(table: Table, config: TrainConfig) -> dict[str, object]:
    """Return the settings that made the model, with the layers that the defaults stand for."""
    # What is as it was before there was a choice is not told: files and checkpoints stay the same.
    # Nor is what changes no number.
    usual = {"precision"} if config.fit.precision == "float32" else set()
    resolved: dict[str, object] = config.model_dump(
        mode="json",
        include={"model", "coverage", "fit"},
        exclude={"fit": {"cuda_graphs", *usual}},
    )
    (width, *_) = objectives.of(table, config.fit.loss).widths(len(table.targets))
    seed_layers = model.seed_layers(features=embeddings.inner_width(table.features), targets=width)
    for name, one in config.candidates.items():
        layers = one.layers or (() if one.factory else seed_layers)
        resolved[name] = one.model_dump(mode="json") | {"layers": list(layers)}
    return resolved | _encoded(table) | _rows(table)


def _encoded(table: Table) -> dict[str, object]:
    """Return how columns are encoded; nothing of a table of numbers without gaps."""
    told = {
        column.name: {
            "missing": column.missing,
            "categories": len(column.categories),
            "embedding": column.embedding,
        }
        for column in table.features
        if column.missing != "refuse"
    }
    return {"columns": told} if told else {}


def _rows(table: Table) -> dict[str, object]:
    """Return what the rows count, how they are split and what is learned of them, if unusual."""
    transforms = {one.name: one.transform for one in table.targets if one.transform}
    told: dict[str, object] = {"weight": table.weight_column} if table.weight_column else {}
    if table.split.column:
        told[table.split.kind] = table.split.column
    if transforms:
        told["transforms"] = transforms
    return {"rows": told} if told else {}
