"""The dashboard `isotherm-drift`: does the data still look like what the models were trained on."""

from typing import Final

from deploy.observability.boards.board import Board, Panels
from deploy.observability.panels import HALF, THIRD, Frame, Query, lines
from deploy.observability.promql import RANGE, rate, select, total

_BY: Final = "model, version, kind, column"
_COLUMN: Final = "{{model}} {{version}} {{column}}"
_ROWS: Final = "isotherm_drift_rows_total"


def _stability() -> Panels:
    psi, threshold = select("isotherm_drift_psi"), select("isotherm_drift_psi_threshold")
    yield lines(
        Frame(
            "Population stability index",
            "How far each column lies from its training, in the server's window of rows; the worst "
            "server of each.",
            "short",
        ),
        Query(f"max by ({_BY}) ({psi})", _COLUMN),
    )
    yield lines(
        Frame(
            "By its threshold",
            "The same by what chance allows for so many rows: from 1 on it is drift.",
            "short",
        ),
        Query(f"max by ({_BY}) ({psi} / {threshold})", _COLUMN),
    )
    yield lines(
        Frame(
            "Stability over all servers",
            "The index of all rows that all servers saw in the time shown.",
            "short",
        ),
        Query(_over_servers(), _COLUMN),
    )
    yield lines(
        Frame("Rows looked at", "Rows per second that were compared with the training.", "rowsps"),
        Query(total(rate(_ROWS), "model, version"), "{{model}} {{version}}"),
    )


def _over_servers() -> str:
    """The index from the bins' counts, which add up over servers; no bin counts as empty."""
    bins = f"increase({select('isotherm_drift_bin_rows_total')}[{RANGE}]) + 0.5"
    live = f"{total(bins, f'{_BY}, bin')} / on ({_BY}) group_left {total(bins, _BY)}"
    trained = f"max by ({_BY}, bin) ({select('isotherm_drift_reference_ratio')})"
    logarithm = f"ln({live} / clamp_min({trained}, 0.0001))"
    return f"sum by ({_BY}) (({live} - {trained}) * {logarithm})"


def _shape() -> Panels:
    shift, spread = select("isotherm_drift_mean_shift_ratio"), select("isotherm_drift_spread_ratio")
    yield lines(
        Frame("Mean", "By how many of its training's standard deviations a mean moved.", "short"),
        Query(f"avg by ({_BY}) ({shift})", _COLUMN),
        signed=True,
    )
    yield lines(
        Frame("Spread", "A column's standard deviation by that of its training.", "short"),
        Query(f"avg by ({_BY}) ({spread})", _COLUMN),
    )


def _values() -> Panels:
    rows = total(rate(_ROWS), "model, version")
    for title, meaning, metric in (
        ("Out of range", "outside of what the training saw", "isotherm_drift_out_of_range_total"),
        ("Missing", "without a value (NaN)", "isotherm_drift_missing_total"),
        ("Infinite", "with an infinite value", "isotherm_drift_infinite_total"),
    ):
        share = f"{total(rate(metric), _BY)} / on (model, version) group_left {rows}"
        yield lines(
            Frame(title, f"Share of rows {meaning}, by column.", "percentunit"),
            Query(share, _COLUMN),
            span=THIRD,
        )
    window = select("isotherm_drift_window_rows")
    yield lines(
        Frame("Rows in the window", "How many rows each server's index stands on.", "short"),
        Query(
            f"sum by (instance, model, version) ({window})", "{{instance}} {{model}} {{version}}"
        ),
        span=HALF,
    )


BOARD: Final = Board(
    "isotherm-drift",
    "Isotherm: drift and data quality",
    "Whether what is asked and answered still looks like the training, column by column.",
    {"Stability": _stability, "Shape": _shape, "Values": _values},
)
