"""Remedies: whether the simpler model wins, and what would help: data, range, or a simpler model.

The seed names three remedies for a network that fits its rows too closely: more data, more varied
data, a simpler model. Which of them fits is read from the leaderboard and from the ranges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from isotherm.trainer import outcomes
from isotherm.trainer.candidates import Candidate
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.select import STANDARD_ERRORS, Comparison, Leaderboard

# The baselines: one that ignores the features, and one that is straight in them.
_BASELINES: Final = 2
# Errors on rows left out beyond so many times those on rows learned from are called overfitting.
_OVERFIT: Final = 1.25
_STRETCHES: Final = 3
# A gain that needs more than so many times the rows is not worth waiting for.
_PATIENCE: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """What would help, in a sentence of its own."""

    name: str
    text: str


def verdict(fitted: Fitted) -> str:
    """Say plainly how the network does against the straight model."""
    board = fitted.leaderboard
    line, network = board.candidates[_BASELINES - 1], best_network(board)
    if network is None:
        return "No network was tried."
    errors = (
        f"{network.name} {network.cross_validation_error:.4g}, "
        f"{line.name} {line.cross_validation_error:.4g}"
    )
    kept = board.kept
    networks = {candidate.name for candidate in board.candidates[_BASELINES:]}
    if kept in networks:
        return f"The {kept} beats the {line.name} on rows left out ({board.metric}: {errors})."
    text = f"The {kept} beats the {network.name}"
    if network.cross_validation_error < _named(board, kept).cross_validation_error:
        text = (
            f"The {network.name} does not beat the {kept} by more than chance explains, so the "
            f"{kept} is kept; errors"
        )
    return f"{text} on rows left out ({board.metric}: {errors})."


def of(fitted: Fitted) -> list[Remedy]:
    """Return the remedies that fit, the most telling first."""
    return [*_of_size(fitted.leaderboard, fitted.table.rows), *_of_data(fitted)]


def best_network(board: Leaderboard) -> Candidate | None:
    """Return the network with the lowest error on rows left out, if there is one."""
    networks = board.candidates[_BASELINES:]
    return min(networks, key=lambda one: one.cross_validation_error, default=None)


def _of_size(board: Leaderboard, rows: int) -> Iterator[Remedy]:
    """Compare what the models are to what the rows can teach."""
    network = best_network(board)
    simple = [candidate.name for candidate in board.candidates[:_BASELINES]]
    overfit = network is not None and _overfits(network, board, rows)
    if network is not None and overfit:
        yield Remedy(
            name="a simpler model",
            text=f"the {network.name} fits the rows it learned from more closely "
            f"({network.training_error:.4g}) than rows left out "
            f"({network.cross_validation_error:.4g}): {_simpler(board, network)}",
        )
    contest = next(
        (part for part in board.comparisons if network and part.richer == network.name), None
    )
    if contest and board.kept in simple and contest.gain > 0:
        yield _more_rows(contest, rows)
    if board.kept == simple[0]:
        yield Remedy(
            name="other features",
            text=f"nothing beats the {simple[0]}, which ignores the features: they say too little "
            "about the target, or the rows are too few to show it",
        )


def _simpler(board: Leaderboard, network: Candidate) -> str:
    if board.chosen.name != network.name:
        return f"the {board.chosen.name} is served instead"
    if board.kept != network.name:
        return f"leave --model out, and the {board.kept} is served"
    return "fewer units or a larger weight decay may do as well"


def _overfits(network: Candidate, board: Leaderboard, rows: int) -> bool:
    line = board.candidates[_BASELINES - 1]
    ratio = network.cross_validation_error / max(network.training_error, 1e-300)
    # A line's errors differ as well; only what goes beyond that is the network's own doing.
    usual = line.cross_validation_error / max(line.training_error, 1e-300)
    worse = network.cross_validation_error > line.cross_validation_error
    closer = network.training_error < line.training_error
    return (worse and closer and ratio > 1) or (
        ratio > max(_OVERFIT, usual) and network.parameters > min(rows, line.parameters)
    )


def _more_rows(contest: Comparison, rows: int) -> Remedy:
    # The standard error shrinks with the root of the rows, the gain does not.
    factor = (STANDARD_ERRORS * contest.standard_error / contest.gain) ** 2
    if factor > _PATIENCE:
        text = f"the {contest.richer} gains next to nothing; more rows alone will hardly decide"
    else:
        wanted = math.ceil(factor * rows)
        text = (
            f"about {wanted} rows like these {rows} would show whether the {contest.richer}'s gain "
            f"over the {contest.simpler} is real (it is "
            f"{contest.gain / contest.standard_error:.1f} standard errors now)"
        )
    return Remedy(name="more data", text=text)


def _of_data(fitted: Fitted) -> Iterator[Remedy]:
    """Name the stretches of the features' ranges that few rows speak for."""
    found = outcomes.sparse(fitted)[:_STRETCHES]
    if not found:
        return
    rows = fitted.table.rows
    parts = [
        f"{one.rows} of {rows} rows have {one.column.name} between {one.low:.4g} and {one.high:.4g}"
        for one in found
    ]
    yield Remedy(name="more varied data", text="; ".join(parts))


def _named(board: Leaderboard, name: str) -> Candidate:
    return next(candidate for candidate in board.candidates if candidate.name == name)
