"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal

import pytest

from isotherm.client.cli.stopping import stopping


@pytest.fixture(autouse=True)
def _handlers():
    """As a command finds them; put back afterwards."""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminate = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, terminate)


def test_ctrl_c_ends_the_wait():
    """As everywhere in Python."""
    with pytest.raises(KeyboardInterrupt), stopping():
        signal.raise_signal(signal.SIGINT)


def test_sigterm_has_the_status_of_shells():
    """128 and the number of the signal."""
    with pytest.raises(SystemExit) as caught, stopping():
        signal.raise_signal(signal.SIGTERM)

    assert caught.value.code == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_waits_until_the_writing_is_done(number, kind):
    """And comes right behind it."""
    done = []

    def write() -> None:
        with stopping() as stop:
            with stop.held():
                signal.raise_signal(number)
                done.append("written")
            done.append("never")

    with pytest.raises(kind):
        write()

    assert done == ["written"]


def test_a_second_signal_does_not_wait():
    """Whoever reads the other end of a pipe may have gone to sleep."""
    done = []

    def write() -> None:
        with stopping() as stop, stop.held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("never")

    with pytest.raises(KeyboardInterrupt):
        write()

    assert done == []


def test_a_signal_that_is_ignored_stays_ignored():
    """As under nohup."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with stopping():
        signal.raise_signal(signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_afterwards_all_is_as_before():
    """The handlers belong to others."""
    with stopping():
        pass

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
