"""The dashboard `isotherm-saturation`: what waits, who is sent away, what is at its limit."""

from typing import Final

from deploy.observability.boards.board import Board, Panels
from deploy.observability.panels import HALF, THIRD, Frame, Query, lines
from deploy.observability.promql import MODELS, SERVERS, rate, select, total

_VERSION: Final = "{{model}} {{version}}"
_WORKER: Final = "{{instance}} {{worker}}"


def _queue() -> Panels:
    yield lines(
        Frame("Rows waiting", "Rows that wait for a batch, and how many may.", "short"),
        Query(total(select("isotherm_queue_pending_rows"), "model"), "{{model}}"),
        Query(total(select("isotherm_queue_limit_rows"), "model"), "{{model}}: limit"),
        span=THIRD,
    )
    yield lines(
        Frame("Requests waiting", "Requests that wait for a batch.", "short"),
        Query(total(select("isotherm_queue_pending_requests"), "model"), "{{model}}"),
        span=THIRD,
    )
    filled = "job_instance_model_version:isotherm_queue_fill:ratio"
    yield lines(
        Frame("Fill", "The fullest queue of each version.", "percentunit"),
        Query(f"max by (model, version) ({select(filled)})", _VERSION),
        span=THIRD,
    )
    oldest, wait = "isotherm_queue_oldest_age_seconds", "isotherm_queue_expected_wait_seconds"
    yield lines(
        Frame("Oldest request", "How long the oldest request has waited.", "s"),
        Query(f"max by (model, version) ({select(oldest)})", _VERSION),
        span=THIRD,
    )
    yield lines(
        Frame("Expected wait", "How long a request that arrives now will wait.", "s"),
        Query(f"max by (model, version) ({select(wait)})", _VERSION),
        span=THIRD,
    )
    yield lines(
        Frame("Sent away", "Requests per second that never reached the model, by reason.", "reqps"),
        Query(total(rate("isotherm_rejected_total"), "reason"), "{{reason}}"),
        span=THIRD,
    )


def _processes() -> Panels:
    cpu = total(rate("isotherm_worker_cpu_seconds_total", SERVERS), "instance, worker")
    supervisor = total(rate("process_cpu_seconds_total", SERVERS), "instance")
    yield lines(
        Frame("Processor time", "Seconds of processor time per second: 1 is a full core.", "short"),
        Query(cpu, _WORKER),
        Query(supervisor, "{{instance}} supervisor"),
        span=THIRD,
    )
    yield lines(
        Frame(
            "Busiest worker",
            "Its processor time by the mean of its server's workers: 1 is an even share, and far "
            "more means connections that the kernel dealt unevenly.",
            "short",
        ),
        Query(f"max by (instance) ({cpu}) / avg by (instance) ({cpu})", "{{instance}}"),
        span=THIRD,
    )
    yield lines(
        Frame("Memory", "Resident memory of each process.", "bytes"),
        Query(select("isotherm_worker_resident_memory_bytes", SERVERS), _WORKER),
        Query(select("process_resident_memory_bytes", SERVERS), "{{instance}} supervisor"),
        span=THIRD,
    )
    yield lines(
        Frame("Loop lag", "How late each worker's polling loop comes round.", "s"),
        Query(select("isotherm_worker_loop_lag_seconds", SERVERS), _WORKER),
        span=THIRD,
    )
    yield lines(
        Frame("Heartbeat", "Time since each worker's polling loop last came round.", "s"),
        Query(select("isotherm_worker_heartbeat_age_seconds", SERVERS), _WORKER),
        span=THIRD,
    )
    descriptors = select("process_open_fds", SERVERS)
    yield lines(
        Frame("File descriptors", "Share of the supervisor's file descriptors.", "percentunit"),
        Query(f"{descriptors} / {select('process_max_fds', SERVERS)}", "{{instance}}"),
        span=THIRD,
    )


def _life() -> Panels:
    yield lines(
        Frame("Workers", "Workers that serve, and workers that should.", "short"),
        Query(total(select("isotherm_worker_up", SERVERS), "instance"), "{{instance}} up"),
        Query(select("isotherm_workers", SERVERS), "{{instance}} configured"),
        span=THIRD,
    )
    restarts = select("isotherm_worker_restarts_total", SERVERS)
    yield lines(
        Frame("Restarts", "Workers that were started again.", "short"),
        Query(f"sum by (instance) (increase({restarts}[$__rate_interval]))", "{{instance}}"),
        span=THIRD,
    )
    yield lines(
        Frame("Draining", "Servers that were told to stop.", "short"),
        Query(select("isotherm_draining", SERVERS), "{{instance}}"),
        span=THIRD,
    )
    yield lines(
        Frame("Requests by server", "Is the traffic spread over the servers?", "reqps"),
        Query(total(rate("isotherm_requests_total", MODELS), "instance"), "{{instance}}"),
        span=HALF,
    )
    ready = select("isotherm_ready", SERVERS)
    yield lines(
        Frame("Ready", "1 while a server serves all of its models on all workers.", "short"),
        Query(ready, "{{instance}}"),
        span=HALF,
    )


BOARD: Final = Board(
    "isotherm-saturation",
    "Isotherm: queue and saturation",
    "What waits and for how long, who is sent away, and which process is at its limit.",
    {"Queue": _queue, "Processes": _processes, "Life": _life},
)
