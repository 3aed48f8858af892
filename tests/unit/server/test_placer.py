"""A model placed: on the CPU, on a device, or on both, by what each takes."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from isotherm.server.config import Provider, ServerConfig
from isotherm.server.device import driver
from isotherm.server.device.lane import Lane
from isotherm.server.device.probe import CUDA
from isotherm.server.device.problem import Problem
from isotherm.server.errors import LoadError, ProviderError
from isotherm.server.loader import Loader
from isotherm.server.model_file import ModelFile
from isotherm.server.placer import Placer
from isotherm.server.session import ProviderOptions, Session
from tests.support import models
from tests.support.hostile import TRUSTED
from tests.support.stopwatch import Figures, device_always, device_from, device_never
from tests.unit.server.placing import Placing, contracted, doubled, failing_on_zeros

without_cuda = pytest.mark.skipif(
    CUDA in ort.get_available_providers(), reason="this onnxruntime is built with CUDA"
)


@pytest.fixture(name="placing")
def _placing(tmp_path: Path):
    """A machine with a device."""
    placing = Placing(tmp_path)
    yield placing
    placing.close()


def test_cpu_is_cpu(placing: Placing, caplog: pytest.LogCaptureFixture):
    """Without a word, and without a look at devices."""
    config = ServerConfig(repository=Path("models"), provider="cpu", vetting=TRUSTED)
    path = models.publish(Path(placing._folder), "m", models.doubling())
    model = Loader(config).load("m", 1, path)

    assert (model.provider, model.lanes) == ("cpu", ())
    assert model.placement.break_even_rows is None
    assert model.placement.notes == ()
    assert not model.placement.fell_back
    assert caplog.records == []


@without_cuda
def test_cuda_that_cannot_be_had_is_an_error_with_a_remedy(tmp_path: Path):
    """Never a silent fall to the CPU."""
    with pytest.raises(ProviderError) as error:
        Placer.of(ServerConfig(repository=tmp_path, provider="cuda"))

    assert str(error.value).startswith("--provider cuda: ")
    assert "this onnxruntime is built without CUDA" in str(error.value)
    assert "isotherm[server-gpu]" in str(error.value)


@without_cuda
def test_auto_takes_the_cpu_and_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """One warning with the same reason, which its models remember."""
    config = ServerConfig(repository=tmp_path, provider="auto", vetting=TRUSTED)
    loader = Loader(config)
    model = loader.load("m", 1, models.publish(tmp_path, "m", models.doubling()))

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("provider auto took cpu: ")
    assert model.provider == "cpu"
    assert model.placement.fell_back
    assert model.placement.notes == (record.getMessage().partition(": ")[2],)
    assert model.placement.break_even_rows is None


@without_cuda
@pytest.mark.parametrize(
    ("on_the_bus", "reason"),
    [(False, "there is no NVIDIA GPU here (--provider cpu"), (True, "this onnxruntime is built")],
)
def test_what_auto_advises_is_for_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_the_bus: bool, reason: str
):
    """Another package is the remedy only where there is a GPU for it."""
    monkeypatch.setattr(driver, "on_the_bus", lambda: on_the_bus)
    monkeypatch.setattr(driver, "read", lambda: Problem("driver", "no NVIDIA driver", "install it"))
    loader = Loader(ServerConfig(repository=tmp_path, provider="auto", vetting=TRUSTED))
    model = loader.load("m", 1, models.publish(tmp_path, "m", models.doubling()))

    assert model.placement.fell_back
    assert model.placement.notes[0].startswith(reason)


def test_on_a_device_alone_it_runs_there(placing: Placing):
    """Two lanes, both warm and proved, and nothing on the CPU."""
    model = placing.load(contracted(), "cuda")

    assert model.provider == "cuda"
    assert len(model.lanes) == 2
    assert model.session is model.lanes[0].session
    assert model.placement.break_even_rows == 1
    assert model.placement.on_device(1)
    assert model.placement.known
    assert model.placement.device_number == 3
    assert model.contract == models.doubling_contract()
    for rows in (1, 2, 5, 64, 200):
        assert doubled(model, rows)


@pytest.mark.parametrize("lanes", [1, 3])
def test_there_are_as_many_lanes_as_asked_for(placing: Placing, lanes: int):
    """Each with its own session, and of one share."""
    model = placing.load(provider="cuda", lanes=lanes)

    assert len({id(lane.session) for lane in model.lanes}) == lanes


def test_auto_divides_the_batches_where_the_device_begins_to_win(placing: Placing):
    """Both are there from then on."""
    model = placing.load(contracted(), stopwatch=device_from(23))
    placement = model.placement

    assert (model.provider, placement.break_even_rows) == ("cuda", 23)
    assert [placement.on_device(rows) for rows in (22, 23)] == [False, True]
    assert placement.inline(22)
    assert model.session not in [lane.session for lane in model.lanes]
    assert placement.seconds(8) == pytest.approx(8e-6)
    assert placement.seconds(64) == pytest.approx(22.5e-6)
    assert doubled(model, 40)
    x = np.ones((5, 1), np.float32)
    np.testing.assert_array_equal(model.session.run([x])[0], 2 * x)


def test_a_device_that_never_wins_is_left_alone(placing: Placing):
    """Its memory is free again; that is no falling back."""
    model = placing.load(stopwatch=device_never())

    assert (model.provider, model.lanes) == ("cpu", ())
    assert model.placement.break_even_rows == 0
    assert model.placement.notes == ("the CPU is faster at every size",)
    assert not model.placement.fell_back
    assert model.placement.memory_bytes == 0
    assert placing.device.leaks == []


def test_where_the_device_always_wins_the_cpu_s_session_goes(
    placing: Placing, monkeypatch: pytest.MonkeyPatch
):
    """Its memory too."""
    opened = sessions_of(monkeypatch)
    model = placing.load(stopwatch=device_always())
    gc.collect()

    assert model.placement.break_even_rows == 1
    assert model.session is model.lanes[0].session
    assert not model.placement.inline(1)
    assert opened[0]() is None
    assert sum(each() is not None for each in opened) == 2


def sessions_of(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Return references to the sessions that are opened from now on."""
    opened: list[Callable[[], object]] = []
    init = ort.InferenceSession.__init__

    def remember(self: Any, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        opened.append(weakref.ref(self))

    monkeypatch.setattr(ort.InferenceSession, "__init__", remember)
    return opened


def test_places_are_compared_at_every_bucket(placing: Placing):
    """Up to the largest batch, until the CPU has lost."""
    figures = Figures(cpu=lambda n: n * 1e-6, device=lambda _n: 22.5e-6)
    placing.load(stopwatch=figures, max_batch_size=48)

    assert figures.asked == [
        *(("device", rows) for rows in (1, 2, 4, 8, 16, 32, 48)),
        *(("cpu", rows) for rows in (1, 2, 4, 8, 16, 32, 48)),
    ]


@pytest.mark.parametrize(
    "model",
    [
        *(models.simple(), models.identity(), models.identity(1, ("length",))),
        *(models.fixed_batch(), models.lookup(), models.mlp((4, 32, 3))),
    ],
    ids=["simple", "text", "variable", "fixed", "lookup", "mlp"],
)
@pytest.mark.parametrize("provider", ["auto", "cuda"])
def test_every_kind_of_model_can_be_placed(
    placing: Placing, model: onnx.ModelProto, provider: Provider
):
    """Whatever its lanes can do of it."""
    placed = placing.load(model, provider, device_always())

    assert placed.provider == "cuda"
    assert placed.placement.known


def test_auto_leaves_on_the_cpu_what_cannot_be_timed(placing: Placing):
    """Nobody knows where it is faster."""
    model = placing.load(failing_on_zeros(), stopwatch=device_always())

    assert (model.provider, model.lanes) == ("cpu", ())
    assert model.placement.notes == ("it could not be timed",)
    assert model.placement.break_even_rows == 0
    assert not model.placement.fell_back
    assert not model.placement.known


def test_cuda_serves_what_cannot_be_timed(placing: Placing):
    """It was asked for."""
    model = placing.load(failing_on_zeros(), "cuda")
    x = np.ones((2, 7), np.float32)

    assert model.provider == "cuda"
    assert not model.placement.known
    np.testing.assert_array_equal(model.lanes[0].run([x])[0], x)


class NotImplemented(Exception):  # noqa: A001, N818  what the runtime calls it
    """The runtime has no such operator on the CPU."""


@pytest.mark.parametrize(
    ("cause", "provider"), [(NotImplemented(), "cuda"), (ValueError(), None)], ids=["op", "broken"]
)
def test_auto_takes_the_device_for_what_the_cpu_cannot_do(
    placing: Placing,
    monkeypatch: pytest.MonkeyPatch,
    cause: Exception,
    provider: str | None,
):
    """A file that is no good is no better there, and nobody tries."""
    opened: list[ProviderOptions] = []
    open_file = ModelFile.open

    def open_after(file: ModelFile, providers: ProviderOptions) -> Session:
        opened.append(providers)
        if len(opened) == 1:
            raise LoadError(str(cause)) from cause
        return open_file(file, providers)

    monkeypatch.setattr(ModelFile, "open", open_after)
    if provider is None:
        with pytest.raises(LoadError):
            placing.load()
        assert len(opened) == 1
    else:
        model = placing.load()
        assert (model.provider, model.placement.break_even_rows) == (provider, 1)


def test_what_may_not_be_batched_is_never_cut(placing: Placing):
    """By its graph, or by its configuration."""
    fixed = placing.load(models.fixed_batch(), "cuda", max_batch_size=1)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(fixed.lanes[0].run([x])[0], 2 * x)

    alone = placing.load(models.counting(), "cuda", may_batch=False, max_batch_size=2)
    found = alone.lanes[0].run([np.ones((5, 1), np.float32)])
    assert found[1].tolist() == [[5]] * 5

    cut = placing.load(models.counting(), "cuda", max_batch_size=2)
    found = cut.lanes[0].run([np.ones((5, 1), np.float32)])
    assert found[1].ravel().tolist() == [2, 2, 2, 2, 1]


def test_other_answers_than_the_golden_rows_are_no_model(placing: Placing):
    """On the device as on the CPU; nothing is left there."""
    wrong = models.doubling_contract()
    wrong.golden.outputs[:] = [2.0, 5.0]
    for provider in ("auto", "cuda"):
        with pytest.raises(LoadError, match="1 of 2 golden rows disagree"):
            placing.load(models.with_contract(models.doubling(), wrong), provider)

    assert placing.device.leaks == []


def test_the_lanes_own_way_is_what_the_golden_rows_prove(
    placing: Placing, monkeypatch: pytest.MonkeyPatch
):
    """Not the session's: the shorter ways are those that go wrong."""
    monkeypatch.setattr(Lane, "run", lambda _lane, arrays: [3 * array for array in arrays])

    with pytest.raises(LoadError, match="2 of 2 golden rows disagree"):
        placing.load(contracted(), "cuda")

    assert placing.device.leaks == []


def test_lanes_of_a_model_share_its_part_of_the_device(placing: Placing):
    """Else a model would get more of it by more instances."""
    model = placing.load(provider="cuda", lanes=3)

    (share,) = {lane._share for lane in model.lanes}
    assert share is not None


def test_a_device_that_is_not_compared_is_let_go(placing: Placing):
    """Its buffers too, at once and not when the model goes."""

    def untimed(_rows: int) -> float:
        raise RuntimeError

    model = placing.load(stopwatch=Figures(cpu=untimed, device=lambda n: n * 1e-6))

    assert model.placement.notes == ("it could not be timed",)
    assert placing.device.leaks == []
