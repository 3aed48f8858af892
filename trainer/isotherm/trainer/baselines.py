"""The baselines, which need no network: mean and line, or prior and logistic for labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional

from isotherm.trainer.candidates import Candidate, measured
from isotherm.trainer.copies import one_thread
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.design import Design, Solution
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.folds import Folds, Masks
from isotherm.trainer.objective import Objective
from isotherm.trainer.transform import Outputs
from isotherm.trainer.weights import effective

# From rows, what they are told by (standardised, or classes), and what they count, or None.
Fit = Callable[[Design, Floats, Floats | None], Solution]

# Of the squared weights of the logistic regression, beside the sum of log losses. Without it the
# weights of classes that a plane separates grow for ever.
_LOGISTIC_PENALTY: Final = 0.5
_SMALL: Final = 100_000


def baselines(table: Table, parts: Folds, objective: Objective) -> Iterator[Candidate]:
    """Yield the two baselines, the simpler one first."""
    if objective.classes:
        count = len(objective.classes)
        yield _baseline("prior", partial(_prior, classes=count), table, parts, objective)
        yield _baseline("logistic", partial(_logistic, classes=count), table, parts, objective)
    else:
        yield _baseline("mean", _mean, table, parts, objective)
        yield _baseline("line", _line, table, parts, objective)


def _baseline(name: str, fit: Fit, table: Table, parts: Folds, objective: Objective) -> Candidate:
    columns = objective.columns(table.y.shape[1])

    def predictions(learned: Masks, held_out: Masks) -> Floats:
        values = np.full((len(held_out), table.rows, columns), np.nan)
        for some, out, predicted in zip(learned, held_out, values, strict=True):
            *_, predict = _solve(fit, table.take(some), objective)
            predicted[out] = predict(table.x[out])
        return values

    straight, encoding, predict = _solve(fit, table, objective)
    # The weights of mean and prior are zero by definition, not learned.
    simple = name in {"mean", "prior"}
    parameters = columns if simple else len(straight.bias) * (encoding.values + 1)
    return measured(
        name,
        straight.core(encoding),
        parameters=parameters,
        objective=objective,
        table=table,
        tested=parts.tested,
        held_out=parts.gather(predictions(parts.learned, parts.held_out)),
        fitted=predict(table.x),
        refit=lambda held_out: predictions(~held_out, held_out),
    )


def _solve(
    fit: Fit, table: Table, objective: Objective
) -> tuple[Solution, Encoding, Callable[[Floats], Floats]]:
    encoding = Encoding.of(table.x, table.features, table.weights)
    outputs = Outputs.of(table.y, objective.transforms, table.weights)
    labels = bool(objective.classes)
    design = Design.of(encoding, table.x)
    y = table.y if labels else outputs.standardise(table.y)
    solution = fit(design, y, table.weights).centred(encoding.shares)

    def predict(rows: Floats) -> Floats:
        answers = solution.answers(Design.of(encoding, rows))
        return _softmax(answers) if labels else outputs.restore(answers)

    return solution, encoding, predict


def _mean(design: Design, y: Floats, weights: Floats | None) -> Solution:
    return design.constant(np.asarray(np.average(y, axis=0, weights=weights)))


def _line(design: Design, y: Floats, weights: Floats | None) -> Solution:
    """Solve least squares in float64."""
    if design.sizes:
        counts = np.ones(len(y)) if weights is None else _dealt(weights)
        return design.least_squares(y, counts)
    rows = np.column_stack([design.plain, np.ones(len(y))])
    if weights is not None:
        # A row's square then counts as much as the row.
        roots = np.sqrt(weights / weights.max())[:, np.newaxis]
        rows, y = roots * rows, roots * y
    solution = np.asarray(np.linalg.lstsq(rows, y, rcond=None)[0], dtype=np.float64)
    return Solution(weight=solution[:-1].T, bias=solution[-1])


def _prior(design: Design, y: Floats, weights: Floats | None, classes: int) -> Solution:
    """Count the classes, one more for each: a class that a fold lacks is not impossible."""
    rows = None if weights is None else _dealt(weights)
    counts = np.bincount(y[:, 0].astype(np.int64), weights=rows, minlength=classes) + 1.0
    return design.constant(np.log(counts / counts.sum()))


def _logistic(design: Design, y: Floats, weights: Floats | None, classes: int) -> Solution:
    """Minimise the convex penalised log loss in float64."""
    rows, labels = torch.from_numpy(design.plain), torch.from_numpy(y[:, 0].astype(np.int64))
    shares = None if weights is None else torch.from_numpy(weights / weights.sum())
    places = [torch.from_numpy(each) for each in design.places]
    shapes = [(classes, rows.shape[1]), *((size, classes) for size in design.sizes)]
    tables = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    weight, *effects = tables
    optimizer: Any = torch.optim.LBFGS(
        [weight, bias, *effects], max_iter=200, tolerance_grad=1e-8, line_search_fn="strong_wolfe"
    )
    worth = len(y) if weights is None else effective(weights)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = rows @ weight.T + bias
        for place, effect in zip(places, effects, strict=True):
            logits = logits + functional.embedding(place, effect)
        if shares is None:
            log_loss = functional.cross_entropy(logits, labels)
        else:
            log_loss = functional.cross_entropy(logits, labels, reduction="none") @ shares
        total = log_loss
        for table in tables:
            total = total + _LOGISTIC_PENALTY / worth * table.square().sum()
        torch.autograd.backward(total)
        return total

    # Of few numbers, a second thread costs several times what it brings.
    with one_thread() if rows.numel() + len(y) * len(places) < _SMALL else nullcontext():
        optimizer.step(loss)
    found = [value.detach().numpy() for value in (weight, bias, *effects)]
    return Solution(weight=found[0], bias=found[1], effects=tuple(found[2:]))


def _dealt(weights: Floats) -> Floats:
    """Return what the rows are worth, dealt out by their weights."""
    return np.asarray(weights / weights.sum() * effective(weights))


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
