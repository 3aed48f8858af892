"""The scaling: mean and deviation of columns, which a network sees and answers without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isotherm.trainer.columns import Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scaling:
    """Mean and standard deviation of each column, both of shape (columns,)."""

    mean: Floats
    scale: Floats

    @classmethod
    def of(cls, values: Floats, weights: Floats | None = None) -> Scaling:
        """Measure `values` of shape (rows, columns), each row as often as it counts."""
        mean = np.asarray(np.average(values, axis=0, weights=weights))
        if weights is None:
            deviation = values.std(axis=0)
        else:
            deviation = np.sqrt(np.average(np.square(values - mean), axis=0, weights=weights))
        # A column may be constant within the rows of one fold; it then says nothing there. Its
        # computed deviation need not be exactly 0, its range is.
        return cls(mean=mean, scale=np.where(np.ptp(values, axis=0) > 0, deviation, 1.0))

    def standardise(self, values: Floats) -> Floats:
        """Map raw `values` of shape (rows, columns) to mean 0 and deviation 1."""
        return np.asarray((values - self.mean) / self.scale)

    def restore(self, values: Floats) -> Floats:
        """Undo `standardise`; shapes (..., columns)."""
        return np.asarray(values * self.scale + self.mean)
