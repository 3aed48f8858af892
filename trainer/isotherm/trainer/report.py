"""The report of a run: the leaderboard, and one sentence on why its model was kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table as RichTable

from isotherm.trainer.data import Column
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.select import STANDARD_ERRORS, Comparison, Leaderboard

_HEADER: Final = ("model", "parameters", "CV RMSE", "train RMSE", "chosen")


def lines(fitted: Fitted) -> Iterator[str]:
    """Yield the report as plain text, line by line."""
    rows = [_HEADER, *_cells(fitted.leaderboard)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    for row in rows:
        name, *numbers = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([name, *numbers]).rstrip()
    yield _caption(fitted)
    yield from _sentences(fitted)


def show(fitted: Fitted, console: Console) -> None:
    """Print the report: a drawn table on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        for line in lines(fitted):
            console.out(line, highlight=False)
        return
    table = RichTable(title="Leaderboard", caption=_caption(fitted))
    for title in _HEADER:
        table.add_column(title, justify="left" if title == "model" else "right")
    for row in _cells(fitted.leaderboard):
        table.add_row(*row, style="bold" if row[-1] else None)
    console.print(table)
    for sentence in _sentences(fitted):
        console.print(sentence, highlight=False)


def reason(board: Leaderboard) -> str:
    """Say in one sentence why the rule keeps the model that it keeps."""
    telling = [part for part in board.comparisons if board.kept in {part.simpler, part.richer}]
    text = f"the {board.kept} is kept: " + ", and ".join(
        _verdict(part, board.kept) for part in telling
    )
    if board.chosen.name != board.kept:
        text = f"the {board.chosen.name} was asked for; by the rule, {text}"
    return text[0].upper() + text[1:] + "."


def _verdict(part: Comparison, kept: str) -> str:
    """Compare two models by the squared error of rows left out, in standard errors."""
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


def _cells(board: Leaderboard) -> Iterator[tuple[str, str, str, str, str]]:
    for candidate in board.candidates:
        yield (
            candidate.name,
            str(candidate.parameters),
            f"{candidate.cross_validation_error:.4g}",
            f"{candidate.training_error:.4g}",
            "yes" if candidate is board.chosen else "",
        )


def _caption(fitted: Fitted) -> str:
    target = fitted.table.targets[0]
    return (
        f"RMSE of {_with_unit(target)}, {fitted.leaderboard.method} cross-validation, "
        f"{fitted.table.rows} rows"
    )


def _sentences(fitted: Fitted) -> Iterator[str]:
    yield reason(fitted.leaderboard)
    widths = ", ".join(
        f"{_with_unit(target)} +- {width:.4g}"
        for target, width in zip(fitted.table.targets, fitted.half_width, strict=True)
    )
    yield f"Prediction interval, nominal coverage {fitted.coverage:.1%}: {widths}."


def _with_unit(column: Column) -> str:
    return f"{column.name} ({column.unit})" if column.unit else column.name
