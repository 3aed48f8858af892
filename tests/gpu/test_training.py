"""On a GPU: steps that are replayed do what steps do, faster, and the host does not wait for them.

Where there is none, the same tests run on the CPU, with a tape in place of a CUDA graph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from isotherm.trainer import api, device, export, loop, parity, precision, steps
from isotherm.trainer.batches import Rows
from isotherm.trainer.checkpoint import Checkpoint, Checkpoints
from isotherm.trainer.config import FitConfig, validated
from isotherm.trainer.errors import ConfigError, DeviceMemoryError
from isotherm.trainer.recorder import CudaRecorder, Recorder
from isotherm.trainer.session import Curves
from isotherm.trainer.stack import Copies, Single, Stack
from isotherm.trainer.stream import fit as stream_fit
from isotherm.trainer.stream import prepare
from isotherm.trainer.world import Alone
from tests.bench import trainer_device
from tests.gpu.conftest import CUDA
from tests.support.tape import Tape, Watch


@pytest.fixture(name="place", params=[CUDA, "cpu"])
def _place(request: pytest.FixtureRequest) -> torch.device:
    """Where models learn."""
    if request.param == "cuda":
        try:
            device.check(FitConfig(device="cuda"))
        except ConfigError as error:
            pytest.skip(str(error))
    return torch.device(request.param)


@pytest.fixture(name="replays")
def _replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each step that was replayed, those of proofs among them."""
    seen: list[int] = []
    run = steps.Program.run

    def counted(self: steps.Program, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(len(inputs[0]) if inputs else 0)
        return run(self, inputs)

    monkeypatch.setattr(steps.Program, "run", counted)
    steps._tell.cache_clear()
    return seen


class _Sure(CudaRecorder):
    """Records whether or not that is faster: what is tested is what it does."""

    def seconds(self, work: Callable[[], object]) -> float:
        """Return less with every call, so that what is replayed, which comes last, wins."""
        self.calls = getattr(self, "calls", 0) + 1
        super().seconds(work)
        return 1 / self.calls


def _recorder(place: torch.device) -> Recorder:
    return _Sure(place) if place.type == "cuda" else Tape()


def _watching(place: torch.device) -> AbstractContextManager[None]:
    return CudaRecorder(place).watching() if place.type == "cuda" else Tape().watching()


def _rows(place: torch.device, copies: int, rows: int = 1000, *, watched: bool = False) -> Rows:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, rows, 3, generator=generator).expand(copies, rows, 3)
    held_out = torch.zeros(copies, rows)
    for copy in range(1, copies):
        held_out[copy, copy::copies] = 1.0
    validation = torch.zeros(copies, rows)
    validation[:, -100:] = 0.01
    learned = (1 - held_out) * (1.0 - validation * 100 if watched else 1.0)
    return Rows(
        x=x,
        y=(x[..., :1] * 2).sin() + x[..., 1:2] * x[..., 2:],
        training=learned / learned.sum(dim=1, keepdim=True),
        held_out=held_out / held_out.sum(dim=1, keepdim=True).clamp(min=1),
        validation=validation if watched else None,
    ).to(place)


def _network(*between: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 13), *(between or (nn.Tanh(),)), nn.Linear(13, 1))


def _trained(
    network: nn.Sequential,
    rows: Rows,
    config: FitConfig,
    recorder: Recorder | None,
    checkpoint: Checkpoint | None = None,
    epochs: int | None = None,
) -> tuple[Curves, dict[str, Tensor]]:
    count, place = len(rows.x), rows.x.device
    copies: Copies = Single(network, place) if count == 1 else Stack(network, count, place)
    if recorder is None:
        config = config.model_copy(update={"cuda_graphs": False})
    curves = loop.fit(copies, rows, config, recorder=recorder, checkpoint=checkpoint, epochs=epochs)
    return curves, {name: value.detach().cpu().clone() for name, value in copies.state().items()}


def _agree(made: tuple[Curves, dict[str, Tensor]], replayed: tuple[Curves, dict[str, Tensor]]):
    np.testing.assert_allclose(made[0].training, replayed[0].training, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(made[0].held_out, replayed[0].held_out, rtol=1e-3, atol=1e-6)
    for name, value in made[1].items():
        torch.testing.assert_close(value, replayed[1][name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam", "schedule": "cosine"},
        {"optimizer": "adamw", "schedule": "one-cycle", "clip_norm": 0.5},
        {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.01},
        {"optimizer": "adam", "batch_size": None},
        {"optimizer": "adam", "precision": "bf16"},
        {"optimizer": "adam", "precision": "tf32"},
    ],
    ids=str,
)
@pytest.mark.parametrize("copies", [1, 4])
def test_replayed_steps_do_what_steps_do(
    place: torch.device, replays: list[int], copies: int, settings: dict[str, Any]
) -> None:
    """By optimizer, schedule and precision; for one model and many; ragged batches and whole."""
    config, rows = FitConfig(**{"epochs": 20, "batch_size": 150, **settings}), _rows(place, copies)

    made = _trained(_network(), rows, config, None)
    assert replays == []
    replayed = _trained(_network(), rows, config, _recorder(place))

    _agree(made, replayed)
    each = 7 if config.batch_size else 1
    assert len(replays) >= 20 * each


@pytest.mark.parametrize(
    ("between", "copies"),
    [
        ((nn.Tanh(), nn.Dropout(0.2)), 1),
        ((nn.Tanh(), nn.Dropout(0.2)), 4),
        ((nn.Tanh(), nn.BatchNorm1d(13)), 1),
        ((nn.LayerNorm(13), nn.PReLU()), 4),
    ],
    ids=["dropout", "dropouts", "batch statistics", "by vmap"],
)
def test_so_they_do_where_layers_draw_numbers_or_keep_some(
    place: torch.device, replays: list[int], between: tuple[nn.Module, ...], copies: int
) -> None:
    """Each replay draws numbers of its own, the very ones that Python's step would draw."""
    config, rows = FitConfig(epochs=10, batch_size=150), _rows(place, copies)

    made, replayed = (
        _trained(_network(*between), rows, config, one) for one in (None, _recorder(place))
    )

    _agree(made, replayed)
    assert len(replays) >= 70


def test_early_stopping_ends_in_the_same_epoch(place: torch.device, replays: list[int]) -> None:
    """With the weights of the same one."""
    config = FitConfig(epochs=200, batch_size=150, patience=3, learning_rate=0.1)
    rows = _rows(place, 3, watched=True)

    made, replayed = (_trained(_network(), rows, config, one) for one in (None, _recorder(place)))

    assert len(made[0].training) < 200
    assert made[0].best_epochs == replayed[0].best_epochs
    _agree(made, replayed)
    assert replays


def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(
    place: torch.device, replays: list[int], tmp_path: Path
) -> None:
    """Weights, moments, schedule, shuffle, and what Dropout draws from."""
    config = FitConfig(epochs=20, batch_size=150, schedule="cosine")
    network, rows = _network(nn.Tanh(), nn.Dropout(0.2)), _rows(place, 4)
    whole = _trained(network, rows, config, _recorder(place))
    checkpoint = Checkpoints(tmp_path, {}, every=6).stage("network")

    _trained(network, rows, config, _recorder(place), checkpoint, epochs=8)
    again = _trained(network, rows, config, _recorder(place), checkpoint)

    assert whole[0] == again[0]
    assert all(torch.equal(value, again[1][name]) for name, value in whole[1].items())
    assert replays


@pytest.mark.parametrize("recorded", [False, True])
def test_no_step_waits_for_the_device(
    place: torch.device, replays: list[int], recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From choosing its rows to the moved weights; made by Python, and replayed."""
    watched = []
    for owner, name in ((loop, "_step"), (steps.Program, "run")):
        function = getattr(owner, name)

        def watching(*arguments: Any, function: Any = function) -> Any:
            capturing = place.type == "cuda" and torch.cuda.is_current_stream_capturing()
            with nullcontext() if capturing else _watching(place):
                watched.append(function)
                return function(*arguments)

        monkeypatch.setattr(owner, name, watching)
    config = FitConfig(epochs=5, batch_size=150, clip_norm=1.0, schedule="cosine")
    network = _network(nn.Tanh(), nn.Dropout(0.1))
    _trained(network, _rows(place, 3), config, _recorder(place) if recorded else None)

    assert len(watched) >= 35
    assert bool(replays) is recorded


def test_it_is_recorded_without_being_told(place: torch.device, replays: list[int]) -> None:
    """On CUDA, a training of a small network that has some steps to come; never on the CPU."""
    rows, config = _rows(place, 1), FitConfig(epochs=40, batch_size=150)
    copies = Single(_network(), place)

    loop.fit(copies, rows, config)

    assert (len(replays) >= 280) is (place.type == "cuda")


def test_replaying_is_faster_for_a_small_network(place: torch.device) -> None:
    """1-13-1, whose step on a GPU is all launches."""
    (pace,) = trainer_device.paces(
        (((1, 13, 1), 256),), place.type, more=16 if place.type == "cuda" else 1
    )
    assert pace.eager
    if place.type == "cpu":
        assert (pace.recorded, pace.note) == (None, "steps are recorded on CUDA only")
        return
    assert pace.recorded, pace.note
    assert pace.recorded > 1.5 * pace.eager, pace


@contextmanager
def _quick() -> Iterator[None]:
    """Tell torch, as a caller may have, that a few digits are enough."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def test_products_have_all_digits_unless_tf32_is_asked_for(place: torch.device) -> None:
    """While it learns and while it is measured, whatever the caller has told torch."""
    torch.manual_seed(0)
    a, b = torch.randn(256, 1024), torch.randn(1024, 256)
    exact = a.double() @ b.double()

    def off() -> float:
        return float(((a.to(place) @ b.to(place)).cpu() - exact).abs().max())

    def product() -> Tensor:
        return torch.tensor(off())

    with _quick(), precision.exact():
        measured = float(precision.learning(product, FitConfig())())
        learned = float(precision.learning(product, FitConfig(precision="tf32"))())
        afterwards = off()

    assert max(measured, afterwards) < 1e-3
    # Ten bits of 24: some hundredths, where the device has it (from Ampere on).
    assert (learned > 3e-3) is (place.type == "cuda"), (measured, learned)


def test_what_learned_on_the_device_is_published_as_ever(
    place: torch.device, replays: list[int], tmp_path: Path
) -> None:
    """ONNX Runtime on the CPU gives the contract's golden rows, which torch gave on the CPU."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 3))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2]
    with _quick():
        trained = api.fit(
            ["Linear(3, 32)", "Tanh()", "Linear(32, 1)"], x, y, epochs=100, device=place.type
        )
        content = Path(trained.publish(tmp_path)).read_bytes()
    contract = export.contract_of(content)
    golden = contract.golden
    inputs = np.array(golden.inputs, np.float32).reshape(golden.rows, -1)
    answers = parity.session(content).run(["y"], {"x": inputs})[0]

    np.testing.assert_allclose(
        answers,
        np.array(golden.outputs, np.float32).reshape(golden.rows, -1),
        rtol=golden.relative_tolerance,
        atol=golden.absolute_tolerance,
    )
    assert float(np.abs(trained.predict(x)[:, 0] - y).mean()) < 0.3
    assert bool(replays) is (place.type == "cuda")


@pytest.mark.parametrize("labels", [False, True])
def test_a_stream_is_replayed_too(
    place: torch.device, replays: list[int], tmp_path: Path, labels: bool
) -> None:
    """Rows go to the device, are encoded there and learned from, by one replay."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {f"x{index}": rng.standard_normal(6000) for index in range(3)}
    y = np.sin(2 * columns["x0"]) + columns["x1"]
    columns["y"] = np.where(y > 0, "high", "low") if labels else y
    columns["town"] = rng.choice(["a", "b", "c"], 6000)
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=1000)
    values = {
        "name": "streamed",
        "data": {
            "file": path,
            "features": ["x0", "x1", "x2", "town"],
            "targets": ["y"],
            "stream": True,
        },
        "fit": {"epochs": 6, "batch_size": 150, "device": place.type, "patience": 2},
    }
    found = []
    for recorder in (None, _recorder(place)):
        values["fit"] = {**values["fit"], "cuda_graphs": recorder is not None}  # type: ignore[dict-item]
        prepared = prepare.prepare(validated(values), world=Alone())
        table = prepared.frame.table(prepared.survey.held_out)
        nets = stream_fit.built(prepared.frame, table, prepared.config)
        learners, passes = stream_fit.training(prepared, nets, world=Alone(), recorder=recorder)
        passes.run()
        found.append([one.history for one in learners])
        if recorder is None:
            assert replays == []

    for made, replayed in zip(*found, strict=True):
        np.testing.assert_allclose(made.training, replayed.training, rtol=1e-3)
        np.testing.assert_allclose(made.validation, replayed.validation, rtol=1e-3)
    assert len(replays) > 36


def test_a_full_device_is_a_sentence_and_is_free_afterwards(
    place: torch.device, tmp_path: Path
) -> None:
    """The same process trains on, with what fits."""
    if place.type == "cpu":
        pytest.skip("the host's memory has no bound that torch would keep")
    x = np.random.default_rng(0).standard_normal((4000, 3))
    wide = ["Linear(3, 40000)", "Tanh()", "Linear(40000, 1)"]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.005)
    try:
        with pytest.raises(DeviceMemoryError, match="--batch-size"):
            api.fit(wide, x, x[:, 0], epochs=3, batch_size=4000, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    trained = api.fit(["Linear(3, 8)", "Linear(8, 1)"], x, x[:, 0], epochs=3, device="cuda")

    assert trained.publish(tmp_path).is_file()


def test_another_device_than_there_is_is_named(place: torch.device) -> None:
    """With those that there are, or why there is none."""
    expected = "cuda:0" if place.type == "cuda" else "cannot use CUDA here"
    if place.type == "cpu" and torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    with pytest.raises(ConfigError, match=expected):
        device.check(FitConfig(device="cuda:99"))


def test_nothing_is_slow_to_begin_with(place: torch.device) -> None:
    """Warming up, recording and proving take the time of some dozens of steps."""
    rows, config = _rows(place, 4), FitConfig(epochs=1, batch_size=150)
    _trained(_network(), rows, config, None)
    start = time.perf_counter()
    _trained(_network(), rows, config, _recorder(place))

    assert time.perf_counter() - start < 5


def test_the_tape_sees_what_waits() -> None:
    """So that the tests above can fail where there is no GPU."""
    with pytest.raises(RuntimeError, match="synchronizing"), Watch():
        torch.ones(3).sum().item()
