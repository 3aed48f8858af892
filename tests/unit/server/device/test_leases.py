"""Page-locked memory: kept, lent, given back, and never more than a little of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from isotherm.server.device import leases as module
from isotherm.server.device.leases import MAX_PIECES, Leases
from tests.support.host_device import HostDevice


@pytest.fixture(name="device")
def _device() -> HostDevice:
    """A device that this thread works on."""
    device = HostDevice()
    device.enter()
    return device


def test_memory_is_lent_again_when_it_is_back(device: HostDevice):
    """To whoever comes next."""
    leases = Leases(device)
    first = leases.lend(1000)
    memory = first.memory
    first.release()

    second = leases.lend(900)

    assert second.memory is memory
    assert device.pinned_calls == 1


def test_two_batches_never_share_memory(device: HostDevice):
    """One is answered while the other is assembled."""
    leases = Leases(device)
    one, two = leases.lend(1000), leases.lend(1000)

    one.memory[...] = 1
    two.memory[...] = 2

    assert (one.memory == 1).all()
    assert leases.lent == 2


def test_a_lease_that_is_released_twice_is_back_once(device: HostDevice):
    """Else two batches would have it."""
    leases = Leases(device)
    lease = leases.lend(8)

    lease.release()
    lease.release()

    assert leases.lent == 0
    assert leases.lend(8).memory is not leases.lend(8).memory


def test_beyond_a_few_pieces_memory_is_ordinary(device: HostDevice):
    """Slow callers must not lock the machine's memory up."""
    leases = Leases(device)

    lent = [leases.lend(100) for _ in range(MAX_PIECES + 3)]

    assert device.pinned_calls == MAX_PIECES
    assert all(lease.memory.nbytes >= 100 for lease in lent)
    for lease in lent:
        lease.release()
    assert leases.lent == 0
    leases.close()
    assert device.leaks == []


def test_a_piece_that_is_too_small_is_replaced(device: HostDevice):
    """And not kept beside the larger one: pieces stay few. New ones are as large at once."""
    leases = Leases(device)
    for size in (100, 5000, 70_000, 300_000):
        lease = leases.lend(size)
        assert lease.memory.nbytes >= size
        lease.release()
    first, second = leases.lend(300_000), leases.lend(1)
    second.release()
    again = [first, leases.lend(300_000)]

    assert device.leaks == ["300000 octets pinned"] * 2
    assert device.pinned_calls == 5
    for lease in again:
        lease.release()
    leases.close()
    assert device.leaks == []


def test_a_very_large_batch_is_not_locked(device: HostDevice, monkeypatch: pytest.MonkeyPatch):
    """What is locked is missing everywhere else."""
    monkeypatch.setattr(module, "MAX_PIECE_BYTES", 10_000)
    leases = Leases(device)

    assert leases.lend(10_001).memory.nbytes == 10_001
    assert device.pinned_calls == 0
    assert leases.lend(10_000).memory.nbytes == 10_000
    assert device.pinned_calls == 1


def test_where_nothing_can_be_locked_batches_run_all_the_same(
    device: HostDevice, caplog: pytest.LogCaptureFixture
):
    """It is said once."""
    device.failing = ["pinned"] * 3
    leases = Leases(device)

    lent = [leases.lend(100) for _ in range(3)]

    assert [lease.memory.nbytes for lease in lent] == [100] * 3
    assert len(caplog.records) == 1
    assert leases.lend(100).memory.nbytes >= 4096


def test_what_is_lent_when_all_ends_is_left_alone(device: HostDevice):
    """Somebody reads it: freed, it would end the process."""
    leases = Leases(device)
    lent, back = leases.lend(100), leases.lend(100)
    lent.memory[...] = 7
    back.release()

    leases.close()
    assert (lent.memory == 7).all()
    lent.release()

    assert device.leaks == ["4096 octets pinned"]


def test_leases_come_back_on_any_thread(device: HostDevice):
    """Lent on the lane's, released on the loop's, all the time."""
    leases = Leases(device)
    seen: set[int] = set()
    lock = threading.Lock()

    def release(number: int, lease: module.Lease) -> None:
        assert (lease.memory == number % 251).all()
        with lock:
            seen.add(threading.get_ident())
        lease.release()

    with ThreadPoolExecutor(4) as pool:
        for number in range(2000):
            lease = leases.lend(64)
            lease.memory[...] = number % 251
            pool.submit(release, number, lease)

    assert leases.lent == 0
    assert threading.get_ident() not in seen
    assert device.pinned_calls <= MAX_PIECES
