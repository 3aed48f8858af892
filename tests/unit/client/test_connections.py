"""Which connection a call gets, when one is opened, and when one is given up."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import SimpleNamespace

import pytest

from isotherm.client import CallCancelledError, DeadlineExceededError, InvalidInputError
from isotherm.client import _connections as module
from isotherm.client._connections import Connections
from tests.support.server import eventually
from tests.unit.client.driving import LONG_S, PATIENCE_S, Gate
from tests.unit.client.sharing import known, row


def opened(most: int) -> tuple[Connections[int], list[int]]:
    """Return connections whose channels are numbers, and those that were opened."""
    numbers = itertools.count(1)
    channels: list[int] = []

    def connect() -> tuple[int, dict[str, object]]:
        channels.append(next(numbers))
        return channels[-1], {}

    return Connections(most, connect), channels


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still unless a test moves it."""
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return clock


def test_connections_are_opened_as_calls_need_them() -> None:
    """None before the first call, and no second one while the first is free."""
    connections, channels = opened(3)
    assert channels == []
    for _ in range(5):
        connections.give_back(connections.take(), heard=True)
    assert channels == [1]
    taken = [connections.take().channel for _ in range(3)]

    assert [1, 2, 3] == taken == channels == connections.channels()


def test_a_call_gets_the_connection_with_the_fewest_calls() -> None:
    """Once there may be no more of them."""
    connections, channels = opened(3)
    taken = [connections.take() for _ in range(9)]
    assert [3, 3, 3] == [[each.channel for each in taken].count(channel) for channel in channels]
    second = next(each for each in taken if each.channel == 2)
    connections.give_back(second, heard=True)
    connections.give_back(second, heard=True)

    assert [2, 2] == [connections.take().channel for _ in range(2)]
    assert channels == [1, 2, 3]


def test_a_hedge_gets_another_connection_where_there_is_one() -> None:
    """Or the same, where only one is allowed."""
    connections, _ = opened(2)
    first = connections.take()
    other = connections.take(other_than=first)
    busier = [connections.take(other_than=first) for _ in range(3)]
    only, _ = opened(1)
    single = only.take()

    assert other is not first
    assert all(each is other for each in busier)
    assert only.take(other_than=single) is single
    assert single.busy == 2


def test_a_connection_that_is_silent_while_a_call_is_given_up_gets_no_more_calls(clock) -> None:
    """It is closed with its last call."""
    connections, channels = opened(1)
    first, second = connections.take(), connections.take()
    clock.now_s += 0.6
    closed = [*connections.give_back(first, heard=False)]
    early = list(closed)
    following = connections.take()
    clock.now_s += 0.6
    closed.extend(connections.give_back(second, heard=False))

    assert first is second
    assert early == []
    assert [1] == closed
    assert following.channel == 2
    assert channels == [1, 2]


def test_a_late_answer_on_a_connection_that_was_given_up_closes_it_too(clock) -> None:
    """With the last call, and not again."""
    connections, _ = opened(1)
    calls = [connections.take() for _ in range(3)]
    clock.now_s += 0.6
    closed = [
        list(connections.give_back(call, heard=heard))
        for call, heard in zip(calls, (False, True, True), strict=True)
    ]

    assert [[], [], [1]] == closed


@pytest.mark.parametrize("silence_s", [0.0, 0.4])
def test_a_call_that_is_given_up_early_says_nothing_of_its_connection(clock, silence_s) -> None:
    """Its caller was in a hurry."""
    connections, channels = opened(1)
    call = connections.take()
    clock.now_s += silence_s

    assert not connections.give_back(call, heard=False)
    assert connections.take() is call
    assert channels == [1]


def test_a_connection_that_was_heard_lately_is_kept(clock) -> None:
    """One slow call beside others that are answered is just slow."""
    connections, channels = opened(1)
    slow = connections.take()
    for _ in range(5):
        quick = connections.take()
        clock.now_s += 0.3
        connections.give_back(quick, heard=True)
    clock.now_s += 0.3
    assert not connections.give_back(slow, heard=False)

    assert connections.take().channel == 1
    assert channels == [1]


def test_an_idle_connection_is_not_silent(clock) -> None:
    """Nobody has asked it anything."""
    connections, channels = opened(1)
    connections.give_back(connections.take(), heard=True)
    clock.now_s += 3600
    call = connections.take()
    clock.now_s += 0.1
    connections.give_back(call, heard=False)

    assert connections.take().channel == 1
    assert channels == [1]


def test_connections_that_were_silent_for_as_long_are_given_up_together(clock) -> None:
    """They go the same way; one that was heard since then is well."""
    connections, _ = opened(3)
    silent, idle, well = (connections.take() for _ in range(3))
    connections.give_back(idle, heard=True)
    clock.now_s += 0.4
    connections.give_back(well, heard=True)
    clock.now_s += 0.4
    closed = connections.give_back(silent, heard=False)

    assert sorted(closed) == [silent.channel, idle.channel]
    assert connections.channels() == [well.channel]
    assert connections.take() is well


def test_connections_that_were_given_up_are_closed_with_the_others(clock) -> None:
    """While they have calls, which are to end."""
    connections, _ = opened(1)
    first, _ = connections.take(), connections.take()
    clock.now_s += 0.6
    connections.give_back(first, heard=False)
    connections.take()

    assert sorted(connections.channels()) == [1, 2]


@pytest.mark.parametrize("most", [0, -1, 65])
def test_a_number_of_connections_that_makes_no_sense_is_refused(most: int) -> None:
    """With what was expected."""
    with pytest.raises(InvalidInputError, match=f"connections is {most}, expected 1 to 64"):
        opened(most)


def test_threads_may_share_connections() -> None:
    """Nobody is lost count of, and there are never too many."""
    connections, channels = opened(4)
    busiest: list[int] = []
    barrier = threading.Barrier(8)

    def work(_: int) -> None:
        barrier.wait()
        for turn in range(300):
            connection = connections.take()
            busiest.append(connection.busy)
            connections.give_back(connection, heard=turn % 3 > 0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    free = [connections.take() for _ in range(4)]

    assert [1, 2, 3, 4] == channels == sorted(each.channel for each in free)
    assert [1, 1, 1, 1] == [each.busy for each in free]
    assert max(busiest) <= 8


def test_a_client_opens_no_more_connections_than_it_may(connect, server, gate: Gate) -> None:
    """And spreads its calls over them."""
    driver = known(server, connect(connections=2, coalesce=False), "plane", row(0))
    futures = [driver.predict("plane", row(n)) for n in range(6)]
    gate.wait_for(6)
    peers = [inference.peer for inference in server.inferences]
    gate.open()

    assert list(range(6)) == [future.result(PATIENCE_S).item() for future in futures]
    assert [3, 3] == [peers.count(peer) for peer in sorted(set(peers))]


def test_a_client_leaves_a_connection_that_does_not_answer(
    connect, server, gate: Gate, monkeypatch
) -> None:
    """The next call goes over another, those still on the old one may end there; it then closes."""
    monkeypatch.setattr(module, "_SILENCE_S", 0.1)
    closed = []
    for name in ("grpc._channel", "grpc.aio._channel"):
        channel = import_module(name).Channel
        close = channel.close

        def noted(self, *arguments, close=close):
            closed.append(self)
            return close(self, *arguments)

        monkeypatch.setattr(channel, "close", noted)
    driver = known(server, connect(connections=1, coalesce=False), "plane", row(0))
    waiting = driver.predict("plane", row(1), timeout=LONG_S)
    gate.wait_for(1)
    error = driver.call("predict", "plane", row(2), timeout=0.3).exception(PATIENCE_S)
    third = driver.predict("plane", row(3), timeout=PATIENCE_S)
    gate.wait_for(3)
    gate.open()
    first, second, last = (inference.peer for inference in server.inferences)

    assert isinstance(error, DeadlineExceededError)
    assert [1, 3] == [future.result(PATIENCE_S).item() for future in (waiting, third)]
    assert first == second != last
    assert eventually(lambda: len(closed) == 1)


def test_closing_ends_calls_on_a_connection_that_was_given_up(
    connect, server, gate: Gate, monkeypatch
) -> None:
    """As on all others."""
    monkeypatch.setattr(module, "_SILENCE_S", 0.1)
    driver = known(server, connect(connections=1, coalesce=False), "plane", row(0))
    waiting = driver.predict("plane", row(1), timeout=LONG_S)
    gate.wait_for(1)
    driver.call("predict", "plane", row(2), timeout=0.3).exception(PATIENCE_S)
    driver.close()
    ended = eventually(waiting.done)
    gate.open()

    assert ended
    assert isinstance(waiting.exception(PATIENCE_S), CallCancelledError)
