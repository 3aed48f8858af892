"""What the server gives to h2load, for requests as large as a stream's batches."""

from __future__ import annotations

from pathlib import Path

from tests.bench import h2
from tests.bench.clients.plan import FEATURES
from tests.bench.clients.streams import source
from tests.support.rpc import infer_request
from tests.support.server import Server, eventually

# As many connections, and calls in flight in all, as a stream has by default.
CONNECTIONS, STREAMS = 2, 4


class Reference:
    """Requests of so many rows to one model."""

    def __init__(self, server: Server, folder: Path, model: str, batch: int) -> None:
        self._server, self._batch = server, batch
        self._answered = f'isotherm_requests_total{{code="OK",model="{model}",version="1"}}'
        self._body = folder / f"body-{model}-{batch}"
        if not self._body.exists():
            x = source(FEATURES[model], batch)[:batch]
            self._body.write_bytes(h2.frame(infer_request(model, x=x)))

    def per_second(self, seconds: float) -> float:
        """Send for so long; return the rows/s. Every answer must be OK.

        Not just as many rows as a stream has: those are over before h2load has got going.
        """
        before = self._server.metric(self._answered)
        load = h2.Stretch(seconds, CONNECTIONS, STREAMS)
        seen = h2.drive(
            h2.Target(f"http://{self._server.address}{h2.MODEL_INFER}", self._body), load
        )
        # HTTP says nothing of gRPC's status: only the server's own count does.
        if not eventually(lambda: self._server.metric(self._answered) - before >= seen.requests):
            answered = self._server.metric(self._answered) - before
            msg = f"{seen.requests} requests were sent by h2load, {answered:.0f} answered with OK"
            raise SystemExit(msg)
        return seen.per_second * self._batch
