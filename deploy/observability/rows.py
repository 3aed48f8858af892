"""The rows of the dashboard: which question each panel answers, and the query that answers it."""

from collections.abc import Iterator

from deploy.observability.panels import HALF, THIRD, Frame, Query, heat, lines, listing, number
from deploy.observability.promql import (
    MODELS,
    SERVERS,
    increments,
    mean,
    quantile,
    rate,
    select,
    total,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

Panels = Iterator[Builder[Panel]]

# The statuses that are the server's fault, as in prometheus/rules.yml.
_FAULTY = (
    f'{MODELS}, code=~"UNKNOWN|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|INTERNAL|UNAVAILABLE|DATA_LOSS"'
)
_REQUESTS = "isotherm_requests_total"
_DURATION = "isotherm_request_duration_seconds"
_PHASE = "isotherm_phase_duration_seconds"
_SIZE = "isotherm_batch_size"


def _fault_ratio(by: str) -> str:
    """Faults among all requests; zero, not nothing, for what has never failed."""
    everything = total(rate(_REQUESTS), by)
    faults = total(rate(_REQUESTS, _FAULTY), by)
    return f"({faults} or 0 * {everything}) / {everything}"


def overview() -> Panels:
    """Is it well, how much is asked of it, how fast does it answer."""
    yield number(
        Frame("Servers ready", "Servers whose workers all serve all of their models.", "short"),
        Query(total(select("isotherm_ready", SERVERS))),
    )
    yield number(
        Frame("Models ready", "Models of which at least one version is ready somewhere.", "short"),
        Query(f"count(count by (model) ({_in_state('READY')} == 1))"),
    )
    yield number(
        Frame("Requests", "Inference requests per second, whatever became of them.", "reqps"),
        Query(total(rate(_REQUESTS))),
    )
    yield number(
        Frame("Faults", "Share of requests that failed by a fault of ours.", "percentunit"),
        Query(_fault_ratio("")),
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
    yield lines(
        Frame("Requests by status", "Inference requests per second by final status.", "reqps"),
        Query(total(rate(_REQUESTS), "code"), "{{code}}"),
        stacked=True,
    )
    yield lines(
        Frame(
            "Faults by model", "Share of requests that failed by a fault of ours.", "percentunit"
        ),
        Query(_fault_ratio("model"), "{{model}}"),
    )
    yield lines(
        Frame("Latency", "Time from the arrival of a request to the sending of its answer.", "s"),
        *(Query(quantile(q, _DURATION), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)),
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
    )
    yield listing(
        Frame("Versions", "The versions of Isotherm that run, and on how many servers.", "short"),
        Query(f"count by (version) ({select('isotherm_build_info', SERVERS)})"),
        {"version": "Isotherm", "Value": "Servers"},
    )


def phases() -> Panels:
    """Which part of a request's time is spent on what."""
    yield lines(
        Frame("Mean time by phase", "What the mean request spends its time on.", "s"),
        Query(mean(_PHASE, "phase"), "{{phase}}"),
        stacked=True,
    )
    yield lines(
        Frame("p99 by phase", "The slowest hundredth of each phase, for itself.", "s"),
        Query(quantile(0.99, _PHASE, "phase"), "{{phase}}"),
    )


def queue() -> Panels:
    """How much waits, how much may wait, who was sent away."""
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
    yield lines(
        Frame("Sent away", "Requests per second that never reached the model, by reason.", "reqps"),
        Query(total(rate("isotherm_rejected_total"), "reason"), "{{reason}}"),
        span=THIRD,
    )


def batches() -> Panels:
    """How well single requests are gathered into large calls of the model."""
    yield lines(
        Frame("Rows per batch", "The mean size of the executed batches.", "short"),
        Query(mean(_SIZE, "model"), "{{model}}"),
    )
    yield heat(
        Frame("Batch sizes", "How many batches had up to how many rows.", "short"),
        Query(increments(_SIZE), "{{le}}"),
    )
    yield lines(
        Frame("What closed the batches", "Batches per second by the reason of closing.", "ops"),
        Query(total(rate("isotherm_batches_total"), "reason"), "{{reason}}"),
        stacked=True,
    )
    yield lines(
        Frame("Rows and calls of the model", "Rows and batches per second.", "ops"),
        Query(total(rate("isotherm_inferences_total"), "model"), "{{model}}: rows"),
        Query(total(rate("isotherm_executions_total"), "model"), "{{model}}: batches"),
    )


def models() -> Panels:
    """Which versions there are, what they do and how they fare against each other."""
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
    )
    states = f"{select('isotherm_model_state')} == 1"
    yield lines(
        Frame("States", "On how many servers a version is in which state.", "short"),
        Query(f"count by (model, version, state) ({states})", "{{model}} {{version}} {{state}}"),
    )
    each = "{{model}} {{version}}"
    yield lines(
        Frame("Requests by version", "How the traffic is split.", "reqps"),
        Query(total(rate(_REQUESTS), "model, version"), each),
        span=THIRD,
    )
    yield lines(
        Frame("p99 by version", "Is the new version slower?", "s"),
        Query(quantile(0.99, _DURATION, "model, version"), each),
        span=THIRD,
    )
    loads = select("isotherm_model_load_duration_seconds")
    yield lines(
        Frame("Load time", "The last load of each version, warming and checks included.", "s"),
        Query(f"max by (model, version) ({loads})", each),
        span=THIRD,
    )


def processes() -> Panels:
    """Which worker is busy, large, stuck or dying."""
    each = "{{instance}} {{worker}}"
    cpu = total(rate("isotherm_worker_cpu_seconds_total", SERVERS), "instance, worker")
    supervisor = total(rate("process_cpu_seconds_total", SERVERS), "instance")
    yield lines(
        Frame("Processor time", "Seconds of processor time per second: 1 is a full core.", "short"),
        Query(cpu, each),
        Query(supervisor, "{{instance}} supervisor"),
    )
    yield lines(
        Frame("Memory", "Resident memory of each process.", "bytes"),
        Query(select("isotherm_worker_resident_memory_bytes", SERVERS), each),
        Query(select("process_resident_memory_bytes", SERVERS), "{{instance}} supervisor"),
    )
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
        Frame("Heartbeat", "Time since each worker's polling loop last came round.", "s"),
        Query(select("isotherm_worker_heartbeat_age_seconds", SERVERS), each),
        span=THIRD,
    )
    yield lines(
        Frame("Draining", "Servers that were told to stop.", "short"),
        Query(select("isotherm_draining", SERVERS), "{{instance}}"),
        span=HALF,
    )
    descriptors = select("process_open_fds", SERVERS)
    yield lines(
        Frame("File descriptors", "Share of the supervisor's file descriptors.", "percentunit"),
        Query(f"{descriptors} / {select('process_max_fds', SERVERS)}", "{{instance}}"),
        span=HALF,
    )


def _in_state(state: str) -> str:
    return select("isotherm_model_state", f'{MODELS}, state="{state}"')
