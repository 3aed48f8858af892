"""Answers to write."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from isotherm.client.cli.answer import Series


@pytest.fixture(name="columns")
def _columns() -> Callable[[int, int], list[Series]]:
    """Rows `start` to `stop`: a number, its third as FP32 with a gap, a label with a line's end."""

    def make(start: int, stop: int) -> list[Series]:
        numbers = np.arange(start, stop, dtype=np.float64)
        thirds = (numbers / 3).astype(np.float32)
        thirds[numbers == 2] = np.nan
        labels = [f'"{int(each)}"\n,' for each in numbers]
        return [
            Series("n", "n [m]", numbers),
            Series("third", "third", thirds),
            Series("label", "label", labels),
        ]

    return make
