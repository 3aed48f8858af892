"""The design: rows as the straight models see them, an effect for each value of a category.

A straight model of a category gives each value a number of its own, whether networks see it one-hot
or embedded. It is fitted from the codes themselves: a thousand values are a thousand numbers, not a
thousand columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from isotherm.trainer import embeddings
from isotherm.trainer.columns import Floats
from isotherm.trainer.encoding import Encoding, categories
from isotherm.trainer.model import affine

# Of the squared effects of a line, beside the sum of squared errors of a standardised target: a
# value's effect is pulled towards the average as if one more row had shown no effect at all.
# Without it, a value of one row would be that row.
_PENALTY: Final = 1.0

_PRECISION: Final = 1e-10
_STEPS: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Design:
    """Rows of numbers, and of each category the place of each row's value.

    Attributes:
        plain: shape (rows, numbers), standardised, with their indicators.
        places: one a category, shape (rows,).
        sizes: the values of each category, the unknown one included.
    """

    plain: Floats
    places: tuple[NDArray[np.int64], ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, encoding: Encoding, x: Floats) -> Design:
        """Encode raw rows (rows, features)."""
        plain, places = encoding.parts(x)
        sizes = tuple(len(shares) for shares in encoding.shares)
        return cls(plain=plain, places=tuple(places), sizes=sizes)

    def times(self, values: Floats) -> Floats:
        """Return each row's answer, shape (rows,), by a bias, weights and effects in one array."""
        answers = values[0] + self.plain @ values[1 : 1 + self.plain.shape[1]]
        for places, effects in zip(self.places, self._effects(values), strict=True):
            answers += effects[places]
        return np.asarray(answers)

    def sums(self, rows: Floats) -> Floats:
        """Return the sums of `rows` (rows,) by bias, weights and effects: `times`, transposed."""
        pairs = zip(self.places, self.sizes, strict=True)
        counts = [np.bincount(places, rows, minlength=size) for places, size in pairs]
        return np.concatenate([[rows.sum()], self.plain.T @ rows, *counts])

    def constant(self, bias: Floats) -> Solution:
        """Return the model that answers `bias` (outputs,) to every row."""
        outputs = len(bias)
        return Solution(
            weight=np.zeros((outputs, self.plain.shape[1])),
            bias=bias,
            effects=tuple(np.zeros((size, outputs)) for size in self.sizes),
        )

    def least_squares(self, y: Floats, weights: Floats) -> Solution:
        """Fit a line to standardised targets (rows, targets), each row as often as it counts."""
        values = np.stack([_conjugate_gradients(self, one, weights) for one in y.T], axis=1)
        numbers = 1 + self.plain.shape[1]
        return Solution(
            weight=values[1:numbers].T, bias=values[0], effects=tuple(self._effects(values))
        )

    def _effects(self, values: Floats) -> list[Floats]:
        starts = np.cumsum(self.sizes)[:-1]
        return np.split(values[1 + self.plain.shape[1] :], starts) if self.sizes else []


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Solution:
    """A straight model.

    Attributes:
        weight: shape (outputs, numbers).
        bias: shape (outputs,).
        effects: one a category, shape (values, outputs).
    """

    weight: Floats
    bias: Floats
    effects: tuple[Floats, ...] = ()

    def answers(self, design: Design) -> Floats:
        """Return the model's answers, shape (rows, outputs)."""
        answers = design.plain @ self.weight.T + self.bias
        for places, effects in zip(design.places, self.effects, strict=True):
            answers = answers + effects[places]
        return np.asarray(answers)

    def centred(self, shares: Sequence[Floats]) -> Solution:
        """Return the same model with effects of mean 0: that of a value which no row had."""
        bias, centred = self.bias, []
        for effects, share in zip(self.effects, shares, strict=True):
            mean = share @ effects
            bias = bias + mean
            centred.append(np.where(share[:, np.newaxis] > 0, effects - mean, 0.0))
        return Solution(weight=self.weight, bias=bias, effects=tuple(centred))

    def core(self, encoding: Encoding) -> nn.Sequential:
        """Return the model as layers that see encoded rows; the effects must be centred."""
        pairs = [*zip(categories(encoding.columns), self.effects, strict=True)]
        hot = [
            effects[: len(column.categories) + column.unknown].T
            for column, effects in pairs
            if not column.embedding
        ]
        embedded = [effects for column, effects in pairs if column.embedding]
        weight = np.hstack([self.weight, *hot, *[np.eye(len(self.bias))] * len(embedded)])
        straight = affine(weight, self.bias)
        if not embedded:
            return straight
        tables = [torch.tensor(effects, dtype=torch.float32) for effects in embedded]
        layer = embeddings.Embeddings(encoding.width - len(embedded), tables)
        return embeddings.before(layer, straight)


def _conjugate_gradients(design: Design, y: Floats, weights: Floats) -> Floats:
    """Solve the penalised normal equations without writing their matrix down."""
    numbers = 1 + design.plain.shape[1]
    penalty = np.zeros(numbers + sum(design.sizes))
    penalty[numbers:] = _PENALTY
    dense = np.column_stack([np.ones(len(y)), design.plain])
    # What the numbers have in common is solved at once, and of a category its rows are apart.
    inverse = np.linalg.pinv((dense * weights[:, np.newaxis]).T @ dense, hermitian=True)
    diagonal = (design.sums(weights) + penalty)[numbers:]

    def precondition(values: Floats) -> Floats:
        return np.concatenate([inverse @ values[:numbers], values[numbers:] / diagonal])

    values = np.zeros_like(penalty)
    residual = design.sums(weights * y)
    enough = _PRECISION * np.linalg.norm(residual)
    step = precondition(residual)
    power = residual @ step
    for _ in range(_STEPS):
        if np.linalg.norm(residual) <= enough:
            break
        image = design.sums(weights * design.times(step)) + penalty * step
        length = power / (step @ image)
        values += length * step
        residual -= length * image
        better = precondition(residual)
        last, power = power, residual @ better
        step = better + power / last * step
    return values
