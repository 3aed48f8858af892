"""The dashboard `isotherm-versions`: what is loaded, and how versions fare against each other."""

from typing import Final

from deploy.observability.boards.board import Board, Panels
from deploy.observability.boards.overview import fault_ratio
from deploy.observability.panels import FULL, THIRD, Frame, Query, lines, listing
from deploy.observability.promql import mean, quantile, rate, select, total

_EACH: Final = "{{model}} {{version}}"
_DURATION: Final = "isotherm_request_duration_seconds"


def _loaded() -> Panels:
    yield listing(
        Frame("Loaded versions", "What is loaded, from which file and on which hardware.", "short"),
        Query(f"count by (model, version, provider, sha256) ({select('isotherm_model_info')})"),
        {
            "model": "Model",
            "version": "Version",
            "provider": "Provider",
            "sha256": "SHA-256",
            "Value": "Servers",
        },
        span=FULL,
    )
    states = f"{select('isotherm_model_state')} == 1"
    yield lines(
        Frame("States", "On how many servers a version is in which state.", "short"),
        Query(f"count by (model, version, state) ({states})", f"{_EACH} {{{{state}}}}"),
        span=THIRD,
    )
    loads = select("isotherm_model_loads_total")
    yield lines(
        Frame("Loads", "Loads of versions by how they ended.", "short"),
        Query(
            f"sum by (model, version, result) (increase({loads}[$__rate_interval]))",
            f"{_EACH} {{{{result}}}}",
        ),
        span=THIRD,
    )
    times = select("isotherm_model_load_duration_seconds")
    yield lines(
        Frame("Load time", "The last load of each version, warming and checks included.", "s"),
        Query(f"max by (model, version) ({times})", _EACH),
        span=THIRD,
    )


def _against_each_other() -> Panels:
    yield lines(
        Frame("Requests by version", "How the traffic is split.", "reqps"),
        Query(total(rate("isotherm_requests_total"), "model, version"), _EACH),
        stacked=True,
    )
    yield lines(
        Frame("Faults by version", "Does the new version fail more often?", "percentunit"),
        Query(fault_ratio("model, version"), _EACH),
    )
    yield lines(
        Frame("p99 by version", "Is the new version slower?", "s"),
        Query(quantile(0.99, _DURATION, "model, version"), _EACH),
    )
    yield lines(
        Frame("Mean by version", "The mean time of a version's requests.", "s"),
        Query(mean(_DURATION, "model, version"), _EACH),
    )


BOARD: Final = Board(
    "isotherm-versions",
    "Isotherm: versions and swaps",
    "Which versions are loaded, how loads ended, and how a new version fares against an old one.",
    {"Loaded": _loaded, "Against each other": _against_each_other},
)
