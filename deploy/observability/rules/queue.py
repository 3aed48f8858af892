"""Rules of the queue before a model."""

from typing import Final

from deploy.observability.rules.rule import JOB, Alert, Group, Recording

_FILL: Final = "job_instance_model_version:isotherm_queue_fill:ratio"
_WHERE: Final = "{{ $labels.model }} {{ $labels.version }} on {{ $labels.instance }}"

GROUP: Final = Group(
    "isotherm.queue",
    [
        Recording(
            record=_FILL,
            expr=(
                f"isotherm_queue_pending_rows{{{JOB}}}\n"
                f"/ (isotherm_queue_limit_rows{{{JOB}}} > 0)\n"
            ),
        ),
        Alert(
            name="IsothermQueueNearLimit",
            expr=f"{_FILL} > 0.8",
            hold="2m",
            severity="ticket",
            summary=f"The queue of {_WHERE} is nearly full.",
            description=(
                "It is {{ $value | humanizePercentage }} full. Beyond its limit requests are "
                "refused. Add replicas or workers, or let batches grow."
            ),
        ),
        # Half of the second that the client waits by default.
        Alert(
            name="IsothermQueueOld",
            expr=f"isotherm_queue_oldest_age_seconds{{{JOB}}} > 0.5",
            hold="1m",
            severity="page",
            summary=f"Requests grow old in the queue of {_WHERE}.",
            description=(
                "The oldest has waited for {{ $value | humanizeDuration }}. Callers with a short "
                "deadline get no answer."
            ),
        ),
        Alert(
            name="IsothermExpectedWaitLong",
            expr=f"isotherm_queue_expected_wait_seconds{{{JOB}}} > 0.5",
            hold="2m",
            severity="ticket",
            summary=f"Who asks {_WHERE} now has to wait long.",
            description=(
                "A request that arrives now is expected to wait for "
                "{{ $value | humanizeDuration }}. Requests with a shorter deadline are refused."
            ),
        ),
    ],
)
