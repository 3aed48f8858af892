"""The dashboard `isotherm-time`: which part of a request's time is spent on what."""

from typing import Final

from deploy.observability.boards.board import Board, Panels
from deploy.observability.panels import Frame, Query, heat, lines
from deploy.observability.promql import MODELS, increments, mean, quantile

_PHASE: Final = "isotherm_phase_duration_seconds"
_DURATION: Final = "isotherm_request_duration_seconds"


def _phases() -> Panels:
    yield lines(
        Frame("Mean time by phase", "What the mean request spends its time on.", "s"),
        Query(mean(_PHASE, "phase"), "{{phase}}"),
        stacked=True,
    )
    yield lines(
        Frame("p99 by phase", "The slowest hundredth of each phase, for itself.", "s"),
        Query(quantile(0.99, _PHASE, "phase"), "{{phase}}"),
    )
    for phase, meaning in (
        ("queue", "How long requests waited until their batch was closed."),
        ("run", "How long requests waited for the model to answer."),
    ):
        yield heat(
            Frame(f"Time in phase {phase}", meaning, "s"),
            Query(increments(_PHASE, f'{MODELS}, phase="{phase}"'), "{{le}}"),
        )


def _whole() -> Panels:
    yield heat(
        Frame("Latency", "How many requests took how long, all phases together.", "s"),
        Query(increments(_DURATION), "{{le}}"),
    )
    yield lines(
        Frame("p99 by model", "99 % of a model's requests are answered within this time.", "s"),
        Query(quantile(0.99, _DURATION, "model"), "{{model}}"),
    )
    yield lines(
        Frame("p99 by server", "Is one of the servers slower than the others?", "s"),
        Query(quantile(0.99, _DURATION, "instance"), "{{instance}}"),
    )
    yield lines(
        Frame("Mean by model", "The mean time of a model's requests.", "s"),
        Query(mean(_DURATION, "model"), "{{model}}"),
    )


BOARD: Final = Board(
    "isotherm-time",
    "Isotherm: where the time goes",
    "The phases of a request (queue, assemble, run, encode), and the whole of it.",
    {"Phases": _phases, "The whole": _whole},
)
