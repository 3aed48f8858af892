"""An iterator in a thread of its own."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from isotherm.client.cli.ahead import Ahead


def test_items_come_in_their_order():
    """From the other thread."""
    threads = set()

    def items():
        for each in range(100):
            threads.add(threading.current_thread())
            yield each

    with closing(Ahead(items(), list)) as ahead:
        assert list(ahead) == list(range(100))
    assert threads != {threading.current_thread()}
    assert len(threads) == 1


def test_an_error_comes_behind_the_items_before_it():
    """As without the thread."""

    def items():
        yield 1
        msg = "two is missing"
        raise LookupError(msg)

    with closing(Ahead(items(), list)) as ahead:
        assert next(ahead) == 1
        with pytest.raises(LookupError, match="two is missing"):
            next(ahead)


def test_the_thread_does_not_run_far_ahead():
    """What is not taken is not made: one waits, one is about to."""
    made, third = [], threading.Event()

    def items():
        for each in range(100):
            made.append(each)
            if each == 2:
                third.set()
            yield each

    with closing(Ahead(items(), list)) as ahead:
        assert next(ahead) == 0
        assert third.wait(10)
    assert made == [0, 1, 2]


def test_what_the_thread_waits_for_is_released():
    """And it ends."""
    released, ended = threading.Event(), threading.Event()

    def items():
        try:
            yield 1
            released.wait(10)
            yield 2
        finally:
            ended.set()

    ahead = Ahead(items(), released.set)
    assert next(ahead) == 1
    ahead.close()

    assert released.is_set()
    assert ended.wait(10)
