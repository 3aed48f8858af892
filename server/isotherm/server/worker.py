"""One worker process: builds the parts, and leads them through their life.

load -> warm up and prove -> bind -> SERVING -> (drain: NOT_SERVING, keep serving) -> stop -> exit.
"""

from __future__ import annotations

import gc
import itertools
import logging
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from isotherm.server import control, loads, logs, protection
from isotherm.server.access_log import AccessLog
from isotherm.server.changes import Changes
from isotherm.server.config import ServerConfig
from isotherm.server.control import Line, Message
from isotherm.server.counters import Block
from isotherm.server.drift.tap import Taps
from isotherm.server.errors import (
    DeviceLostError,
    LoadError,
    NotFoundError,
    ServerError,
    StartError,
)
from isotherm.server.heartbeat import Heartbeat
from isotherm.server.layout import WorkerState
from isotherm.server.loader import Loader
from isotherm.server.model_config import ModelSettings
from isotherm.server.repository import UNLOADED, Change, Entry, Repository
from isotherm.server.rpcs import COUNTED_RPCS
from isotherm.server.service.feedback import FeedbackService
from isotherm.server.service.health import HealthService
from isotherm.server.service.inference import InferenceService
from isotherm.server.service.log_settings import LogSettingsService
from isotherm.server.service.methods import methods
from isotherm.server.service.models import ModelsService
from isotherm.server.service.reflection import ReflectionService
from isotherm.server.service.repository import RepositoryService
from isotherm.server.service.streaming import StreamingService
from isotherm.server.service.traces import open_traces
from isotherm.server.transport.choose import choose_transport
from isotherm.server.vetting.vetter import Vetter

_log = logging.getLogger(__name__)

# The exit status of a worker whose device is lost.
DEVICE_LOST: Final = 3

# A signal to the group comes here and to the supervisor, which then says whether it holds us.
_HOLD_WITHIN_S: Final = 2.0
_LEAST_GRACE_S: Final = 1.0
# A receiver of spans that does not answer by then is not there.
_LAST_SPANS_S: Final = 5.0


class Worker:
    """The parts of a server, wired together. `blocks[slot]` is this worker's own."""

    def __init__(
        self,
        config: ServerConfig,
        slot: int,
        blocks: Sequence[Block],
        line: Line,
        names: list[str] | None = None,
        vetter: Vetter | None = None,
        taps: Taps | None = None,
        before: Mapping[str, Collection[int]] | None = None,
        loader: Loader | None = None,
    ) -> None:
        """Load the models named, or all; raise StartError when the server cannot serve them.

        `before` are the versions that this worker had loaded before it was started again: then
        the server serves already, and whatever came to the folder meanwhile is no reason to stop.
        """
        self._config = config
        self._blocks = blocks
        self._block = blocks[slot]
        self._line = line
        self._draining = False
        self.device_lost = False
        # While draining: when to stop at the earliest, and whether the gateway still needs us, once
        # we are told.
        self._stop_at = 0.0
        self._held: bool | None = None if config.http_port is not None else False
        # Changes that callers here asked for, until every worker has made them.
        self._asked: dict[int, Callable[[ServerError | None], None]] = {}
        self._ask_ids = itertools.count()
        # First, since models may take minutes to load.
        self._access = protection.access(config.security)
        transport_config = protection.transport_config(config)
        self._traces = open_traces(config.tracing, slot)
        defaults = ModelSettings.of(config)
        self._repository = Repository(config.repository, defaults, config.model_name)
        self._repository.wait(config.repository_wait_s)
        loader = loader or Loader(config, vetter, slot=slot)
        try:
            entries = self._load(loader, names, before)
        finally:
            loader.rest()
        self.transport_name, self._transport = choose_transport(
            config.transport, self._block.rpc_recorder(), transport_config
        )
        self._inference = InferenceService(
            self._repository,
            self._transport,
            self._block,
            AccessLog(config.access_log) if config.access_log else None,
            taps=taps,
            traces=self._traces,
            reply_all=self._transport.reply_all,
            lost=self._on_device_lost,
        )
        self._models = ModelsService(self._repository, blocks)
        self._streaming = StreamingService(self._inference)
        self._health = HealthService(self._look)
        self._changes = Changes(self._repository, loader, self._transport, self._apply)
        for name, versions in entries.items():
            models = tuple(entry.model for entry in versions if entry.model is not None)
            self._inference.apply(Change(name, tuple(versions), added=models))
            self._health.set(name, serving=bool(models))

    def listen(self, address: str, private: str | None = None) -> int:
        """Bind, also a `private` socket for the gateway; return the port. `run` answers there."""
        explicit = self._config.model_control == "explicit"
        table = methods(
            self._inference,
            self._models,
            RepositoryService(self._repository, self._ask_all if explicit else None),
            self._streaming,
            LogSettingsService(self._set_log_level if self._config.log_control else None),
            self._health,
            ReflectionService(),
            FeedbackService(self._repository, self._block),
            self._traces,
        )
        guarded = self._access.guard(table, public=self._health.public_methods())
        return self._transport.listen(address, guarded, private)

    def obey(self, message: Message) -> None:
        """Do what the supervisor says; called on the control thread."""
        kind = message["kind"]
        if kind == control.DRAIN:
            self.drain_soon(hold=message["hold"])
        elif kind == control.RECONCILE:
            self._changes.reconcile()
        elif kind == control.CHANGE:
            self._change(message)
        elif kind == control.CHANGED:
            self._transport.call_soon_threadsafe(lambda: self._on_all_changed(message))

    def model_names(self) -> list[str]:
        """Return the models that serve, as "name/version"."""
        return [
            f"{entry.name}/{entry.version}"
            for entry in self._repository.entries()
            if entry.model is not None
        ]

    def run(self) -> None:
        """Serve until drained; every accepted call is answered when this returns.

        Also returns when `device_lost` has become true, since only another process can have it.
        """
        # What is alive now lives as long as the process: never walk it again.
        gc.collect()
        gc.freeze()
        # Who serves without a beat looks stuck; and who sees us serve may call the next moment.
        Heartbeat(self._transport, self._block, self._on_beat).start()
        self._block.state = WorkerState.SERVING
        self._transport.run()
        if not self.device_lost:
            # Else their threads may be in a device that answers nobody.
            self._changes.close()
            self._inference.close()
        if self._traces is not None:
            self._traces.close(min(self._left_s(), _LAST_SPANS_S))
        self._block.state = WorkerState.DOWN

    def drain_soon(self, *, hold: bool | None = None) -> None:
        """Begin to stop; may be called from any thread, from signal handlers, and again.

        With `hold` nobody new is invited, but what the gateway accepts is answered, until this is
        called with False; None changes nothing about that.
        """
        self._transport.call_soon_threadsafe(lambda: self._drain(hold=hold))

    def _drain(self, *, hold: bool | None) -> None:
        self._held = self._held if hold is None else hold
        if not self._draining:
            self._begin_to_drain()
        delay_s = self._stop_at - time.monotonic()
        if self._held is None:
            delay_s = max(delay_s, _HOLD_WITHIN_S)
        self._transport.call_later(delay_s, self._stop)

    def _begin_to_drain(self) -> None:
        self._draining = True
        self._block.state = WorkerState.DRAINING
        self._health.set("", serving=False)
        for entry in self._repository.entries():
            self._health.set(entry.name, serving=False)
        self._inference.drain()
        # Balancers learn that they must look elsewhere, while calls are still welcome.
        self._stop_at = time.monotonic() + self._config.drain_delay_s

    def _stop(self) -> None:
        if self._held:
            return
        self._streaming.close()
        self._health.close()
        self._transport.stop(self._left_s())

    def _on_device_lost(self, error: DeviceLostError) -> None:
        if self.device_lost:
            return
        self.device_lost = True
        reason = f"a device is lost to this process, which ends: {error}"
        _log.critical("%s", reason)
        self._line.send(control.FAILED, reason=reason)
        if not self._draining:
            self._begin_to_drain()
        self._streaming.close()
        self._health.close()
        # What waits for the device fails at once; the rest has a moment.
        self._transport.stop(_LEAST_GRACE_S)

    def _left_s(self) -> float:
        # One grace for the gateway's requests and for ours: who stops us has counted with one.
        left_s = self._stop_at + self._config.grace_s - time.monotonic()
        return max(left_s, min(_LEAST_GRACE_S, self._config.grace_s))

    def _on_beat(self) -> None:
        self._inference.show_waiting()
        self._block.release_models(self._blocks)
        # For those who watch.
        self._look()

    def _look(self) -> None:
        # Ready means all workers, and the others' states change without a message to us.
        if not self._draining:
            self._health.set("", serving=self._models.ready)

    def _ask_all(self, action: str, name: str, done: Callable[[ServerError | None], None]) -> None:
        number = next(self._ask_ids)
        self._asked[number] = done
        self._line.send(control.CHANGE, id=number, action=action, subject=name)

    def _set_log_level(self, level: str, done: Callable[[ServerError | None], None]) -> None:
        self._ask_all(control.LOG, level, done)

    def _on_all_changed(self, message: Message) -> None:
        error: ServerError | None = None
        if message["error"]:
            error = (NotFoundError if message["missing"] else LoadError)(message["error"])
        self._asked.pop(message["id"])(error)

    def _change(self, message: Message) -> None:
        def done(error: ServerError | None) -> None:
            self._line.send(
                control.CHANGED,
                id=message["id"],
                error=str(error) if error is not None else "",
                missing=isinstance(error, NotFoundError),
            )

        subject: str = message["subject"]
        if message["action"] == control.LOG:
            logs.set_level(subject)
            done(None)
            return
        change = self._changes.load if message["action"] == "load" else self._changes.unload
        change(subject, done)

    def _apply(self, change: Change) -> None:
        self._inference.apply(change)
        for entry in change.tried:
            loads.note(self._block, entry, optional=self._repository.is_optional(entry))
        versions = {entry.version for entry in change.entries if entry.reason != UNLOADED}
        self._block.retire_unavailable(change.name, versions)
        serving = any(entry.model is not None for entry in change.entries)
        self._health.set(change.name, serving=serving and not self._draining)

    def _load(
        self,
        loader: Loader,
        names: list[str] | None,
        before: Mapping[str, Collection[int]] | None,
    ) -> dict[str, list[Entry]]:
        entries: dict[str, list[Entry]] = {}
        for entry in self._repository.load(loader, names, before):
            entries.setdefault(entry.name, []).append(entry)
            loads.note(self._block, entry, optional=self._repository.is_optional(entry))
        reasons = [e.reason for versions in entries.values() for e in versions if e.reason]
        if reasons and self._config.exit_on_error and not before:
            msg = f"{'; '.join(reasons)} (--no-exit-on-error serves the other models)"
            raise LoadError(msg)
        return entries


def run(
    config: ServerConfig, start: Message, line: Line, inbox: Iterator[Message], vetter: Vetter
) -> int:
    """Be the worker that the supervisor's first message describes; return the exit status."""
    slot = int(start["slot"])
    logs.configure(start["log_level"], process=f"worker-{slot}", form=config.log_format)
    blocks = [Block(fd, COUNTED_RPCS) for fd in start["blocks"]]
    before = loads.loaded_before(blocks[slot])
    blocks[slot].restart()
    try:
        taps = Taps.inherited(start["drift"])
        worker = Worker(config, slot, blocks, line, start["models"], vetter, taps, before)
        port = worker.listen(start["address"], start["private"])
    except StartError as error:
        line.send(control.FAILED, reason=str(error))
        return 1
    signal.signal(signal.SIGTERM, lambda *_: worker.drain_soon())

    def obey() -> None:
        for message in inbox:
            worker.obey(message)
        # The supervisor is gone: nobody would restart or stop this worker.
        worker.drain_soon(hold=False)

    threading.Thread(target=obey, name="control", daemon=True).start()
    line.send(
        control.SERVING,
        port=port,
        transport=worker.transport_name,
        models=worker.model_names(),
    )
    worker.run()
    return DEVICE_LOST if worker.device_lost else 0
