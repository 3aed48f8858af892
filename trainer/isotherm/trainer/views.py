"""The view: the table as each copy may look at it, and what the copies answer to its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isotherm.trainer import device, embeddings, stops
from isotherm.trainer import weights as averages
from isotherm.trainer.batches import Rows
from isotherm.trainer.config import FitConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.folds import Masks
from isotherm.trainer.objective import Objective, probabilities
from isotherm.trainer.stack import Copies
from isotherm.trainer.transform import Outputs


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """The rows as each copy sees them, encoded and scaled by those that it may look at.

    Attributes:
        rows: of all copies, on the device that they are trained on.
        inputs: how each copy's features are encoded.
        outputs: how each copy's targets are scaled.
        classes: whether the target is a label.
    """

    rows: Rows
    inputs: tuple[Encoding, ...]
    outputs: tuple[Outputs, ...]
    classes: bool

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.rows.x.device

    @torch.inference_mode()
    def predict(self, copies: Copies) -> Floats:
        """Return the answers of each copy after its training, shape (copies, rows, columns)."""
        embeddings.settle(copies.state(), self.inputs)
        copies.train(False)
        x = self.rows.x
        answers: Tensor = torch.cat([copies(x[:, i]) for i in self.rows.slices()], dim=1)
        if self.classes:
            return np.asarray(probabilities(answers.double()).cpu().numpy())
        values = answers.cpu().numpy().astype(np.float64)
        pairs = zip(values, self.outputs, strict=True)
        return np.stack([outputs.restore(value) for value, outputs in pairs])


def of(
    table: Table,
    objective: Objective,
    config: FitConfig,
    learned: Masks,
    held_out: Masks,
    *,
    stopping: bool,
) -> View:
    """Return what copies see of a table.

    Args:
        table: of all rows.
        objective: of the table.
        config: of the fit.
        learned: shape (copies, rows), what each copy may look at.
        held_out: shape (copies, rows), what it is measured on.
        stopping: whether some of the rows that it may look at decide when to stop.
    """
    seen = [table.take(some) for some in learned]
    inputs = tuple(Encoding.of(one.x, one.features, one.weights) for one in seen)
    outputs = tuple(Outputs.of(one.y, objective.transforms, one.weights) for one in seen)
    labels = bool(objective.classes)
    x = np.stack([each.encode(table.x) for each in inputs])
    y = np.stack([table.y if labels else each.standardise(table.y) for each in outputs])
    watched = stops.choose(learned, table.split, config.seed) if stopping else None
    taught = learned if watched is None else learned & ~watched
    plain = table.weights is None and table.split.kind == "random"
    rows = Rows(
        x=torch.tensor(x, dtype=torch.float32),
        y=torch.tensor(y, dtype=torch.float32),
        training=_shares(taught, table.weights),
        held_out=_shares(held_out, table.weights),
        validation=None if watched is None else _shares(watched, table.weights),
        worth=None if plain else _worth(learned, table.weights),
    )
    place = device.choose(config, rows.x.numel())
    return View(rows=rows.to(place), inputs=inputs, outputs=outputs, classes=labels)


def _shares(mask: Masks, weights: Floats | None) -> Tensor:
    """Return what each row of a mask (copies, rows) counts, 1 in sum."""
    counts = mask if weights is None else mask * weights
    total = counts.sum(axis=1, keepdims=True)
    return torch.tensor(counts / np.where(total > 0, total, 1), dtype=torch.float32)


def _worth(mask: Masks, weights: Floats | None) -> Tensor:
    """Return how many rows each copy learns from, as its weights count them, shape (copies,)."""
    rows = [one.sum() if weights is None else averages.effective(weights[one]) for one in mask]
    return torch.tensor(rows, dtype=torch.float32)
