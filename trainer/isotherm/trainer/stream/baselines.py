"""The baselines of a stream: from sums over all rows, or learned as a network is."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch import nn

from isotherm.trainer import embeddings
from isotherm.trainer.columns import Floats
from isotherm.trainer.data import Column
from isotherm.trainer.model import affine
from isotherm.trainer.stream.frame import Frame
from isotherm.trainer.stream.survey import Sums

# Of the squared weights of a straight model that is learned: little, as nothing in it can bend.
PENALTY: Final = 0.5

# A square matrix of so many rows can be summed beside everything else.
_WIDEST: Final = 1024


def solvable(frame: Frame) -> bool:
    """Whether a line through the table can be solved from sums over its rows."""
    embedded = any(column.embedding for column in frame.features)
    return not (frame.classes or embedded) and frame.encoding.width <= _WIDEST


def constant(frame: Frame, sums: Sums) -> nn.Sequential:
    """Return the model that ignores the features: the mean, or the share of each class."""
    width = frame.encoding.width
    if frame.classes:
        # One more of each: a class that is rare is not impossible.
        counts = sums.classes + 1.0
        return _ignoring(width, np.log(counts / counts.sum()))
    return _ignoring(width, sums.products[-1] / sums.weight)


def line(sums: Sums) -> nn.Sequential:
    """Solve least squares from sums of squares and products."""
    # By least squares again: columns that depend on each other make the matrix singular.
    found = np.linalg.lstsq(sums.squares, sums.products, rcond=None)[0]
    solution = np.asarray(found, dtype=np.float64)
    return affine(np.ascontiguousarray(solution[:-1].T), solution[-1])


def straight(frame: Frame) -> nn.Sequential:
    """Return a model that is straight in what it sees, to be learned from zero."""
    outputs = frame.objective.columns(len(frame.targets))
    width = frame.encoding.width
    # A number for each category and output: what one-hot columns and their weights would be.
    columns = [_narrow(column, outputs) for column in frame.features]
    layer = embeddings.of(columns)
    inner = embeddings.inner_width(columns) if layer is not None else width
    linear = nn.Linear(inner, outputs)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
        if layer is not None:
            # Weights of 1 behind vectors of 0: either alone at 0 would never be learned.
            for index in range(sum(bool(column.embedding) for column in columns)):
                first = inner - outputs * (index + 1)
                linear.weight[:, first : first + outputs] = torch.eye(outputs)
            for table in layer.tables:
                table.zero_()
    return nn.Sequential(linear) if layer is None else embeddings.before(layer, linear)


def _ignoring(width: int, answer: Floats) -> nn.Sequential:
    return affine(np.zeros((len(answer), width)), np.asarray(answer))


def _narrow(column: Column, outputs: int) -> Column:
    return replace(column, embedding=outputs) if column.embedding else column
