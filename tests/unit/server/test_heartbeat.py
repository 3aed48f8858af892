"""The heartbeat: on the loop, twice a second, and honest about how late it comes."""

from __future__ import annotations

import threading

from isotherm.server.counters import Block
from isotherm.server.heartbeat import HEARTBEAT_S, Heartbeat
from tests.unit.server.fakes import FakeLoop


def test_a_heart_beats_at_once_and_plans_the_next_beat():
    """And each beat looks at what has to be looked at."""
    looks: list[float] = []
    block, loop = Block.create([]), FakeLoop()
    Heartbeat(loop, block, lambda: looks.append(block.heartbeat_age_s())).start()
    ((delay_s, _),) = loop.timers
    loop.run_timers()

    assert delay_s == HEARTBEAT_S
    assert (len(looks), len(loop.timers)) == (2, 1)
    assert all(0 <= age_s < 60 for age_s in looks)


def test_a_late_beat_is_the_loop_s_lag_until_it_is_long_ago():
    """The worst of the last fifteen seconds, so that a scrape does not miss it."""
    block, loop = Block.create([]), FakeLoop()
    Heartbeat(loop, block, lambda: None).start()
    # A beat that is due in half a second, and comes a while after.
    threading.Event().wait(HEARTBEAT_S + 0.05)
    loop.run_timers()
    lag_s = block.loop_lag_s
    for _ in range(29):
        loop.run_timers()
    kept_s = block.loop_lag_s
    loop.run_timers()

    assert 0.05 <= lag_s < 10
    assert kept_s == lag_s
    assert block.loop_lag_s < lag_s
