"""Families of drift: what a model is asked and answers, beside what it was trained on."""

from __future__ import annotations

from typing import Final

from isotherm.server.families.family import MODEL, Counter, Gauge, Section

_COLUMN: Final = (*MODEL, "kind", "column")
_BIN: Final = (*_COLUMN, "bin")
_KINDS: Final = {"kind": ("feature", "prediction")}

ROWS: Final = Counter("isotherm_drift_rows_total", "rows that were looked at", MODEL)
WINDOW_ROWS: Final = Gauge(
    "isotherm_drift_window_rows", "of them, rows in the sliding window", MODEL
)
MISSING: Final = Counter(
    "isotherm_drift_missing_total",
    "values that are NaN: missing cells, taken by the model or refused",
    _COLUMN,
    _KINDS,
)
INFINITE: Final = Counter(
    "isotherm_drift_infinite_total", "values that are infinite", _COLUMN, _KINDS
)
OUT_OF_RANGE: Final = Counter(
    "isotherm_drift_out_of_range_total",
    "finite values below the least or above the greatest of the training; of a category, values "
    "that are not in its list",
    _COLUMN,
    _KINDS,
)
BIN_ROWS: Final = Counter(
    "isotherm_drift_bin_rows_total",
    "values in each bin of the training histogram, from `0`, the first and the last without an "
    "end; of a category by the values' names; `(missing)` cells that the model takes and "
    "`(unknown)` values have a bin",
    _BIN,
)
REFERENCE: Final = Gauge(
    "isotherm_drift_reference_ratio", "share of the training rows in each bin", _BIN
)
PSI: Final = Gauge(
    "isotherm_drift_psi",
    "population stability index of the window against the training",
    _COLUMN,
)
PSI_THRESHOLD: Final = Gauge(
    "isotherm_drift_psi_threshold",
    "the index above which the column has drifted, by how many rows are compared",
    _COLUMN,
)
MEAN_SHIFT: Final = Gauge(
    "isotherm_drift_mean_shift_ratio",
    "the window's mean less the training's, in standard deviations of the training",
    _COLUMN,
)
SPREAD: Final = Gauge(
    "isotherm_drift_spread_ratio",
    "the window's standard deviation as a multiple of the training's",
    _COLUMN,
)

SECTION: Final = Section(
    "Drift",
    (
        *(ROWS, WINDOW_ROWS, MISSING, INFINITE, OUT_OF_RANGE, BIN_ROWS, REFERENCE),
        *(PSI, PSI_THRESHOLD, MEAN_SHIFT, SPREAD),
    ),
    "Models with a contract only, from their first batch on: [drift.md](drift.md). `column` is "
    "a name in the contract. The counters add up over servers; the gauges of the window "
    "(`--drift-window`) are one server's, and are there while it has rows enough.",
)
