"""Rules of servers and their workers."""

from typing import Final

from deploy.observability.rules.rule import JOB, Alert, Group

_WORKER: Final = "Worker {{ $labels.worker }} of {{ $labels.instance }}"

GROUP: Final = Group(
    "isotherm.server",
    [
        Alert(
            name="IsothermDown",
            expr=f"up{{{JOB}}} == 0 or absent(up{{{JOB}}})",
            hold="1m",
            severity="page",
            summary=(
                "Prometheus cannot scrape {{ with $labels.instance }}{{ . }}{{ else }}any Isotherm "
                "server{{ end }}."
            ),
            description=(
                "The process is gone, or its metrics port (8002) is not reachable. Look at the "
                "process's last log lines and its exit status."
            ),
        ),
        Alert(
            name="IsothermNotReady",
            expr=f"isotherm_ready{{{JOB}}} == 0 and isotherm_draining{{{JOB}}} == 0",
            hold="5m",
            severity="page",
            summary="{{ $labels.instance }} runs, but is not ready.",
            description=(
                "A worker is not serving, or a model is not loaded. isotherm_worker_up and "
                "isotherm_model_state say which."
            ),
        ),
        Alert(
            name="IsothermWorkerRestarts",
            expr=f"increase(isotherm_worker_restarts_total{{{JOB}}}[15m]) > 2",
            severity="ticket",
            summary=f"{_WORKER} keeps dying.",
            description=(
                'It was restarted {{ $value | printf "%.0f" }} times within 15 minutes. The '
                "supervisor logs each exit status; 137 is usually the memory limit."
            ),
        ),
        Alert(
            name="IsothermWorkerStalled",
            expr=f"isotherm_worker_heartbeat_age_seconds{{{JOB}}} > 10",
            hold="1m",
            severity="page",
            summary=f"{_WORKER} stands still.",
            description=(
                "Its polling loop has not come round for {{ $value | humanizeDuration }}. Callers "
                "of that worker wait until their deadline."
            ),
        ),
        Alert(
            name="IsothermWorkerLoopLag",
            expr=f"isotherm_worker_loop_lag_seconds{{{JOB}}} > 0.1",
            hold="5m",
            severity="ticket",
            summary=f"The polling loop of {_WORKER[0].lower()}{_WORKER[1:]} lags.",
            description=(
                "At the worst it comes round {{ $value | humanizeDuration }} late, and every call "
                "of that worker waits for it: the processor is overcommitted, or a call is too "
                "large."
            ),
        ),
        Alert(
            name="IsothermDrainingTooLong",
            expr=f"isotherm_draining{{{JOB}}} == 1",
            hold="2m",
            severity="ticket",
            summary="{{ $labels.instance }} was told to stop and does not.",
            description=(
                "Draining ends after --drain-delay plus --grace. A call or a batch hangs, or the "
                "platform waits with its SIGKILL for longer than it should."
            ),
        ),
    ],
)
