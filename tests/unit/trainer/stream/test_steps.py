"""Tests of streams whose steps are recorded and replayed, with a tape in place of a CUDA graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isotherm.trainer import recorder as recorders
from isotherm.trainer.checkpoint import Checkpoint, Checkpoints
from isotherm.trainer.config import FitConfig
from isotherm.trainer.objective import Objective
from isotherm.trainer.stream import fit, prepare, training
from isotherm.trainer.stream.learner import Learner
from isotherm.trainer.world import Alone
from tests.support.streams import config, numbers, write
from tests.support.tape import Tape, Watch

_LAYERS = ("Linear(inputs, 8)", "BatchNorm1d(8)", "ReLU()", "Dropout(0.1)", "Linear(8, outputs)")


class _StoppedError(Exception):
    """The machine went down."""


def _trained(
    prepared: Any, tape: Tape | None, checkpoint: Checkpoint | None = None, stop: int = 0
) -> tuple[dict[tuple[str, str], Tensor], list[Any]]:
    """Train, and go down in a step if asked to; return all weights and losses."""
    table = prepared.frame.table(prepared.survey.held_out)
    nets = fit.built(prepared.frame, table, prepared.config)
    learners, passes = fit.training(
        prepared, nets, world=Alone(), checkpoint=checkpoint, recorder=tape
    )
    placed = passes._batches.placed

    def counted(rows: Tensor) -> Tensor:
        if passes._step + 1 == stop:
            raise _StoppedError
        return placed(rows)

    setattr(passes._batches, "placed", counted)  # noqa: B010  a method, to the type checker
    passes.run()
    return {
        (one.name, name): value for one in learners for name, value in one.copies.state().items()
    }, [one.history for one in learners]


def _same(ours: Any, theirs: Any) -> bool:
    return ours[1] == theirs[1] and all(
        torch.equal(value, theirs[0][name]) for name, value in ours[0].items()
    )


def _labels(columns: dict[str, Any]) -> dict[str, Any]:
    """Make the target a label, of which the stream's straight model learns in steps as well."""
    return columns | {"y": np.where(columns["y"] > np.median(columns["y"]), "high", "low")}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", [False, True])
def test_replayed_steps_of_all_learners_are_the_same_to_the_last_bit(tmp_path, labels, weighted):
    """Encoding and all; rows come in pieces of several sizes, and one learner ends before."""
    columns = numbers(4000)
    columns = _labels(columns) if labels else columns
    more: dict[str, Any] = (
        {"data__weight": "w", "data__features": ("x0", "x1", "x2")} if weighted else {}
    )
    if weighted:
        columns["w"] = np.linspace(0.5, 2.0, 4000)
    path = write(tmp_path / "a.parquet", columns, 500)
    settings = config(
        path,
        fit__batch_size=150,
        fit__schedule="cosine",
        fit__patience=2,
        fit__epochs=8,
        fit__learning_rate=0.2,
        fit__clip_norm=0.3,
        network={"layers": _LAYERS},
        **more,
    )
    prepared, tape = prepare.prepare(settings, world=Alone()), Tape()

    made, replayed = _trained(prepared, None), _trained(prepared, tape)

    assert _same(made, replayed)
    assert len(made[1]) == 1 + labels
    lengths = {len(one.training) for one in made[1]}
    assert min(lengths) < 8
    assert weighted or len(lengths) == 1 + labels
    # Those that go on are recorded anew, without the one that has ended.
    assert tape.recordings == 2 * len(lengths)
    assert tape.replays > 9 * tape.recordings + 20


@pytest.mark.parametrize("stop", [25, 70])
def test_any_step_is_gone_on_from_to_the_same_bit(tmp_path, stop):
    path = write(tmp_path / "a.parquet", numbers(4000), 500)
    settings = config(
        path,
        fit__batch_size=100,
        fit__schedule="cosine",
        checkpoint__steps=7,
        network={"layers": _LAYERS},
    )
    prepared = prepare.prepare(settings, world=Alone())
    whole = _trained(prepared, None)
    checkpoint = Checkpoints(tmp_path / "kept", {}).stage("stream")

    with pytest.raises(_StoppedError):
        _trained(prepared, Tape(), checkpoint, stop)

    assert _same(whole, _trained(prepared, Tape(), checkpoint))


@pytest.mark.parametrize("tape", [None, Tape()])
def test_rate_follows_its_schedule_in_the_steps_of_all_epochs(tmp_path, tape):
    path = write(tmp_path / "a.parquet", numbers(2000), 500)
    settings = config(path, fit__batch_size=100, fit__schedule="cosine", fit__epochs=3)
    prepared = prepare.prepare(settings, world=Alone())
    table = prepared.frame.table(prepared.survey.held_out)
    nets = fit.built(prepared.frame, table, prepared.config)
    (learner,), passes = fit.training(prepared, nets, world=Alone(), recorder=tape)
    rates = []
    advance = learner.advance

    def noted() -> None:
        rates.append(learner.state_dict()["optimizer"]["param_groups"][0]["lr"])
        advance()

    setattr(learner, "advance", noted)  # noqa: B010  a method, to the type checker
    passes.run()

    assert len(rates) == 3 * passes._walk.steps > 30
    shares = np.arange(len(rates)) / len(rates)
    assert rates == pytest.approx(0.01 * (1 + np.cos(np.pi * shares)) / 2)


def test_no_step_waits_for_the_device(tmp_path, monkeypatch):
    """Whether a learner has ended is asked of the device once an epoch, not before each step."""
    path = write(tmp_path / "a.parquet", numbers(4000), 500)
    settings = config(path, fit__batch_size=100, fit__patience=3, fit__epochs=3)
    prepared = prepare.prepare(settings, world=Alone())
    with Watch(forgiving=True) as watch:
        _trained(prepared, None)
    steps, waits = 3 * 36, len(watch.waits)
    # In an epoch: the look at the loss, its two means, and whether it has ended.
    assert waits < steps / 4

    learn, made = training.Training._learn, []

    def watched(self: training.Training, *rows: Tensor) -> Any:
        made.append(rows)
        with Watch():
            return learn(self, *rows)

    monkeypatch.setattr(training.Training, "_learn", watched)
    _trained(prepared, None)

    assert len(made) == steps


def test_fewer_bits_are_for_learning_alone(tmp_path, monkeypatch):
    seen: dict[str, set[str]] = {"_look": set(), "end_epoch": set()}
    for name, bits in seen.items():
        function = getattr(Learner, name)

        def noted(*arguments: Any, function: Any = function, bits: set[str] = bits) -> Any:
            backends: Any = torch.backends
            bits.add(backends.cuda.matmul.fp32_precision)
            return function(*arguments)

        monkeypatch.setattr(Learner, name, noted)
    path = write(tmp_path / "a.parquet", numbers(1000), 500)
    prepared = prepare.prepare(config(path, fit__precision="tf32"), world=Alone())
    table = prepared.frame.table(prepared.survey.held_out)
    nets = fit.built(prepared.frame, table, prepared.config)

    fit.fit(prepared, nets, world=Alone())

    assert seen == {"_look": {"tf32"}, "end_epoch": {"ieee"}}


def test_what_processes_send_each_other_is_not_recorded(tmp_path, monkeypatch):
    """Nor are layers of the user's own."""
    asked = []
    monkeypatch.setattr(recorders, "of", lambda *_, recordable: asked.append(recordable))
    path = write(tmp_path / "a.parquet", numbers(2000), 500)
    prepared = prepare.prepare(config(path, fit__epochs=1), world=Alone())
    table = prepared.frame.table(prepared.survey.held_out)
    nets = fit.built(prepared.frame, table, prepared.config)
    several = Alone()
    for size, recordable in ((1, True), (2, True), (1, False)):
        several.size = size
        monkeypatch.setattr(
            Learner, "__init__", _with_recordable(Learner.__init__, recordable=recordable)
        )
        fit.training(prepared, nets, world=several)

    assert asked == [True, False, False]


def _with_recordable(init: Any, *, recordable: bool) -> Any:
    def changed(self: Learner, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        self.copies.recordable = recordable

    return changed


def test_a_learner_that_has_ended_is_still_ended_when_the_training_goes_on() -> None:
    """Others may not have ended: it would learn on with them."""

    def learner() -> Learner:
        torch.manual_seed(0)
        return Learner(
            "network",
            nn.Sequential(nn.Linear(2, 1)),
            objective=Objective(),
            config=FitConfig(patience=2),
            rows=4,
            steps=1,
            decay=0.0,
            place=torch.device("cpu"),
        )

    one, again = learner(), learner()
    ended = []
    for _ in range(3):
        # Nothing is learned in between, so the first epoch stays the best.
        one.end_epoch(1, torch.ones(4, 2), torch.ones(4, 1), torch.ones(4), torch.ones(4))
        ended.append(one.exhausted)
    again.load_state_dict(one.state_dict())

    assert ended == [False, False, True]
    assert again.exhausted
