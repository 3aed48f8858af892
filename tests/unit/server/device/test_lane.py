"""A lane on the host's memory: it serves in the shortest way that is right, and leaves nothing."""

from __future__ import annotations

import gc
import re
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest

from isotherm.server.device import instance, proof
from isotherm.server.device.lane import Lane
from isotherm.server.device.turns import Turns
from isotherm.server.errors import DeviceLostError, LoadError
from isotherm.server.session import Session
from tests.support import models
from tests.support.host_device import HostDevice
from tests.unit.server.device.sessions import (
    Eager,
    NoGraphs,
    Overwriting,
    Overwritten,
    Recorded,
    Stale,
    Unbound,
    Uncapturable,
    opener,
)

PATIENCE_S = 30


@contextmanager
def lane_of(
    device: HostDevice,
    *,
    max_rows: int = 64,
    graphs: bool = True,
    warm: bool = True,
    **session: Any,
) -> Iterator[Lane]:
    """Open a lane, and see that it leaves nothing when it is closed."""
    lane = Lane(device, opener(**session), max_rows=max_rows, graphs=graphs)
    try:
        if warm:
            lane.warm_up()
        yield lane
    finally:
        lane.close().result(PATIENCE_S)
    assert device.leaks == []


def random(count: int, seed: int = 0, width: int = 4) -> np.ndarray:
    """Return rows of random numbers."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, width)).astype(np.float32)


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("count", [0, 1, 5, 63, 64, 65, 200])
def test_any_number_of_rows_is_answered_as_by_an_ordinary_run(count: int, graphs: bool):
    """In a graph or as they are, at once or in slices."""
    with lane_of(HostDevice(), kind=Eager, graphs=graphs) as lane:
        for seed in (1, 2):
            rows = random(count, seed)
            (found,) = lane.run([rows])
            np.testing.assert_allclose(found, lane.session.run([rows])[0], rtol=1e-4, atol=1e-6)
        assert lane.notes == ()
        assert lane.lent == 0


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (models.identity(), [np.array([["a"], ["b"]], object)]),
        (models.identity(1, ("length",)), [np.ones((2, 3), np.float32)]),
        (models.fixed_batch(), None),
        (models.simple(), [np.full((3, 16), 4, np.int32)] * 2),
        (models.parted(), [np.ones((3, 4), np.float32)]),
    ],
    ids=["text", "rows of any length", "no batch", "integers", "parts"],
)
@pytest.mark.parametrize("max_rows", [0, 64])
def test_every_kind_of_model_is_served(
    model: Any, inputs: Any, max_rows: int, caplog: pytest.LogCaptureFixture
):
    """Those that cannot be bound, by ordinary runs: that is said, and no fault."""
    with lane_of(HostDevice(), model=model, max_rows=max_rows) as lane:
        session = lane.session
        arrays = inputs or [
            np.ones(spec.shape, np.float32) for spec in session.inputs if spec.datatype == "FP32"
        ]
        for found, expected in zip(lane.run(arrays), session.run(arrays), strict=True):
            np.testing.assert_array_equal(found, expected)
        bound = lane.do(lambda: lane.bound(1)).result(PATIENCE_S)
        if bound is not None:
            bound.release()
        assert (bound is not None) == (session.even and max_rows > 0)
        why = "requests run alone" if not (max_rows and session.batched) else "rows have no fixed"
        assert (lane.notes == ()) == (session.even and max_rows > 0)
        assert all(f"no buffers on the device: its {why}" in note for note in lane.notes)
        assert session.even or not session.captures
    assert caplog.records == []


def test_requests_that_run_alone_are_neither_cut_nor_filled_up():
    """At `max_rows` 0 the first dimension need not be a batch's."""
    device = HostDevice()
    with lane_of(device, max_rows=0) as lane:
        rows = random(5000)
        np.testing.assert_array_equal(lane.run([rows])[0], lane.session.run([rows])[0])
        assert device.copied_in_bytes == 0


def test_all_happens_on_the_lanes_own_thread():
    """From the load on: ONNX Runtime keeps CUDA graphs by thread."""
    names: set[str] = set()

    class Watched(Session):
        def __init__(self, *arguments: Any) -> None:
            names.add(threading.current_thread().name)
            super().__init__(*arguments)

        def run_bound(self, *arguments: Any) -> None:
            names.add(threading.current_thread().name)
            super().run_bound(*arguments)

        def close(self) -> None:
            names.add(threading.current_thread().name)
            super().close()

    with lane_of(HostDevice(3), kind=Watched) as lane:
        lane.run([random(3)])

    assert names == {"lane-3"}


def test_graphs_serve_where_they_are_faster():
    """Each bucket under an id of its own, other rows as they are."""
    with lane_of(HostDevice(), kind=Eager, max_rows=100) as lane:
        session = lane.session
        assert isinstance(session, Recorded)
        assert session.captures
        assert lane.graph_rows == (1, 2, 4, 8, 16, 32, 64, 100)
        session.graphs.clear()

        for count in (1, 2, 3, 100, 65, 64):
            lane.run([random(count)])

    assert session.graphs == [1, 2, 3, 8, 8, 7]


def test_graphs_that_save_nothing_are_let_go(monkeypatch: pytest.MonkeyPatch):
    """They would forbid that memory is given back."""

    class Slow(Recorded):
        def run_bound(self, binding: Any, options: Any) -> None:
            super().run_bound(binding, options)
            if int(options.get_run_config_entry("gpu_graph_id")) > 0:
                time.sleep(0.0005)

    with lane_of(HostDevice(), kind=Slow, max_rows=1024) as lane:
        assert lane.graph_rows == ()
        assert not lane.session.captures
        assert lane.notes == ()
        assert lane.run([random(9)])[0].shape == (9, 3)


def test_beyond_two_sizes_that_gain_nothing_no_graph_is_captured():
    """Larger ones gain still less, and each takes time and memory."""

    class Small(Recorded):
        slow = False

        def run_bound(self, binding: Any, options: Any) -> None:
            super().run_bound(binding, options)
            graph = int(options.get_run_config_entry("gpu_graph_id"))
            # Graphs 1 to 3 save time, others cost some.
            if graph < 0 or graph > 3:
                time.sleep(0.0005 if graph < 0 else 0.001)

    with lane_of(HostDevice(), kind=Small, max_rows=1024) as lane:
        session = lane.session
        assert isinstance(session, Small)
        assert lane.graph_rows == (1, 2, 4)
        assert max(session.graphs) == 5


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        (NoGraphs, "no CUDA graphs: This session cannot use the graph capture feature"),
        (Uncapturable, "no CUDA graphs: operation not permitted when stream is capturing"),
        (Overwritten, r"no CUDA graphs: .*values in 1 rows are not those of an ordinary run"),
        (Overwriting, r"no CUDA graphs: .*values in 64 rows are not those of an ordinary run"),
        (Stale, r"no CUDA graphs: .*values in .* rows are not those of an ordinary run"),
        (Unbound, r"no CUDA graphs: .*; no buffers on the device: .*not those of an ordinary run"),
    ],
)
def test_what_does_not_work_is_given_up_with_its_reason(
    kind: type[Session], note: str, caplog: pytest.LogCaptureFixture
):
    """Once and loudly; the model is served all the same, and rightly."""
    with lane_of(HostDevice(), kind=kind) as lane:
        rows = random(7)
        np.testing.assert_allclose(
            lane.run([rows])[0], lane.session.run([rows])[0], rtol=1e-4, atol=1e-6
        )
        assert lane.graph_rows == ()
        assert not lane.session.captures
        assert (lane.memory_bytes == 0) == (kind is Unbound)

    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert re.search(note, record.getMessage())
    assert record.getMessage() == f"a model on device 0: {'; '.join(lane.notes)}"


def test_a_capture_that_fails_is_ended_before_its_session_is():
    """ONNX Runtime ends the process when its graphs go while a stream is in a capture."""
    device = HostDevice()
    ended: list[int] = []

    class Half(Uncapturable):
        def close(self) -> None:
            if self.captures:
                ended.append(device.ended_captures)
            super().close()

    with lane_of(device, kind=Half):
        assert ended == [1]


def test_a_model_whose_answers_change_when_it_is_filled_up_is_not():
    """This one counts the rows that ran together: each batch has its own number."""
    with lane_of(HostDevice(), model=models.counting(), kind=Eager) as lane:
        (note,) = lane.notes
        assert note.startswith("no CUDA graphs: 100% of the values in 3 rows are not those")
        assert lane.run([random(3, width=1)])[1].tolist() == [[3]] * 3


def test_a_copy_that_nobody_waits_for_is_seen_by_the_proof():
    """On this device its answers are poison, on another those of the run before."""

    class Hasty(HostDevice):
        def wait(self, stream: int) -> None:
            with self._lock:
                for waiting in self._streams.values():
                    waiting.out.clear()
            super().wait(stream)

    with lane_of(Hasty()) as lane:
        assert "not those of an ordinary run" in lane.notes[-1]
        assert lane.memory_bytes == 0


def test_a_model_that_takes_no_random_rows_is_served_plainly():
    """Nothing shorter can be proved then."""

    class Picky(Session):
        def run(self, arrays: Any) -> Any:
            if (arrays[0] < 1).any():
                msg = "only what is above 1"
                raise RuntimeError(msg)
            return super().run(arrays)

    with lane_of(HostDevice(), kind=Picky) as lane:
        assert "the model fails on random rows (only what is above 1)" in lane.notes[-1]
        assert lane.memory_bytes == 0
        assert lane.run([random(3) ** 2 + 1])[0].shape == (3, 3)


def test_where_the_device_has_no_room_for_buffers_ordinary_runs_serve():
    """They need room for the batches that come, not for the largest."""
    with lane_of(HostDevice(memory_bytes=4096), max_rows=4096) as lane:
        assert lane.notes[-1].startswith("no buffers on the device: out of memory")
        assert lane.run([random(10_000)])[0].shape == (10_000, 3)


@pytest.mark.parametrize("times", [1, 2, 30])
@pytest.mark.parametrize(
    "name", ["open_stream", "allocate", "zero", "copy_in", "copy_out", "wait", "pinned", "free"]
)
def test_whatever_fails_at_load_the_model_is_served_and_nothing_is_left(name: str, times: int):
    """By the next plainer way, down to one that needs nothing of it."""
    device = HostDevice()
    device.failing = [name] * times
    lane = Lane(device, opener(kind=Eager), max_rows=64, graphs=True)
    lane.warm_up()
    plain = times > 1 and name not in {"pinned", "free"}
    assert (lane.memory_bytes == 0) == plain
    assert not device.lost
    device.failing.clear()

    rows = random(5)
    np.testing.assert_allclose(lane.run([rows])[0], lane.session.run([rows])[0], rtol=1e-4)
    lane.close().result(PATIENCE_S)
    assert device.leaks == []


def test_a_file_that_no_way_opens_says_why():
    """And leaves nothing, though three were tried."""
    device = HostDevice()

    def open_session(stream: int, graphs: bool) -> Session:
        msg = f"bad file ({stream > 0}, {graphs})"
        raise LoadError(msg)

    with pytest.raises(LoadError, match=r"bad file \(False, False\)"):
        Lane(device, open_session, max_rows=8, graphs=True)

    assert device.leaks == []


def test_a_device_that_is_lost_during_the_load_is_a_load_that_failed():
    """At once, without trying other ways."""
    device = HostDevice()
    device.lost = True
    with pytest.raises(LoadError, match="illegal memory access"):
        Lane(device, opener(), max_rows=8, graphs=True)

    device.lost = False
    lane = Lane(device, opener(), max_rows=8, graphs=True)
    device.lost = True
    with pytest.raises(LoadError, match="illegal memory access"):
        lane.warm_up()
    assert lane.notes == ()
    lane.close().result(PATIENCE_S)


def test_a_run_that_fails_leaves_nothing_under_way():
    """The next batch gets its own answers, and the buffers are back."""
    device = HostDevice()

    class Failing(Session):
        fails = False

        def run_bound(self, *arguments: Any) -> None:
            if self.fails:
                msg = "this batch cannot be run"
                raise RuntimeError(msg)
            super().run_bound(*arguments)

    with lane_of(device, kind=Failing, graphs=False) as lane:
        session = lane.session
        assert isinstance(session, Failing)
        session.fails = True
        with pytest.raises(RuntimeError, match="cannot be run"):
            lane.run([random(3)])
        assert lane.lent == 0
        assert not any(stream.sent or stream.out for stream in device._streams.values())

        session.fails = False
        rows = random(3, 1)
        np.testing.assert_allclose(lane.run([rows])[0], session.run([rows])[0], rtol=1e-4)


@pytest.mark.parametrize("bound", [True, False])
def test_whether_a_failure_is_the_devices_end_is_asked_of_the_device(bound: bool):
    """ONNX Runtime's errors have no class for it."""
    device = HostDevice()

    class Lost(Session):
        def run_bound(self, *arguments: Any) -> None:
            self._lose()
            super().run_bound(*arguments)

        def run(self, arrays: Any) -> Any:
            self._lose()
            return super().run(arrays)

        def _lose(self) -> None:
            if armed:
                device.lost = True
                msg = "CUDA failure 700: an illegal memory access was encountered"
                raise RuntimeError(msg)

    armed: list[bool] = []
    lane = Lane(device, opener(kind=Lost), max_rows=64 if bound else 0, graphs=False)
    lane.warm_up()
    armed.append(True)

    with pytest.raises(DeviceLostError) as raised:
        lane.run([random(3)])

    assert isinstance(raised.value.__cause__, RuntimeError)
    assert lane.lent == 0
    lane.close().result(PATIENCE_S)


class Shrinking(Recorded):
    """Counts the runs that gave memory back."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.shrunk = 0

    def shrink(self, arrays: Any) -> None:
        self.shrunk += 1
        super().shrink(arrays)


def test_after_a_batch_that_had_no_room_memory_is_given_back():
    """At once: others may need it."""

    class Full(Shrinking):
        full = False

        def run_bound(self, *arguments: Any) -> None:
            if self.full:
                msg = "BFCArena: Failed to allocate memory for requested buffer of size 9"
                raise RuntimeError(msg)
            super().run_bound(*arguments)

    with lane_of(HostDevice(), kind=Full, graphs=False) as lane:
        session = lane.session
        assert isinstance(session, Full)
        session.full = True
        with pytest.raises(RuntimeError, match="Failed to allocate"):
            lane.run([random(3)])
        assert session.shrunk == 1

        session.full = False
        assert lane.run([random(3)])[0].shape == (3, 3)


def test_a_lane_rests_once_after_it_has_run():
    """A second rest has nothing to give back."""
    with lane_of(HostDevice(), kind=Shrinking, graphs=False) as lane:
        session = lane.session
        assert isinstance(session, Shrinking)
        lane.do(lane.rest).result(PATIENCE_S)
        lane.do(lane.rest).result(PATIENCE_S)
        assert session.shrunk == 1

        lane.run([random(3)])
        lane.do(lane.rest).result(PATIENCE_S)
        assert session.shrunk == 2


def test_memory_that_graphs_replay_on_is_never_given_back():
    """They hold its addresses."""

    class EagerShrinking(Eager, Shrinking):
        pass

    with lane_of(HostDevice(), kind=EagerShrinking) as lane:
        session = lane.session
        assert isinstance(session, EagerShrinking)
        assert lane.graph_rows
        lane.run([random(3)])
        lane.do(lane.rest).result(PATIENCE_S)
        assert session.shrunk == 0


def test_a_rest_that_fails_is_no_ones_error(caplog: pytest.LogCaptureFixture):
    """The next batch tells what is wrong, if anything is."""

    class Restless(Session):
        def shrink(self, arrays: Any) -> None:
            msg = "no arena"
            raise RuntimeError(msg)

    with lane_of(HostDevice(), kind=Restless, graphs=False) as lane:
        lane.run([random(3)])
        lane.do(lane.rest).result(PATIENCE_S)
        assert "no arena" in caplog.text
        assert lane.run([random(3)])[0].shape == (3, 3)


def test_every_run_is_in_a_turn_of_its_share():
    """From the first copy to the last: a run that copies uses the device too."""
    turns = Turns(at_once=1)
    share, other = turns.share(), turns.share()
    device = HostDevice()
    lane = Lane(device, opener(), max_rows=64, graphs=False, share=share)
    lane.warm_up()
    before = device.copied_in_bytes
    with other.turn():
        waiting = lane.do(lambda: lane.run_here([random(3)]))
        time.sleep(0.05)
        assert not waiting.done()
        assert device.copied_in_bytes == before
    assert waiting.result(PATIENCE_S)[0].shape == (3, 3)
    assert share.running == 0
    lane.close().result(PATIENCE_S)


def test_what_a_lane_waits_for_its_turn_is_not_what_its_runs_take():
    """Else a busy device would decide which graphs a model has for good."""
    turns = Turns(at_once=1)
    share, other = turns.share(), turns.share()
    lane = Lane(HostDevice(), opener(), max_rows=64, graphs=False, share=share)
    lane.warm_up()
    assert lane.waited_s == 0
    with other.turn():
        waiting = lane.do(lambda: lane._open.rehearse(4, replay=False))
        time.sleep(0.2)

    assert 0 < waiting.result(PATIENCE_S) < 0.1
    assert lane.waited_s > 0.1
    lane.close().result(PATIENCE_S)


def test_a_rest_is_a_run_and_has_a_turn():
    """It takes as long, and no less of the device."""
    turns = Turns(at_once=1)
    share, other = turns.share(), turns.share()
    lane = Lane(HostDevice(), opener(), max_rows=64, graphs=False, share=share)
    lane.warm_up()
    with other.turn():
        resting = lane.do(lane.rest)
        time.sleep(0.05)
        assert not resting.done()
    resting.result(PATIENCE_S)
    lane.close().result(PATIENCE_S)


def test_nobody_loads_or_frees_while_a_graph_is_captured():
    """Both wait for the whole device, which a capture forbids; other runs may go on."""
    alone: dict[str, list[bool]] = {"open": [], "close": [], "capture": [], "run": []}

    def note(what: str) -> None:
        alone[what].append(instance._ALONE.locked())

    class Noting(Eager):
        def __init__(self, *arguments: Any) -> None:
            note("open")
            super().__init__(*arguments)

        def run_bound(self, binding: Any, options: Any) -> None:
            graph_id = int(options.get_run_config_entry("gpu_graph_id"))
            first = graph_id > 0 and graph_id not in self.graphs
            note("capture" if first else "run")
            super().run_bound(binding, options)

        def close(self) -> None:
            note("close")
            super().close()

    with lane_of(HostDevice(), kind=Noting, max_rows=4) as lane:
        alone["run"].clear()
        lane.run([random(3)])

    assert alone == {"open": [True], "close": [True], "capture": [True] * 3, "run": [False]}


def test_a_batch_of_no_rows_has_no_buffers():
    """There is nothing to copy."""
    with lane_of(HostDevice()) as lane:
        assert lane.do(lambda: lane.bound(0)).result(PATIENCE_S) is None
        assert lane.run([random(0)])[0].shape == (0, 3)
        assert lane.lent == 0


def test_two_lanes_run_at_once():
    """One computes while the other one copies: neither waits for the other's end."""
    device = HostDevice()
    meeting = threading.Barrier(2, timeout=PATIENCE_S)
    armed: list[bool] = []

    class Meeting(Session):
        def run_bound(self, *arguments: Any) -> None:
            if armed:
                meeting.wait()
            super().run_bound(*arguments)

    share = Turns().share()
    lanes = [
        Lane(device, opener(kind=Meeting), max_rows=8, graphs=False, share=share) for _ in range(2)
    ]
    for lane in lanes:
        lane.warm_up()
    armed.append(True)

    rows = [random(8, seed) for seed in range(2)]
    futures = [
        lane.do(partial(lane.run_here, [one])) for lane, one in zip(lanes, rows, strict=True)
    ]

    for future, one, lane in zip(futures, rows, lanes, strict=True):
        (found,) = future.result(PATIENCE_S)
        np.testing.assert_allclose(found, lane.session.run([one])[0], rtol=1e-4, atol=1e-6)
        lane.close().result(PATIENCE_S)
    assert device.leaks == []


def test_closing_waits_for_nobody_and_can_be_repeated():
    """The loop's thread does it."""
    device = HostDevice()
    lane = Lane(device, opener(), max_rows=8, graphs=False)
    held = threading.Event()
    lane.do(lambda: held.wait(PATIENCE_S))

    first, second = lane.close(), lane.close()

    assert first is second
    assert not first.done()
    assert device.leaks
    held.set()
    first.result(PATIENCE_S)
    assert device.leaks == []
    with pytest.raises(RuntimeError, match="lane that is closed"):
        lane.do(lambda: None)


def test_a_closed_lane_has_closed_its_session_though_others_know_it():
    """Its memory is the runtime's, and must go before the stream does."""
    device = HostDevice()
    lane = Lane(device, opener(), max_rows=8, graphs=False)
    known = lane.session
    runtime = weakref.ref(known._session)

    lane.close().result(PATIENCE_S)
    gc.collect()

    assert runtime() is None
    assert known.inputs[0].name == "x"


def test_a_lane_keeps_nothing_of_what_it_has_done():
    """While it waits, what it was told last may hold a batch, or a session that is to go."""
    lane = Lane(HostDevice(), opener(), max_rows=8, graphs=False)
    rows = random(3)
    alive = weakref.ref(rows)

    lane.do(partial(lane.run_here, [rows])).result(PATIENCE_S)
    del rows
    deadline = time.monotonic() + PATIENCE_S
    while alive() is not None and time.monotonic() < deadline:
        time.sleep(0.001)

    assert alive() is None
    lane.close().result(PATIENCE_S)


def test_callers_are_told_the_reason_alone():
    """ONNX Runtime adds files, the host's name, and more lines."""

    class Talking(Session):
        def run(self, arrays: Any) -> Any:
            if armed:
                msg = "cuda_call.cc:154 CUDA failure 2: out of memory ; GPU=0 ; hostname=me ; "
                raise RuntimeError(msg)
            return super().run(arrays)

    armed: list[bool] = []
    lane = Lane(HostDevice(), opener(kind=Talking), max_rows=0, graphs=False)
    armed.append(True)

    with pytest.raises(RuntimeError) as raised:
        lane.run([random(3)])

    assert str(raised.value) == "CUDA failure 2: out of memory"
    lane.close().result(PATIENCE_S)


def test_a_lane_on_a_lost_device_closes_all_the_same(caplog: pytest.LogCaptureFixture):
    """Its thread ends, whatever could not be freed."""
    device = HostDevice()
    lane = Lane(device, opener(), max_rows=8, graphs=False)
    device.lost = True

    lane.close().result(PATIENCE_S)

    assert "not all could be freed" in caplog.text


def test_a_hundred_lanes_leave_nothing():
    """Neither memory, nor streams, nor threads."""
    device = HostDevice()
    before = threading.active_count()
    for _ in range(100):
        lane = Lane(device, opener(), max_rows=8, graphs=True)
        lane.warm_up()
        lane.run([random(20)])
        lane.close().result(PATIENCE_S)

    deadline = time.monotonic() + PATIENCE_S
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
    assert device.leaks == []


@pytest.mark.parametrize(
    ("found", "expected", "differs"),
    [
        ([[1.0], [2.0], [3.0]], [[1.0], [2.0], [3.0]], False),
        ([[1.001], [2.001], [3.001]], [[1.0], [2.0], [3.0]], False),
        ([[2.0], [3.0], [1.0]], [[1.0], [2.0], [3.0]], True),
        ([[300.2], [300.4]], [[300.4], [300.6]], True),
        ([[np.nan]], [[np.nan]], False),
        ([[np.nan]], [[1.0]], True),
        ([[0.0]], [[np.nan]], True),
        ([[np.inf], [1.0]], [[np.inf], [1.0]], False),
        ([[1]], [[2]], True),
        ([[False]] + [[True]] * 199, [[True]] * 200, False),
        ([[False]] * 3 + [[True]] * 197, [[True]] * 200, True),
    ],
    ids=str,
)
def test_answers_differ_when_they_are_another_rows_not_when_they_are_rounded(
    found: list[Any], expected: list[Any], differs: bool
):
    """A stale replay has good numbers at wrong places; one label in a hundred may tip over."""
    arrays = [np.array(found), np.array(expected)]
    if arrays[0].dtype.kind == "f":
        arrays = [array.astype(np.float32) for array in arrays]

    if not differs:
        proof.compare([arrays[0]], [arrays[1]])
        return
    with pytest.raises(proof.ProofError, match="in row"):
        proof.compare([arrays[0]], [arrays[1]])
