"""The objective: what a table asks of a model, and how far an answer is from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from isotherm.trainer import transform
from isotherm.trainer import weights as averages
from isotherm.trainer.config import Loss
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.errors import ConfigError, DataError

RMSE: Final = "RMSE"
LOG_LOSS: Final = "log loss"

# A class that a model rules out costs this much, not everything.
_SMALLEST: Final = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """Numbers with a loss of their residuals, or the classes of one label with cross-entropy."""

    loss: Loss = "mse"
    # Empty for numbers.
    classes: tuple[str, ...] = ()
    # Of each target, the scale that it is learned on; empty where all are learned as they are.
    transforms: tuple[str, ...] = ()

    @property
    def metric(self) -> str:
        """How the leaderboard measures: RMSE of the first target, or log loss."""
        return LOG_LOSS if self.classes else RMSE

    def widths(self, targets: int) -> tuple[int, ...]:
        """Return the widths that a network's output may have, the usual one first."""
        if not self.classes:
            return (targets,)
        # One output is the logit of the second class.
        return (2, 1) if len(self.classes) == 2 else (len(self.classes),)  # noqa: PLR2004  a pair

    def columns(self, targets: int) -> int:
        """Return the columns of a prediction: a number each, or a probability a class."""
        return len(self.classes) or targets

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return each row's loss, shape (...): what training lowers.

        Args:
            outputs: of the network, shape (..., width).
            y: standardised numbers, shape (..., targets), or the classes' indices, (..., 1).
        """
        if not self.classes:
            return _residual_losses(self.loss, outputs, y)
        if outputs.shape[-1] == 1:
            return functional.binary_cross_entropy_with_logits(
                outputs[..., 0], y[..., 0], reduction="none"
            )
        logs = functional.log_softmax(outputs, dim=-1)
        return -logs.gather(-1, y.long())[..., 0]

    def errors(self, predictions: Floats, y: Floats, scale: Floats) -> Floats:
        """Return each row's error, shape (..., rows): what models are compared by.

        Args:
            predictions: shape (..., rows, columns), in raw units, or probabilities.
            y: shape (rows, targets).
            scale: shape (targets,); makes several targets comparable.
        """
        if not self.classes:
            return np.asarray(np.square((predictions - y) / scale).mean(axis=-1))
        index = np.broadcast_to(y.astype(np.int64), (*predictions.shape[:-1], 1))
        given = np.take_along_axis(predictions, index, axis=-1)[..., 0]
        return np.asarray(-np.log(np.maximum(given, _SMALLEST)))

    def score(self, predictions: Floats, y: Floats, weights: Floats | None = None) -> float:
        """Return the error by the metric, over all rows of `predictions` (..., rows, columns)."""
        if self.classes:
            errors = self.errors(predictions, y, np.ones(1))
        else:
            errors = np.square(predictions[..., 0] - y[:, 0])
        # All at once without weights: a mean of means differs in its last digit.
        mean = float(errors.mean() if weights is None else averages.mean(errors, weights).mean())
        return mean if self.classes else float(np.sqrt(mean))

    def learned(self, values: Floats) -> Floats:
        """Map targets or predictions, (..., columns), to the scale that the targets are learned on.

        On that scale an interval has one width.
        """
        return transform.learn(values, self.transforms)

    def truth(self, y: Floats) -> Floats:
        """Return what a perfect model would predict: the numbers, or 1 for the class."""
        return np.eye(len(self.classes))[y[:, 0].astype(np.int64)] if self.classes else y


def of(table: Table, loss: Loss | None = None) -> Objective:
    """Return what the table asks for; check its classes.

    Raises:
        DataError: a class has too few rows, or labels stand beside other targets.
        ConfigError: the loss is for targets of the other kind.
    """
    classes = next((classes for classes in table.classes if classes), ())
    if not classes:
        if loss == "cross_entropy":
            msg = "fit.loss is 'cross_entropy', which needs labels; the targets are numbers"
            raise ConfigError(msg)
        transforms = tuple(column.transform for column in table.targets)
        return Objective(loss=loss or "mse", transforms=transforms if any(transforms) else ())
    if loss not in {None, "cross_entropy"}:
        msg = f"fit.loss is '{loss}', which needs numbers; the target is a label (cross_entropy)"
        raise ConfigError(msg)
    target, *others = table.targets
    if others:
        msg = "a label must be the only target; train one model for each"
        raise DataError(msg)
    if table.total is None:
        # A sample of a larger table need not have a row of every class.
        _check_classes(target.name, classes, table.y[:, 0])
    return Objective(loss="cross_entropy", classes=classes)


def _check_classes(name: str, classes: Sequence[str], y: Floats) -> None:
    if len(classes) > len(y):
        msg = f"target '{name}' has {len(classes)} classes, more than its {len(y)} rows"
        raise DataError(msg)
    counts = np.bincount(y.astype(np.int64), minlength=len(classes))
    if (counts == 0).any():
        missing = classes[int(np.argmin(counts))]
        msg = f"class '{missing}' of target '{name}' is in no row; a model never saw it"
        raise DataError(msg)
    if len(classes) < 2:  # noqa: PLR2004  a choice
        msg = f"target '{name}' is '{classes[0]}' in every row; it teaches nothing"
        raise DataError(msg)
    if (counts == 1).any():
        rare = classes[int(np.argmin(counts))]
        msg = (
            f"class '{rare}' of target '{name}' has one row only: left out, it would be a class "
            "never seen in training; give it a second row, merge it, or remove it"
        )
        raise DataError(msg)


def probabilities(outputs: Tensor) -> Tensor:
    """Map a classifier's outputs (..., width) to probabilities (..., classes)."""
    if outputs.shape[-1] > 1:
        return torch.softmax(outputs, dim=-1)
    second = torch.sigmoid(outputs)
    return torch.cat([1 - second, second], dim=-1)


def _residual_losses(loss: Loss, outputs: Tensor, y: Tensor) -> Tensor:
    if loss == "mse":
        return (outputs - y).square().mean(dim=-1)
    each: Any = functional.l1_loss if loss == "l1" else functional.huber_loss
    losses: Tensor = each(outputs, y, reduction="none").mean(dim=-1)
    return losses
