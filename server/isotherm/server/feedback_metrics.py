"""What the scrape says of feedback: sums for good, and errors over a sliding window."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from isotherm.server.families import feedback
from isotherm.server.families.family import Gauge
from isotherm.server.layout import ErrorSum
from isotherm.server.model_metrics import labels_of
from isotherm.server.residuals import Table
from isotherm.server.totals import ModelTotals
from isotherm.server.windows import Window

_COUNTERS = (
    (feedback.ROWS, ErrorSum.ROWS),
    (feedback.SQUARED_ERROR, ErrorSum.SQUARED),
    (feedback.SQUARED_DEVIATION, ErrorSum.SQUARED_DEVIATION),
    (feedback.INTERVAL_ROWS, ErrorSum.INTERVAL_ROWS),
    (feedback.COVERED_ROWS, ErrorSum.COVERED_ROWS),
)
_SIGNED_COUNTERS = (
    (feedback.ERROR, ErrorSum.OVER, ErrorSum.UNDER),
    (feedback.DEVIATION, ErrorSum.ABOVE, ErrorSum.BELOW),
)
# What a subtraction of equal numbers may leave, as a share of them.
_NO_VARIATION: Final = 1e-12


def mae(row: Table) -> float:
    """Return the mean absolute error, of one target's ErrorSum columns; NaN without rows."""
    return _ratio(row[ErrorSum.OVER] + row[ErrorSum.UNDER], row[ErrorSum.ROWS])


def rmse(row: Table) -> float:
    """Return the root of the mean squared error; NaN without rows."""
    return math.sqrt(_ratio(row[ErrorSum.SQUARED], row[ErrorSum.ROWS]))


def bias(row: Table) -> float:
    """Return the mean of prediction minus truth; NaN without rows."""
    return _ratio(row[ErrorSum.OVER] - row[ErrorSum.UNDER], row[ErrorSum.ROWS])


def r2(row: Table) -> float:
    """Return the share of the truths' variance that is explained; NaN where they do not vary."""
    deviation = row[ErrorSum.ABOVE] - row[ErrorSum.BELOW]
    squares = row[ErrorSum.SQUARED_DEVIATION]
    variation = squares - _ratio(deviation * deviation, row[ErrorSum.ROWS])
    # NaN fails the comparison.
    varied = variation > _NO_VARIATION * squares
    return 1 - _ratio(row[ErrorSum.SQUARED], variation) if varied else math.nan


def coverage(row: Table) -> float:
    """Return the share of truths within their interval; NaN without intervals."""
    return _ratio(row[ErrorSum.COVERED_ROWS], row[ErrorSum.INTERVAL_ROWS])


_GAUGES: Sequence[tuple[Gauge, Callable[[Table], float]]] = (
    (feedback.MAE, mae),
    (feedback.RMSE, rmse),
    (feedback.BIAS, bias),
    (feedback.R2, r2),
    (feedback.COVERAGE, coverage),
)


class FeedbackMetrics:
    """The families of feedback, with a window for each model version.

    Totals must come in the order in which they were summed.
    """

    def __init__(self, span_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        """Gauges look `span_s` back from `now_s()`."""
        self._span_s = span_s
        self._now_s = now_s
        self._windows: dict[tuple[str, int], _Recent] = {}

    def families(self, totals: Sequence[ModelTotals]) -> Iterator[Metric]:
        """Yield the families of one scrape."""
        models = [model for model in totals if model.residuals.names]
        yield from _counters(models)
        yield from self._gauges(models)

    def _gauges(self, models: Sequence[ModelTotals]) -> list[GaugeMetricFamily]:
        gauges = [family.collect() for family, _ in _GAUGES]
        for model, table in zip(models, self._recent(models), strict=True):
            for target, row in zip(model.residuals.names, table, strict=True):
                for gauge, (_, figure) in zip(gauges, _GAUGES, strict=True):
                    value = figure(row)
                    # Without a series rather than NaN: an average over servers passes it over.
                    if not math.isnan(value):
                        gauge.add_metric([*labels_of(model), target], value)
        return gauges

    def _recent(self, models: Sequence[ModelTotals]) -> list[Table]:
        """Return the sums within the window, of shape (targets, len(ErrorSum)) each."""
        now_s = self._now_s()
        before = self._windows
        # Versions that have gone take their windows along.
        self._windows = {
            (model.name, model.version): before.get((model.name, model.version))
            or _Recent(self._span_s)
            for model in models
        }
        return [
            window.add(now_s, model.residuals.table)
            for window, model in zip(self._windows.values(), models, strict=True)
        ]


class _Recent:
    """A window that begins anew where the sums do."""

    def __init__(self, span_s: float) -> None:
        self._span_s = span_s
        self._window = Window(span_s)
        self._base: Table = np.zeros(())
        self._last: Table = np.zeros(())

    def add(self, now_s: float, table: Table) -> Table:
        """Take the sums of now; return what they grew by within the window."""
        if table.shape != self._last.shape:
            self._window, self._base = Window(self._span_s), np.zeros(())
        elif (table < self._last).any():
            # Of other targets now, or without a worker's: what is left was not added just now.
            self._window, self._base = Window(self._span_s), table.copy()
        self._last = table.copy()
        grown: Table = self._window.add(now_s, table - self._base)
        return grown


def _counters(models: Sequence[ModelTotals]) -> Iterator[Metric]:
    plain = [family.collect() for family, _ in _COUNTERS]
    signed = [family.collect() for family, _, _ in _SIGNED_COUNTERS]
    timed, delay = feedback.TIMED_ROWS.collect(), feedback.DELAY.collect()
    for model in models:
        labels = labels_of(model)
        timed.add_metric(labels, model.residuals.timed_rows)
        delay.add_metric(labels, model.residuals.delay_s)
        for target, row in zip(model.residuals.names, model.residuals.table, strict=True):
            for counter, (_, column) in zip(plain, _COUNTERS, strict=True):
                counter.add_metric([*labels, target], row[column])
            for counter, (_, over, under) in zip(signed, _SIGNED_COUNTERS, strict=True):
                counter.add_metric([*labels, target, "over"], row[over])
                counter.add_metric([*labels, target, "under"], row[under])
    yield from (*plain, *signed, timed, delay)


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else math.nan
