"""The dashboard `isotherm-gpu`: our own figures of the GPUs, or those of NVIDIA's DCGM exporter."""

from typing import Final

from deploy.observability.boards.board import Board, Panels
from deploy.observability.panels import Frame, Query, lines
from deploy.observability.promql import SERVERS, select

_EACH: Final = "{{instance}} GPU {{gpu}}"


def _either(ours: str, theirs: str) -> str:
    """Ours; DCGM's, which another job scrapes, only where no server of ours shows any."""
    return f"max by (instance, gpu) ({ours}) or on () max by (instance, gpu) ({theirs})"


def _gpus() -> Panels:
    used, whole = (
        select(f"isotherm_gpu_memory_{which}_bytes", SERVERS) for which in ("used", "total")
    )
    free = "(DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)"
    yield lines(
        Frame("Utilisation", "Share of the time in which the GPU ran anything.", "percentunit"),
        Query(
            _either(
                select("isotherm_gpu_utilization_ratio", SERVERS), "DCGM_FI_DEV_GPU_UTIL / 100"
            ),
            _EACH,
        ),
    )
    yield lines(
        Frame("Memory in use", "Memory of the GPU that is taken, by whomever.", "bytes"),
        Query(_either(used, "DCGM_FI_DEV_FB_USED * 1048576"), _EACH),
    )
    yield lines(
        Frame("Memory, share", "Share of the GPU's memory that is taken.", "percentunit"),
        Query(_either(f"{used} / {whole}", f"DCGM_FI_DEV_FB_USED / {free}"), _EACH),
    )
    yield lines(
        Frame("Power", "What the GPU draws.", "watt"),
        Query(
            _either(select("isotherm_gpu_power_watts", SERVERS), "DCGM_FI_DEV_POWER_USAGE"), _EACH
        ),
    )


def _models() -> Panels:
    each = "{{model}} {{version}}"
    memory = select("isotherm_model_device_memory_bytes")
    yield lines(
        Frame("Memory by model", "What loading each version took of the GPUs' memory.", "bytes"),
        Query(f"sum by (model, version) ({memory})", each),
        stacked=True,
    )
    yield lines(
        Frame(
            "Break-even",
            "Batches of so many rows and more run on the GPU; 1: all do, 0: none does.",
            "short",
        ),
        Query(
            f"max by (instance, model, version) ({select('isotherm_model_break_even_rows')})",
            f"{{{{instance}}}} {each}",
        ),
    )
    fell_back = select("isotherm_provider_fallback")
    yield lines(
        Frame("Fallbacks", "Servers that run a version on the CPU for want of CUDA.", "short"),
        Query(f"sum by (model, version) ({fell_back})", each),
    )
    graphs = select("isotherm_model_cuda_graphs")
    yield lines(
        Frame("Recorded runs", "Sizes of batches that replay a CUDA graph.", "short"),
        Query(f"min by (model, version) ({graphs})", each),
    )


BOARD: Final = Board(
    "isotherm-gpu",
    "Isotherm: GPU",
    "The GPUs that servers run on: how busy, how full, what they draw, and what runs there.",
    {"GPUs": _gpus, "Models": _models},
)
