"""A metric family: one definition for the scrape that shows it and the page that explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

MODEL: Final = ("model", "version")


@dataclass(frozen=True, eq=False)
class Family:
    """One family, by the name that expressions use: a counter's ends in `_total`.

    `meaning` is Markdown, without a capital at its beginning or a stop at its end. `values` are the
    closed lists: all values that a label may have.
    """

    name: str
    meaning: str
    labels: Sequence[str] = ()
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)

    kind: ClassVar[str]

    @property
    def help(self) -> str:
        """The meaning as a sentence of plain text, for the scrape."""
        plain = self.meaning.replace("`", "")
        return f"{plain[0].upper()}{plain[1:].rstrip('.')}."


class Counter(Family):
    """A family that only grows, until the server or its model is loaded anew."""

    kind = "counter"

    def collect(self) -> CounterMetricFamily:
        """Return an empty family for one scrape."""
        return CounterMetricFamily(self.name, self.help, labels=self.labels)


class Gauge(Family):
    """A family that goes up and down."""

    kind = "gauge"

    def collect(self) -> GaugeMetricFamily:
        """Return an empty family for one scrape."""
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)


class Histogram(Family):
    """A family of buckets with their sum and count."""

    kind = "histogram"

    def collect(self) -> HistogramMetricFamily:
        """Return an empty family for one scrape."""
        return HistogramMetricFamily(self.name, self.help, labels=self.labels)


class Untyped(Family):
    """A family of another server, whose type is left open."""

    kind = "unknown"

    def collect(self) -> Metric:
        """Return an empty family for one scrape; samples carry the family's own name."""
        return Metric(self.name, self.help, "unknown")


@dataclass(frozen=True, eq=False)
class Section:
    """Families that the page shows together, below a heading and a text in Markdown.

    `optional` ones are missing from a scrape where what they measure is missing.
    """

    title: str
    families: Sequence[Family]
    text: str = ""
    optional: bool = False


def names(values: type[IntEnum]) -> tuple[str, ...]:
    """Return a closed list's label values, in the list's order."""
    return tuple(value.name.lower() for value in values)
