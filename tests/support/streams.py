"""Parquet files for tests of streams, and the settings that stream them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from isotherm.trainer.config import TrainConfig, validated


def numbers(rows: int = 4000, features: int = 3, seed: int = 0) -> dict[str, Any]:
    """Return columns of which the last is a curve of the first, with noise."""
    rng = np.random.default_rng(seed)
    columns = {f"x{index}": rng.normal(size=rows) for index in range(features)}
    columns["y"] = np.sin(2 * columns["x0"]) + columns["x1"] + 0.1 * rng.normal(size=rows)
    return columns


def write(path: Path, columns: dict[str, Any], group_rows: int = 500) -> Path:
    """Write columns in row groups of so many rows."""
    pq.write_table(pa.table(columns), path, row_group_size=group_rows)
    return path


def config(path: Path, targets: tuple[str, ...] = ("y",), **settings: Any) -> TrainConfig:
    """Return settings by dotted name, for all columns of a file but the targets."""
    first = path if path.is_file() else next(path.parent.glob("**/*.parquet"))
    features = settings.pop("features", None) or [
        name for name in pq.read_schema(first).names if name not in targets
    ]
    values: dict[str, Any] = {
        "name": "streamed",
        "repository": path.parent / "models",
        "draw": False,
        "data": {"file": path, "features": features, "targets": targets, "stream": True},
        "fit": {"epochs": 3, "batch_size": 128, "learning_rate": 0.01},
        "checkpoint": {},
    }
    for name, value in settings.items():
        section, _, key = name.partition("__")
        if key:
            values[section][key] = value
        else:
            values[name] = value
    return validated(values)
