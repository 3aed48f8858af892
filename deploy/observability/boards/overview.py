"""The dashboard `isotherm`: is it well, does it keep its objectives, what is asked of it."""

from typing import Final

from deploy.observability.boards.board import Board, Panels
from deploy.observability.panels import (
    QUARTER,
    THIRD,
    Frame,
    Query,
    heat,
    lines,
    listing,
    number,
)
from deploy.observability.promql import (
    MODELS,
    RANGE,
    RECORDED,
    SERVERS,
    increments,
    quantile,
    rate,
    select,
    total,
)
from deploy.observability.rules.requests import FAULTS, OBJECTIVE_S

_FAULTY: Final = f'{MODELS}, code=~"{FAULTS}"'
_REQUESTS: Final = "isotherm_requests_total"
_DURATION: Final = "isotherm_request_duration_seconds"
# One curve brings the exemplars along: they are the same for all.
_EXEMPLARS_AT: Final = 0.99


def fault_ratio(by: str, window: str = "$__rate_interval") -> str:
    """Faults among all requests; zero, not nothing, for what has never failed."""
    everything = total(rate(_REQUESTS, window=window), by)
    faults = total(rate(_REQUESTS, _FAULTY, window), by)
    return f"({faults} or 0 * {everything}) / {everything}"


def _slow_ratio() -> str:
    quick = total(rate(f"{_DURATION}_bucket", f'{MODELS}, le="{OBJECTIVE_S}"', RANGE))
    return f"1 - {quick} / {total(rate(f'{_DURATION}_count', window=RANGE))}"


def _state() -> Panels:
    yield number(
        Frame("Servers ready", "Servers whose workers all serve all of their models.", "short"),
        Query(total(select("isotherm_ready", SERVERS))),
    )
    ready = select("isotherm_model_state", f'{MODELS}, state="READY"')
    yield number(
        Frame("Models ready", "Models of which at least one version is ready somewhere.", "short"),
        Query(f"count(count by (model) ({ready} == 1))"),
    )
    yield number(
        Frame("Requests", "Inference requests per second, whatever became of them.", "reqps"),
        Query(total(rate(_REQUESTS))),
    )
    yield number(
        Frame("Faults", "Share of requests that failed by a fault of ours.", "percentunit"),
        Query(fault_ratio("")),
        red_from=0.001,
    )
    yield number(
        Frame("p99", "99 % of the requests are answered within this time.", "s"),
        Query(quantile(0.99, _DURATION)),
        red_from=0.1,
    )
    yield number(
        Frame("Rows waiting", "Rows that wait for a batch, over all servers.", "short"),
        Query(total(select("isotherm_queue_pending_rows"))),
    )


def _objectives() -> Panels:
    yield number(
        Frame(
            "Availability", "Requests without a fault of ours, over the time shown.", "percentunit"
        ),
        Query(f"1 - {fault_ratio('', RANGE)}"),
        span=QUARTER,
    )
    yield number(
        Frame(
            "Availability budget left",
            "What is left of the 0.1 % that may fail, over the time shown.",
            "percentunit",
        ),
        Query(f"1 - {fault_ratio('', RANGE)} / 0.001"),
        span=QUARTER,
    )
    yield number(
        Frame(
            "Answered in time",
            "Answers within 100 ms among all answers, over the time shown.",
            "percentunit",
        ),
        Query(f"1 - ({_slow_ratio()})"),
        span=QUARTER,
    )
    yield number(
        Frame(
            "Latency budget left",
            "What is left of the 1 % of answers that may be slow, over the time shown.",
            "percentunit",
        ),
        Query(f"1 - ({_slow_ratio()}) / 0.01"),
        span=QUARTER,
    )
    for objective, series, budget in (
        ("Availability", "request_errors", "0.001"),
        ("Latency", "slow_requests", "0.01"),
    ):
        recorded = f"job_model:isotherm_{series}:ratio_rate"
        yield lines(
            Frame(
                f"{objective} burn rate",
                "How much faster than in 30 days the budget is spent; alerts look at both windows.",
                "short",
            ),
            Query(f"{select(f'{recorded}1h', RECORDED)} / {budget}", "{{model}} 1h"),
            Query(f"{select(f'{recorded}6h', RECORDED)} / {budget}", "{{model}} 6h"),
        )


def _calls() -> Panels:
    yield lines(
        Frame("Requests by status", "Inference requests per second by final status.", "reqps"),
        Query(total(rate(_REQUESTS), "code"), "{{code}}"),
        stacked=True,
    )
    yield lines(
        Frame(
            "Faults by model", "Share of requests that failed by a fault of ours.", "percentunit"
        ),
        Query(fault_ratio("model"), "{{model}}"),
    )
    yield lines(
        Frame("Latency", "Time from the arrival of a request to the sending of its answer.", "s"),
        *(
            Query(quantile(q, _DURATION), f"p{q * 100:g}", exemplars=q == _EXEMPLARS_AT)
            for q in (0.5, 0.95, _EXEMPLARS_AT)
        ),
    )
    yield heat(
        Frame("Latency, all of it", "How many requests took how long.", "s"),
        Query(increments(_DURATION), "{{le}}"),
    )
    calls = rate("grpc_server_handled_total", SERVERS)
    yield lines(
        Frame(
            "Calls by method", "Calls per second of every gRPC service, health included.", "reqps"
        ),
        # Every method has a series from the start; only those that are called are of interest.
        Query(f"{total(calls, 'grpc_method, grpc_code')} > 0", "{{grpc_method}} {{grpc_code}}"),
        span=2 * THIRD,
    )
    yield listing(
        Frame("Versions", "The versions of Isotherm that run, and on how many servers.", "short"),
        Query(f"count by (version) ({select('isotherm_build_info', SERVERS)})"),
        {"version": "Isotherm", "Value": "Servers"},
        span=THIRD,
    )


BOARD: Final = Board(
    "isotherm",
    "Isotherm",
    "The whole at a glance: readiness, objectives, requests, errors and latency.",
    {"Is it well?": _state, "Objectives": _objectives, "Requests": _calls},
)
