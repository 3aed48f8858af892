"""Contracts as training writes them, from a table of rows: without training anything."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from isotherm.v1.contract_pb2 import Contract, Feature, Histogram, Predictions, Target

Table = NDArray[Any]


def contract(x: Table, y: Table) -> Contract:
    """Return the contract of a model whose inputs are "x" and whose predictions are "y".

    `x` and `y` are the rows of its training, of shapes (rows, features) and (rows, targets); it
    predicts the truth. Columns are called f0, f1 and t0, t1.
    """
    made = Contract(schema_version=1, model_name="trained")
    made.features.extend(
        Feature(name=f"f{index}", datatype="FP32", deciles=deciles(values), **_known(values))
        for index, values in enumerate(x.T)
    )
    made.targets.extend(
        Target(
            name=f"t{index}",
            datatype="FP32",
            deciles=deciles(values),
            predictions=Predictions(
                mean=float(values.mean()),
                standard_deviation=float(values.std()),
                deciles=deciles(values),
            ),
            **_known(values),
        )
        for index, values in enumerate(y.T)
    )
    made.tensors.input, made.tensors.prediction = "x", "y"
    made.provenance.rows = len(x)
    return made


def deciles(values: Table) -> Histogram:
    """Return up to ten bins of about as many rows each."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 11)).astype(np.float32))
    edges = edges.astype(np.float64)
    places = np.clip(np.searchsorted(edges, values.astype(np.float32)) - 1, 0, len(edges) - 2)
    return Histogram(edges=edges.tolist(), counts=np.bincount(places).tolist())


def _known(values: Table) -> dict[str, Any]:
    return {
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "mean": float(values.mean()),
        "standard_deviation": float(values.std()),
    }
