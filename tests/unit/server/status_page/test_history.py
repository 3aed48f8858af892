"""What happened between two samples of the counters."""

from __future__ import annotations

import pytest

from isotherm.server.counters import Block
from isotherm.server.status_page.history import SAMPLES, History
from tests.unit.server.fakes import executed, succeeded

MS = 1_000_000


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="blocks")
def _blocks() -> list[Block]:
    return [Block.create([]), Block.create([])]


def test_rates_are_of_both_workers_and_of_the_time_that_passed(clock: Clock, blocks: list[Block]):
    """Ten requests and five refusals in ten seconds."""
    models = [block.open_model("m", 1) for block in blocks]
    history = History(blocks, clock)
    for model in models:
        executed(model, 10, 1, 1, 1)
        succeeded(model, [0] * 5, 0, 2 * MS, 0)
    for _ in range(5):
        models[0].refuse(3)
    clock.now_s += 10
    stretch = history.last(60).of(("m", 1))

    assert (stretch.requests_per_s, stretch.errors_per_s, stretch.rows_per_s) == (1.5, 0.5, 2.0)
    assert stretch.batch_rows == 10
    assert stretch.mean_s == pytest.approx(0.002)


def test_what_was_before_does_not_count(clock: Clock, blocks: list[Block]):
    """The counters go back to the start of the server; a stretch does not."""
    model = blocks[0].open_model("m", 1)
    succeeded(model, [0] * 100, 0, 1, 0)
    history = History(blocks, clock)
    clock.now_s += 5
    stretch = history.last(60).of(("m", 1))

    assert stretch.requests_per_s == 0
    assert (stretch.batch_rows, stretch.mean_s, stretch.quantile_s(0.5)) == (None, None, None)


def test_a_stretch_begins_at_the_oldest_sample_that_is_young_enough(
    clock: Clock, blocks: list[Block]
):
    """Sixty seconds of it, where there are two minutes of samples."""
    model = blocks[0].open_model("m", 1)
    history = History(blocks, clock)
    for _ in range(24):
        succeeded(model, [0] * 10, 0, 1, 0)
        clock.now_s += 5
        history.sample()
    recent = history.last(60)

    assert recent.after.at_s - recent.before.at_s == 60
    assert recent.of(("m", 1)).requests_per_s == 2


def test_the_ring_holds_the_last_minutes_only(clock: Clock, blocks: list[Block]):
    """Memory does not grow with the time that a server runs."""
    history = History(blocks, clock)
    for _ in range(3 * SAMPLES):
        clock.now_s += 5
        history.sample()

    assert len(history.steps()) == SAMPLES - 1


def test_versions_add_up(clock: Clock, blocks: list[Block]):
    """Also one that came since the last sample."""
    succeeded(blocks[0].open_model("m", 1), [0] * 3, 0, 1, 0)
    history = History(blocks, clock)
    succeeded(blocks[0].open_model("m", 1), [0] * 3, 0, 1, 0)
    succeeded(blocks[1].open_model("m", 2), [0] * 4, 0, 1, 0)
    clock.now_s += 7

    assert history.last(60).of_all().requests_per_s == 1


def test_a_version_that_is_not_there_has_done_nothing(clock: Clock, blocks: list[Block]):
    """It was unloaded since."""
    history = History(blocks, clock)
    clock.now_s += 1

    assert history.last(60).of(("gone", 7)).requests_per_s == 0


@pytest.mark.parametrize(
    ("q", "expected_s"),
    # Ninety answers within (1 ms, 2.5 ms], ten within (25 ms, 50 ms].
    [(0.5, 0.001 + 0.0015 * 50 / 90), (0.9, 0.0025), (0.95, 0.0375), (1.0, 0.05)],
)
def test_quantiles_are_interpolated_as_prometheus_does(
    clock: Clock, blocks: list[Block], q: float, expected_s: float
):
    """Within a bucket, values are taken to lie evenly."""
    model = blocks[0].open_model("m", 1)
    history = History(blocks, clock)
    succeeded(model, [0] * 90, 0, 2 * MS, 0)
    succeeded(model, [0] * 10, 0, 30 * MS, 0)
    clock.now_s += 1

    assert history.last(60).of(("m", 1)).quantile_s(q) == pytest.approx(expected_s)


def test_beyond_the_last_edge_a_quantile_is_that_edge(clock: Clock, blocks: list[Block]):
    """As in Prometheus: more is not known."""
    history = History(blocks, clock)
    succeeded(blocks[0].open_model("m", 1), [0], 0, 60_000 * MS, 0)
    clock.now_s += 1

    assert history.last(60).of(("m", 1)).quantile_s(0.5) == 10


def test_a_history_that_was_not_started_can_be_closed(blocks: list[Block]):
    """A server that ends while it starts does that."""
    history = History(blocks)
    history.close()

    assert history.steps() == []


def test_a_started_history_ends_at_once(blocks: list[Block]):
    """It does not wait for its next sample."""
    history = History(blocks)
    history.start()
    history.close()

    assert not history._thread.is_alive()


def test_an_idle_server_is_not_read_anew(clock: Clock, blocks: list[Block]):
    """A server of hundreds of models that idle reads their words only after a request."""
    model = blocks[1].open_model("m", 1)
    succeeded(model, [0], 0, 1, 0)
    history = History(blocks, clock)
    first = history.last(60).after
    clock.now_s += 5
    idle = history.last(60).after
    model.refuse(3)
    busy = history.last(60)

    assert idle.counts is first.counts
    assert idle.at_s == first.at_s + 5
    assert busy.after.counts is not first.counts
    assert busy.of(("m", 1)).errors_per_s == pytest.approx(1 / 5)
