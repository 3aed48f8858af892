"""The mapping that several outputs come in."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from isotherm.client import Prediction


@pytest.fixture(name="prediction")
def _prediction():
    return Prediction({"y": np.zeros((2, 1)), "lower": np.ones((2, 1)), "items": np.ones(3)})


def test_outputs_are_items_and_attributes(prediction):
    """Both ways lead to the same array."""
    assert prediction["lower"] is prediction.lower
    assert list(prediction) == ["y", "lower", "items"]
    assert len(prediction) == 3


def test_a_name_of_the_mappings_own_needs_brackets(prediction):
    """`items` stays the method."""
    assert len(dict(prediction.items())) == 3
    assert prediction["items"].shape == (3,)


def test_an_output_that_is_not_there_is_an_attribute_error_with_the_names(prediction):
    """The message lists what there is."""
    with pytest.raises(AttributeError, match="no output 'upper', only y, lower, items"):
        _ = prediction.upper
    assert not hasattr(prediction, "upper")


def test_a_prediction_can_be_copied_and_pickled(prediction):
    """Looking up attributes of a half-made copy does not run in circles."""
    for twin in (copy.copy(prediction), pickle.loads(pickle.dumps(prediction))):  # noqa: S301
        np.testing.assert_array_equal(prediction.lower, twin.lower)


def test_names_and_shapes_can_be_seen(prediction):
    """For the interactive prompt: repr and completion."""
    assert repr(prediction) == "<Prediction y=(2, 1), lower=(2, 1), items=(3,)>"
    assert {"y", "lower", "keys"} <= set(dir(prediction))
