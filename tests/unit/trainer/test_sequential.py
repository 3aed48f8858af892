"""Tests of the estimators in the manner of scikit-learn."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from isotherm.trainer import SequentialClassifier, SequentialRegressor
from isotherm.trainer.config import ColumnsConfig, FitConfig
from isotherm.trainer.errors import ConfigError, DataError, LayerError
from isotherm.trainer.features import Classifier
from isotherm.trainer.sequential import _Sequential

X = np.random.default_rng(0).normal(size=(60, 2))
PRODUCT = X[:, 0] * X[:, 1]
LABELS = np.where(PRODUCT > 0, "same", "other")


def _clone(estimator: _Sequential) -> _Sequential:
    """Make a new one from the parameters, as scikit-learn's `clone` does."""
    params = {name: copy.deepcopy(value) for name, value in estimator.get_params().items()}
    return type(estimator)(**params)


def test_all_settings_of_a_fit_and_of_columns_are_parameters() -> None:
    """One that the command has and the estimator lacks was forgotten."""
    settings = FitConfig.model_fields.keys() | ColumnsConfig.model_fields.keys()

    assert SequentialRegressor().get_params().keys() == settings | {"module"}


@pytest.mark.parametrize("kind", [SequentialRegressor, SequentialClassifier])
def test_parameters_go_around(kind: type[_Sequential]) -> None:
    """What the constructor takes is what comes back, also from a clone."""
    module = nn.Sequential(nn.Linear(2, 2))
    estimator = kind(module, epochs=7, optimizer="sgd", weight_decay=0.1)

    params = estimator.get_params()
    clone = _clone(estimator)

    assert (params["module"], params["epochs"], params["optimizer"]) == (module, 7, "sgd")
    assert clone.get_params() | {"module": module} == params
    assert clone.set_params(epochs=9, seed=4) is clone
    assert (clone.get_params()["epochs"], clone.get_params()["seed"]) == (9, 4)
    assert "epochs=9" in repr(clone)
    with pytest.raises(ValueError, match="no parameter 'speed'; there are module, epochs"):
        clone.set_params(speed=1)


def test_a_regressor_keeps_the_shape_of_y() -> None:
    """One column or several; the caller's module is copied, not trained."""
    module = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    before = copy.deepcopy(module.state_dict())
    both = np.column_stack([PRODUCT, X.sum(axis=1)])

    one = SequentialRegressor(epochs=150).fit(X, PRODUCT)
    two = SequentialRegressor(module, epochs=150).fit(X, both)

    assert (one.predict(X).shape, two.predict(X).shape) == ((60,), (60, 2))
    assert min(one.score(X, PRODUCT), two.score(X, both)) > 0.95
    torch.testing.assert_close(before, dict(module.state_dict()))
    assert (one.n_features_in_, one.__sklearn_is_fitted__()) == (2, True)


@pytest.mark.parametrize("labels", [LABELS, LABELS == "same", np.digitize(PRODUCT, [-0.3, 0.3])])
def test_a_classifier_answers_with_the_labels_it_was_given(labels: Any) -> None:
    """Text, booleans or numbers; probabilities add up to one."""
    model = SequentialClassifier(epochs=150).fit(X, labels)

    assert set(model.predict(X)) <= set(labels)
    assert model.predict(X).dtype == labels.dtype
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, atol=1e-6)
    assert model.score(X, labels) > 0.9


def test_one_output_is_enough_for_two_classes() -> None:
    """It is the logit of the second."""
    module = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))

    model = SequentialClassifier(module, epochs=150).fit(X, LABELS)

    assert isinstance(model.served_, Classifier)
    assert model.predict_proba(X).shape == (60, 2)
    assert model.score(X, LABELS) > 0.9


def test_settings_and_arrays_that_cannot_be_used_are_named() -> None:
    """Each mistake gets its sentence."""
    model = SequentialClassifier(epochs=5).fit(X, LABELS)

    with pytest.raises(DataError, match="class 'none' was never seen in training, which had other"):
        model.score(X, np.full(60, "none"))
    with pytest.raises(DataError, match="x has 3 columns, the model was fitted to 2"):
        model.predict(np.zeros((2, 3)))
    with pytest.raises(DataError, match="not fitted; call fit"):
        SequentialRegressor().predict(X)
    with pytest.raises(ConfigError, match=r"fit\.optimizer: .*'adam'"):
        SequentialRegressor(optimizer="magic").fit(X, PRODUCT)
    with pytest.raises(LayerError, match=r"ends in Softmax\(\), which the exported graph adds"):
        SequentialClassifier(nn.Sequential(nn.Linear(2, 2), nn.Softmax(1))).fit(X, LABELS)
