"""The parent process: holds the ports, runs the workers, and serves the metrics port.

It loads neither gRPC nor a model runtime, so that it stays small and can outlive any of them.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from isotherm.server import control, metrics
from isotherm.server.config import ServerConfig
from isotherm.server.control import Message
from isotherm.server.counters import Block
from isotherm.server.endpoint import Endpoint, check_page, metrics_page
from isotherm.server.errors import PortError, StartError
from isotherm.server.port import reserve_port
from isotherm.server.rpcs import COUNTED_RPCS
from isotherm.server.slot import Slot

_log = logging.getLogger(__name__)

# `timeout` and some init systems signal a process and then its group: one intent, two signals.
_SAME_SIGNAL_S: Final = 0.5
# Beyond the grace that workers give their calls.
_EXIT_MARGIN_S: Final = 10.0


class Supervisor:
    """Runs the workers until it is told to stop."""

    def __init__(self, config: ServerConfig) -> None:
        """Reserve both ports; raise PortError when one is taken."""
        self._config = config
        self._blocks = [Block.create(COUNTED_RPCS) for _ in range(config.workers)]
        self._reserved, self._address = reserve_port(config.host, config.grpc_port)
        self._slots = [
            Slot(config, slot, self._blocks, self._address) for slot in range(config.workers)
        ]
        self._signals = 0
        self._signalled_at = 0.0
        self._stop_by: float | None = None
        self._failure: str | None = None
        self._announced = False
        # What callers have loaded and unloaded, for workers that are started again; None: all.
        self._models = _models_at_start(config)
        self._changes: dict[str, _Change] = {}
        self._poll_at = time.monotonic() + config.poll_s
        registry = CollectorRegistry()
        registry.register(
            metrics.ServerCollector(self._blocks, lambda: [s.restarts for s in self._slots])
        )
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        try:
            self._endpoint = Endpoint(
                config.host,
                config.metrics_port,
                {
                    "/metrics": metrics_page(registry),
                    "/healthz": check_page(lambda: metrics.live(self._blocks), "live", "stuck"),
                    "/v2/health/ready": check_page(
                        lambda: metrics.ready(self._blocks), "ready", "not ready"
                    ),
                },
            )
        except PortError:
            self._reserved.close()
            raise

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit status.

        Raises StartError when a worker cannot start.
        """
        self._endpoint.start()
        with _signals(self._on_signal) as wake, selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ, None)
            for slot in self._slots:
                slot.start(selector, self._models_to_load())
            try:
                while not self._done():
                    self._step(selector, wake)
            finally:
                for slot in self._slots:
                    slot.kill()
                self._endpoint.close()
                self._reserved.close()
        if self._failure is not None:
            raise StartError(self._failure)
        forced = self._signals > 1 or any(slot.killed for slot in self._slots)
        if not forced:
            _log.info("stopped: every accepted call was answered")
        return 1 if forced else 0

    def _done(self) -> bool:
        stopping = self._signals > 0 or self._failure is not None
        return stopping and (self._signals > 1 or not any(slot.running for slot in self._slots))

    def _step(self, selector: selectors.BaseSelector, wake: socket.socket) -> None:
        for key, _ in selector.select(self._patience_s()):
            slot: Slot | None = key.data
            if slot is None:
                wake.recv(4096)
                continue
            messages = slot.read()
            for message in messages or ():
                self._on_message(slot, message)
            if messages is None:
                self._on_exit(slot, selector)
        now = time.monotonic()
        for slot in self._slots:
            if slot.restart_at is not None and slot.restart_at <= now and not self._signals:
                slot.start(selector, self._models_to_load())
            if self._stop_by is not None and self._stop_by <= now and slot.running:
                _log.error("worker %d did not stop in time: killing it", slot.number)
                slot.kill()

        if self._config.model_control == "poll" and self._poll_at <= now:
            self._poll_at = now + self._config.poll_s
            self._tell_all(control.RECONCILE)

    def _patience_s(self) -> float | None:
        times = [slot.restart_at for slot in self._slots if slot.restart_at is not None]
        times += [self._stop_by] if self._stop_by is not None else []
        times += [self._poll_at] if self._config.model_control == "poll" else []
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _on_message(self, slot: Slot, message: Message) -> None:
        if message["kind"] == control.FAILED:
            slot.reason = message["reason"]
        elif message["kind"] == control.CHANGE:
            self._begin_change(slot, message)
        elif message["kind"] == control.CHANGED:
            self._note_changed(slot, message)
        elif message["kind"] == control.SERVING:
            slot.serving_since = time.monotonic()
            if self._config.model_control == "explicit" and self._models is None:
                self._models = {name.rpartition("/")[0] for name in message["models"]}
            if not self._announced and all(s.serving_since is not None for s in self._slots):
                self._announced = True
                _log.info(
                    "serving %s on %s (%s) with %d worker(s), metrics on http://%s:%d/metrics",
                    ", ".join(message["models"]),
                    self._address,
                    message["transport"],
                    len(self._slots),
                    self._config.host,
                    self._endpoint.port,
                )

    def _on_exit(self, slot: Slot, selector: selectors.BaseSelector) -> None:
        selector.unregister(slot.line)
        status = slot.reap()
        for key in list(self._changes):
            self._end_change_of(slot, key)
        if self._signals or self._failure is not None:
            return
        if slot.never_served:
            # What keeps the first start from working is the operator's to mend: say it and end.
            self._failure = slot.reason or f"worker {slot.number} ended with status {status}"
            self._drain()
            return
        slot.plan_restart()
        _log.error(
            "worker %d ended with status %d%s: its calls in flight are lost, starting it again",
            slot.number,
            status,
            f" ({slot.reason})" if slot.reason else "",
        )

    def _models_to_load(self) -> list[str] | None:
        return None if self._models is None else sorted(self._models)

    def _tell_all(self, kind: str, **fields: object) -> None:
        for slot in self._slots:
            if slot.running:
                slot.line.send(kind, **fields)

    def _begin_change(self, origin: Slot, message: Message) -> None:
        key = f"{origin.number}/{message['id']}"
        waiting = {slot.number for slot in self._slots if slot.running}
        self._changes[key] = _Change(origin, message, waiting)
        self._tell_all(control.CHANGE, id=key, action=message["action"], model=message["model"])

    def _note_changed(self, slot: Slot, message: Message) -> None:
        change = self._changes.get(message["id"])
        if change is not None:
            # The first error is the answer; the others will be alike.
            if not change.error:
                change.error, change.missing = message["error"], message["missing"]
            self._end_change_of(slot, message["id"])

    def _end_change_of(self, slot: Slot, key: str) -> None:
        """Note that a worker has made a change, or is gone; answer when it was the last."""
        change = self._changes[key]
        change.waiting.discard(slot.number)
        if change.waiting:
            return
        del self._changes[key]
        if self._models is not None and not change.error:
            loads = change.message["action"] == "load"
            (self._models.add if loads else self._models.discard)(change.message["model"])
        if change.origin.running:
            change.origin.line.send(
                control.CHANGED,
                id=change.message["id"],
                error=change.error,
                missing=change.missing,
            )

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signals and now - self._signalled_at < _SAME_SIGNAL_S:
            return
        self._signals += 1
        self._signalled_at = now
        if self._signals == 1:
            _log.info("%s: draining", signal.Signals(number).name)
            self._drain()
        else:
            _log.warning("%s again: stopping at once", signal.Signals(number).name)

    def _drain(self) -> None:
        patience_s = self._config.drain_delay_s + self._config.grace_s + _EXIT_MARGIN_S
        self._stop_by = time.monotonic() + patience_s
        for slot in self._slots:
            slot.drain()


@dataclass(slots=True)
class _Change:
    """A change that all workers are making, for a caller of one of them."""

    origin: Slot
    message: Message
    waiting: set[int]
    error: str = ""
    missing: bool = False


def _models_at_start(config: ServerConfig) -> set[str] | None:
    if config.model_control != "explicit" or "*" in config.load_models:
        return None
    return set(config.load_models)


@contextlib.contextmanager
def _signals(handler: signal._HANDLER) -> Iterator[socket.socket]:
    """Handle SIGTERM and SIGINT, and yield a socket that becomes readable when one comes."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    old_fd = signal.set_wakeup_fd(theirs.fileno())
    numbers = (signal.SIGTERM, signal.SIGINT)
    old = [signal.signal(number, handler) for number in numbers]
    try:
        yield ours
    finally:
        for number, previous in zip(numbers, old, strict=True):
            signal.signal(number, previous)
        signal.set_wakeup_fd(old_fd)
        ours.close()
        theirs.close()
