"""The tally: what generators counted and timed while a load was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from isotherm.client.cli.bench.samples import Samples, merged

# Beside the names of gRPC's statuses: a call that was left out, for want of memory or time.
NOT_SENT: Final = "NOT_SENT"


@dataclass(slots=True)
class Tally:
    """Calls that were due while a load was measured; of those that are cut off nothing is counted.

    Attributes:
        statuses: Calls by the name of the gRPC status that they ended with.
        latencies: Of the calls that ended with OK, from when each was due.
        refusals: Of the calls that the server refused for overload, likewise.
        lags: From when a call was due until it was sent.
        completed: Calls that ended with OK while the load was measured, due before or not.
        seconds: How long it was measured.
        cpu_shares: For each process the share of one CPU that it took.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    latencies: Samples = field(default_factory=Samples)
    refusals: Samples = field(default_factory=Samples)
    lags: Samples = field(default_factory=Samples)
    completed: int = 0
    seconds: float = 0.0
    cpu_shares: list[float] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Calls in all."""
        return self.statuses.total()

    @property
    def answered(self) -> int:
        """Calls that ended with OK."""
        return self.statuses["OK"]

    @property
    def errors(self) -> dict[str, int]:
        """The other calls by status, the most frequent first."""
        return {name: count for name, count in self.statuses.most_common() if name != "OK"}


def merge(parts: Sequence[Tally]) -> Tally:
    """Return the tally of several processes that ran at the same time."""
    return Tally(
        statuses=sum((part.statuses for part in parts), Counter()),
        latencies=merged([part.latencies for part in parts]),
        refusals=merged([part.refusals for part in parts]),
        lags=merged([part.lags for part in parts]),
        completed=sum(part.completed for part in parts),
        seconds=max((part.seconds for part in parts), default=0.0),
        cpu_shares=[share for part in parts for share in part.cpu_shares],
    )
