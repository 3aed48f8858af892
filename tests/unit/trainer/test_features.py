"""Tests of the in-graph scaling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isotherm.trainer.encoding import Encoding
from isotherm.trainer.features import Served
from isotherm.trainer.model import affine
from isotherm.trainer.scaling import Scaling


def test_standardised_columns_have_mean_0_and_deviation_1() -> None:
    """Scaling removes where a column lies and how wide it is, and gives both back."""
    values = np.array([[1.0, 10.0], [2.0, 30.0], [6.0, 80.0]])
    scaling = Scaling.of(values)

    scaled = scaling.standardise(values)

    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), 1)
    np.testing.assert_allclose(scaling.restore(scaled), values)


def test_a_column_that_is_constant_in_a_fold_is_not_divided_by_its_noise() -> None:
    """A sum of equal numbers is not exact, so the range decides, not the deviation."""
    scaling = Scaling.of(np.full((10, 1), 0.1))

    assert scaling.scale.tolist() == [1.0]


def test_the_served_module_takes_and_gives_raw_units() -> None:
    """A core of twice its input, between scalings: 3 + 5 * 2 * (x - 1) / 4, plus and minus 0.5."""
    served = Served(
        affine(np.array([[2.0]]), np.array([0.0])),
        inputs=Encoding.of_scaling(Scaling(mean=np.array([1.0]), scale=np.array([4.0]))),
        outputs=Scaling(mean=np.array([3.0]), scale=np.array([5.0])),
        half_width=np.array([0.5]),
    )

    answers = [output.item() for output in served(torch.tensor([[9.0]]))]

    assert answers == pytest.approx([23.0, 22.5, 23.5])
