"""Tests of steps that are recorded and replayed, with a tape in place of a CUDA graph."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from isotherm.trainer import loop, optimizers, precision, proof, recorder, session, steps
from isotherm.trainer.batches import Rows
from isotherm.trainer.checkpoint import Checkpoints
from isotherm.trainer.config import FitConfig
from isotherm.trainer.embeddings import Embeddings
from isotherm.trainer.errors import TrainingError
from isotherm.trainer.model import with_skip
from isotherm.trainer.objective import Objective
from isotherm.trainer.proof import Learning
from isotherm.trainer.session import Curves
from isotherm.trainer.stack import Copies, Single, Stack
from isotherm.trainer.steps import Steps
from tests.support.tape import Tape, Watch


def _rows(copies: int, rows: int = 37, *, watched: bool = False) -> Rows:
    """Rows of two features; each copy weighs them otherwise, and leaves some out."""
    torch.manual_seed(1)
    x = torch.randn(1, rows, 2).expand(copies, rows, 2)
    y = (x[..., :1] * 2).sin() + x[..., 1:]
    held_out = torch.zeros(copies, rows)
    for copy in range(1, copies):
        held_out[copy, copy::copies] = 1.0
    validation = torch.zeros(copies, rows)
    if watched:
        validation[:, -4:] = 0.25
    weights = torch.rand(copies, rows) * (1 - held_out) * (validation == 0)
    return Rows(
        x=x,
        y=y,
        training=weights / weights.sum(dim=1, keepdim=True),
        held_out=held_out / held_out.sum(dim=1, keepdim=True).clamp(min=1),
        validation=validation if watched else None,
        worth=torch.full((copies,), rows - 5.0),
    )


def _network(*layers: nn.Module, width: int = 6) -> nn.Sequential:
    torch.manual_seed(0)
    between = layers or (nn.Tanh(),)
    return nn.Sequential(nn.Linear(2, width), *between, nn.Linear(width, 1))


def _copies(network: nn.Sequential, count: int) -> Copies:
    return Single(network) if count == 1 else Stack(network, count)


def _trained(
    network: nn.Sequential, rows: Rows, config: FitConfig, tape: Tape | None, **more: Any
) -> tuple[Curves, dict[str, Tensor]]:
    copies = _copies(network, len(rows.x))
    curves = loop.fit(copies, rows, config, recorder=tape, **more)
    return curves, {name: value.detach().clone() for name, value in copies.state().items()}


def _same(ours: tuple[Curves, dict[str, Tensor]], theirs: tuple[Curves, dict[str, Tensor]]) -> bool:
    return ours[0] == theirs[0] and all(
        torch.equal(value, theirs[1][name]) for name, value in ours[1].items()
    )


_FITS: list[dict[str, Any]] = [
    *(
        {"optimizer": optimizer, "schedule": schedule, "batch_size": batch}
        for optimizer, schedule, batch in itertools.product(
            ("adam", "adamw", "sgd"), ("constant", "cosine", "one-cycle", "step"), (None, 8)
        )
    ),
    {"optimizer": "sgd", "momentum": 0.9, "batch_size": 8},
    {"clip_norm": 0.1, "batch_size": 8},
    {"weight_decay": 0.0},
    {"precision": "bf16", "batch_size": 8},
    {"precision": "tf32"},
]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("settings", _FITS, ids=str)
def test_a_replayed_training_is_the_same_to_the_last_bit(
    count: int, settings: dict[str, Any]
) -> None:
    """Over optimizers, schedules, precisions; one model or many; one batch or ragged ones."""
    config, rows, network = FitConfig(epochs=6, **settings), _rows(count), _network()
    tape = Tape()

    made, replayed = (_trained(network, rows, config, one) for one in (None, tape))

    assert _same(made, replayed)
    # 37 rows in batches of at most 8 are of two sizes.
    assert tape.recordings == (2 if config.batch_size else 1)
    # Every step, and those of the proofs: three that count, and six to take the time.
    each = 5 if config.batch_size else 1
    assert tape.replays == 6 * each + 9 * tape.recordings


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (_network(nn.Tanh(), nn.Dropout(0.3)), 1),
        (_network(nn.Tanh(), nn.Dropout(0.3)), 3),
        (_network(nn.LayerNorm(6), nn.PReLU()), 3),
        (_network(nn.BatchNorm1d(6), nn.ReLU()), 1),
        (with_skip(_network(), 2, 1), 3),
        (with_skip(_network(), 2, 1), 1),
    ],
    ids=["dropout", "dropouts", "by vmap", "batch statistics", "skips", "skip"],
)
def test_so_is_one_of_layers_that_draw_numbers_or_keep_some(
    network: nn.Sequential, count: int
) -> None:
    """Neither the proof nor the recording draws from what the training draws from."""
    config, rows, tape = FitConfig(epochs=5, batch_size=8), _rows(count), Tape()

    made, replayed = (_trained(network, rows, config, one) for one in (None, tape))

    assert _same(made, replayed)
    assert tape.replays > 5 * 5


@pytest.mark.parametrize("count", [1, 3])
def test_embeddings_are_looked_up_anew_in_each_replay(count: int) -> None:
    """The codes stand in the batch."""
    rows = _rows(count)
    codes = torch.arange(37).remainder(3).float().reshape(1, -1, 1).expand(count, 37, 1)
    rows = Rows(
        x=torch.cat([rows.x[..., :1], codes], dim=-1),
        y=rows.y,
        training=rows.training,
        held_out=rows.held_out,
    )
    torch.manual_seed(0)
    network = nn.Sequential(Embeddings(1, [torch.randn(4, 2)]), nn.Linear(3, 1))
    config, tape = FitConfig(epochs=5, batch_size=8), Tape()

    made, replayed = (_trained(network, rows, config, one) for one in (None, tape))

    assert _same(made, replayed)
    assert tape.recordings == 2


def test_early_stopping_stops_in_the_same_epoch() -> None:
    """With the weights of the same one."""
    config = FitConfig(epochs=60, batch_size=8, patience=3, learning_rate=0.1)
    rows, tape = _rows(3, watched=True), Tape()

    made, replayed = (_trained(_network(), rows, config, one) for one in (None, tape))

    assert len(made[0].training) < 60
    assert _same(made, replayed)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("batch", [None, 8])
def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(
    tmp_path: Path, optimizer: Any, batch: int | None
) -> None:
    """Recorded before and after, or by Python after: the checkpoint does not know."""
    config = FitConfig(
        epochs=9, batch_size=batch, optimizer=optimizer, schedule="cosine", clip_norm=0.5
    )
    network, rows = _network(nn.Tanh(), nn.Dropout(0.2)), _rows(3)
    whole = _trained(network, rows, config, None)

    for name, after in (("recorded", Tape()), ("made", None)):
        checkpoint = Checkpoints(tmp_path / name, {}, every=4).stage("network")
        _trained(network, rows, config, Tape(), epochs=5, checkpoint=checkpoint)
        assert _same(whole, _trained(network, rows, config, after, checkpoint=checkpoint))


def test_a_rate_of_the_host_is_what_a_checkpoint_keeps(tmp_path: Path) -> None:
    """No tensor of a device stands in its place after a step."""
    checkpoint = Checkpoints(tmp_path, {}, every=2).stage("network")
    _trained(_network(), _rows(1), FitConfig(epochs=2), Tape(), checkpoint=checkpoint)

    state = checkpoint.load(torch.device("cpu"))

    assert state is not None
    (group,) = state["optimizer"]["param_groups"]
    assert (group["lr"], group["capturable"]) == (0.02, False)


@pytest.mark.parametrize(("patience_s", "looks"), [(0.0, 40), (1e9, 1)])
def test_losses_of_a_device_are_read_now_and_then_and_told_one_by_one(
    patience_s: float, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch in its turn, with its losses, whenever that is; here where it is much later."""
    config, rows = FitConfig(epochs=40, batch_size=8), _rows(3)
    told: dict[bool, list[tuple[float, ...]]] = {False: [], True: []}
    read: list[int] = []
    numbers = session._numbers

    def reading(losses: list[Tensor]) -> list[list[float]]:
        read.append(len(losses))
        return numbers(losses)

    monkeypatch.setattr(session, "_numbers", reading)
    monkeypatch.setattr(session, "_PATIENCE_S", patience_s)
    for recorded, seen in told.items():
        read.clear()
        tape = Tape() if recorded else None
        _trained(
            _network(), rows, config, tape, on_epoch=lambda *each, seen=seen: seen.append(each)
        )

    assert told[False] == told[True]
    assert [one[0] for one in told[True]] == [*range(1, 41)]
    # Training, rows held out, and rows that decide when to stop, of which there are none.
    assert read == [40 // looks, 40 // looks, 0] * looks


@pytest.mark.parametrize("tape", [None, Tape()])
def test_no_step_waits_for_the_device(tape: Tape | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first batch of an epoch to its last: nothing asks for a number."""
    config, rows = FitConfig(epochs=3, batch_size=8, schedule="cosine", clip_norm=1.0), _rows(3)
    make, made = loop._step, 0

    def watched(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        with Watch():
            return make(*arguments)

    monkeypatch.setattr(loop, "_step", watched)
    _trained(_network(nn.Tanh(), nn.Dropout(0.1)), rows, config, tape)

    assert made >= (15 if tape is None else 2)


@pytest.mark.parametrize(
    ("network", "count", "optimizer"),
    [
        (_network(), 1, "adam"),
        (_network(nn.Tanh(), nn.Dropout(0.1)), 3, "adamw"),
        (_network(nn.BatchNorm1d(6), nn.GELU()), 1, "sgd"),
        (_network(nn.LayerNorm(6), nn.PReLU()), 3, "adam"),
        (with_skip(_network(), 2, 1), 3, "adamw"),
        (nn.Sequential(Embeddings(1, [torch.randn(4, 2)]), nn.Linear(3, 1)), 3, "adam"),
    ],
)
@pytest.mark.parametrize("labels", [False, True])
def test_a_step_of_a_device_needs_nothing_of_the_host(
    network: nn.Sequential, count: int, optimizer: Any, labels: bool
) -> None:
    """On a device that has no numbers at all: none is asked for, and no tensor is elsewhere."""
    config = FitConfig(optimizer=optimizer, clip_norm=1.0)
    copies = Single(network, "meta") if count == 1 else Stack(network, count, "meta")
    learning = optimizers.build(copies, config)
    penalty = optimizers.Penalty(copies, learning, config, rows=torch.full((count,), 10.0))
    x, y = torch.rand(count, 10, 2, device="meta"), torch.rand(count, 10, 1, device="meta")
    objective = Objective(loss="cross_entropy", classes=("a", "b")) if labels else Objective()
    rate = optimizers.Rate(learning)
    rate.update()
    looks: Any = []
    with rate.shown():
        loop._gradients(
            *(copies, precision.forward(copies, config), objective, learning, penalty),
            *(config.clip_norm, looks, x, y, x[..., 0]),
        )

    ((each, losses),) = looks
    assert (each.shape, losses.shape) == ((count, 10), (count,))
    assert all(value.grad is not None for value in copies.parameters.values())


def test_the_optimizer_takes_the_rate_of_the_device_and_may_be_recorded() -> None:
    """While it steps; afterwards it has the host's again, as the schedule and checkpoints do."""
    copies = Single(_network())
    optimizer = optimizers.build(copies, FitConfig())
    (group,), rate = optimizer.param_groups, optimizers.Rate(optimizer)
    rate.update(0.5)
    with rate.shown():
        inside = (float(group["lr"]), group["lr"].ndim, group["capturable"])

    # Adam refuses to be captured otherwise.
    assert inside == (0.01, 0, True)
    assert (group["lr"], group["capturable"]) == (0.02, False)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_optimizers_agree_to_a_recording_on_a_device(
    optimizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By torch's own check before each step: Adam refuses where it is not prepared for that."""
    recording, looks = False, []

    class Recording(Tape):
        def record(self, work: Any) -> Any:
            nonlocal recording
            recording = True
            try:
                return super().record(work)
            finally:
                recording = False

    def is_capturing() -> bool:
        looks.append(recording)
        return recording

    # What Adam asks before each step.
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    stream = SimpleNamespace(is_capturing=is_capturing)
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda: stream)
    tape = Recording()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _trained(_network(), _rows(2), FitConfig(epochs=4, batch_size=8, optimizer=optimizer), tape)

    assert tape.recordings == 2
    assert optimizer == "sgd" or {*looks} == {False, True}


@pytest.mark.parametrize(("rate", "first"), [(2.0, False), (30.0, True)])
def test_a_loss_that_leaves_the_numbers_is_found_though_it_is_read_later(
    rate: float, first: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the epoch and the step that it happened in; even where a proof met it before."""
    monkeypatch.setattr(session, "_PATIENCE_S", 1e9)
    config, rows = FitConfig(epochs=80, batch_size=8, optimizer="sgd", learning_rate=rate), _rows(1)
    sentences = []
    for tape in (None, Tape()):
        with pytest.raises(TrainingError, match=r"epoch \d+, step \d of 5") as caught:
            _trained(_network(nn.ReLU()), rows, config, tape)
        sentences.append(str(caught.value))

    assert ("in epoch 1," in sentences[0]) is first
    assert "are not replayed" not in caplog.text
    assert sentences[0] == sentences[1]


@pytest.mark.parametrize("copy", [0, 2])
def test_one_copy_that_leaves_the_numbers_is_enough(copy: int) -> None:
    """Whichever it is: its errors would count among those of the others."""
    rows = _rows(3)
    targets = rows.y.clone()
    targets[copy, 6] = torch.inf
    with pytest.raises(TrainingError, match="the loss became inf in epoch 1, step 1 of 1"):
        _trained(_network(), dataclasses.replace(rows, y=targets), FitConfig(epochs=3), None)


def test_every_operation_counts_in_the_proof(caplog: pytest.LogCaptureFixture) -> None:
    """A replay that lacks one is not taken, unless what it makes never changes."""
    config = FitConfig(epochs=2, batch_size=8, optimizer="sgd", momentum=0.9, clip_norm=0.5)
    rows, network, whole = _rows(2), _network(), Tape()
    made = _trained(network, rows, config, None)
    assert _same(made, _trained(network, rows, config, whole))
    harmless = set()
    for index, name in enumerate(whole.names):
        tape = Tape(without=index)
        steps._tell.cache_clear()
        replayed = _trained(network, rows, config, tape)
        assert _same(made, replayed), name
        # A proof makes 3 replays before it is refused.
        if tape.replays > 3:
            harmless.add(name)
    views = {"transpose.int", "unsqueeze.default", "squeeze.dim", "view.default", "expand.default"}
    constant = {"ones_like.default", "new_empty_strided.default"}
    # The copies' losses are added up for their gradients; nobody looks at the number.
    kept = {f"aten.{name}" for name in (*views, *constant, "detach.default", "sum.default")}

    assert harmless <= kept
    assert "are not replayed" in caplog.text


@pytest.mark.parametrize("batch", [None, 8])
def test_a_rate_that_never_changes_is_found(
    caplog: pytest.LogCaptureFixture, batch: int | None
) -> None:
    """Though the steps that are compared are few, and the schedule has hardly begun."""
    steps._tell.cache_clear()
    config, rows = FitConfig(epochs=9, batch_size=batch, schedule="cosine"), _rows(2)
    tape = Tape(frozen=True)

    made, replayed = (_trained(_network(), rows, config, one) for one in (None, tape))

    assert _same(made, replayed)
    assert tape.replays == 3
    assert "apart" in caplog.text


def test_a_step_that_waits_is_made_by_python_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Batch statistics of all batches count them on the host."""
    steps._tell.cache_clear()
    network = _network(nn.BatchNorm1d(6, momentum=None))
    config, rows, tape = FitConfig(epochs=4, batch_size=8), _rows(1), Tape()

    made, replayed = (_trained(network, rows, config, one) for one in (None, tape))
    _trained(network, rows, config, Tape())

    assert _same(made, replayed)
    assert (tape.recordings, tape.replays) == (0, 0)
    assert caplog.text.count("_local_scalar_dense") == 1


def test_what_is_no_faster_is_not_taken_and_nobody_is_warned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Large networks keep the device busy by themselves."""
    config, rows, tape = FitConfig(epochs=4, batch_size=8), _rows(2), Tape(fast=False)

    made, replayed = (_trained(_network(), rows, config, one) for one in (None, tape))

    assert _same(made, replayed)
    assert tape.replays == 2 * 9
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("owner", "name"), [(Tape, "record"), (steps, "State"), (proof.State, "way")]
)
def test_no_room_for_a_recording_is_no_failure_of_the_training(
    owner: Any, name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph needs the memory of a step once more, a proof that of the weights."""
    steps._tell.cache_clear()

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.\nMore")

    config, rows, tape = FitConfig(epochs=4), _rows(2), Tape()
    made = _trained(_network(), rows, config, None)
    monkeypatch.setattr(owner, name, full)

    assert _same(made, _trained(_network(), rows, config, tape))
    assert "Tried to allocate 1 GiB" in caplog.text


def test_where_one_shape_fails_its_proof_no_other_is_replayed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is wrong with one recording may be so with another, where it does not show."""
    steps._tell.cache_clear()

    class Late(Tape):
        def record(self, work: Any) -> Any:
            if self.recordings:
                msg = "operation not permitted when stream is capturing"
                raise RuntimeError(msg)
            return super().record(work)

    config, rows, tape = FitConfig(epochs=4, batch_size=8), _rows(2), Late()

    made, replayed = (_trained(_network(), rows, config, one) for one in (None, tape))

    assert _same(made, replayed)
    # The nine of the proof, and the two batches of the first size before the one of the other.
    assert tape.replays == 9 + 2
    assert "not permitted" in caplog.text


def test_a_third_shape_is_left_to_python() -> None:
    """What remains of a stream comes in many sizes."""
    copies, tape = Single(_network()), Tape()
    optimizer = optimizers.build(copies, FitConfig())

    def step(x: Tensor) -> tuple[Tensor, ...]:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = copies(x.unsqueeze(0)).square().mean()
            torch.autograd.backward(loss)
            losses.append(loss.detach())
            return loss

        losses: list[Tensor] = []
        learn: Any = closure
        optimizer.step(learn)
        return (losses[0],)

    made = Steps(step, [Learning(copies=copies, optimizer=optimizer)], tape)
    batches = [torch.randn(rows, 2) for rows in (8, 7, 6, 5, 8, 6)]
    given = [one.clone() for one in batches]
    with tape.working():
        for one in batches:
            made(one)

    # The recording has rows of its own: the caller's are as they were.
    assert all(map(torch.equal, batches, given))
    assert tape.recordings == made.recorded == 2


class _Counting(nn.Module):
    """Does something else in every third step."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * 2 if self.calls % 3 else x


@pytest.mark.parametrize(
    ("network", "recordable"),
    [
        (_network(), True),
        (_network(nn.BatchNorm1d(6), nn.Dropout(), nn.GELU(), nn.LayerNorm(6)), True),
        (nn.Sequential(Embeddings(1, [torch.randn(4, 2)]), with_skip(_network(), 2, 1)), True),
        (_network(_Counting()), False),
        (_network(type("Own", (nn.Tanh,), {})()), False),
    ],
)
def test_only_layers_that_are_known_are_recorded(network: nn.Sequential, recordable: bool) -> None:
    """What Python does in one of the user's own would not be done again."""
    assert Single(network).recordable is recordable
    assert Stack(_network(), 2).recordable


@pytest.mark.parametrize(
    "register",
    [
        nn.Module.register_forward_hook,
        nn.Module.register_forward_pre_hook,
        nn.Module.register_full_backward_hook,
        nn.Module.register_full_backward_pre_hook,
    ],
)
def test_a_layer_with_a_hook_is_not_recorded(register: Any) -> None:
    """It may do anything."""
    network = _network()
    register(network[1], lambda *_: None)
    assert not Single(network).recordable


@pytest.mark.parametrize(
    ("settings", "count", "recordable"),
    [
        ({"cuda_graphs": False}, 1000, True),
        ({"optimizer": "lbfgs"}, 1000, True),
        ({}, 199, True),
        ({}, 1000, False),
    ],
)
def test_when_steps_are_not_recorded(
    settings: dict[str, Any], count: int, recordable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not asked for, cannot be, or does not pay; and never on the CPU."""
    made: list[torch.device] = []
    monkeypatch.setattr(recorder, "CudaRecorder", made.append)
    cuda, config = torch.device("cuda", 1), FitConfig(**settings)

    assert recorder.of(cuda, config, count, recordable=recordable) is None
    assert recorder.of(torch.device("cpu"), FitConfig(), 1000, recordable=True) is None
    assert made == []
    recorder.of(cuda, FitConfig(), 200, recordable=True)
    assert made == [cuda]


def test_the_proof_finds_what_is_far_apart_and_what_is_no_number() -> None:
    """By their way, not by each weight: small ones may be rounded otherwise."""
    ones, nan = [torch.ones(3)], [torch.full((3,), torch.nan)]

    assert not proof.difference((ones, ones), (ones, [torch.ones(3) * 1.0005]))
    assert "0.002 apart" in proof.difference((ones, ones), ([torch.ones(3) * 1.002], ones))
    assert "end 0.0035 apart" in proof.difference((ones, ones), (ones, [torch.ones(3) * 1.002]))
    assert proof.difference((ones, ones), (ones, nan))
    assert proof.difference((nan, ones), (nan, ones))
