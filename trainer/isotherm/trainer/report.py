"""The report on the terminal: the leaderboard, why the chosen model was chosen, what would help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from isotherm.trainer import outcomes, remedies
from isotherm.trainer.data import Column
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.objective import RMSE
from isotherm.trainer.select import STANDARD_ERRORS, Comparison, Leaderboard

HELP: Final = "What would help: "

_NAME: Final = "model"


def lines(fitted: Fitted) -> Iterator[str]:
    """Yield the report as plain text, line by line."""
    rows = [header(fitted.leaderboard), *cells(fitted.leaderboard)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        name, *numbers = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([name, *numbers]).rstrip()
    yield caption(fitted)
    yield from sentences(fitted)


def show(fitted: Fitted, console: Console) -> None:
    """Print the report: a drawn table on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        for line in lines(fitted):
            console.out(line, highlight=False)
        return
    table = RichTable(title="Leaderboard", caption=caption(fitted))
    for title in header(fitted.leaderboard):
        table.add_column(title, justify="left" if title == _NAME else "right")
    for row in cells(fitted.leaderboard):
        table.add_row(*row, style="bold" if row[-1] else None)
    console.print(table)
    for sentence in sentences(fitted):
        console.print(sentence, highlight=False)


def header(board: Leaderboard) -> tuple[str, str, str, str, str]:
    """Return the titles of the leaderboard's columns."""
    return _NAME, "parameters", f"CV {board.metric}", f"train {board.metric}", "chosen"


def cells(board: Leaderboard) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the leaderboard, a row for each candidate."""
    for candidate in board.candidates:
        yield (
            candidate.name,
            str(candidate.parameters),
            f"{candidate.cross_validation_error:.4g}",
            f"{candidate.training_error:.4g}",
            "yes" if candidate is board.chosen else "",
        )


def caption(fitted: Fitted) -> str:
    """Say what the leaderboard's numbers are."""
    board, target = fitted.leaderboard, fitted.table.targets[0]
    name = with_unit(target) if board.metric == RMSE else target.name
    rows, tested, weight = fitted.table.rows, fitted.tested.rows, fitted.table.weight_column
    drawn = f"{rows} of {fitted.table.total} rows" if fitted.table.total else f"{rows} rows"
    # A stream holds some rows out once, instead of each of them in turn.
    validation = "" if "hold-out" in board.method else " cross-validation"
    text = f"{board.metric} of {name}, {board.method}{validation}, {drawn}"
    if fitted.table.split.kind == "time":
        text += f", of which the {tested} latest were predicted from earlier ones"
    elif tested < rows:
        text += f", of which {tested} were left out"
    return text + (f", weighted by {weight}" if weight else "")


def sentences(fitted: Fitted) -> Iterator[str]:
    """Yield what the numbers mean: the choice, the interval or the hits, the remedies."""
    yield reason(fitted.leaderboard)
    if fitted.leaderboard.tried:
        yield search(fitted.leaderboard)
    if fitted.classes:
        right, frequent = outcomes.accuracy(fitted)
        yield (
            f"Of the rows left out, {right:.1%} get the right class; the most frequent class alone "
            f"would get {frequent:.1%}."
        )
    else:
        yield interval(fitted)
        yield coverage(fitted)
    for remedy in remedies.of(fitted):
        yield f"{HELP}{remedy.name}: {remedy.text}."


def search(board: Leaderboard) -> str:
    """Say how many were compared: the best of many looks better than it is."""
    return (
        f"The network is the best of {board.tried} that a search tried on the same rows, and "
        f"{board.configurations} configurations were compared in all: its error above is that of "
        "a winner, and on new rows likely to be larger."
    )


def interval(fitted: Fitted) -> str:
    """Say how wide the interval is."""
    widths = ", ".join(_width(fitted, index) for index in range(len(fitted.table.targets)))
    return f"Prediction interval, nominal coverage {fitted.coverage:.1%}: {widths}."


def _width(fitted: Fitted, index: int) -> str:
    target, width = fitted.table.targets[index], fitted.half_width[index]
    if not target.transform:
        return f"{with_unit(target)} +- {width:.4g}"
    middle = np.asarray(np.median(fitted.table.y[:, index]))
    low, high = outcomes.bounds(fitted, index, middle)
    example = f"{low:.4g} .. {high:.4g} around {middle:.4g}"
    return f"{target.transform} of {with_unit(target)} +- {width:.4g}, such as {example}"


def coverage(fitted: Fitted) -> str:
    """Say how many of the rows left out the interval holds."""
    rows, inside = fitted.tested.rows, outcomes.covered(fitted)
    shares = outcomes.covered_share(fitted)
    parts = [
        f"{share:.1%} ({count} of {rows})" for share, count in zip(shares, inside, strict=True)
    ]
    if len(parts) > 1:
        named = zip(fitted.table.targets, parts, strict=True)
        parts = [f"{target.name} {part}" for target, part in named]
    text = f"Measured on the rows left out, from which its width was chosen: {', '.join(parts)}"
    if fitted.measured_coverage is None:
        return f"{text}."
    return f"{text}; on rows that had no part in the width either: {fitted.measured_coverage:.1%}."


def reason(board: Leaderboard) -> str:
    """Say in one sentence why the rule keeps the model that it keeps."""
    telling = [part for part in board.comparisons if board.kept in {part.simpler, part.richer}]
    text = f"the {board.kept} is kept: " + ", and ".join(
        _verdict(part, board.kept) for part in telling
    )
    if board.chosen.name != board.kept:
        text = f"the {board.chosen.name} was asked for; by the rule, {text}"
    return text[0].upper() + text[1:] + "."


def with_unit(column: Column) -> str:
    """Return a column's name with its unit, if that is known."""
    return f"{column.name} ({column.unit})" if column.unit else column.name


def _verdict(part: Comparison, kept: str) -> str:
    """Compare two models by the error of rows left out, in standard errors."""
    if part.standard_error:
        size = f"{abs(part.gain) / part.standard_error:.1f} standard errors"
    else:
        size = "no spread"
    if part.richer == kept:
        return f"it beats the {part.simpler} by {size} (more than {STANDARD_ERRORS:g} are needed)"
    if part.gain > 0:
        return (
            f"the {part.richer} beats it by {size} only (more than {STANDARD_ERRORS:g} are needed)"
        )
    return f"the {part.richer} does not beat it"
