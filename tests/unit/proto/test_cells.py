"""Which cells of an input a contract refuses, and the sentence on it."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.v1.cells import Cells
from isotherm.v1.contract_pb2 import (
    MISSING_INDICATOR,
    MISSING_MEAN,
    MISSING_REFUSE,
    MISSING_UNKNOWN,
    NON_FINITE_ACCEPT,
    Contract,
    Feature,
    Tensors,
)

NAN, INF = np.nan, np.inf


def _cells(*policies, **changes):
    features = [Feature(name=f"f{i}", missing=policy) for i, policy in enumerate(policies)]
    return Cells(Contract(features=features, tensors=Tensors(input="x"), **changes))


@pytest.mark.parametrize("policy", [MISSING_MEAN, MISSING_INDICATOR, MISSING_UNKNOWN])
def test_a_missing_cell_is_taken_in_its_own_feature_alone(policy):
    """Not in the one beside it, and infinity in none."""
    cells = _cells(policy, MISSING_REFUSE)

    assert cells.refused(np.array([[NAN, 1], [1, 2]])) is None
    refused = cells.refused(np.array([[NAN, 1], [INF, 2], [NAN, NAN]]))
    assert refused is not None
    assert refused.tolist() == [[False, False], [True, False], [False, True]]


def test_a_contract_that_accepts_all_refuses_nothing():
    """Infinity included."""
    assert _cells(0, non_finite=NON_FINITE_ACCEPT).refused(np.array([[INF], [NAN]])) is None


def test_whole_numbers_are_never_refused():
    """They have no NaN."""
    assert _cells(0).refused(np.ones((2, 1), np.int64)) is None


def test_the_sentence_names_row_feature_policy_and_where_a_cell_may_be_missing():
    """Whoever leaves a cell empty wants to know where that is allowed."""
    array = np.array([[NAN, 1], [1, NAN]])
    cells = _cells(MISSING_MEAN, 0)

    refused = cells.refused(array)

    assert refused is not None
    assert cells.complaint(array, refused, "m") == (
        "row 1 of input 'x' has nan for 'f1': model 'm' was not trained on such values "
        "(missing: refuse; it may be missing in 'f0')"
    )


def test_of_very_many_such_features_some_are_named():
    """A message is to be read."""
    array = np.full((1, 9), NAN)
    cells = _cells(*[MISSING_MEAN] * 8, 0)

    refused = cells.refused(array)

    assert refused is not None
    assert "'f3', 'f4' and 3 more)" in cells.complaint(array, refused, "m")
