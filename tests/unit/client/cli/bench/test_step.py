"""One process's calls, made in this one: what is sent, what is counted, what is left out."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager

import grpc.aio
import numpy as np
import pytest

from isotherm.client._methods import MODEL_INFER
from isotherm.client._request import Envelope
from isotherm.client._security import Bearer
from isotherm.client.cli.bench import step
from isotherm.client.cli.bench.arrivals import Share
from isotherm.client.cli.bench.load import Closed, Open, Period, Target
from isotherm.client.cli.bench.step import Order, Step
from isotherm.client.cli.bench.tally import NOT_SENT

_PERIOD = Period(duration_s=0.2, warmup_s=0.1)
_OPEN = Open(rate=100)
_ALL = Share()


def _body(model):
    fitted = ("x", "FP32", np.full((1, 1), 50, np.float32))
    return Envelope(model, "", ()).request([fitted])


@asynccontextmanager
async def _step(server, load, *, models=("line",), share=_ALL, late_s=0.0, timeout_s=5.0):
    """A step on one connection, which began `late_s` ago."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        await channel.channel_ready()
        target = Target(
            address=server.address,
            bodies=tuple(map(_body, models)),
            connections=1,
            timeout_s=timeout_s,
        )
        order = Order(load, _PERIOD, time.monotonic() - late_s)
        stubs: list[step.Stub] = [channel.unary_unary(MODEL_INFER.path)]
        yield Step(target, stubs, order, share, Bearer(None))


async def test_requests_of_the_warm_up_are_sent_and_not_counted(server):
    """Thirty are sent, twenty are measured."""
    async with _step(server, _OPEN) as made:
        tally = await made.run()

    assert server.calls.count("ModelInfer") == 30
    assert tally.statuses == {"OK": 20}
    assert (len(tally.latencies), len(tally.lags)) == (20, 20)
    assert tally.seconds == pytest.approx(0.2)
    assert len(tally.cpu_shares) == 1


async def test_requests_are_sent_in_turn(server):
    """Another process begins with another one."""
    async with _step(server, Open(rate=30), models=("line", "bare")) as made:
        await made.run()
    async with _step(server, Open(rate=60), models=("line", "bare"), share=Share(1, 2)) as made:
        await made.run()

    names = [request.model_name for request in server.requests]
    assert sorted(names[:9]) == ["bare"] * 4 + ["line"] * 5
    assert sorted(names[9:]) == ["bare"] * 5 + ["line"] * 4


async def test_errors_are_counted_by_their_status(server):
    """Their times are not latencies."""
    async with _step(server, _OPEN, models=("line", "absent")) as made:
        tally = await made.run()

    assert tally.statuses == {"OK": 10, "NOT_FOUND": 10}
    assert len(tally.latencies) == 10


async def test_a_closed_loop_never_has_more_calls_in_flight(server):
    """And never fewer, while it lasts."""
    lock, running, seen = threading.Lock(), [0], set()

    def delay():
        with lock:
            running[0] += 1
            seen.add(running[0])
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    server.delay = delay
    async with _step(server, Closed(concurrency=3)) as made:
        tally = await made.run()

    assert seen == {1, 2, 3}
    assert set(tally.statuses) == {"OK"}


async def test_what_memory_forbids_is_not_sent(server, monkeypatch):
    """The generator neither waits nor grows: it says what it left out."""
    monkeypatch.setattr(step, "MAX_IN_FLIGHT", 4)
    opened = threading.Event()
    server.delay = opened.wait
    async with _step(server, _OPEN) as made:
        running = asyncio.create_task(made.run())
        await asyncio.sleep(0)
        # Nothing is answered before the last one has been due, however late that was noticed.
        assert made._sender is not None
        await asyncio.wait([made._sender])
        opened.set()
        tally = await running

    assert tally.statuses == {NOT_SENT: 20}
    assert len(server.requests) == 4


async def test_what_is_far_too_late_is_not_sent(server):
    """A load that was over long ago is not made up for."""
    async with _step(server, _OPEN, late_s=100) as made:
        tally = await made.run()

    assert tally.statuses == {NOT_SENT: 20}
    assert server.requests == []


async def test_an_end_cuts_off_what_is_in_flight(server):
    """Calls without an answer are not counted, neither as answered nor as failed."""
    opened = threading.Event()
    server.delay = opened.wait
    async with _step(server, Open(rate=100)) as made:
        running = asyncio.create_task(made.run())
        await asyncio.sleep(0.2)
        made.stop()
        tally = await running
    opened.set()

    assert tally.requests == 0
    # All of it where the machine was slow to stop, to the last digit of the clock.
    assert 0 < tally.seconds <= _PERIOD.duration_s + 1e-6
