"""Estimators in the manner of scikit-learn, which is not needed for them: `fit`, `predict` ..."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from torch import nn

from isotherm.trainer import arrays, device, frames, networks, precision, validation
from isotherm.trainer import objective as objectives
from isotherm.trainer.config import (
    IN_MEMORY,
    ColumnsConfig,
    FitConfig,
    NetworkConfig,
    validated,
)
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.errors import DataError
from isotherm.trainer.estimator import wrap
from isotherm.trainer.features import ServedModel
from isotherm.trainer.folds import Folds


class _Sequential:
    """What regressor and classifier share.

    Attributes:
        served_: after `fit`, the module from raw features to raw answers.
        history_: after `fit`, the losses of each epoch.
        n_features_in_: after `fit`, the columns of x.
    """

    _kind: str

    served_: ServedModel
    n_features_in_: int

    def __init__(
        self,
        module: nn.Module | None = None,
        *,
        epochs: int = 1000,
        loss: str | None = None,
        optimizer: str = "adam",
        learning_rate: float = 0.02,
        momentum: float = 0.0,
        schedule: str = "constant",
        weight_decay: float = 0.3,
        clip_norm: float = 0.0,
        batch_size: int | None = None,
        patience: int = 0,
        device: str = "auto",
        cuda_graphs: bool = True,
        precision: str = "float32",
        seed: int = 0,
        categories: Sequence[str] | Mapping[str, str] = (),
        missing: str | Mapping[str, str] | None = None,
        min_category_rows: int = 2,
        max_categories: int = 1000,
    ) -> None:
        """Take the settings of `[fit]`, and those of `[data]` on columns.

        `module` is copied by `fit`, None is the seed's network.
        """
        self.module = module
        self.epochs = epochs
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.batch_size = batch_size
        self.patience = patience
        self.device = device
        self.cuda_graphs = cuda_graphs
        self.precision = precision
        self.seed = seed
        self.categories = categories
        self.missing = missing
        self.min_category_rows = min_category_rows
        self.max_categories = max_categories

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Set some of the constructor's arguments."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                msg = f"there is no parameter '{name}'; there are {', '.join(known)}"
                raise ValueError(msg)
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({settings})"

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn whether `fit` was called."""
        return hasattr(self, "served_")

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn, which alone calls this, what kind of estimator this is."""
        utils = importlib.import_module("sklearn.utils")
        regressor = self._kind == "regressor"
        return utils.Tags(
            estimator_type=self._kind,
            target_tags=utils.TargetTags(required=True, multi_output=regressor),
            regressor_tags=utils.RegressorTags() if regressor else None,
            classifier_tags=None if regressor else utils.ClassifierTags(),
        )

    def _fit(self, x: Any, y: Any, weight: Any, *, labels: bool) -> None:
        given = self.get_params()
        columns = {name: given.pop(name) for name in ColumnsConfig.model_fields}
        del given["module"]
        config = validated({"name": "model", "data": {"dataset": IN_MEMORY}, "fit": given}).fit
        table = arrays.table(x, y, labels=labels, weight=weight, **columns)
        with device.room(), precision.exact():
            core, self.history_ = validation.alone(*self._training(table, config))
        self.served_ = wrap(table, core, np.zeros(table.y.shape[1]))
        self.n_features_in_ = table.x.shape[1]
        self._columns = table.features

    def _training(
        self, table: Table, config: FitConfig
    ) -> tuple[nn.Sequential, validation.Training]:
        networks.check(config, table.rows)
        objective = objectives.of(table, config.loss)
        network = (
            networks.build(NetworkConfig(), table, objective, config.seed)
            if self.module is None
            else networks.prepare(self.module, table, objective, seed=config.seed)
        )
        nothing = Folds(method="none", held_out=np.zeros((0, table.rows), dtype=np.bool_))
        return network, validation.Training(
            table=table, parts=nothing, config=config, objective=objective
        )

    def _answers(self, x: Any) -> Floats:
        if not hasattr(self, "served_"):
            msg = "this estimator is not fitted; call fit(x, y) first"
            raise DataError(msg)
        return self.served_.answers(frames.rows(x, self._columns))


class SequentialRegressor(_Sequential):
    """An `nn.Sequential` for one or several numbers, scaled in and out by itself."""

    _kind = "regressor"

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to `x` (rows, features), or columns by name, and `y`, (rows,) or (rows, targets).

        `sample_weight`, (rows,), is what each row counts.
        """
        self._fit(x, y, sample_weight, labels=False)
        self._flat = np.ndim(y) == 1
        return self

    def predict(self, x: Any) -> Floats:
        """Return predictions in the shape that `y` had."""
        answers = self._answers(x)
        return answers[:, 0] if self._flat else answers

    def score(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R squared, a mean over the targets; `sample_weight` is what each row counts."""
        truth = frames.numbers(y, "y")
        middle = np.average(truth, axis=0, weights=sample_weight)
        residual = np.average(np.square(truth - self._answers(x)), axis=0, weights=sample_weight)
        total = np.average(np.square(truth - middle), axis=0, weights=sample_weight)
        return float(np.mean(1 - residual / np.maximum(total, np.finfo(np.float64).tiny)))


class SequentialClassifier(_Sequential):
    """An `nn.Sequential` for one label, of two or more classes.

    Attributes:
        classes_: after `fit`, the labels in the order of the probabilities.
    """

    _kind = "classifier"

    classes_: Any

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit to `x` (rows, features), or named columns, and the labels `y` (rows,), of any type.

        `sample_weight`, (rows,), is what each row counts.
        """
        self._fit(x, y, sample_weight, labels=True)
        counting = slice(None) if sample_weight is None else np.asarray(sample_weight) > 0
        self.classes_ = np.unique(np.asarray(y)[counting])
        return self

    def predict_proba(self, x: Any) -> Floats:
        """Return the probability of each class, shape (rows, classes)."""
        return self._answers(x)

    def predict(self, x: Any) -> Any:
        """Return the most probable label of each row."""
        return self.classes_[self._answers(x).argmax(axis=1)]

    def score(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of rows whose label is predicted, by what each row counts."""
        truth = np.asarray(y).reshape(-1)
        unknown = np.setdiff1d(truth, self.classes_)
        if len(unknown):
            names = ", ".join(str(label) for label in self.classes_)
            msg = f"class '{unknown[0]}' was never seen in training, which had {names}"
            raise DataError(msg)
        return float(np.average(self.predict(x) == truth, weights=sample_weight))
