"""In-graph scaling: the served module speaks raw units, its core standardised ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from isotherm.trainer.data import Floats
from isotherm.trainer.objective import probabilities


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scaling:
    """Mean and standard deviation of each column, both of shape (columns,)."""

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, values: Floats) -> Scaling:
        """Measure `values` of shape (rows, columns)."""
        # A column may be constant within the rows of one fold; it then says nothing there. Its
        # computed deviation need not be exactly 0, its range is.
        scale = np.where(np.ptp(values, axis=0) > 0, values.std(axis=0), 1.0)
        return cls(mean=values.mean(axis=0), scale=scale)

    def standardise(self, values: Floats) -> Floats:
        """Map raw `values` of shape (rows, columns) to mean 0 and deviation 1."""
        return np.asarray((values - self.mean) / self.scale)

    def restore(self, values: Floats) -> Floats:
        """Undo `standardise`; shapes (..., columns)."""
        return np.asarray(values * self.scale + self.mean)


class ServedModel(nn.Module):
    """The module that is exported; a tuple of outputs, the prediction first."""

    core: nn.Sequential
    # The names of the outputs in the graph.
    outputs: tuple[str, ...] = ("y",)

    def answers(self, x: Floats) -> Floats:
        """Return the predictions for raw `x` (rows, features) as numpy, shape (rows, columns)."""
        with torch.inference_mode():
            y = self(torch.tensor(x, dtype=torch.float32))[0]
        return np.asarray(y.numpy(), dtype=np.float64)


class Served(ServedModel):
    """The module of numbers: scale in, core, scale out, and an interval around the answer.

    The scaling stays in float32 Sub and Div instead of being folded into the first layer: folding
    saves four nodes and costs a digit of precision, more where a column's mean is large.
    """

    outputs = ("y", "lower", "upper")

    x_mean: Tensor
    x_scale: Tensor
    y_mean: Tensor
    y_scale: Tensor
    half_width: Tensor

    def __init__(
        self, core: nn.Sequential, *, inputs: Scaling, outputs: Scaling, half_width: Floats
    ) -> None:
        super().__init__()
        self.core = core
        for name, values in (
            ("x_mean", inputs.mean),
            ("x_scale", inputs.scale),
            ("y_mean", outputs.mean),
            ("y_scale", outputs.scale),
            ("half_width", half_width),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map raw `x` (batch, features) to `y`, `lower` and `upper`, each (batch, targets)."""
        y = self.core((x - self.x_mean) / self.x_scale) * self.y_scale + self.y_mean
        return y, y - self.half_width, y + self.half_width


class Classifier(ServedModel):
    """The module of a label: scale in, core, and a probability for each class."""

    x_mean: Tensor
    x_scale: Tensor

    def __init__(self, core: nn.Sequential, *, inputs: Scaling) -> None:
        super().__init__()
        self.core = core
        self.register_buffer("x_mean", torch.tensor(inputs.mean, dtype=torch.float32))
        self.register_buffer("x_scale", torch.tensor(inputs.scale, dtype=torch.float32))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Map raw `x` (batch, features) to probabilities (batch, classes)."""
        return (probabilities(self.core((x - self.x_mean) / self.x_scale)),)
