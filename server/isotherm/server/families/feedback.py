"""Families of feedback: what predictions should have been, once that is known."""

from __future__ import annotations

from typing import Final

from isotherm.server.families.family import MODEL, Counter, Gauge, Section

_TARGET: Final = (*MODEL, "target")
_SIGN: Final = {"sign": ("over", "under")}

ROWS: Final = Counter("isotherm_feedback_rows_total", "rows whose truth was reported", _TARGET)
ERROR: Final = Counter(
    "isotherm_feedback_error_total",
    "sum of the errors, prediction minus truth, without their sign: predictions `over` the truth "
    "and `under` it",
    (*_TARGET, "sign"),
    _SIGN,
)
SQUARED_ERROR: Final = Counter(
    "isotherm_feedback_squared_error_total", "sum of the errors' squares", _TARGET
)
DEVIATION: Final = Counter(
    "isotherm_feedback_truth_deviation_total",
    "sum of the truths' deviations from the mean of the training, without their sign",
    (*_TARGET, "sign"),
    _SIGN,
)
SQUARED_DEVIATION: Final = Counter(
    "isotherm_feedback_truth_squared_deviation_total",
    "sum of the squares of these deviations",
    _TARGET,
)
INTERVAL_ROWS: Final = Counter(
    "isotherm_feedback_interval_rows_total", "rows that had a prediction interval", _TARGET
)
COVERED_ROWS: Final = Counter(
    "isotherm_feedback_covered_rows_total", "of these, rows whose truth lay in it", _TARGET
)
TIMED_ROWS: Final = Counter(
    "isotherm_feedback_timed_rows_total",
    "rows that were reported with the time of their prediction",
    MODEL,
)
DELAY: Final = Counter(
    "isotherm_feedback_delay_seconds_total",
    "sum of the times from their predictions to their reports",
    MODEL,
)

MAE: Final = Gauge("isotherm_feedback_mae", "mean absolute error over the window", _TARGET)
RMSE: Final = Gauge(
    "isotherm_feedback_rmse", "root of the mean squared error over the window", _TARGET
)
BIAS: Final = Gauge(
    "isotherm_feedback_bias",
    "mean error over the window; above 0 the predictions are too high",
    _TARGET,
)
R2: Final = Gauge(
    "isotherm_feedback_r2",
    "share of the truths' variance over the window that the predictions explain; below 0 their "
    "mean would have done better",
    _TARGET,
)
COVERAGE: Final = Gauge(
    "isotherm_feedback_interval_coverage",
    "share of truths within their prediction interval over the window",
    _TARGET,
)

SECTION: Final = Section(
    "Feedback",
    (
        *(ROWS, ERROR, SQUARED_ERROR, DEVIATION, SQUARED_DEVIATION, INTERVAL_ROWS, COVERED_ROWS),
        *(TIMED_ROWS, DELAY, MAE, RMSE, BIAS, R2, COVERAGE),
    ),
    "Errors against the truth, as `isotherm.v1.Feedback/Report` brings it: "
    "[feedback.md](feedback.md). `target` is a name in the model's contract; errors are in its "
    "unit. The counters add up over servers. The gauges are one server's, over the last hour "
    "(`--feedback-window`), and are there while the window has rows that define them.",
)
