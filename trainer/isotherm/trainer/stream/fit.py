"""The fit of a stream: its learners, trained side by side, and the leaderboard they come to."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import nn

from isotherm.trainer import device, embeddings, interval, networks, precision, select
from isotherm.trainer.batches import BATCH_ROWS
from isotherm.trainer.candidates import Candidate, measured
from isotherm.trainer.checkpoint import Checkpoint
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.features import Classifier, Served, ServedModel
from isotherm.trainer.folds import Folds
from isotherm.trainer.loop import History
from isotherm.trainer.model import parameter_count
from isotherm.trainer.progress import OnRows, Watch
from isotherm.trainer.recorder import Recorder
from isotherm.trainer.splits import Split
from isotherm.trainer.stream import baselines
from isotherm.trainer.stream.batches import Batches
from isotherm.trainer.stream.frame import Frame
from isotherm.trainer.stream.holding import Groups, Mask
from isotherm.trainer.stream.learner import Learner
from isotherm.trainer.stream.prepare import Prepared
from isotherm.trainer.stream.rows import Rows
from isotherm.trainer.stream.shuffle import FEW_GROUPS, Plan, Walk
from isotherm.trainer.stream.survey import Survey
from isotherm.trainer.stream.training import Training
from isotherm.trainer.world import World

_log = logging.getLogger(__name__)

_MIB: Final = 2**20
_BYTES: Final = 4
# A row of a sample lies there as it is and encoded; so many of them are answered at once.
_ANSWERED: Final = 8192

_FEW: Final = (
    "only %.1f row groups fit into data.memory (%d MiB) at a time: rows are shuffled among their "
    "neighbours only, which harms where the file is sorted; allow more memory, or write it again "
    "with smaller row groups"
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fit:
    """What a stream has come to.

    Attributes:
        fitted: the models, measured on the rows held out.
        sample: rows drawn from all of them, which describe the table.
    """

    fitted: Fitted
    sample: Table


def built(frame: Frame, table: Table, config: TrainConfig) -> dict[str, nn.Sequential]:
    """Return the networks of the configuration with their initial weights, checked."""
    return {
        name: networks.build(one, table, frame.objective, config.fit.seed)
        for name, one in config.candidates.items()
    }


def fit(
    prepared: Prepared,
    nets: Mapping[str, nn.Sequential],
    *,
    world: World,
    watch: Watch | None = None,
    on_rows: OnRows | None = None,
    checkpoint: Checkpoint | None = None,
) -> Fit:
    """Train the networks in the same passes, and choose among them and the baselines.

    Raises:
        ConfigError: a setting does not suit a stream.
        TrainingError: a loss left the finite numbers.
        DeviceMemoryError: the device has no room for it.
        WorldError: the processes did not come to the same models.
    """
    with device.room(), precision.exact():
        learners, passes = training(
            prepared, nets, world=world, watch=watch, on_rows=on_rows, checkpoint=checkpoint
        )
        passes.run()
        cores = {one.name: _settled(one, prepared.frame) for one in learners}
        # Each process has made its own steps: what they come to is one model, or nobody's.
        for name, core in cores.items():
            world.same(f"parameters of the {name} of digest", _digest(core))
        history = next(one.history for one in learners if one.name in nets)
        return _compared(prepared, cores, history)


def training(
    prepared: Prepared,
    nets: Mapping[str, nn.Sequential],
    *,
    world: World,
    watch: Watch | None = None,
    on_rows: OnRows | None = None,
    checkpoint: Checkpoint | None = None,
    recorder: Recorder | None = None,
) -> tuple[list[Learner], Training]:
    """Return the learners, and what trains them; the `recorder` is the device's own."""
    config, frame, survey = prepared.config, prepared.frame, prepared.survey
    plan = planned(frame, survey, config, world)
    if world.rank == 0 and not plan.whole and plan.groups_a_fill < FEW_GROUPS:
        _log.warning(_FEW, plan.groups_a_fill, config.data.memory)
    place = device.choose(config.fit, frame.files.rows * frame.decoder.width)
    steps = max(world.gather(plan.steps))
    learners = [*_learners(prepared, nets, steps, place)]
    batches = Batches(frame, place)
    return learners, Training(
        learners,
        Walk(plan, Rows(frame).learned, frame.decoder.width, steps),
        batches,
        batches.held_out(survey.held_out, stopping=bool(config.fit.patience)),
        rows=int(survey.learned.sum()),
        config=config.fit,
        world=world,
        watch=watch,
        on_rows=on_rows,
        checkpoint=checkpoint,
        every=config.checkpoint.steps,
        recorder=recorder,
    )


def planned(frame: Frame, survey: Survey, config: TrainConfig, world: World) -> Plan:
    """Return how this process goes through its row groups.

    Raises:
        ConfigError: memory does not hold the rows of a step.
    """
    mine = slice(world.rank, None, world.size)
    # Three quarters of what is allowed, for two fills; samples and slices have the rest.
    capacity = config.data.memory * _MIB * 3 // 4 // (2 * _BYTES * frame.decoder.width)
    wanted = config.fit.batch_size or BATCH_ROWS
    # Shares of a step as those of the rows: the processes end an epoch together.
    rows, learned = int(survey.learned.sum()), survey.learned[mine]
    batch = max(-(-wanted * int(learned.sum()) // rows), 1)
    if min(batch, frame.files.rows) > capacity:
        needed = batch * 2 * _BYTES * frame.decoder.width * 4 // 3 // _MIB + 1
        msg = (
            f"a step of fit.batch_size {wanted} rows does not fit into data.memory "
            f"({config.data.memory} MiB, {capacity} rows at a time); take smaller steps, or allow "
            f"{needed} MiB (--memory)"
        )
        raise ConfigError(msg)
    return Plan(
        groups=frame.files.groups[mine],
        learned=learned,
        capacity=capacity,
        batch=batch,
        seed=config.fit.seed,
        rank=world.rank,
    )


def _learners(
    prepared: Prepared, nets: Mapping[str, nn.Sequential], steps: int, place: torch.device
) -> Iterator[Learner]:
    config, frame, survey = prepared.config, prepared.frame, prepared.survey
    decay = config.fit.weight_decay[0]
    models = {name: (net, decay) for name, net in nets.items()}
    if not baselines.solvable(frame):
        name = "logistic" if frame.classes else "line"
        models = {name: (baselines.straight(frame), baselines.PENALTY)} | models
    for name, (core, penalty) in models.items():
        yield Learner(
            name,
            core,
            objective=frame.objective,
            config=config.fit,
            rows=int(survey.learned.sum()),
            steps=steps,
            decay=penalty,
            place=place,
        )


def _settled(learner: Learner, frame: Frame) -> nn.Sequential:
    core = learner.finish()
    embeddings.settle(core.state_dict(), [frame.encoding])
    return core


def _digest(core: nn.Sequential) -> str:
    digest = hashlib.sha256()
    for parameter in core.parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def _compared(prepared: Prepared, cores: dict[str, nn.Sequential], history: History) -> Fit:
    """Measure all models on the rows held out."""
    config, frame, survey = prepared.config, prepared.frame, prepared.survey
    every = 2 if config.fit.patience else 1
    measuring, keys = survey.held_out[::every], survey.keys[::every]
    constant, straight = ("prior", "logistic") if frame.classes else ("mean", "line")
    models = {constant: baselines.constant(frame, survey.sums)}
    models[straight] = cores.pop(straight) if straight in cores else baselines.line(survey.sums)
    rich = sorted(cores, key=lambda name: parameter_count(cores[name]))
    models |= {name: cores[name] for name in rich}
    learned = survey.sample[~survey.sample_held_out]
    table = frame.table(np.concatenate([measuring, learned]))
    if isinstance(frame.holding, Groups):
        # The others are not measured by: theirs do not matter.
        keys = np.concatenate([keys, np.zeros(len(learned), dtype=np.int64)])
        table = replace(table, split=Split(kind="group", column=frame.holding.column, keys=keys))
    tested = np.arange(table.rows) < len(measuring)
    parts = Folds(method=frame.holding.method, held_out=tested[np.newaxis])
    candidates = tuple(
        _candidate(frame, name, core, table, tested) for name, core in models.items()
    )
    kept, comparisons = select.keep(candidates, table.spread, table.take(tested))
    board = select.Leaderboard(
        method=parts.method,
        parts=parts,
        candidates=candidates,
        comparisons=comparisons,
        kept=kept.name,
        chosen=select.choose(config.model, candidates, kept),
        history=history,
        metric=frame.objective.metric,
        configurations=len(candidates),
    )
    width, coverage = board.chosen.held_out_residuals[:0, 0], 0.0
    if not frame.classes:
        left_out = board.chosen.interval_residuals
        width, coverage = interval.half_width(left_out, config.coverage, table.take(tested).weights)
    fitted = Fitted(
        table=table,
        leaderboard=board,
        served=_served(frame, board.chosen.core, width),
        half_width=width,
        coverage=coverage,
    )
    return Fit(fitted=fitted, sample=frame.table(survey.sample))


def _candidate(
    frame: Frame, name: str, core: nn.Sequential, table: Table, tested: Mask
) -> Candidate:
    answers = _answers(_served(frame, core, np.zeros(len(frame.targets))), table.x)
    constant = name in {"mean", "prior"}
    candidate = measured(
        name,
        core,
        parameters=frame.objective.columns(len(frame.targets))
        if constant
        else parameter_count(core),
        objective=frame.objective,
        table=table,
        tested=tested,
        held_out=answers[np.newaxis, tested],
        fitted=answers,
    )
    learned = table.take(~tested)
    score = frame.objective.score(answers[~tested], learned.y, learned.weights)
    scores = candidate.scores and replace(candidate.scores, training=score)
    return replace(candidate, scores=scores)


def _served(frame: Frame, core: nn.Sequential, width: Floats) -> ServedModel:
    """Return the module that would be served of a core."""
    served: ServedModel
    if frame.outputs is None:
        served = Classifier(core, inputs=frame.encoding)
    else:
        served = Served(
            core,
            inputs=frame.encoding,
            outputs=frame.outputs.scaling,
            half_width=width,
            transforms=frame.outputs.transforms,
        )
    served.eval()
    return served


def _answers(served: ServedModel, x: Floats) -> Floats:
    starts = range(0, len(x), _ANSWERED)
    return np.concatenate([served.answers(x[first : first + _ANSWERED]) for first in starts])
