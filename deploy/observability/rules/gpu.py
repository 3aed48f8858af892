"""Rules of GPUs, where a server runs on some."""

from typing import Final

from deploy.observability.rules.rule import JOB, Alert, Group

_USED: Final = f"isotherm_gpu_memory_used_bytes{{{JOB}}}"
_TOTAL: Final = f"isotherm_gpu_memory_total_bytes{{{JOB}}}"

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
    ],
)
