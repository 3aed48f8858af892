"""The second thread in core: it polls when asked, and ends with its queue."""

from __future__ import annotations

import queue
import threading
import time
from types import SimpleNamespace
from typing import Any

from isotherm.server.transport import experiments
from isotherm.server.transport.call import Call, Unary
from isotherm.server.transport.reader import SocketReader
from tests.unit.server.serving import PATIENCE_S, serving


class Queue:
    """Core's queue as the reader sees it: every poll is told, and ends when the test says."""

    def __init__(self) -> None:
        self.polls: queue.SimpleQueue[float] = queue.SimpleQueue()
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()

    def poll(self, until: float) -> Any:
        self.polls.put(until)
        return SimpleNamespace(completion_type=self.events.get(timeout=PATIENCE_S))

    def shutdown(self) -> None:
        self.events.put("shutdown")


def test_it_polls_a_stretch_for_every_time_it_is_asked():
    """And asking twice during one stretch is one more."""
    fake = Queue()
    reader = SocketReader(fake, "shutdown")
    assert fake.polls.empty()

    reader.help()
    until = fake.polls.get(timeout=PATIENCE_S)
    reader.help()
    reader.help()
    fake.events.put("timeout")
    fake.polls.get(timeout=PATIENCE_S)
    fake.events.put("timeout")
    reader.close()

    assert 0 < until - time.time() < 1
    assert "socket-reader" not in [thread.name for thread in threading.enumerate()]


def test_under_load_core_is_read_by_two(monkeypatch):
    """Many calls at a time call for help; calls one after the other do not."""
    asked = []
    monkeypatch.setattr(SocketReader, "help", lambda _self: asked.append(True))

    def answer(call: Call, message: bytes) -> None:
        # As a batch of a model is: once everything that has arrived is known.
        server.transport.defer(lambda: call.reply(message))

    assert experiments.reads_where_polled()
    with serving("core", {"/t/Answer": Unary(answer)}) as server:
        for _ in range(20):
            server.call("/t/Answer")
        assert asked == []

        held = threading.Event()

        def hold() -> None:
            held.wait(PATIENCE_S)

        server.transport.call_soon_threadsafe(hold)
        futures = [server.unary("/t/Answer").future(b"", timeout=PATIENCE_S) for _ in range(64)]
        time.sleep(0.2)
        held.set()
        assert [future.result() for future in futures] == [b""] * 64
        assert asked
