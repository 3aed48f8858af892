"""The drift families of the metrics page, as they are at the moment of a scrape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from isotherm.server.drift.report import ColumnReport, Report
from isotherm.server.drift.watch import Watch
from isotherm.server.families import drift


class DriftCollector(Collector):
    """Shows what the watch knows."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        reports = self._watch.reports()
        yield from _rows(reports)
        yield from _counts(reports)
        yield from _bins(reports)
        yield from _comparisons(reports)


def _rows(reports: Sequence[Report]) -> Iterator[Metric]:
    rows, window = drift.ROWS.collect(), drift.WINDOW_ROWS.collect()
    for model in reports:
        rows.add_metric(_labels(model), model.rows)
        window.add_metric(_labels(model), model.window_rows)
    yield from (rows, window)


def _counts(reports: Sequence[Report]) -> Iterator[Metric]:
    missing, infinite = drift.MISSING.collect(), drift.INFINITE.collect()
    outside = drift.OUT_OF_RANGE.collect()
    for labels, column in _columns(reports):
        missing.add_metric(labels, column.missing)
        infinite.add_metric(labels, column.infinite)
        if column.out_of_range is not None:
            outside.add_metric(labels, column.out_of_range)
    yield from (missing, infinite, outside)


def _bins(reports: Sequence[Report]) -> Iterator[Metric]:
    rows, reference = drift.BIN_ROWS.collect(), drift.REFERENCE.collect()
    for labels, column in _columns(reports):
        trained = column.column
        for name, count, trained_count in zip(
            trained.labels, column.bins, trained.trained, strict=True
        ):
            rows.add_metric([*labels, name], count)
            reference.add_metric([*labels, name], trained_count / max(trained.rows, 1))
    yield from (rows, reference)


def _comparisons(reports: Sequence[Report]) -> Iterator[Metric]:
    definitions = (drift.PSI, drift.PSI_THRESHOLD, drift.MEAN_SHIFT, drift.SPREAD)
    gauges = [definition.collect() for definition in definitions]
    for labels, column in _columns(reports):
        values = (column.psi, column.psi_threshold, column.mean_shift, column.spread)
        for gauge, value in zip(gauges, values, strict=True):
            if value is not None:
                gauge.add_metric(labels, value)
    yield from gauges


def _columns(reports: Sequence[Report]) -> Iterator[tuple[list[str], ColumnReport]]:
    for model in reports:
        for column in model.columns:
            yield [*_labels(model), column.column.kind, column.column.name], column


def _labels(model: Report) -> list[str]:
    return [model.name, str(model.version)]
