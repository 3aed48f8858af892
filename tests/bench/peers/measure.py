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
        self._send(concurrency, self._rate(concurrency) * WARM_UP_S)

    def cell(
        self, where: tuple[str, str, int, int], concurrency: Concurrency, budget_s: float
    ) -> Cell:
        """Measure on fresh connections, for about so long; `where` as `Cell` begins."""
        server, model, rows, number = where
        rate = self._rate(concurrency)
        before = self._running.tree.cpu_seconds()
        requests, seen = self._send(concurrency, rate * budget_s)
        after = self._running.tree.cpu_seconds()
        spent = [seconds - before.get(pid, 0.0) for pid, seconds in after.items()]
        total = sum(spent)
        return Cell(
            server=server,
            model=model,
            rows=rows,
            load=str(concurrency),
            round=number,
            requests=requests,
            per_second=seen.per_second,
            mean_us=seen.mean_us,
            p50_us=seen.p50_us,
            p99_us=seen.p99_us,
            cpu_us=total / requests * 1e6,
            shares=tuple(sorted((round(part / total, 3) for part in spent), reverse=True))
            if total
            else (),
        )

    def _rate(self, concurrency: Concurrency) -> float:
        """Return about how many requests a second it answers."""
        requests: float = 2 * concurrency.in_flight
        while True:
            requests, seen = self._send(concurrency, requests)
            if requests / seen.per_second >= SHORTEST_PROBE_S or requests >= MOST:
                return seen.per_second
            requests = seen.per_second * SHORTEST_PROBE_S * 1.5

    def _send(self, concurrency: Concurrency, requests: float) -> tuple[int, h2.Result]:
        # Over HTTP/1.1 a connection has one request in flight, so there are more of them.
        connections, streams = concurrency.connections, concurrency.streams
        if self._wire.http1:
            connections, streams = concurrency.in_flight, 1
        # Each connection sends the same number, so none idles at the end for that reason.
        each = max(1, round(min(max(requests, FEWEST), MOST) / connections))
        load = h2.Load(each * connections, connections, streams)
        wire = self._wire
        target = h2.Target(self._running.url, self._body, wire.headers, wire.http1)
        seen = h2.drive(target, load)
        expected = load.requests * self._answer_bytes
        # Only an answer with status OK has a body, in gRPC.
        if wire.exact and seen.body_bytes != expected:
            msg = f"{load.requests} answers had {seen.body_bytes} bytes instead of {expected}"
            raise Left(msg)
        return load.requests, seen
