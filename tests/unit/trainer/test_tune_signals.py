"""Tests of how a search is interrupted: where it waits, and by every signal."""

from __future__ import annotations

import signal
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from isotherm.trainer.tune.signals import Interrupted, interrupting, waiting

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(name="_handlers", autouse=True)
def _put_back() -> Iterator[None]:
    """A search that goes wrong here is not to take the signals of the others."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@BOTH
def test_a_signal_ends_a_wait_at_once(number: signal.Signals) -> None:
    """Which may be long."""
    main = threading.main_thread().ident
    assert main is not None
    sending = threading.Timer(0.05, signal.pthread_kill, (main, number))
    sending.start()
    with pytest.raises(Interrupted) as raised, interrupting(), waiting():
        time.sleep(60)
    sending.join()

    assert raised.value.number == number


@BOTH
def test_work_between_two_waits_is_done_to_its_end(number: signal.Signals) -> None:
    """Half of it could not be gone on with."""
    done = []

    def search() -> None:
        with interrupting():
            signal.raise_signal(number)
            done.append("written")
            with waiting():
                done.append("waited")

    with pytest.raises(Interrupted) as raised:
        search()

    assert raised.value.number == number
    assert done == ["written"]


def test_a_signal_that_comes_in_a_callback_is_not_lost() -> None:
    """Python drops what is raised there."""

    class Written:
        pass

    def search() -> None:
        with interrupting():
            written = Written()
            watched = weakref.ref(written, lambda _: signal.raise_signal(signal.SIGINT))
            del written
            assert watched() is None
            with waiting():
                pytest.fail("waited")

    with pytest.raises(Interrupted):
        search()


def test_a_signal_behind_the_last_wait_is_told_at_the_end() -> None:
    """What follows would take a while."""
    done = []

    def search() -> None:
        with interrupting():
            with waiting():
                pass
            signal.raise_signal(signal.SIGTERM)
            done.append("ended")

    with pytest.raises(Interrupted):
        search()

    assert done == ["ended"]


def test_a_second_signal_finds_nothing_to_stop() -> None:
    """The processes are being ended by then."""
    done = []

    def search() -> None:
        with interrupting():
            try:
                with waiting():
                    signal.raise_signal(signal.SIGTERM)
            finally:
                signal.raise_signal(signal.SIGINT)
                done.append("ended")

    with pytest.raises(Interrupted) as raised:
        search()

    assert raised.value.number == signal.SIGTERM
    assert done == ["ended"]


def test_afterwards_all_is_as_before() -> None:
    """The handlers belong to others, and the next search has not been interrupted."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted), interrupting(), waiting():
        signal.raise_signal(signal.SIGINT)
    with interrupting(), waiting():
        pass

    assert signal.getsignal(signal.SIGINT) is before
