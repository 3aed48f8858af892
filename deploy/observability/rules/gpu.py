"""Rules of GPUs, where a server runs on some."""

from typing import Final

from deploy.observability.rules.rule import JOB, Alert, Group

_USED: Final = f"isotherm_gpu_memory_used_bytes{{{JOB}}}"
_TOTAL: Final = f"isotherm_gpu_memory_total_bytes{{{JOB}}}"
# A server on a machine without a GPU serves from the CPU rightly.
_FELL_BACK: Final = f"isotherm_provider_fallback{{{JOB}}} == 1 and on (job, instance) {_TOTAL}"

GROUP: Final = Group(
    "isotherm.gpu",
    [
        Alert(
            name="IsothermGpuMemory",
            expr=f"{_USED} / {_TOTAL} > 0.95",
            hold="5m",
            severity="ticket",
            summary="The memory of GPU {{ $labels.gpu }} of {{ $labels.instance }} is nearly full.",
            description=(
                "It is {{ $value | humanizePercentage }} full. The next load, or the next large "
                "batch, may fail."
            ),
        ),
        Alert(
            name="IsothermProviderFallback",
            expr=_FELL_BACK,
            hold="10m",
            severity="ticket",
            summary=(
                "{{ $labels.model }} version {{ $labels.version }} is served from the CPU of "
                "{{ $labels.instance }}, which has a GPU."
            ),
            description=(
                "The server chooses by itself (--provider auto) and could not use CUDA for this "
                "model. It answers rightly, and large batches take longer than they should."
            ),
        ),
    ],
)
