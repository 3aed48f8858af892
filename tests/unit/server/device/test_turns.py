"""Who is next on a device: whoever has had the least of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from isotherm.server.device.turns import Share, Turns

PATIENCE_S = 30.0


class Clock:
    """A clock that the test sets forward."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Users:
    """Threads with one turn each; it lasts until the test ends it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._order: list[str] = []
        self._changed = threading.Condition()
        self._ends: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def ask(self, name: str, share: Share) -> None:
        """Have a thread wait for a turn; return when it is in the queue, or has it."""
        self._ends[name] = threading.Event()
        before = len(share.waiting) + share.running

        def use() -> None:
            with share.turn():
                with self._changed:
                    self._order.append(name)
                    self._changed.notify_all()
                assert self._ends[name].wait(PATIENCE_S)

        thread = threading.Thread(target=use, daemon=True)
        self._threads.append(thread)
        thread.start()
        until(lambda: len(share.waiting) + share.running > before)

    def end(self, name: str, took_s: float) -> None:
        """End a turn that has taken so long; return when it is over."""
        self.has(name)
        self._clock.now_s += took_s
        self._ends[name].set()
        index = list(self._ends).index(name)
        self._threads[index].join(PATIENCE_S)

    def has(self, name: str) -> None:
        """Wait until a thread has its turn."""
        with self._changed:
            assert self._changed.wait_for(lambda: name in self._order, PATIENCE_S)

    def order(self, count: int) -> list[str]:
        """Wait for so many turns to have begun; return whose."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._order) >= count, PATIENCE_S)
            return list(self._order)

    def close(self) -> None:
        """End what has not ended."""
        for event in self._ends.values():
            event.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does at once."""
    pause = threading.Event()
    for _ in range(3000):
        if true():
            return
        pause.wait(0.001)
    raise AssertionError


@contextmanager
def using(clock: Clock) -> Iterator[Users]:
    """Give threads, and end them."""
    users = Users(clock)
    try:
        yield users
    finally:
        users.close()


@pytest.fixture(name="clock")
def _clock() -> Clock:
    """The time."""
    return Clock()


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_no_more_than_so_many_run_at_once(clock: Clock, at_once: int):
    """The next begins when one ends."""
    share = Turns(at_once, clock).share()
    with using(clock) as users:
        for number in range(at_once + 1):
            users.ask(str(number), share)

        assert len(users.order(at_once)) == at_once
        assert (share.running, len(share.waiting)) == (at_once, 1)

        users.end("0", 1)
        assert users.order(at_once + 1)[-1] == str(at_once)
        assert (share.running, len(share.waiting)) == (at_once, 0)


def test_the_next_is_who_has_had_the_least(clock: Clock):
    """Not who has waited longest."""
    turns = Turns(1, clock)
    greedy, modest = turns.share(), turns.share()
    with using(clock) as users:
        users.ask("greedy 1", greedy)
        users.ask("greedy 2", greedy)
        users.ask("greedy 3", greedy)
        users.ask("modest 1", modest)
        users.ask("modest 2", modest)
        users.end("greedy 1", 5)
        users.end("modest 1", 1)
        users.end("modest 2", 1)
        users.end("greedy 2", 1)
        users.end("greedy 3", 1)

        assert users.order(5) == ["greedy 1", "modest 1", "modest 2", "greedy 2", "greedy 3"]


def test_time_is_shared_and_not_turns(clock: Clock):
    """Of two that always want more, one with turns four times as long has a quarter of them."""
    turns = Turns(1, clock)
    long, short = turns.share(), turns.share()
    lasts = {"long": 4.0, "short": 1.0}
    with using(clock) as users:
        for number in range(30):
            users.ask(f"long {number}", long)
            users.ask(f"short {number}", short)
        for count in range(20):
            name = users.order(count + 1)[count]
            users.end(name, lasts[name.partition(" ")[0]])
        first = [name.partition(" ")[0] for name in users.order(20)[:20]]

    assert first.count("short") == 16
    assert first.count("long") == 4


def test_who_was_idle_has_saved_nothing_up(clock: Clock):
    """It begins where the others are, however long it was away."""
    turns = Turns(1, clock)
    busy, idle = turns.share(), turns.share()
    for _ in range(10):
        with busy.turn():
            clock.now_s += 1
    with using(clock) as users:
        users.ask("busy 1", busy)
        for number in range(3):
            users.ask(f"idle {number}", idle)
        users.ask("busy 2", busy)
        users.end("busy 1", 1)
        users.end("idle 0", 1)
        users.end("idle 1", 1)
        users.end("busy 2", 1)

        # Without that, all of its three would have come first: it has had ten seconds less.
        assert users.order(5) == ["busy 1", "idle 0", "idle 1", "busy 2", "idle 2"]


def test_turns_that_run_count_already(clock: Clock):
    """Two lanes of a model do not look like none, because neither has ended."""
    turns = Turns(2, clock)
    both, other = turns.share(), turns.share()
    with both.turn():
        clock.now_s += 3
    with other.turn():
        clock.now_s += 1
    with using(clock) as users:
        users.ask("both 1", both)
        users.ask("both 2", both)
        users.ask("both 3", both)
        users.ask("other 1", other)
        users.end("both 1", 0.1)

        assert users.order(3)[2] == "other 1"


def test_a_turn_ends_with_an_error(clock: Clock):
    """A batch that fails holds nobody up."""
    share = Turns(1, clock).share()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), share.turn():
            raise ZeroDivisionError
    with share.turn():
        assert share.running == 1

    assert share.running == 0


def test_turns_of_a_share_come_in_their_order(clock: Clock):
    """First come, first served."""
    share = Turns(1, clock).share()
    names = [str(number) for number in range(5)]
    with using(clock) as users:
        for name in names:
            users.ask(name, share)
        for name in names:
            users.end(name, 1)

        assert users.order(5) == names


def test_many_threads_all_get_their_turns():
    """By the real clock: nothing is lost, and never more run at once than may."""
    turns = Turns(2)
    inside, most, done = [0], [0], [0]
    lock = threading.Lock()

    def use(share: Share) -> None:
        for _ in range(200):
            with share.turn():
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                with lock:
                    inside[0] -= 1
                    done[0] += 1

    with ExitStack() as stack:
        # Two threads a share.
        for share in [turns.share() for _ in range(3)] * 2:
            thread = threading.Thread(target=use, args=(share,))
            thread.start()
            stack.callback(thread.join, PATIENCE_S)

    assert done[0] == 1200
    assert most[0] <= 2


def test_a_share_knows_what_it_has_waited(clock: Clock):
    """All its turns together; a turn that is free is not waited for."""
    turns = Turns(1, clock)
    busy, other = turns.share(), turns.share()
    with using(clock) as users:
        users.ask("busy", busy)
        users.ask("one", other)
        users.ask("two", other)
        users.end("busy", 3)
        users.end("one", 1)
        users.end("two", 1)

    assert busy.waited_s == 0
    assert other.waited_s == 3 + 4


def test_two_run_at_once_unless_told(clock: Clock):
    """One copies, one computes."""
    share = Turns(clock=clock).share()
    with using(clock) as users:
        for name in "123":
            users.ask(name, share)

        assert (share.running, len(share.waiting)) == (2, 1)
