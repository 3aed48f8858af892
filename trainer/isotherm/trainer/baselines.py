"""The baselines, which need no network: mean and line, or prior and logistic for labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from isotherm.trainer.candidates import Candidate, measured
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.features import Scaling
from isotherm.trainer.folds import Folds
from isotherm.trainer.model import affine, parameter_count
from isotherm.trainer.objective import Objective

# From standardised x (rows, features) and y, or classes, to weight (outputs, features) and bias.
Fit = Callable[[Floats, Floats], tuple[Floats, Floats]]

# Of the squared weights of the logistic regression, beside the sum of log losses. Without it the
# weights of classes that a plane separates grow for ever.
_LOGISTIC_PENALTY: Final = 0.5


def baselines(table: Table, parts: Folds, objective: Objective) -> Iterator[Candidate]:
    """Yield the two baselines, the simpler one first."""
    if objective.classes:
        count = len(objective.classes)
        yield _baseline("prior", lambda x, y: _prior(x, y, count), table, parts, objective)
        yield _baseline("logistic", lambda x, y: _logistic(x, y, count), table, parts, objective)
    else:
        yield _baseline("mean", _mean, table, parts, objective)
        yield _baseline("line", _line, table, parts, objective)


def _baseline(name: str, fit: Fit, table: Table, parts: Folds, objective: Objective) -> Candidate:
    columns = objective.columns(table.y.shape[1])

    def refit(held_out: NDArray[np.bool_]) -> Floats:
        predictions = np.zeros((len(held_out), table.rows, columns))
        for out, predicted in zip(held_out, predictions, strict=True):
            _, predict = _solve(fit, table.x[~out], table.y[~out], objective)
            predicted[out] = predict(table.x[out])
        return predictions

    core, predict = _solve(fit, table.x, table.y, objective)
    # The weights of mean and prior are zero by definition, not learned.
    parameters = columns if name in {"mean", "prior"} else parameter_count(core)
    return measured(
        name,
        core,
        parameters=parameters,
        objective=objective,
        held_out=parts.gather(refit(parts.held_out)),
        fitted=predict(table.x),
        y=table.y,
        scale=Scaling.of(table.y).scale,
        refit=refit,
    )


def _solve(
    fit: Fit, x: Floats, y: Floats, objective: Objective
) -> tuple[nn.Sequential, Callable[[Floats], Floats]]:
    inputs, outputs = Scaling.of(x), Scaling.of(y)
    labels = bool(objective.classes)
    weight, bias = fit(inputs.standardise(x), y if labels else outputs.standardise(y))

    def predict(rows: Floats) -> Floats:
        answers = inputs.standardise(rows) @ weight.T + bias
        return _softmax(answers) if labels else outputs.restore(answers)

    return affine(weight, bias), predict


def _mean(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    return np.zeros((y.shape[1], x.shape[1])), np.asarray(y.mean(axis=0), dtype=np.float64)


def _line(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Solve least squares in float64."""
    design = np.column_stack([x, np.ones(len(x))])
    solution = np.asarray(np.linalg.lstsq(design, y, rcond=None)[0], dtype=np.float64)
    return solution[:-1].T, solution[-1]


def _prior(x: Floats, y: Floats, classes: int) -> tuple[Floats, Floats]:
    """Count the classes, one more for each: a class that a fold lacks is not impossible."""
    counts = np.bincount(y[:, 0].astype(np.int64), minlength=classes) + 1.0
    return np.zeros((classes, x.shape[1])), np.log(counts / counts.sum())


def _logistic(x: Floats, y: Floats, classes: int) -> tuple[Floats, Floats]:
    """Minimise the convex penalised log loss in float64."""
    rows, labels = torch.from_numpy(x), torch.from_numpy(y[:, 0].astype(np.int64))
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer: Any = torch.optim.LBFGS(
        [weight, bias], max_iter=200, tolerance_grad=1e-8, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        log_loss = functional.cross_entropy(rows @ weight.T + bias, labels)
        total = log_loss + _LOGISTIC_PENALTY / len(x) * weight.square().sum()
        torch.autograd.backward(total)
        return total

    optimizer.step(loss)
    return weight.detach().numpy(), bias.detach().numpy()


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
