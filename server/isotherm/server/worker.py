"""One worker process: builds the parts, and leads them through their life.

load -> warm up and prove -> bind -> SERVING -> (drain: NOT_SERVING, keep serving) -> stop -> exit.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Final

from isotherm.server import control, logs
from isotherm.server.config import ServerConfig
from isotherm.server.control import Line
from isotherm.server.counters import Block
from isotherm.server.errors import LoadError, StartError
from isotherm.server.layout import ModelState, WorkerState
from isotherm.server.loader import Loader
from isotherm.server.repository import Entry, Repository
from isotherm.server.rpcs import COUNTED_RPCS
from isotherm.server.service.health import HealthService
from isotherm.server.service.inference import InferenceService
from isotherm.server.service.methods import methods
from isotherm.server.service.models import ModelsService
from isotherm.server.service.reflection import ReflectionService
from isotherm.server.service.repository import RepositoryService
from isotherm.server.service.streaming import StreamingService
from isotherm.server.transport.call import TransportConfig
from isotherm.server.transport.choose import choose_transport

_log = logging.getLogger(__name__)

HEARTBEAT_S: Final = 0.5


class Worker:
    """The parts of a server, wired together. `blocks[slot]` is this worker's own."""

    def __init__(self, config: ServerConfig, slot: int, blocks: Sequence[Block]) -> None:
        """Load every model; raise StartError when the server cannot serve as it was told."""
        self._config = config
        self._block = blocks[slot]
        self._draining = False
        self._repository = Repository(config.repository)
        self._load(Loader(config))
        transport_config = TransportConfig(
            max_connection_age_s=config.max_connection_age_s, grace_s=config.grace_s
        )
        self.transport_name, self._transport = choose_transport(
            config.transport, self._block.rpc_recorder(), transport_config
        )
        self._inference = InferenceService(self._repository, self._transport, config.batching)
        self._models = ModelsService(self._repository, blocks, config.batching)
        self._streaming = StreamingService(self._inference)
        self._health = HealthService()

    def listen(self, address: str) -> int:
        """Bind, and say that this worker serves; return the port."""
        for entry in self._repository.entries():
            if entry.model is not None:
                self._inference.add(entry.model, self._block)
            self._health.set(entry.name, serving=entry.model is not None)
        port = self._transport.listen(
            address,
            methods(
                self._inference,
                self._models,
                RepositoryService(self._repository),
                self._streaming,
                self._health,
                ReflectionService(),
            ),
        )
        self._block.state = WorkerState.SERVING
        self._beat()
        return port

    def model_names(self) -> list[str]:
        """Return the models that serve, as "name/version"."""
        return [
            f"{entry.name}/{entry.version}"
            for entry in self._repository.entries()
            if entry.model is not None
        ]

    def run(self) -> None:
        """Serve until drained; every accepted call is answered when this returns."""
        # What is alive now lives as long as the process: never walk it again.
        gc.collect()
        gc.freeze()
        self._transport.run()
        self._inference.close()
        self._block.state = WorkerState.DOWN

    def drain_soon(self) -> None:
        """Begin to stop; may be called from any thread, from signal handlers, and again."""
        self._transport.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        self._block.state = WorkerState.DRAINING
        self._health.set("", serving=False)
        for entry in self._repository.entries():
            self._health.set(entry.name, serving=False)
        self._inference.drain()
        # Balancers learn that they must look elsewhere, while calls are still welcome.
        self._transport.call_later(self._config.drain_delay_s, self._stop)

    def _stop(self) -> None:
        self._streaming.close()
        self._health.close()
        self._transport.stop(self._config.grace_s)

    def _beat(self) -> None:
        self._block.beat()
        if not self._draining:
            # Ready means all workers, and the others' states change without a message to us.
            self._health.set("", serving=self._models.ready)
        self._transport.call_later(HEARTBEAT_S, self._beat)

    def _load(self, loader: Loader) -> None:
        failed = [entry for entry in self._repository.load(loader) if not self._note(entry)]
        if failed and self._config.exit_on_error:
            reasons = "; ".join(entry.reason for entry in failed)
            msg = f"{reasons} (--no-exit-on-error serves the other models)"
            raise LoadError(msg)

    def _note(self, entry: Entry) -> bool:
        model = entry.model
        if model is None:
            _log.error("model %s version %d: %s", entry.name, entry.version, entry.reason)
            counters = self._block.open_model(entry.name, entry.version)
            counters.state = ModelState.UNAVAILABLE
            return False
        golden_rows = model.contract.golden.rows if model.contract else 0
        _log.info(
            "model %s version %d is ready on %s: loaded in %.0f ms, %d golden rows agree, a batch "
            "of 64 rows takes about %.0f us",
            model.name,
            model.version,
            model.provider,
            model.load_ns / 1e6,
            golden_rows,
            (model.cost.base_s + 64 * model.cost.row_s) * 1e6,
        )
        return True


def main() -> int:
    """Run a worker; the supervisor's line is the file descriptor in the first argument."""
    line = Line.from_fd(int(sys.argv[1]))
    # Ctrl-C reaches the whole process group; the supervisor alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox = line.messages()
    start = next(inbox, None)
    if start is None:
        return 1
    config = ServerConfig.from_json(start["config"])
    slot = int(start["slot"])
    logs.configure(config.log_level, process=f"worker-{slot}")
    blocks = [Block(fd, COUNTED_RPCS) for fd in start["blocks"]]
    blocks[slot].restart()
    try:
        worker = Worker(config, slot, blocks)
        port = worker.listen(start["address"])
    except StartError as error:
        line.send(control.FAILED, reason=str(error))
        return 1
    signal.signal(signal.SIGTERM, lambda *_: worker.drain_soon())

    def obey() -> None:
        for message in inbox:
            if message["kind"] == control.DRAIN:
                worker.drain_soon()
        # The supervisor is gone: nobody would restart or stop this worker.
        worker.drain_soon()

    threading.Thread(target=obey, name="control", daemon=True).start()
    line.send(
        control.SERVING,
        port=port,
        transport=worker.transport_name,
        models=worker.model_names(),
    )
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
