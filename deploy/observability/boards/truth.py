"""The dashboard `isotherm-truth`: how right the predictions were, once the truth is known."""

from typing import Final

from deploy.observability.boards.board import Board, Panels
from deploy.observability.panels import HALF, Frame, Query, lines, values
from deploy.observability.promql import MODELS, RANGE, rate, select, total

_BY: Final = "model, version, target"
_TARGET: Final = "{{model}} {{version}} {{target}}"
_ROWS: Final = "isotherm_feedback_rows_total"
_ERROR: Final = "isotherm_feedback_error_total"
_SQUARED: Final = "isotherm_feedback_squared_error_total"


def _sum(metric: str, labels: str = MODELS) -> str:
    return total(rate(metric, labels, RANGE), _BY)


def _signed(metric: str) -> str:
    """The sum with its sign, from its two halves that only grow."""
    over, under = (f'{MODELS}, sign="{sign}"' for sign in ("over", "under"))
    return f"({_sum(metric, over)} - {_sum(metric, under)})"


def _whole() -> Panels:
    # Of versions that nobody has reported anything of, there is nothing to say.
    rows, squared = f"({_sum(_ROWS)} > 0)", _sum(_SQUARED)
    deviation = _signed("isotherm_feedback_truth_deviation_total")
    spread = _sum("isotherm_feedback_truth_squared_deviation_total")
    yield values(
        Frame("MAE", "Mean absolute error over all servers and the time shown.", "short"),
        Query(f"{_sum(_ERROR)} / {rows}", _TARGET),
    )
    yield values(
        Frame("RMSE", "Root of the mean squared error.", "short"),
        Query(f"sqrt({squared} / {rows})", _TARGET),
    )
    yield values(
        Frame("Bias", "Mean error: above 0 the predictions are too high.", "short"),
        Query(f"{_signed(_ERROR)} / {rows}", _TARGET),
    )
    yield values(
        Frame(
            "R2",
            "Share of the truth's variance that the predictions explain; below 0 the mean of the "
            "truth would have done better.",
            "percentunit",
        ),
        Query(f"1 - {squared} / ({spread} - {deviation} ^ 2 / {rows})", _TARGET),
    )
    covered = _sum("isotherm_feedback_covered_rows_total")
    asked = _sum("isotherm_feedback_interval_rows_total")
    yield values(
        Frame("In interval", "Share of truths that lay in their interval.", "percentunit"),
        Query(f"{covered} / ({asked} > 0)", _TARGET),
    )
    yield values(
        Frame("Rows", "Rows per second whose truth was reported.", "rowsps"),
        Query(_sum(_ROWS), _TARGET),
    )


def _windows() -> Panels:
    each = f"{{{{instance}}}} {_TARGET}"
    for title, meaning, metric, unit in (
        ("RMSE by server", "Root of the mean squared error.", "rmse", "short"),
        ("MAE by server", "Mean absolute error.", "mae", "short"),
        ("Bias by server", "Mean error: above 0 too high.", "bias", "short"),
        ("R2 by server", "Share of the truth's variance that is explained.", "r2", "percentunit"),
    ):
        yield lines(
            Frame(title, f"{meaning} Over each server's own window.", unit),
            Query(select(f"isotherm_feedback_{metric}"), each),
            signed=metric in {"bias", "r2"},
        )
    yield lines(
        Frame(
            "In interval by server",
            "Share of truths in their interval, over each server's own window.",
            "percentunit",
        ),
        Query(select("isotherm_feedback_interval_coverage"), each),
        span=HALF,
    )
    yield lines(
        Frame("Reports", "Rows per second whose truth was reported.", "rowsps"),
        Query(total(rate(_ROWS), _BY), _TARGET),
        span=HALF,
    )


BOARD: Final = Board(
    "isotherm-truth",
    "Isotherm: ground truth",
    "Errors of predictions against the truth that was reported for them.",
    {"All servers": _whole, "Each server": _windows},
)
