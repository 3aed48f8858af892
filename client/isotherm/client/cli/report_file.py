"""A CSV file with predictions and what they should have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isotherm.client.cli.failure import Failure
from isotherm.client.cli.readers import csv_file
from isotherm.client.cli.rows import Rows

PREDICTED_AT = "predicted_at"


@dataclass(frozen=True, slots=True)
class ReportFile:
    """The rows whose truth is known, of shape (rows, targets) each."""

    prediction: Rows
    truth: Rows
    lower: Rows | None
    upper: Rows | None
    # Of shape (rows,), in seconds since 1970.
    predicted_at: Rows | None
    # Rows of the file with an empty truth.
    left_out: int


def read(path: Path, targets: Sequence[str]) -> ReportFile:
    """Read a file with the columns `prediction` and `truth`, or TARGET and TARGET_predicted.

    With them may come `lower` and `upper`, or TARGET_lower and TARGET_upper, and `predicted_at`.
    `targets` is empty for a model without a contract.
    """
    parts: dict[str, list[int]] = {}

    def choose(header: Sequence[str]) -> list[int]:
        places = {name: position for position, name in enumerate(header)}
        parts.update(_parts(places, targets, path))
        return [position for positions in parts.values() for position in positions]

    table = csv_file.named_columns(path, choose)
    edges = np.cumsum([len(positions) for positions in parts.values()])[:-1]
    columns = dict(zip(parts, np.split(table, edges, axis=1), strict=True))
    known = ~np.isnan(columns["truth"]).any(axis=1)
    if not known.any():
        msg = f"{path} has no row with a truth"
        raise Failure(msg)
    columns = {name: values[known] for name, values in columns.items()}
    times_s = columns.get(PREDICTED_AT)
    return ReportFile(
        columns["prediction"],
        columns["truth"],
        columns.get("lower"),
        columns.get("upper"),
        None if times_s is None else times_s[:, 0],
        int((~known).sum()),
    )


def _parts(places: Mapping[str, int], targets: Sequence[str], path: Path) -> dict[str, list[int]]:
    """Return the positions of each part's columns, the parts that there are."""
    names = _by_part(places, targets)
    missing = [
        name for part in ("prediction", "truth") for name in names[part] if name not in places
    ]
    if missing:
        wanted = ", ".join(f"'{name}'" for name in missing)
        found = ", ".join(f"'{name}'" for name in places)
        msg = f"{path} has no column {wanted}; its columns are {found}"
        raise Failure(msg)
    return {
        part: [places[name] for name in columns]
        for part, columns in names.items()
        if all(name in places for name in columns)
    }


def _by_part(places: Mapping[str, int], targets: Sequence[str]) -> dict[str, list[str]]:
    named = {
        "prediction": [f"{target}_predicted" for target in targets],
        "truth": list(targets),
        "lower": [f"{target}_lower" for target in targets],
        "upper": [f"{target}_upper" for target in targets],
    }
    plain = {part: [part] for part in named}
    single = len(targets) == 1 and "prediction" in places and "truth" in places
    return (plain if single or not targets else named) | {PREDICTED_AT: [PREDICTED_AT]}
