"""Where each batch of a model runs, by its rows."""

from __future__ import annotations

import math
from typing import Any

import pytest

from isotherm.server.costs import INLINE_BELOW_S, UNKNOWN_COST, Cost, Times
from isotherm.server.device.lane import Lane
from isotherm.server.placement import Placement
from tests.support import models
from tests.support.host_device import HostDevice
from tests.unit.server.fakes import session

SHORT = Cost(base_s=10e-6, row_s=1e-6)


@pytest.fixture(name="lane")
def _lane():
    """A lane of the model that doubles."""
    lane = Lane(
        HostDevice(),
        lambda _stream, _graphs: session(models.doubling()),
        max_rows=64,
        graphs=False,
    )
    yield lane
    lane.close().result()


def placed(**changes: Any) -> Placement:
    """Return where a model is."""
    values: dict[str, Any] = {"provider": "cpu", "session": session(models.doubling())}
    return Placement(**values | changes)


def test_on_the_cpu_alone_short_batches_run_at_once():
    """As long as the line says, and none on a device."""
    placement = placed(host=SHORT)

    assert [placement.inline(rows) for rows in (1, 189, 191, 5000)] == [True, True, False, False]
    assert not any(placement.on_device(rows) for rows in (0, 1, 5000))
    assert placement.seconds(90) == pytest.approx(100e-6)
    assert placement.known


def test_a_device_takes_the_batches_from_the_break_even_on(lane: Lane):
    """Smaller ones run at once, and each costs what it costs where it runs."""
    placement = placed(
        provider="cuda",
        host=Times([1, 32], [10e-6, 100e-6]),
        lanes=(lane,),
        device=Times([1, 32, 64], [50e-6, 50e-6, 60e-6]),
        break_even_rows=20,
    )

    assert [placement.on_device(rows) for rows in (0, 1, 19, 20, 64)] == [*[False] * 3, True, True]
    assert [placement.inline(rows) for rows in (1, 19, 20, 64)] == [True, True, False, False]
    assert placement.seconds(1) == pytest.approx(10e-6)
    assert placement.seconds(32) == pytest.approx(50e-6)
    assert placement.seconds(64) == pytest.approx(60e-6)
    assert str(placement) == (
        "a batch of 64 rows takes about 60 us, and from 20 rows on batches run on the device"
    )


def test_batches_below_the_break_even_may_be_too_long_to_run_at_once(lane: Lane):
    """Then they are handed over, to the CPU."""
    placement = placed(
        host=Times([1, 2, 4], [INLINE_BELOW_S / 2, INLINE_BELOW_S * 2, INLINE_BELOW_S * 4]),
        lanes=(lane,),
        device=Times([1, 2, 4], [1.0, 1.0, 1.0]),
        break_even_rows=4,
    )

    assert [placement.inline(rows) for rows in (1, 2, 3, 4)] == [True, False, False, False]
    assert [placement.on_device(rows) for rows in (1, 2, 3, 4)] == [False, False, False, True]


def test_a_device_that_is_always_faster_gets_all(lane: Lane):
    """Even no rows at all: what could run them elsewhere is gone."""
    placement = placed(host=SHORT, lanes=(lane,), device=Times([1], [1e-3]), break_even_rows=1)

    assert placement.on_device(0)
    assert placement.on_device(1)
    assert not placement.inline(0)
    assert not placement.inline(1)
    assert "break" not in str(placement)
    assert str(placement) == "a batch of 64 rows takes about 64000 us"


def test_without_lanes_no_device_takes_anything():
    """Although one was there to be compared with."""
    placement = placed(
        host=SHORT, device=Times([1], [1e-9]), break_even_rows=0, notes=("it is no faster",)
    )

    assert not placement.on_device(1000)
    assert placement.inline(1)
    assert str(placement).endswith(" us, and none runs on the device: it is no faster")


def test_what_could_not_be_timed_is_not_known(lane: Lane):
    """On the CPU as on a device."""
    assert not placed(host=UNKNOWN_COST).known
    on_device = placed(lanes=(lane,), break_even_rows=1)
    assert not on_device.known
    assert math.isinf(on_device.seconds(8))
    assert str(on_device) == "nobody knows what a batch takes"


def test_closing_closes_the_lanes(lane: Lane):
    """And says when that has happened."""
    (closing,) = placed(lanes=(lane,), break_even_rows=1).close()
    closing.result(30)

    assert placed().close() == []
