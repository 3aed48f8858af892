"""The parent process: holds the ports, runs the workers, and serves the metrics port.

It loads neither gRPC nor a model runtime, so that it stays small and can outlive any of them.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import selectors
import signal
import socket
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from isotherm.server import control, logs
from isotherm.server.config import ServerConfig
from isotherm.server.control import Line, Message
from isotherm.server.counters import Block
from isotherm.server.drift.watch import Watch
from isotherm.server.endpoint import open_endpoint
from isotherm.server.errors import StartError
from isotherm.server.front import Front
from isotherm.server.port import reserve_port
from isotherm.server.rpcs import COUNTED_RPCS
from isotherm.server.signals import signals
from isotherm.server.slot import Slot, WorkerSlot

_log = logging.getLogger(__name__)

# `timeout` and some init systems signal a process and then its group: one intent, two signals.
_SAME_SIGNAL_S: Final = 0.5
# Beyond the grace that workers give their calls.
_EXIT_MARGIN_S: Final = 10.0


class Supervisor:
    """Runs the workers until it is told to stop."""

    def __init__(self, config: ServerConfig) -> None:
        """Reserve the ports; raise StartError when one cannot be had."""
        self._config = config
        self._blocks = [Block.create(COUNTED_RPCS) for _ in range(config.workers)]
        self._watch = Watch(self._blocks, config.drift_window_s)
        self._cleanup = contextlib.ExitStack()
        self._front: Front | None = None
        try:
            self._open_ports()
        except StartError:
            self._cleanup.close()
            raise
        # How many there were, and the last one's name and time.
        self._signals = 0
        self._signal = ""
        self._signalled_at = 0.0
        self._draining = False
        self._stop_by: float | None = None
        self._failure: str | None = None
        # What the workers serve, once one does; then whether it has been announced.
        self._served: Message | None = None
        self._announced = False
        # What callers have loaded and unloaded, for workers that are started again; None: all.
        self._models = config.models_at_start
        self._changes: dict[int, _Change] = {}
        self._change_ids = itertools.count()
        self._poll_at = time.monotonic() + config.poll_s

    def _open_ports(self) -> None:
        config = self._config
        reserved, self._address = reserve_port(config.host, config.grpc_port)
        self._cleanup.enter_context(reserved)
        if config.http_port is not None:
            self._front = Front(config, config.host, config.http_port)
            self._cleanup.callback(self._front.close)
        self._slots = [
            WorkerSlot(
                config,
                number,
                self._blocks,
                self._address,
                self._front.private(number) if self._front is not None else None,
                self._watch.ring(number),
            )
            for number in range(config.workers)
        ]
        self._children: list[Slot] = [*self._slots, *([self._front] if self._front else [])]
        self._endpoint = open_endpoint(
            config, self._blocks, lambda: [slot.restarts for slot in self._slots], self._watch
        )
        self._cleanup.callback(self._endpoint.close)

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit status.

        Raises StartError when a worker cannot start.
        """
        insisted = False
        # Signals first and last: who sees the metrics port may stop us, and often by two signals.
        with (
            signals(self._on_signal) as wake,
            self._cleanup,
            selectors.DefaultSelector() as selector,
        ):
            self._endpoint.start()
            self._watch.start()
            self._cleanup.callback(self._watch.close)
            selector.register(wake, selectors.EVENT_READ, None)
            try:
                for slot in self._children:
                    self._start(slot, selector)
                while not self._done():
                    self._step(selector, wake)
                insisted = self._signals > 1
                if insisted:
                    _log.warning("%s again: stopping at once", self._signal)
            finally:
                for slot in self._children:
                    slot.kill()
        if self._failure is not None:
            raise StartError(self._failure)
        forced = insisted or any(slot.killed for slot in self._children)
        if not forced:
            _log.info("stopped: every accepted call was answered")
        return 1 if forced else 0

    def _done(self) -> bool:
        stopping = self._signals > 0 or self._failure is not None
        return stopping and (self._signals > 1 or not any(slot.running for slot in self._children))

    def _start(self, slot: Slot, selector: selectors.BaseSelector) -> None:
        if isinstance(slot, WorkerSlot):
            slot.start(selector, self._models_to_load(), logs.level())
            # What it was told to load is what was there before the changes that are being made.
            for key, change in self._changes.items():
                self._tell_change(slot, key, change)
        elif isinstance(slot, Front):
            slot.start(selector)

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
        if self._signals and not self._draining:
            self._draining = True
            _log.info("%s: draining", self._signal)
            self._drain()
        now = time.monotonic()
        for slot in self._children:
            if slot.restart_at is not None and slot.restart_at <= now and not self._signals:
                self._start(slot, selector)
        if self._stop_by is not None and self._stop_by <= now:
            for slot in self._stopping():
                _log.error("%s did not stop in time: killing it", slot.name)
                slot.kill()
        if self._config.model_control == "poll" and self._poll_at <= now:
            self._poll_at = now + self._config.poll_s
            for slot in self._slots:
                # One that loads will have looked, and does not listen yet.
                if slot.running and slot.serving_since is not None:
                    slot.line.send(control.RECONCILE)

    def _patience_s(self) -> float | None:
        times = [slot.restart_at for slot in self._children if slot.restart_at is not None]
        times += [self._stop_by] if self._stop_by is not None else []
        times += [self._poll_at] if self._config.model_control == "poll" else []
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _on_message(self, slot: Slot, message: Message) -> None:
        if message["kind"] == control.FAILED:
            slot.reason = message["reason"]
        elif message["kind"] == control.SERVING:
            slot.serving_since = time.monotonic()
            if isinstance(slot, WorkerSlot):
                self._served = message
                if self._config.model_control == "explicit" and self._models is None:
                    self._models = {name.rpartition("/")[0] for name in message["models"]}
            self._announce()
        elif isinstance(slot, WorkerSlot) and message["kind"] == control.CHANGE:
            self._begin_change(slot, message)
        elif isinstance(slot, WorkerSlot) and message["kind"] == control.CHANGED:
            self._note_changed(slot, message)

    def _announce(self) -> None:
        serving = all(slot.serving_since is not None for slot in self._children)
        if self._announced or self._served is None or not serving:
            return
        self._announced = True
        _log.info(
            "serving %s on %s (%s) with %d worker(s), metrics on http://%s/metrics%s",
            ", ".join(self._served["models"]),
            self._address,
            self._served["transport"],
            len(self._slots),
            self._endpoint.address,
            f", REST on {self._front.url}" if self._front is not None else "",
        )

    def _on_exit(self, slot: Slot, selector: selectors.BaseSelector) -> None:
        selector.unregister(slot.line)
        status = slot.reap()
        if isinstance(slot, WorkerSlot):
            for key in list(self._changes):
                self._end_change_of(slot, key)
        if self._signals or self._failure is not None:
            if slot is self._front:
                self._release_workers()
            return
        if slot.never_served:
            # What keeps the first start from working is the operator's to mend: say it and end.
            self._failure = slot.reason or f"{slot.name} ended with status {status}"
            self._drain()
            return
        slot.plan_restart()
        _log.error(
            "%s ended with status %d%s: its calls in flight are lost, starting it again",
            slot.name,
            status,
            f" ({slot.reason})" if slot.reason else "",
        )

    def _models_to_load(self) -> list[str] | None:
        return None if self._models is None else sorted(self._models)

    def _begin_change(self, origin: WorkerSlot, message: Message) -> None:
        key = next(self._change_ids)
        change = self._changes[key] = _Change(origin.line, message)
        for slot in self._slots:
            if slot.running:
                self._tell_change(slot, key, change)

    def _tell_change(self, slot: WorkerSlot, key: int, change: _Change) -> None:
        change.waiting.add(slot.number)
        asked = change.message
        slot.line.send(control.CHANGE, id=key, action=asked["action"], subject=asked["subject"])

    def _note_changed(self, slot: WorkerSlot, message: Message) -> None:
        change = self._changes.get(message["id"])
        if change is not None:
            # The first error is the answer; the others will be alike.
            if not change.error:
                change.error, change.missing = message["error"], message["missing"]
            self._end_change_of(slot, message["id"])

    def _end_change_of(self, slot: WorkerSlot, key: int) -> None:
        """Note that a worker has made a change, or is gone; answer when it was the last."""
        change = self._changes[key]
        change.waiting.discard(slot.number)
        if change.waiting:
            return
        del self._changes[key]
        if not change.error:
            self._remember(change.message["action"], change.message["subject"])
        change.origin.send(
            control.CHANGED,
            id=change.message["id"],
            error=change.error,
            missing=change.missing,
        )

    def _remember(self, action: str, subject: str) -> None:
        """Note a change for workers that are started again."""
        if action == control.LOG:
            logs.set_level(subject)
            if self._front is not None:
                self._front.log(subject)
        elif self._models is not None:
            (self._models.add if action == "load" else self._models.discard)(subject)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal, and no more: it comes in the middle of anything, such as a start."""
        now = time.monotonic()
        if self._signals and now - self._signalled_at < _SAME_SIGNAL_S:
            return
        self._signals += 1
        self._signal = signal.Signals(number).name
        self._signalled_at = now

    def _drain(self) -> None:
        """Have all stop: the gateway first, since the workers answer what it has accepted."""
        held = self._front is not None and self._front.running
        patience_s = self._config.drain_delay_s + self._config.grace_s + _EXIT_MARGIN_S
        self._stop_by = time.monotonic() + patience_s
        for slot in self._children:
            slot.drain(hold=held)

    def _release_workers(self) -> None:
        self._stop_by = max(self._stop_by or 0.0, time.monotonic() + _EXIT_MARGIN_S)
        for slot in self._slots:
            slot.drain()

    def _stopping(self) -> list[Slot]:
        """Return who should have stopped by now: while there is a gateway, it alone."""
        running = [slot for slot in self._children if slot.running]
        return [self._front] if self._front in running else running


@dataclass(slots=True)
class _Change:
    """A change that all workers are making, for a caller of one of them."""

    # The line of the process that asked: the next one in its slot asks for changes of its own.
    origin: Line
    message: Message
    waiting: set[int] = field(default_factory=set)
    error: str = ""
    missing: bool = False
