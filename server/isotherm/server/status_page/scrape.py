"""The samples of one scrape, for what the page shows of drift, of feedback and of the workers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from isotherm.server.status_page.history import Key

Labelled = tuple[Mapping[str, str], float]


class Drift(NamedTuple):
    """The column that lies furthest from the training, by its share of what is allowed."""

    column: str
    psi: float
    threshold: float


class Truth(NamedTuple):
    """How predictions of one target compare with the truth; None for what is not known."""

    target: str
    rmse: float
    coverage: float | None


class Scrape:
    """What the metrics say now. A family that is missing has no samples."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._models: defaultdict[tuple[str, str, str], list[Labelled]] = defaultdict(list)
        self._others: defaultdict[str, list[Labelled]] = defaultdict(list)
        for sample in (sample for metric in metrics for sample in metric.samples):
            if math.isnan(sample.value):
                continue
            labelled = sample.labels, sample.value
            if "model" in sample.labels:
                key = sample.name, sample.labels["model"], sample.labels["version"]
                self._models[key].append(labelled)
            else:
                self._others[sample.name].append(labelled)

    def worker(self, name: str, worker: int) -> float | None:
        """Return a family's value for one worker; None where there is none."""
        values = (v for labels, v in self._others[name] if labels.get("worker") == str(worker))
        return next(values, None)

    def window_rows(self, key: Key) -> float | None:
        """Return how many rows of a version are compared with its training; None if unknown."""
        return next((value for _, value in self._of("isotherm_drift_window_rows", key)), None)

    def drift(self, key: Key) -> Drift | None:
        """Return the column of a version that has drifted most; None without a comparison."""
        allowed = {
            (labels["kind"], labels["column"]): value
            for labels, value in self._of("isotherm_drift_psi_threshold", key)
        }
        found = [
            Drift(labels["column"], value, allowed[labels["kind"], labels["column"]])
            for labels, value in self._of("isotherm_drift_psi", key)
            if (labels["kind"], labels["column"]) in allowed
        ]
        return max(found, key=lambda each: each.psi / (each.threshold or math.inf), default=None)

    def truth(self, key: Key) -> list[Truth]:
        """Return how each target of a version compares with the truth that was reported."""
        coverage = {
            labels["target"]: value
            for labels, value in self._of("isotherm_feedback_interval_coverage", key)
        }
        return [
            Truth(labels["target"], value, coverage.get(labels["target"]))
            for labels, value in self._of("isotherm_feedback_rmse", key)
        ]

    def _of(self, name: str, key: Key) -> list[Labelled]:
        model, version = key
        return self._models.get((name, model, str(version)), [])
