"""The steps of a training on a device: made by Python, or recorded once and replayed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Final

import torch

from isotherm.trainer import optimizers, proof
from isotherm.trainer.errors import first_line
from isotherm.trainer.proof import Learning, State
from isotherm.trainer.recorder import Recorder, Tensors

Step = Callable[..., Tensors]

_log = logging.getLogger(__name__)

# Steps before one is recorded: libraries and the allocator come to rest, optimizers make room.
_WARM_UP: Final = 3
# Batches are of two sizes at most, but for what remains at the end of a stream's fills.
_SHAPES: Final = 2
# Shares of the learning rate in the steps of a proof: a rate that is stale shows.
_RATES: Final = (1.0, 0.5, 1.0)
# Each way is timed so many times; the fastest counts.
_ROUNDS: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Program:
    """A recorded step: its inputs and results are always the same tensors."""

    replay: Callable[[], None]
    inputs: Tensors
    results: Tensors

    def run(self, inputs: Tensors) -> Tensors:
        """Do the step on other inputs of the same shapes."""
        for ours, given in zip(self.inputs, inputs, strict=True):
            ours.copy_(given, non_blocking=True)
        self.replay()
        return self.results


class Steps:
    """Makes the steps of one training: the first of each shape is recorded, if that pays.

    A recorded step must agree with the one that Python makes, from the same state, and be faster.
    Otherwise Python makes them all, and where something is wrong that is told, once.
    """

    def __init__(self, step: Step, learning: Sequence[Learning], recorder: Recorder) -> None:
        """Take a step.

        Args:
            step: takes tensors with rows as their first axis, and returns its losses.
            learning: all that a step changes.
            recorder: of the device.
        """
        self._step = step
        self._learning = learning
        self._recorder: Recorder | None = recorder
        self._rates = [optimizers.Rate(one.optimizer) for one in learning]
        # None: of a shape that Python is as fast with.
        self._programs: dict[tuple[torch.Size, ...], Program | None] = {}

    def __call__(self, *inputs: torch.Tensor) -> Tensors:
        """Make a step; return its losses, which are valid until the next one."""
        shapes = tuple(one.shape for one in inputs)
        recorder = self._recorder
        if recorder and shapes not in self._programs and len(self._programs) < _SHAPES:
            self._programs[shapes] = self._recorded(recorder, inputs)
        program = self._programs.get(shapes)
        return self._replay(program, inputs) if program else self._make(inputs)

    @property
    def recorded(self) -> int:
        """For how many shapes of batches steps are replayed."""
        return sum(program is not None for program in self._programs.values())

    def _make(self, inputs: Tensors, share: float = 1.0) -> Tensors:
        with self._rates_shown(share):
            return self._step(*inputs)

    def _replay(self, program: Program, inputs: Tensors, share: float = 1.0) -> Tensors:
        for rate in self._rates:
            rate.update(share)
        return program.run(inputs)

    @contextmanager
    def _rates_shown(self, share: float = 1.0) -> Iterator[None]:
        with ExitStack() as stack:
            for rate in self._rates:
                rate.update(share)
                stack.enter_context(rate.shown())
            yield

    def _recorded(self, recorder: Recorder, inputs: Tensors) -> Program | None:
        state = None
        try:
            state = State(self._learning)
            with recorder.watching():
                for _ in range(_WARM_UP):
                    self._make(inputs)
            ours = tuple(one.clone() for one in inputs)
            with self._rates_shown():
                replay, results = recorder.record(lambda: self._step(*ours))
            return self._proved(recorder, Program(replay=replay, inputs=ours, results=results))
        # All that torch and CUDA raise, no room for the graph's memory among it.
        except RuntimeError as error:
            self._give_up(first_line(error))
            return None
        finally:
            if state:
                state.restore()

    def _proved(self, recorder: Recorder, program: Program) -> Program | None:
        """Return the program if it does what the step does, and is faster."""
        inputs = tuple(one.clone() for one in program.inputs)
        others = tuple(proof.halved(one) for one in inputs)
        batches = [*zip((inputs, others, inputs), _RATES, strict=True)]

        def made() -> Iterator[Tensors]:
            return (self._make(batch, share) for batch, share in batches)

        def replayed() -> Iterator[Tensors]:
            return (self._replay(program, batch, share) for batch, share in batches)

        state = State(self._learning)
        ours = proof.walk(state, made)
        if not proof.finite(ours):
            # So does the training: whoever reads its losses says so.
            self._recorder = None
            return None
        different = proof.difference(ours, proof.walk(state, replayed))
        if different:
            self._give_up(different)
            return None
        made_s = min(recorder.seconds(lambda: [*made()]) for _ in range(_ROUNDS))
        replayed_s = min(recorder.seconds(lambda: [*replayed()]) for _ in range(_ROUNDS))
        each = 1e6 / len(batches)
        faster = replayed_s < made_s
        _log.info(
            "steps are %s: %.0f us each, %.0f us by Python",
            "replayed" if faster else "not replayed",
            replayed_s * each,
            made_s * each,
        )
        return program if faster else None

    def _give_up(self, reason: str) -> None:
        self._recorder = None
        self._programs.clear()
        _tell(reason)


@cache
def _tell(reason: str) -> None:
    """Say once that steps are not replayed, and why."""
    _log.warning(
        "steps are not replayed from a CUDA graph, which makes small networks slower, no answer "
        "another: %s (--no-cuda-graphs does not try)",
        reason,
    )
