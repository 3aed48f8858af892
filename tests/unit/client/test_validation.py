"""What the contract refuses, before anything is sent."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.client import InvalidInputError
from isotherm.client._validation import check
from isotherm.v1.cells import Cells
from isotherm.v1.contract_pb2 import (
    NON_FINITE_ACCEPT,
    NON_FINITE_REFUSE,
    NON_FINITE_UNSPECIFIED,
    Contract,
    Feature,
    Tensors,
)


def _cells(policy):
    return Cells(
        Contract(
            features=[Feature(name="t_u"), Feature(name="humidity")],
            tensors=Tensors(input="x"),
            non_finite=policy,
        )
    )


@pytest.mark.parametrize("policy", [NON_FINITE_UNSPECIFIED, NON_FINITE_REFUSE])
@pytest.mark.parametrize(
    ("value", "shown", "policy_shown"),
    [(np.nan, "nan", " (missing: refuse)"), (np.inf, "inf", ""), (-np.inf, "-inf", "")],
)
def test_the_first_bad_row_and_feature_are_named(policy, value, shown, policy_shown):
    """In the server's words, so that it does not matter who saw it first."""
    array = np.array([[1, 2], [3, value], [value, 4]], np.float32)

    with pytest.raises(InvalidInputError) as caught:
        check(_cells(policy), array, model="m")

    assert str(caught.value) == (
        f"row 1 of input 'x' has {shown} for 'humidity': model 'm' was not trained on such values"
        + policy_shown
    )
    assert caught.value.model == "m"
    assert caught.value.code is None


@pytest.mark.parametrize(
    "array",
    [np.ones((3, 2)), np.full((2, 2), np.finfo("f4").max, "f4"), np.ones((1, 2), "i8"), [[]]],
)
def test_finite_numbers_pass(array):
    """Large ones and none at all as well."""
    cells, array = _cells(NON_FINITE_REFUSE), np.asarray(array)

    check(cells, array, model="m")


def test_a_model_that_takes_nan_gets_it():
    """The contract says so."""
    cells, array = _cells(NON_FINITE_ACCEPT), np.full((2, 2), np.nan)

    check(cells, array, model="m")


def test_a_column_that_the_contract_does_not_name_goes_by_the_input():
    """An array that is too wide is refused elsewhere; here it only needs a name."""
    array = np.array([[1, 2, np.nan]])

    with pytest.raises(InvalidInputError, match="row 0 of input 'x' has nan for 'x'"):
        check(_cells(NON_FINITE_REFUSE), array, model="m")
