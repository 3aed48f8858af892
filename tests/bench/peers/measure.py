"""One cell: a load on a running server, and what it showed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.bench import h2
from tests.bench.peers.peer import Left, Running
from tests.bench.peers.wire import Wire
from tests.bench.peers.workloads import Concurrency

WARM_UP_S = 0.5
# A probe so short says nothing of the rate, so it is repeated with more requests.
SHORTEST_PROBE_S = 0.1
FEWEST = 20
MOST = 200_000
# Every caller of a slow server has so many answers before a cell ends, within reason.
TURNS = 6
LONGEST_S = 6.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One load on one server in one round."""

    server: str
    model: str
    rows: int
    load: str
    round: int
    requests: int
    per_second: float
    mean_us: float
    p50_us: float
    p99_us: float
    # Of the server's processes together, a request.
    cpu_us: float
    # The share of it by process, the largest first: how the work was split.
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """One start of one server: seconds to its first right answer, memory after its loads."""

    server: str
    model: str
    round: int
    start_s: float
    rss: int
    pss: int
    processes: int


class Driver:
    """Sends loads to one running server and insists that every answer is right."""

    def __init__(self, wire: Wire, running: Running, body: Path) -> None:
        self._wire, self._running, self._body = wire, running, body
        self._answer_bytes = 0

    def ask(self, x: np.ndarray, y: np.ndarray) -> None:
        """Ask x, whose answer must be y; what is sent from now on is the same question."""
        self._body.write_bytes(self._wire.encode(x))
        answer = self._wire.ask(self._running.url, self._body.read_bytes())
        np.testing.assert_allclose(self._wire.decode(answer), y, rtol=1e-4, atol=1e-5)
        self._answer_bytes = len(answer)

    def warm_up(self, concurrency: Concurrency) -> None:
        """Send for a while."""
        self._send_for(concurrency, WARM_UP_S)

    def cell(
        self, where: tuple[str, str, int, int], concurrency: Concurrency, budget_s: float
    ) -> Cell:
        """Measure on fresh connections, for about so long; `where` as `Cell` begins."""
        server, model, rows, number = where
        turn_s = concurrency.in_flight / self._rate(concurrency)
        before = self._running.tree.cpu_seconds()
        seen = self._send_for(concurrency, min(max(budget_s, TURNS * turn_s), LONGEST_S))
        after = self._running.tree.cpu_seconds()
        spent = [seconds - before.get(pid, 0.0) for pid, seconds in after.items()]
        total = sum(spent)
        return Cell(
            server=server,
            model=model,
            rows=rows,
            load=str(concurrency),
            round=number,
            requests=seen.requests,
            per_second=seen.per_second,
            mean_us=seen.mean_us,
            p50_us=seen.p50_us,
            p99_us=seen.p99_us,
            cpu_us=total / seen.requests * 1e6,
            shares=tuple(sorted((round(part / total, 3) for part in spent), reverse=True))
            if total
            else (),
        )

    def _rate(self, concurrency: Concurrency) -> float:
        """Return about how many requests a second it answers."""
        connections, streams = self._shape(concurrency)
        requests: float = 2 * concurrency.in_flight
        while True:
            each = max(1, round(min(max(requests, FEWEST), MOST) / connections))
            seen = self._send(h2.Load(each * connections, connections, streams))
            if seen.requests / seen.per_second >= SHORTEST_PROBE_S or seen.requests >= MOST:
                return seen.per_second
            requests = seen.per_second * SHORTEST_PROBE_S * 1.5

    def _send_for(self, concurrency: Concurrency, seconds: float) -> h2.Result:
        return self._send(h2.Stretch(seconds, *self._shape(concurrency)))

    def _shape(self, concurrency: Concurrency) -> tuple[int, int]:
        # Over HTTP/1.1 a connection has one request in flight, so there are more of them.
        if self._wire.http1:
            return concurrency.in_flight, 1
        return concurrency.connections, concurrency.streams

    def _send(self, load: h2.Load | h2.Stretch) -> h2.Result:
        wire = self._wire
        target = h2.Target(self._running.url, self._body, wire.headers, wire.http1)
        seen = h2.drive(target, load)
        expected = seen.requests * self._answer_bytes
        # The end of a stretch cuts answers off.
        cut = load.connections * load.streams * self._answer_bytes
        most = expected if isinstance(load, h2.Load) else expected + cut
        # Only an answer with status OK has a body, in gRPC.
        if wire.exact and not expected <= seen.body_bytes <= most:
            msg = f"{seen.requests} answers had {seen.body_bytes} bytes instead of {expected}"
            raise Left(msg)
        return seen
