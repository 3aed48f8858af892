"""The rows that a prediction is asked for, from the command line or from a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Model

Rows = NDArray[np.float64]

_NAMES_AND_ROWS = 2


def from_values(model: Model, values: Sequence[str]) -> Rows:
    """Return one row a value for a model with one feature, else one row of all values."""
    numbers = [_number(value, "the command line") for value in values]
    width = len(model.features)
    if width > 1 and len(numbers) != width:
        names = ", ".join(feature.name for feature in model.features)
        msg = f"model '{model.name}' takes {width} values a row ({names}), got {len(numbers)}"
        raise Failure(msg)
    return np.array(numbers).reshape(-1, width)


def from_csv(model: Model, path: Path) -> Rows:
    """Return the features' columns of a CSV file, by name if its first line holds names."""
    lines = _lines(path)
    if not lines:
        msg = f"{path} is empty"
        raise Failure(msg)
    header = [cell.strip() for cell in lines[0][1]]
    has_names = not all(_is_number(cell) for cell in header)
    # Without a contract the features have no names to look for.
    find = _by_name if has_names and model.contract else _in_order
    positions = find(model, header, path)
    if has_names:
        del lines[0]
    if not lines:
        msg = f"{path} has a header and no rows"
        raise Failure(msg)
    return np.array([_row(row, positions, f"{path}, line {number}") for number, row in lines])


def named_columns(path: Path, choose: Callable[[Sequence[str]], Sequence[int]]) -> Rows:
    """Return columns of a CSV file with a line of names; `choose` gets them, returns positions."""
    lines = _lines(path)
    if len(lines) < _NAMES_AND_ROWS:
        msg = f"{path} must have a line of names, and rows below it"
        raise Failure(msg)
    positions = choose([cell.strip() for cell in lines[0][1]])
    return np.array([_row(row, positions, f"{path}, line {number}") for number, row in lines[1:]])


def outside_training(model: Model, rows: Rows) -> Iterator[str]:
    """Yield a note for each feature with values beyond those that the model was trained on."""
    for feature, values in zip(model.features, rows.T, strict=True):
        outside = values[(values < feature.minimum) | (values > feature.maximum)]
        if outside.size:
            unit = f" {feature.unit}" if feature.unit else ""
            yield (
                f"{outside.size} of {values.size} values of '{feature.name}' lie outside the "
                f"training range {feature.minimum:g} to {feature.maximum:g}{unit}, "
                f"such as {outside[0]:g}: the model extrapolates"
            )


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    # utf-8-sig: spreadsheets write a byte order mark, which would become part of the first name.
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        try:
            return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        except (csv.Error, UnicodeDecodeError) as error:
            msg = f"{path} is no CSV file: {error}"
            raise Failure(msg) from error


def _in_order(model: Model, header: Sequence[str], path: Path) -> Sequence[int]:
    if len(header) != len(model.features):
        msg = f"{path} has {len(header)} columns, model '{model.name}' takes {len(model.features)}"
        raise Failure(msg)
    return range(len(header))


def _by_name(model: Model, header: Sequence[str], path: Path) -> Sequence[int]:
    missing = [feature.name for feature in model.features if feature.name not in header]
    if missing:
        msg = f"{path} has no column {_quoted(missing)}; its columns are {_quoted(header)}"
        raise Failure(msg)
    return [header.index(feature.name) for feature in model.features]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _row(cells: Sequence[str], positions: Sequence[int], place: str) -> list[float]:
    if len(cells) <= max(positions):
        msg = f"{place} has {len(cells)} cells, expected at least {max(positions) + 1}"
        raise Failure(msg)
    return [_number(cells[position], place) for position in positions]


def _number(text: str, place: str) -> float:
    # An empty cell is a missing value: whether the model takes one is for the server to say.
    if not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        msg = f"{place}: '{text}' is not a number"
        raise Failure(msg) from error


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True
